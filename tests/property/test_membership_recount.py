"""The core against the naive recount, over any replayed, disordered and expiring input."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from schemas.rulesets import BooleanAttribute, CategoryAttribute, RuleSet, ShareRule
from schemas.state import decode_profile, encode_profile
from tests.recount import Recount
from udfs.dedupe import Dedupe
from udfs.membership import Limits, Tracking, is_empty, track_event, track_time
from udfs.rules import RulePlan

pytestmark = pytest.mark.property

BASE_MS = 1_700_000_000_000
FUELS = ["electric", "EV ", "diesel", "petrol", "Hybrid"]


@st.composite
def rulesets(draw):
    rules = []
    for index in range(draw(st.integers(1, 3))):
        enter = draw(st.sampled_from([0.3, 0.5, 0.6, 1.0]))
        rules.append(
            ShareRule(
                id=f"r{index}",
                for_each=draw(st.sampled_from(["fuel", "sporty", "body"])),
                event_types=draw(st.sampled_from([("view",), ("click",), ("view", "click")])),
                enter=enter,
                leave=draw(st.sampled_from([0.2, 0.3, enter])) if enter > 0.3 else 0.3,
                min_views=draw(st.integers(1, 4)),
            )
        )
    window, pane = draw(st.sampled_from([("10s", "1s"), ("1m", "15s"), ("1m", "1m"), ("4h", "1h")]))
    return RuleSet(
        version=1,
        window=window,
        pane=pane,
        attributes={
            "fuel": CategoryAttribute({"ev": "electric"}),
            "body": CategoryAttribute(),
            "sporty": BooleanAttribute(),
        },
        rules=tuple(rules),
    )


@st.composite
def logs(draw):
    """Steps in milliseconds that go back as well as on, ids that repeat, attributes of any kind."""
    scale = draw(st.sampled_from([500, 20_000, 3_600_000]))
    clock = BASE_MS
    events = []
    for _ in range(draw(st.integers(1, 40))):
        clock = max(BASE_MS - 10_000, clock + draw(st.integers(-2 * scale, 4 * scale)))
        attributes = {}
        if draw(st.booleans()):
            attributes["fuel"] = draw(st.sampled_from(FUELS))
        if draw(st.booleans()):
            attributes["sporty"] = draw(st.sampled_from([True, False, "TRUE", None]))
        if draw(st.booleans()):
            attributes["body"] = draw(st.lists(st.sampled_from(["suv", "Suv", "van", " "])))
        events.append(
            Event(
                event_id=f"e{draw(st.integers(0, 30))}",
                user_id=draw(st.sampled_from(["u1", "u2"])),
                type=draw(st.sampled_from(["view", "view", "click", "search"])),
                occurred_at=clock,
                attributes=attributes,
            )
        )
    return events


@settings(max_examples=400, deadline=None)
@given(
    ruleset=rulesets(),
    events=logs(),
    horizon_s=st.sampled_from([2, 60, 86_400]),
    ids_max=st.sampled_from([2, 1000]),
    values_max=st.sampled_from([2, 200]),
    timer_every=st.integers(0, 3),
    store_is_new=st.booleans(),
)
def test_core_equals_recount(  # noqa: C901
    ruleset, events, horizon_s, ids_max, values_max, timer_every, store_is_new
):
    plan = RulePlan(ruleset)
    tracking = Tracking(plan, Limits(Dedupe(horizon_s, ids_max), values_max), 7, store_is_new)
    recount = Recount(ruleset, horizon_s * 1000, ids_max, values_max, store_is_new)
    kept: dict[str, bytes] = {}
    wakes: dict[str, int] = {}
    stored: dict[str, dict] = {}
    changes: list[tuple] = []
    verdicts = {"counted": "accepted", "late": "late", "duplicate": "duplicate"}

    def take(user_id, outcome):
        if is_empty(outcome.profile):
            kept.pop(user_id, None)
        elif outcome.dirty:
            kept[user_id] = encode_profile(outcome.profile)
        wakes.pop(user_id, None)
        if outcome.wake_at is not None:
            wakes[user_id] = outcome.wake_at
        if outcome.publication is not None:
            current = outcome.publication.current
            stored[user_id] = {
                s.segment: (s.score, s.since, s.valid_until) for s in current.segments
            }
            changes.extend(
                (c.user_id, c.segment, c.change, c.at) for c in outcome.publication.changes
            )
            versions.setdefault(user_id, []).extend(c.version for c in outcome.publication.changes)

    versions: dict[str, list[int]] = {}
    for number, event in enumerate(events):
        profile = kept.get(event.user_id)
        profile = None if profile is None else decode_profile(profile)
        if timer_every and number % timer_every == 0 and profile is not None:
            # A timer fires once the watermark has passed it, and no event of this input comes
            # later than the watermark.
            wake = wakes.get(event.user_id)
            ahead = [
                later.occurred_at for later in events[number:] if later.user_id == event.user_id
            ]
            if wake is not None and wake <= min(ahead):
                take(event.user_id, track_time(event.user_id, profile, wake, tracking))
                profile = kept.get(event.user_id)
                profile = None if profile is None else decode_profile(profile)
        outcome = track_event(profile, event, plan.cells_of(event), tracking)
        assert verdicts[outcome.verdict] == recount.event(event), (number, event)
        take(event.user_id, outcome)
    end = max(event.occurred_at for event in events) + 20_000
    for user_id in list(kept):
        while user_id in wakes and wakes[user_id] <= end:
            take(
                user_id,
                track_time(user_id, decode_profile(kept[user_id]), wakes[user_id], tracking),
            )
    recount.finish(end)

    assert sorted(changes) == sorted(recount.changes)
    assert stored == {user_id: user.stored for user_id, user in recount.users.items() if user.known}
    for user_id, numbers in versions.items():
        assert numbers == list(range(1, len(numbers) + 1)), user_id
    for user_id, value in kept.items():
        user, profile = recount.users[user_id], decode_profile(value)
        tallies = plan.evidence(profile)
        for segment, (matching, views) in recount.shares(user.counted).items():
            rule, value_name = plan.segment(segment)[:2]
            assert (tallies[rule][value_name], tallies[rule][None]) == (matching, views)
