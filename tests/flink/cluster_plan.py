"""The uids of the job on a cluster, planned in a process of its own and executed nowhere.

Prints one JSON object: for each way of writing the job down, its operators' uids, sorted.
"""

import json
import os
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from jobs import kafka
from jobs.cluster import flink_options
from jobs.config import JobConfig
from jobs.minicluster import stop_gateway
from jobs.pipeline import JobSettings, Sources, build_pipeline
from jobs.submit import connector_jar
from schemas.locations import CassandraUrl
from schemas.rulesets import parse_ruleset
from udfs.dedupe import Dedupe
from udfs.intake import Intake
from udfs.membership import Limits

COLUMN = "`timestamp-type`"
RULESET = parse_ruleset(resources.files("segstream").joinpath("used_cars.json").read_bytes())


def main() -> dict[str, list[str]]:
    return {
        "usual": uids(kafka.kafka_sources),
        "another order": uids(sources_in_another_order),
        "replay": uids(kafka.kafka_sources, clock="events"),
        "another query": uids(sources_of_another_query),
    }


def uids(sources: Any, **options: Any) -> list[str]:
    """Plan the job with sources made in some way."""
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment

    store = CassandraUrl(("127.0.0.1",), 9042, "segstream")
    config = JobConfig(bootstrap="127.0.0.1:9092", ruleset=RULESET, store=store, **options)
    configuration = Configuration()
    for key, value in flink_options(config, sys.executable).items():
        configuration.set_string(key, value)
    configuration.set_string("pipeline.jars", connector_jar().as_uri())
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    settings = JobSettings(RULESET, Intake(), Limits(Dedupe(86_400, 1_000)))
    build_pipeline(sources(env, config, settings.intake), kafka.kafka_sinks(env, config), settings)
    graph = env._generate_stream_graph(clear_transformations=True, job_name="planned")
    return sorted(str(n.getTransformationUID()) for n in graph.getStreamNodes().toArray())


def sources_in_another_order(env: Any, config: JobConfig, intake: Intake) -> Sources:
    """The job's sources, each table declared at another moment than it is."""
    from pyflink.table import StreamTableEnvironment

    tables = StreamTableEnvironment.create(env)
    clock = kafka._clock(tables, config)
    rulesets = kafka._rulesets(tables, config)
    commands = kafka._user_commands(tables, config)
    events = kafka._view_events(tables, config, intake)
    return Sources(events.union(commands), rulesets.union(clock))


def sources_of_another_query(env: Any, config: JobConfig, intake: Intake) -> Sources:
    """The job's sources, with one more column of the topics, which the query asks for."""
    from pyflink.table import StreamTableEnvironment

    plain, ask = kafka._RECORD, StreamTableEnvironment.sql_query
    kafka._RECORD = f"{plain}, {COLUMN} STRING METADATA VIRTUAL"

    def ask_more(tables: Any, query: str) -> Any:
        return ask(tables, query.replace("_events)", f"_events WHERE {COLUMN} <> '')"))

    StreamTableEnvironment.sql_query = ask_more
    try:
        return kafka.kafka_sources(env, config, intake)
    finally:
        kafka._RECORD, StreamTableEnvironment.sql_query = plain, ask


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLINK_LOG_DIR"] = str(Path(folder))
        try:
            print(json.dumps(main()))
        finally:
            stop_gateway()
