"""The job on a cluster: what `flink run` starts.

Its arguments are a JobConfig as JSON, the interpreter on the TaskManagers, and the wheel's SHA-256.
"""

import sys

import msgspec

from jobs.config import JobConfig

NAME = "segstream"


def flink_options(config: JobConfig, python: str) -> dict[str, str]:
    """Flink's own settings of this job. `python` is the interpreter on the TaskManagers."""
    return {
        "python.execution-mode": "thread",
        "python.executable": python,
        "python.operator-chaining.enabled": "false",
        "pipeline.auto-generate-uids": "false",
        "pipeline.object-reuse": "true",
        "pipeline.name": NAME,
        "parallelism.default": str(config.parallelism),
        "execution.buffer-timeout.interval": f"{config.buffer_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": f"{config.checkpoint_ms} ms",
        "execution.checkpointing.min-pause": f"{config.checkpoint_ms // 2} ms",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
    }


def main(document: str, python: str, release: str) -> None:
    """Build the job and hand it to the cluster."""
    from pyflink.common import Configuration  # noqa: PLC0415
    from pyflink.datastream import StreamExecutionEnvironment  # noqa: PLC0415

    from jobs.kafka import kafka_sinks, kafka_sources  # noqa: PLC0415
    from jobs.pipeline import JobSettings, build_pipeline  # noqa: PLC0415
    from udfs.dedupe import Dedupe  # noqa: PLC0415
    from udfs.intake import Intake  # noqa: PLC0415
    from udfs.membership import Limits  # noqa: PLC0415

    config = msgspec.json.decode(document, type=JobConfig)
    configuration = Configuration()
    for key, value in flink_options(config, python).items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    dedupe = Dedupe(config.dedupe_horizon_ms // 1000, config.dedupe_ids_max)
    settings = JobSettings(
        config.ruleset, Intake(), Limits(dedupe, config.values_max), release=release
    )
    build_pipeline(kafka_sources(env, config, settings.intake), kafka_sinks(env, config), settings)
    env.execute(NAME)


if __name__ == "__main__":
    main(*sys.argv[1:])
