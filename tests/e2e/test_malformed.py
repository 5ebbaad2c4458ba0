"""Every malformed kind through the real job: each a reject with its reason, none stops it."""

import base64
import json
from importlib import resources

import pytest

from tests.e2e.comparison import run_log, segstream

pytestmark = pytest.mark.e2e

RULESET = json.loads(resources.files("segstream").joinpath("used_cars.json").read_bytes())
START_MS = 1_767_600_000_000


def event(**fields):
    whole = {
        "event_id": "e1",
        "user_id": "u1",
        "type": "view",
        "occurred_at": START_MS,
        "attributes": {"fuel_type": "EV"},
        **fields,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


MALFORMED = [
    (b"GET / HTTP/1.1", "not_json", ""),
    (event()[:-9], "not_json", ""),
    (b"", "not_json", ""),
    (b"[" * 50_000, "wrong_type", ""),
    (b'{"a":' * 10_000, "not_json", ""),
    (b"\xff\xfe" + event(), "not_utf8", ""),
    (event().replace(b"view", b"vi\xe9w"), "not_utf8", ""),
    (event(note="x" * 10_000_000), "too_large", ""),
    (b"[1, 2]", "wrong_type", ""),
    (event(occurred_at="soon"), "wrong_type", "occurred_at"),
    (event(attributes=[1]), "wrong_type", "attributes"),
    (event(attributes={"fuel_type": {"a": 1}}), "wrong_type", "attributes[...]"),
    (event(user_id=...), "missing_field", "user_id"),
    (event(event_id=...), "missing_field", "event_id"),
    (event(user_id=""), "out_of_bounds", "user_id"),
    (event(user_id=7), "wrong_type", "user_id"),
    (event(schema_version=99), "schema_version", "schema_version"),
    (event(schema_version="two", user_id=7), "schema_version", "schema_version"),
    (event(occurred_at=-5), "time_absurd", "occurred_at"),
    (event(occurred_at=1_767_600_000), "time_absurd", "occurred_at"),
    (event(occurred_at=253_402_300_800_000), "time_future", "occurred_at"),
    (event(occurred_at=10**30), "time_future", "occurred_at"),
    (b'{"attributes":{"a":' + b"[" * 30_000, "wrong_type", "attributes[...][0]"),
    (event(attributes={"price": 10**400}), "attribute_value", "attributes.price"),
    (event(attributes={"price": "cheap"}), "attribute_value", "attributes.price"),
]


def test_each_is_a_reject_and_the_rest_is_counted(tmp_path):
    log = tmp_path / "events.jsonl"
    lines = []
    for number, (line, _, _) in enumerate(MALFORMED):
        good = event(event_id=f"good{number}", occurred_at=START_MS + number * 60_000)
        lines += [good + b"\r" if number % 2 else good, line]
    log.write_bytes(b"\n".join([*lines, event(event_id="good0")]) + b"\n")

    result = run_log(tmp_path, log, RULESET)

    rejects = sorted(result.lines("rejects.jsonl"), key=lambda reject: reject["offset"])
    found = [(r["offset"], r["reason"], r["field"]) for r in rejects]
    assert found == [(2 * n + 2, reason, field) for n, (_, reason, field) in enumerate(MALFORMED)]
    for reject, (line, _, _) in zip(rejects, MALFORMED, strict=True):
        assert reject["payload_bytes"] == len(line)
        assert base64.b64decode(reject["payload_base64"]) == line[:2_048]
    said = " ".join(result.output.split())
    kinds = len(MALFORMED)
    assert f"{2 * kinds + 1} read = {kinds} accepted + 0 late + 1 duplicate" in said
    stored = result.stored()["u1"]["segments"]
    assert [(s["segment"], s["matching"]) for s in stored] == [("fuel_type=electric", 5)]


def test_a_failed_run_leaves_the_last_results_as_they_were(tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_bytes(b"".join(event(event_id=f"e{n}") + b"\n" for n in range(6)))
    before = run_log(tmp_path, log, RULESET)
    stored, changes = before.stored(), before.lines("changes.jsonl")
    assert changes
    said = segstream(
        *("run", "--events", log, "--ruleset", tmp_path / "ruleset.json"),
        *("--store", f"sqlite:///{tmp_path / 'segments.db'}", "--changes", tmp_path),
        fails=True,
    )
    assert "is a folder: name a file" in said
    assert before.stored() == stored
    assert before.lines("changes.jsonl") == changes
    assert not list(tmp_path.glob(".segstream-run-*"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--events", "absent.jsonl"), "No such file"),
        (("--store", "postgres://x"), "write sqlite:///PATH"),
        (("--map", "ts=when"), "'when' is no event field"),
        (("--map", "user_id=session_id"), "none of 1 lines is an event"),
        (("--until", "tomorrow"), "neither ISO 8601"),
        (("--dedupe", "30d"), "longer than the window"),
    ],
)
def test_bad_arguments_are_told_plainly(tmp_path, options, expected):
    (tmp_path / "events.jsonl").write_bytes(event() + b"\n")
    (tmp_path / "ruleset.json").write_text(json.dumps(RULESET))
    usual = {
        "--events": tmp_path / "events.jsonl",
        "--ruleset": tmp_path / "ruleset.json",
        "--store": f"sqlite:///{tmp_path / 'segments.db'}",
        "--changes": tmp_path / "changes.jsonl",
        options[0]: options[1],
    }
    said = segstream("run", *(part for pair in usual.items() for part in pair), fails=True)
    assert expected in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "segments.db").exists()
