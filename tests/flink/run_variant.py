"""One small bounded run, in a process of its own because a process has one Flink gateway.

Called with one JSON argument; prints one JSON object: what came out, or how it failed.
"""

import json
import sys
from pathlib import Path

from jobs.minicluster import JobFailedError, execute, start_environment, stop_gateway
from jobs.stores.sqlite_store import create_store
from schemas.rulesets import parse_ruleset
from udfs.dedupe import Dedupe
from udfs.intake import Intake
from udfs.membership import Limits
from udfs.outbox import StoreWriteError


class BrokenWriter:
    """A store that takes everything and stores nothing."""

    def send(self, ticket, publication):
        pass

    def stored(self, _user_id):
        return 0

    def note_progress(self, progress):
        pass

    def note_ruleset(self, version, document):
        pass

    def flush(self):
        raise StoreWriteError("the disk is full")

    def close(self):
        pass


def main(options: dict) -> dict:
    folder = Path(options["folder"])
    env, rest = start_environment(folder, options.get("mode", "thread"))
    from jobs.embedded import RunFiles, file_sinks, file_sources
    from jobs.pipeline import JobSettings, build_pipeline

    ruleset = parse_ruleset(json.dumps(options["ruleset"]).encode())
    names = ("store.db", "changes", "rejects", "late", "totals")
    files = RunFiles(
        Path(options["log"]), folder / "rulesets.jsonl", *(folder / name for name in names)
    )
    stream = options.get("ruleset_stream", [json.dumps(options["ruleset"])])
    files.rulesets.write_text("".join(line + "\n" for line in stream))
    create_store(files.store)
    intake = Intake()
    sources = file_sources(env, files, intake, 60_000, options["now_ms"])
    sinks = file_sinks(files)
    if options.get("broken_store"):
        sinks = sinks._replace(open_writer=BrokenWriter)
    limits = Limits(Dedupe(86_400, 1_000))
    plain = options.get("plain_keying", False)
    build_pipeline(sources, sinks, JobSettings(ruleset, intake, limits, options["end_ms"], plain))
    if options.get("plan_only"):
        graph = env._generate_stream_graph(clear_transformations=True, job_name="variant")
        return {
            "uids": sorted(str(n.getTransformationUID()) for n in graph.getStreamNodes().toArray())
        }
    try:
        execute(env, "variant", rest, lambda _: None)
    except JobFailedError as error:
        return {"failed": str(error)}
    return {
        "changes": sorted(_lines(files.changes)),
        "rejects": sorted(_lines(files.rejects)),
        "totals": _lines(files.totals),
    }


def _lines(folder: Path) -> list[str]:
    parts = [part for part in sorted(folder.rglob("part-*")) if part.is_file()]
    return [line for part in parts for line in part.read_text().splitlines()]


if __name__ == "__main__":
    try:
        print(json.dumps(main(json.loads(sys.argv[1]))))
    finally:
        stop_gateway()
