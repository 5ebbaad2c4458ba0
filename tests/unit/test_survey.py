"""One look through a log before it is run."""

import gzip
import json

import pytest

from jobs.log_lines import LogError
from jobs.survey import Survey, survey_log
from schemas.mapping import parse_mapping
from udfs.intake import Intake

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000


def event_line(number=0, **fields):
    event = {"event_id": f"e{number}", "user_id": "u1", "type": "view", "occurred_at": NOW_MS}
    return json.dumps({**event, **fields}).encode()


INTAKE = Intake()


def survey(path, now_ms=NOW_MS, intake=INTAKE):
    return survey_log(path, intake, now_ms)


def log(tmp_path, *lines, name="log.jsonl", end=b"\n"):
    path = tmp_path / name
    content = b"\n".join(lines) + (end if lines else b"")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_events_and_times_are_counted(tmp_path, name, end):
    lines = (
        event_line(1, occurred_at=NOW_MS - 5_000),
        b"GET /adverts/7",
        event_line(2, occurred_at=NOW_MS - 90_000),
        b"",
        event_line(3, occurred_at=17),
        event_line(4, occurred_at=NOW_MS + 400_000),
        event_line(5, occurred_at=NOW_MS - 1_000),
    )
    path = log(tmp_path, *lines, name=name, end=end)
    assert survey(path) == Survey(7, 3, NOW_MS - 90_000, NOW_MS - 1_000)


def test_a_carriage_return_is_part_of_the_line_and_harmless(tmp_path):
    assert survey(log(tmp_path, event_line(1) + b"\r", event_line(2) + b"\r")).events == 2


def test_now_decides_what_is_in_the_future(tmp_path):
    path = log(tmp_path, event_line(1), event_line(2, occurred_at=NOW_MS + 400_000))
    assert survey(path).events == 1
    assert survey(path, now_ms=NOW_MS + 400_000).events == 2


def test_a_log_with_other_names_is_read_through_its_mapping(tmp_path):
    record = b'{"event_id":"e1","user_id":"u1","ts":1770000000000}'
    path = log(tmp_path, record)
    mapping = parse_mapping("ts=occurred_at", ["type=view"])
    assert survey(path, intake=Intake(mapping=mapping)).events == 1


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_empty_file_is_refused(tmp_path, name):
    with pytest.raises(LogError, match="the file is empty"):
        survey(log(tmp_path, name=name))


def test_a_file_named_gz_that_is_not_gzip_is_refused(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(event_line())
    with pytest.raises(LogError, match=r"the content is not gzip: name gzip files \.gz"):
        survey(path)


def test_a_gzip_file_of_another_name_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress(event_line()))
    with pytest.raises(LogError, match=r"the content is gzip: name gzip files \.gz"):
        survey(path)


@pytest.mark.parametrize("damage", [slice(None, -9), slice(None, 40)])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    path = log(tmp_path, *(event_line(n) for n in range(200)), name="log.gz")
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(LogError, match=r"log\.gz"):
        survey(path)


def test_bytes_changed_inside_a_gzip_file_are_noticed(tmp_path):
    path = log(tmp_path, *(event_line(n) for n in range(200)), name="log.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(LogError, match=r"log\.gz"):
        survey(path)


def test_no_such_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(LogError, match="No such file"):
        survey(tmp_path / "nothing.jsonl")
    with pytest.raises(LogError, match="directory"):
        survey(tmp_path)


def test_a_log_without_an_event_tells_the_commonest_faults_and_what_to_do(tmp_path):
    foreign = b'{"event_id":"e1","user_id":"u1","ts":1770000000000,"type":"view"}'
    path = log(tmp_path, *[foreign] * 5, *[b"[]"] * 3, *[b"{}"] * 2, *[b"\xff"])
    with pytest.raises(LogError) as refused:
        survey(path)
    said = str(refused.value)
    assert "none of 11 lines is an event" in said
    assert "5 x missing_field occurred_at: Object missing required field `occurred_at`" in said
    assert "3 x wrong_type: Expected `object`, got `array`" in said
    assert "2 x missing_field event_id" in said
    assert "not_utf8" not in said, "only the three commonest"
    assert "--map" in said
    assert "--default" in said
