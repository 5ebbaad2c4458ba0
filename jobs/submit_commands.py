"""The command that puts the job on a cluster: `submit`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.commands import console, fail
from jobs.config import JobConfig
from jobs.kafka_admin import Layout, check_topics
from jobs.stores.migrate import check_migrated
from jobs.submit import Submission, SubmitError, await_running, connector_jar, submit
from jobs.wheel import this_wheel
from schemas.durations import MINUTE_MS, parse_duration
from schemas.errors import InvalidDocumentError
from schemas.locations import CassandraUrl, parse_store
from schemas.rulesets import parse_ruleset

app = typer.Typer()

NO_STORE = "none"


@app.command("submit")
def submit_job(
    ruleset: Annotated[Path, typer.Option(help="The first rule set; later ones are published.")],
    store: Annotated[str, typer.Option(help="cassandra://HOST/KEYSPACE, or none: changes only.")],
    flink: Annotated[str, typer.Option(help="Flink's REST address.")] = "http://127.0.0.1:8081",
    bootstrap: Annotated[str, typer.Option(help="The Kafka brokers.")] = "127.0.0.1:9092",
    clock: Annotated[
        str, typer.Option(help="What moves event time when no event comes: wall, or events only.")
    ] = "wall",
    parallelism: Annotated[int, typer.Option(min=1, help="How many TaskManagers take part.")] = 1,
    savepoint: Annotated[
        str | None, typer.Option(help="Start from this savepoint or retained checkpoint.")
    ] = None,
    disorder: Annotated[str, typer.Option(help="How much out of order events may come.")] = "1m",
    idle: Annotated[
        str | None,
        typer.Option(
            help="After how long a silent partition no longer holds time back;"
            " by the wall clock 1m, by events never."
        ),
    ] = None,
    checkpoint_interval: Annotated[str, typer.Option(help="How often state is kept.")] = "10s",
    transaction_timeout: Annotated[
        str, typer.Option(help="The longest outage that loses no change.")
    ] = "15m",
    dedupe: Annotated[str, typer.Option(help="How long event ids are remembered.")] = "24h",
    wheel: Annotated[
        Path | None, typer.Option(help="The release; this checkout's if absent.")
    ] = None,
    connector: Annotated[Path | None, typer.Option(help="The Kafka connector's jar.")] = None,
    python: Annotated[
        str, typer.Option(help="The interpreter on the TaskManagers.")
    ] = sys.executable,
) -> None:
    """Check everything that the job needs, then hand it to a Flink cluster with `flink run`."""
    try:
        config = JobConfig(
            bootstrap=bootstrap,
            ruleset=parse_ruleset(ruleset.read_bytes()),
            store=_store(store),
            clock=_clock(clock),
            parallelism=parallelism,
            disorder_ms=parse_duration(disorder),
            idle_ms=_idle_ms(idle, clock),
            checkpoint_ms=parse_duration(checkpoint_interval),
            transaction_ms=parse_duration(transaction_timeout),
            dedupe_horizon_ms=parse_duration(dedupe),
        )
        _check_servers(config)
        jar = connector or connector_jar()
        job_id = submit(Submission(flink, config, wheel or this_wheel(), jar, python, savepoint))
        await_running(flink, job_id)
    except InvalidDocumentError as error:
        fail(f"{ruleset}: {error}")
    except (SubmitError, OSError, ValueError, RuntimeError) as error:
        fail(str(error))
    console.print(f"job {job_id} runs on {flink}")
    typer.echo(job_id)


def _check_servers(config: JobConfig) -> None:
    """See that topics and tables are as the job needs them."""
    # A subtask without a partition would hold event time back for ever.
    faults = check_topics(config.bootstrap, Layout(partitions=config.parallelism))
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults)
        raise SubmitError(f"the topics are not as the job needs them:\n{shown}")
    if config.store is not None:
        check_migrated(config.store)


def _store(url: str) -> CassandraUrl | None:
    if url == NO_STORE:
        return None
    location = parse_store(url)
    if isinstance(location, CassandraUrl):
        return location
    raise ValueError(f"--store {url}: a job on a cluster writes to cassandra://HOST/KEYSPACE")


def _idle_ms(idle: str | None, clock: str) -> int | None:
    if idle is None:
        return MINUTE_MS if clock == "wall" else None
    return parse_duration(idle)


def _clock(name: str) -> Literal["wall", "events"]:
    if name == "wall":
        return "wall"
    if name == "events":
        return "events"
    raise ValueError(f"--clock {name}: write wall or events")
