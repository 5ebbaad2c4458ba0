"""The job's commands: `run` and `generate`."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.generate import Shares, generate_log
from jobs.log_lines import LogError
from jobs.minicluster import JobFailedError, thread_mode_fault
from jobs.run import RunRequest, TotalsMismatchError, run_log
from jobs.survey import Survey, survey_log
from schemas.durations import iso_time, parse_duration
from schemas.errors import InvalidDocumentError
from schemas.locations import sqlite_path
from schemas.mapping import parse_mapping
from schemas.outputs import RunTotals
from schemas.rulesets import parse_ruleset
from udfs.dedupe import Dedupe
from udfs.intake import Intake
from udfs.membership import Limits

app = typer.Typer()
console = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def run(
    events: Annotated[Path, typer.Option(help="The log: one JSON event a line, .gz too.")],
    ruleset: Annotated[Path, typer.Option(help="The rule set, a JSON document.")],
    store: Annotated[str, typer.Option(help="Where segments go: sqlite:///PATH.")],
    changes: Annotated[Path, typer.Option(help="Where changes go: one JSON object a line.")],
    rejects: Annotated[Path | None, typer.Option(help="Where rejects go.")] = None,
    late: Annotated[Path | None, typer.Option(help="Where late events go.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Where event time ends: ISO 8601 or epoch ms.")
    ] = None,
    map_: Annotated[
        str, typer.Option("--map", help="Foreign field names: ts=occurred_at,advert_id=item_id.")
    ] = "",
    default: Annotated[
        list[str] | None, typer.Option(help="For an absent field: type=view. May be repeated.")
    ] = None,
    disorder: Annotated[str, typer.Option(help="How much out of order events may come.")] = "1m",
    dedupe: Annotated[str, typer.Option(help="How long event ids are remembered.")] = "24h",
) -> None:
    """Run a log through the PyFlink job in a mini cluster, then put the results in place."""
    try:
        until_ms = None if until is None else _time_ms(until)
        now_ms = int(time.time() * 1000) if until_ms is None else until_ms
        rules = parse_ruleset(ruleset.read_bytes())
        intake = Intake(mapping=parse_mapping(map_, default or []))
        survey = survey_log(events, intake, now_ms)
        request = RunRequest(
            events=events,
            ruleset=rules,
            store=sqlite_path(store),
            changes=changes,
            rejects=rejects,
            late=late,
            intake=intake,
            limits=Limits(_dedupe(dedupe, rules.window)),
            disorder_ms=parse_duration(disorder),
            now_ms=now_ms,
            end_ms=survey.last_ms if until_ms is None else until_ms,
            mode=_mode(),
        )
        console.print(_opening(events, survey, request.end_ms))
        started = time.monotonic()
        totals = _run_with_progress(request, survey)
        _report(totals, time.monotonic() - started, request)
    except InvalidDocumentError as error:
        fail(f"{ruleset}: {error}")
    except (LogError, JobFailedError, TotalsMismatchError, OSError, ValueError) as error:
        fail("\n".join([str(error), *getattr(error, "__notes__", [])]))


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="The log to write: one JSON event a line, .gz too.")],
    events: Annotated[
        int, typer.Option(min=1, help="How many lines, all kinds together.")
    ] = 20_000,
    users: Annotated[int, typer.Option(min=1, help="How many users.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days the log spans.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed writes the same log.")] = 1,
    start: Annotated[
        str, typer.Option(help="When it begins: ISO 8601 or epoch ms.")
    ] = "2026-01-05",
    duplicates: Annotated[float, typer.Option(min=0, max=0.5, help="Share sent twice.")] = 0.05,
    disorder: Annotated[float, typer.Option(min=0, max=0.5, help="Share out of order.")] = 0.05,
    late: Annotated[float, typer.Option(min=0, max=0.5, help="Share older than 10 days.")] = 0.002,
    malformed: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share that is no event.")
    ] = 0.01,
) -> None:
    """Write a seeded log of a used-car marketplace: returning users, drifting tastes, faults."""
    shares = Shares(duplicates, disorder, late, malformed)
    try:
        written = generate_log(out, events, users, days, _time_ms(start), seed, shares)
    except (OSError, ValueError) as error:
        fail(str(error))
    console.print(f"{out}: {written}")


def fail(message: str) -> NoReturn:
    """Print what was wrong and end the command with status 1."""
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)
    raise typer.Exit(1)


def _mode() -> str:
    fault = thread_mode_fault()
    if fault is None:
        return "thread"
    console.print(f"warning: {fault}. Running in process mode, which is about ten times slower.")
    return "process"


def _dedupe(horizon: str, window: str) -> Dedupe:
    horizon_ms = parse_duration(horizon)
    if horizon_ms > parse_duration(window):
        raise ValueError(f"--dedupe {horizon}: longer than the window of {window}")
    return Dedupe(horizon_ms // 1000, 1_000)


def _time_ms(text: str) -> int:
    """Epoch ms of `text`: digits are that already, else ISO 8601, in UTC where it has no zone."""
    try:
        at = datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else None
        at = at or datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is neither ISO 8601 (2026-01-31T12:00) nor epoch ms") from None
    if not 2000 <= at.year < 2100:
        raise ValueError(f"{text!r} is the year {at.year}: a time from 2000 to 2099 is expected")
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _opening(events: Path, survey: Survey, end_ms: int) -> str:
    megabytes = os.path.getsize(events) / 1e6
    span = f"{iso_time(survey.first_ms)} to {iso_time(survey.last_ms)}"
    return (
        f"{events}: {survey.lines:,} lines ({megabytes:.1f} MB), {survey.events:,} events, {span}\n"
        f"event time ends {iso_time(end_ms)}; starting the mini cluster ..."
    )


def _run_with_progress(request: RunRequest, survey: Survey) -> RunTotals:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("segmenting", total=survey.lines)
        # Flink counts the one rule set that TrackMembership reads as a record too.
        return run_log(
            request, survey, lambda read: bar.update(task, completed=min(read, survey.lines))
        )


def _report(totals: RunTotals, seconds: float, request: RunRequest) -> None:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(totals.rejected.items()))
    console.print(
        f"{totals.read:,} read = {totals.accepted:,} accepted + {totals.late:,} late"
        f" + {totals.duplicate:,} duplicate + {totals.rejects:,} rejected"
        + (f" ({reasons})" if reasons else "")
    )
    console.print(
        f"{totals.changes:,} changes, {totals.publications:,} writes to the store,"
        f" {seconds:.1f} s with the start of the cluster"
    )
    console.print(f"store: {request.store}   changes: {request.changes}")
