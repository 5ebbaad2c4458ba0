"""The commands that speak to Kafka: `produce`, `topics`, `rules` and `changes`."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jobs import kafka_admin, publish_rules
from jobs.commands import console, fail
from jobs.follow_changes import Unreadable, Wanted, line_of, read_change
from jobs.kafka_admin import Layout, TopicState
from jobs.kafka_clients import DEFAULT_BOOTSTRAP, BrokerError
from jobs.log_lines import LogLines
from jobs.produce import Delivery, Outgoing, Rewrite, outgoing, produce
from jobs.read_topic import Record, follow, read_to_end
from jobs.survey import survey_log
from schemas.errors import InvalidDocumentError
from schemas.mapping import parse_mapping
from schemas.rulesets import parse_ruleset
from schemas.topics import SEGMENT_CHANGES, TOPICS, VIEW_EVENTS, settings_of
from udfs.intake import Intake

app = typer.Typer()
topics_app = typer.Typer(help="The Kafka topics that the job needs.", no_args_is_help=True)
rules_app = typer.Typer(help="Rule sets on their way to the running job.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(rules_app, name="rules")

BootstrapOption = Annotated[
    str, typer.Option(help="Kafka's address: HOST:PORT, several with commas between.")
]


class TimeShift(StrEnum):
    """To where a log's times are moved."""

    NOW = "now"


class Start(StrEnum):
    """From where a topic is read."""

    BEGINNING = "beginning"
    END = "end"


@topics_app.command("create")
def create_topics(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic but rulesets.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="On how many brokers each is.")] = 1,
    fix: Annotated[bool, typer.Option("--fix", help="Set settings that are wrong.")] = False,
) -> None:
    """Create the topics that do not exist, and check the others. Nothing is ever deleted."""
    with _plain_errors():
        for name in kafka_admin.create_topics(bootstrap, partitions, replication):
            console.print(f"{name}: created")
        faults = kafka_admin.check_topics(bootstrap, Layout(partitions, replication))
        mended = kafka_admin.mend_topics(bootstrap, faults) if fix else []
        for fault in mended:
            console.print(f"{fault.topic} {fault.setting}: set to {fault.needed}")
        _report_faults([fault for fault in faults if fault not in mended])


@topics_app.command("check")
def check_topics(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    partitions: Annotated[int | None, typer.Option(min=1, help="At least so many.")] = None,
    replication: Annotated[int | None, typer.Option(min=1, help="At least so many.")] = None,
) -> None:
    """Compare the topics with what the job needs; status 1 where one is wrong."""
    with _plain_errors():
        _report_faults(kafka_admin.check_topics(bootstrap, Layout(partitions, replication)))


@topics_app.command("list")
def list_topics(bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP) -> None:
    """Print the job's topics as the broker has them."""
    with _plain_errors():
        states = kafka_admin.read_topics(bootstrap)
    for topic in TOPICS:
        typer.echo(f"{topic.name:16} {_described(states.get(topic.name))}")


@rules_app.command("publish")
def publish_ruleset(
    file: Annotated[Path, typer.Argument(help="The rule set, a JSON document.")],
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
) -> None:
    """Put a rule set on the topic `rulesets`; running jobs take it up from there."""
    with _plain_errors():
        try:
            ruleset = parse_ruleset(file.read_bytes())
        except InvalidDocumentError as error:
            fail(f"{file}: {error}")
        published = publish_rules.read_published(bootstrap)
        for one in published:
            if one.ruleset is None:
                console.print(f"warning: rulesets offset {one.offset}: {one.problem}", markup=False)
        if publish_rules.is_published(ruleset, published):
            console.print(f"version {ruleset.version} is already there, with the same content")
            return
        publish_rules.check_follows(ruleset, published)
        offset = publish_rules.publish(bootstrap, ruleset)
        console.print(f"version {ruleset.version} is published, at offset {offset}")


