"""A bounded run: one log through the job in a mini cluster, results put in place at its end."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from py4j.protocol import Py4JError

from jobs.files import whole_file
from jobs.minicluster import JobFailedError, cause_of, execute, start_environment, stop_gateway
from jobs.stores.sqlite_store import create_store, write_run
from jobs.survey import Survey
from schemas.outputs import RunTotals
from schemas.rulesets import RuleSet
from udfs.intake import Intake
from udfs.membership import Limits


class RunRequest(NamedTuple):
    """One bounded run. `now_ms` judges times in the future; event time ends at `end_ms`."""

    events: Path
    ruleset: RuleSet
    store: Path
    changes: Path
    rejects: Path | None
    late: Path | None
    intake: Intake
    limits: Limits
    disorder_ms: int
    now_ms: int
    end_ms: int
    mode: str


class TotalsMismatchError(RuntimeError):
    """The job's totals do not account for every line that was read."""


def run_log(request: RunRequest, survey: Survey, progress: Callable[[int], None]) -> RunTotals:
    """Run a log through the job and put its results in place, all at the end and each whole.

    Raises:
        JobFailedError: the job failed; nothing was put in place.
        TotalsMismatchError: records are unaccounted for; nothing was put in place.
        OSError: a result cannot be written where it was asked for.
    """
    targets = [request.store, request.changes, request.rejects, request.late]
    for target in targets:
        if target is not None and target.is_dir():
            raise OSError(f"{target} is a folder: name a file")
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the store, so that moving it into place is one rename within a file system.
    folder = Path(tempfile.mkdtemp(prefix=".segstream-run-", dir=request.store.parent.resolve()))
    try:
        totals = _run_in(folder, request, progress)
        if totals.read != survey.lines:
            raise TotalsMismatchError(
                f"{survey.lines} lines were read, {totals.read} accounted for"
            )
        _join(folder / "changes", request.changes)
        _join(folder / "rejects", request.rejects)
        _join(folder / "late", request.late)
        os.replace(folder / "store.db", request.store)
        return totals
    except Py4JError as error:
        failure = JobFailedError(f"Flink did not take the job: {cause_of(error)}")
        _keep_log(folder, failure)
        raise failure from None
    except Exception as error:
        _keep_log(folder, error)
        raise
    finally:
        stop_gateway()
        shutil.rmtree(folder, ignore_errors=True)


def _run_in(folder: Path, request: RunRequest, progress: Callable[[int], None]) -> RunTotals:
    env, rest = start_environment(folder, request.mode)
    # PyFlink must not be imported before the environment that it reads is set.
    from jobs.embedded import RunFiles, file_sinks, file_sources, write_rulesets  # noqa: PLC0415
    from jobs.pipeline import JobSettings, build_pipeline  # noqa: PLC0415

    files = RunFiles(
        events=request.events.resolve(),
        rulesets=folder / "rulesets.jsonl",
        store=folder / "store.db",
        changes=folder / "changes",
        rejects=folder / "rejects",
        late=folder / "late",
        totals=folder / "totals",
    )
    write_rulesets(files.rulesets, request.ruleset)
    create_store(files.store)
    settings = JobSettings(request.ruleset, request.intake, request.limits, request.end_ms)
    sources = file_sources(env, files, request.intake, request.disorder_ms, request.now_ms)
    build_pipeline(sources, file_sinks(files), settings)
    execute(env, "segstream", rest, progress)
    write_run(
        files.store,
        request.end_ms,
        {request.ruleset.version: msgspec.json.encode(request.ruleset)},
    )
    totals = RunTotals()
    for line in _output(files.totals):
        totals.add(msgspec.json.decode(line, type=RunTotals))
    return totals


def _join(folder: Path, target: Path | None) -> None:
    """Put the parts that a sink wrote together as one file, in place at once."""
    if target is None:
        return
    with whole_file(target) as out:
        out.writelines(_output(folder))


def _output(folder: Path) -> Iterator[bytes]:
    for part in sorted(path for path in folder.rglob("part-*") if path.is_file()):
        with part.open("rb") as lines:
            yield from lines


def _keep_log(folder: Path, error: Exception) -> None:
    """Move the log out of the folder that is about to go, and say where it is."""
    log = next(iter(sorted(folder.glob("*.log"))), None)
    if log is not None:
        kept = Path(tempfile.gettempdir()) / f"segstream-{os.getpid()}.log"
        shutil.move(log, kept)
        error.add_note(f"Flink's log: {kept}")
