"""The demo as a newcomer runs it, and what its files then answer."""

import json

import pytest

from tests.e2e.comparison import segstream

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, segstream("demo", "--events", 5_000, "--folder", folder)


def test_it_ends_with_a_lookup_over_http(demo):
    folder, said = demo
    user, segment = said.split("$ segstream explain ")[1].split()[:2]
    answer = said[said.index("{\n") : said.rindex("}\n") + 1]
    served = json.loads(answer)
    assert served["user_id"] == user
    assert served["stale"] is False
    assert segment in [one["segment"] for one in served["segments"]]
    looked_up = segstream("lookup", user, "--store", f"sqlite:///{folder / 'segments.db'}")
    assert json.loads(looked_up) == served


def test_sizes_count_the_members_that_the_changes_leave(demo):
    folder, _ = demo
    members = set()
    for line in (folder / "changes.jsonl").read_text().splitlines():
        change = json.loads(line)
        member = (change["segment"], change["user_id"])
        (members.add if change["change"] == "enter" else members.discard)(member)
    expected = {}
    for segment, _ in members:
        expected[segment] = expected.get(segment, 0) + 1
    said = segstream("sizes", "--json", "--store", f"sqlite:///{folder / 'segments.db'}")
    assert json.loads(said) == expected


def test_explain_tells_the_numbers_behind_a_membership_and_a_leave(demo):
    folder, _ = demo
    store = f"sqlite:///{folder / 'segments.db'}"
    changes = [json.loads(line) for line in (folder / "changes.jsonl").read_text().splitlines()]
    left = next(c for c in reversed(changes) if c["change"] == "leave")
    found = json.loads(
        segstream("explain", left["user_id"], left["segment"], "--json", "--store", store)
    )
    assert found["changes"][-1]["at"] >= left["at"]
    assert found["rule"]["id"] == left["segment"].split("=")[0]
    assert found["window"] == "10d"
    numbers = (found["score"], found["matching"], found["views"])
    if not found["member"]:
        last = found["changes"][-1]
        assert numbers == (last["score"], last["matching"], last["views"])
    said = segstream("explain", "nobody", "fuel_type=electric", "--store", store)
    assert "nobody is not in fuel_type=electric" in said