@app.command("produce")
def produce_log(
    events: Annotated[Path, typer.Option(help="The log: one JSON event a line, .gz too.")],
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="How many lines a second at most.")
    ] = None,
    map_: Annotated[
        str, typer.Option("--map", help="Foreign field names: ts=occurred_at,advert_id=item_id.")
    ] = "",
    default: Annotated[
        list[str] | None, typer.Option(help="For an absent field: type=view. May be repeated.")
    ] = None,
    topic: Annotated[str, typer.Option(help="Where the records go.")] = VIEW_EVENTS,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many lines.")] = None,
    time_shift: Annotated[
        TimeShift | None, typer.Option(help="Move all times so that the log's last event is now.")
    ] = None,
) -> None:
    """Send every line of a log as one record, keyed by user, faulty lines too.

    Bytes are unchanged, but that --map, --default and --time-shift write events anew.
    """
    with _plain_errors():
        intake = Intake(mapping=parse_mapping(map_, default or []))
        rewrite = Rewrite(intake.mapping)
        if time_shift is not None:
            now_ms = int(time.time() * 1000)
            shift_ms = now_ms - survey_log(events, intake, now_ms).last_ms
            rewrite = Rewrite(intake.mapping, shift_ms, now_ms)
        lines = LogLines(events)
        records = (outgoing(line, rewrite) for line in islice(lines, limit))
        delivery = _produce_with_progress(lines, records, bootstrap, topic, rate)
    _report_delivery(delivery)


@app.command("changes")
def show_changes(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    follow_: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    user: Annotated[str | None, typer.Option(help="Of this user only.")] = None,
    segment: Annotated[str | None, typer.Option(help="Of this segment only.")] = None,
    start: Annotated[
        Start, typer.Option("--from", help="From where the log is read.")
    ] = Start.BEGINNING,
    as_json: Annotated[bool, typer.Option("--json", help="As stored, one a line.")] = False,
) -> None:
    """Print the committed changes of the log of record."""
    if start is Start.END and not follow_:
        fail("--from end: there is nothing to print without --follow")
    wanted = Wanted(user, segment)
    with _plain_errors():
        try:
            records = (
                follow(bootstrap, SEGMENT_CHANGES, start.value)
                if follow_
                else read_to_end(bootstrap, SEGMENT_CHANGES)
            )
            _print_changes(records, wanted, as_json)
        except KeyboardInterrupt:
            if not follow_:
                raise


@contextmanager
def _plain_errors() -> Iterator[None]:
    """End the command with one message for what a user can have caused."""
    try:
        yield
    except (BrokerError, OSError, ValueError) as error:
        fail("\n".join([str(error), *getattr(error, "__notes__", [])]))


def _report_faults(faults: list[kafka_admin.TopicFault]) -> None:
    if faults:
        fail("\n".join(map(str, faults)))
    console.print("the topics are as the job needs them")


def _described(state: TopicState | None) -> str:
    if state is None:
        return "does not exist"
    topic = next(topic for topic in TOPICS if topic.name == state.name)
    needed = {setting.name for setting in settings_of(topic, state.replication)}
    settings = " ".join(f"{name}={state.settings[name]}" for name in sorted(needed))
    return f"partitions={state.partitions} replicas={state.replication} {settings}"


def _print_changes(records: Iterable[Record], wanted: Wanted, as_json: bool) -> None:
    for record in records:
        change = read_change(record)
        if isinstance(change, Unreadable):
            console.print(f"unreadable: {change}", markup=False)
        elif wanted.has(change):
            typer.echo(record.value if as_json else line_of(change))


def _produce_with_progress(
    lines: LogLines, records: Iterable[Outgoing], bootstrap: str, topic: str, rate: float | None
) -> Delivery:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar, _ctrl_c() as stop:
        task = bar.add_task("producing", total=max(lines.size_bytes, 1), told="")

        def watch(sent: int, acknowledged: int) -> None:
            told = f"{sent:,} sent, {acknowledged:,} acknowledged"
            bar.update(task, completed=lines.read_bytes, told=told)

        return produce(records, bootstrap, topic, rate, stop, watch)


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed. It is only noted the first time; the second one interrupts."""
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before: Any = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _report_delivery(delivery: Delivery) -> None:
    per_s = delivery.acknowledged / max(delivery.seconds, 1e-9)
    console.print(
        f"{delivery.sent:,} sent, {delivery.acknowledged:,} acknowledged,"
        f" {delivery.seconds:.1f} s ({per_s:,.0f} a second)"
    )
    if delivery.too_large:
        console.print(f"{delivery.too_large:,} lines are larger than a record may be: not sent")
    for told, count in delivery.failed.items():
        console.print(f"{count:,} not acknowledged: {told}", markup=False)
    if delivery.stopped:
        console.print(f"stopped after {delivery.sent + delivery.too_large:,} lines of the log")
    if not delivery.complete:
        raise typer.Exit(1)
