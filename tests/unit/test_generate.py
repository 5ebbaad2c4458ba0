"""The seeded log: the same bytes for the same seed, and the shares that were asked for."""

import gzip
import json
from collections import Counter
from importlib import resources

import pytest

from jobs.generate import ARRIVAL_DELAY_MS_MAX, MALFORMED, Shares, generate_log
from jobs.survey import survey_log
from schemas.durations import DAY_MS
from schemas.events import Event
from schemas.rulesets import parse_ruleset
from udfs.intake import Intake, NoEvent, count_cells, read_event, time_fault
from udfs.rules import RulePlan

pytestmark = pytest.mark.unit

START_MS = 1_770_000_000_000
DAYS = 30
NOW_MS = START_MS + (DAYS + 2) * DAY_MS
SHARES = Shares(duplicates=0.02, disorder=0.1, late=0.01, malformed=0.03)
PLAIN = Shares(0, 0, 0, 0)
PLAN = RulePlan(parse_ruleset(resources.files("segstream").joinpath("used_cars.json").read_bytes()))


def generate(path, lines=3_000, seed=7, shares=SHARES):
    said = generate_log(path, lines, 50, DAYS, START_MS, seed, shares)
    return path, said


def outcome(line):
    """The event of a line, or why it is none."""
    event = read_event(line, Intake())
    if isinstance(event, NoEvent):
        return event
    return time_fault(event.occurred_at, NOW_MS, Intake()) or event


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path, _ = generate(tmp_path_factory.mktemp("log") / "log.jsonl")
    return path.read_bytes().split(b"\n")[:-1]


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, name):
    first, _ = generate(tmp_path / name, 500)
    (tmp_path / "again").mkdir()
    again, _ = generate(tmp_path / "again" / name, 500)
    other, _ = generate(tmp_path / f"other-{name}", 500, seed=8)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_a_zipped_log_names_no_file_and_no_time(tmp_path):
    path, _ = generate(tmp_path / "log.jsonl.gz", 10)
    assert path.read_bytes()[3:8] == bytes(5)


def test_a_zipped_log_holds_the_same_lines(tmp_path):
    plain, _ = generate(tmp_path / "log.jsonl", 500)
    zipped, _ = generate(tmp_path / "log.jsonl.gz", 500)
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()


@pytest.mark.parametrize("count", [1, 2, 99, 1_000])
def test_there_are_exactly_as_many_lines_as_asked_for(tmp_path, count):
    path, said = generate(tmp_path / "log.jsonl", count)
    assert path.read_bytes().count(b"\n") == count
    assert said.startswith(f"{count:,} lines: ")
    assert survey_log(path, Intake(), NOW_MS).lines == count


def test_the_shares_are_as_stated(lines):
    outcomes = [outcome(line) for line in lines]
    events = [found for found in outcomes if isinstance(found, Event)]
    ids = Counter(event.event_id for event in events)
    assert len(lines) - len(events) == 90, "malformed"
    assert sum(name.startswith("late") for name in ids) == 30
    assert sum(ids.values()) - len(ids) == 60, "duplicates"
    # Plain events are numbered in the order they were made; a share of them arrives later.
    plain = [e for e in events if not e.event_id.startswith("late")]
    newest, behind = 0, 0
    for event in plain:
        behind += event.occurred_at < newest
        newest = max(newest, event.occurred_at)
    assert behind > 0


def test_what_is_said_is_what_was_written(tmp_path):
    _, said = generate(tmp_path / "log.jsonl", 2_000)
    assert "1,880 events of 50 users over 30 days" in said
    assert "40 duplicates, 20 late, 60 malformed" in said
    delayed = int(said.split("(")[1].split(" ")[0])
    assert 120 < delayed < 260, "a tenth of 1,880, by chance"


def test_nothing_but_the_late_comes_later_than_the_disorder_bound(lines):
    newest = 0
    for line in lines:
        event = outcome(line)
        if isinstance(event, Event) and not event.event_id.startswith("late"):
            assert event.occurred_at >= newest - 2 * ARRIVAL_DELAY_MS_MAX
            newest = max(newest, event.occurred_at)


def test_a_late_event_follows_a_much_newer_one_of_its_user(lines):
    newest, late = {}, 0
    for line in lines:
        event = outcome(line)
        if isinstance(event, Event):
            if event.event_id.startswith("late"):
                late += 1
                assert newest[event.user_id] - event.occurred_at >= 11 * DAY_MS
            newest[event.user_id] = max(newest.get(event.user_id, 0), event.occurred_at)
    assert late == 30


def test_a_duplicate_is_the_same_line_again_and_not_before_the_first(lines):
    events = [line for line in lines if isinstance(outcome(line), Event)]
    assert len(events) - len(set(events)) == 60


def test_every_event_fits_the_sample_rule_set(lines):
    events = [found for found in map(outcome, lines) if isinstance(found, Event)]
    assert not [e for e in events if isinstance(count_cells(e, PLAN), NoEvent)]
    assert {event.type for event in events} == {"view", "search", "click"}
    assert {str(e.attributes.get("fuel_type")) for e in events} >= {"EV", "electric ", "Electric"}


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_every_kind_of_malformed_line_is_a_reject(number):
    event = Event(
        event_id="e1",
        user_id="u1",
        type="view",
        occurred_at=START_MS,
        attributes={"fuel_type": "EV"},
    )
    line = MALFORMED[number](event)
    assert b"\n" not in line
    assert isinstance(outcome(line), NoEvent)


def test_a_log_of_plain_events_is_in_order_and_whole(tmp_path):
    path, _ = generate(tmp_path / "log.jsonl", 500, shares=PLAIN)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    times = [record["occurred_at"] for record in records]
    assert times == sorted(times)
    assert len({record["event_id"] for record in records}) == 500
    assert times[0] >= START_MS
    assert times[-1] < NOW_MS


def test_shares_without_room_for_events_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="add up to all of them"):
        generate(tmp_path / "log.jsonl", 100, shares=Shares(0.5, 0, 0.3, 0.2))
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_put_in_place_whole_and_its_folder_is_made(tmp_path):
    path, _ = generate(tmp_path / "new" / "log.jsonl", 50)
    path.write_text("an earlier log")
    generate(path, 50)
    assert path.read_bytes().count(b"\n") == 50
    assert [p.name for p in path.parent.iterdir()] == ["log.jsonl"]
