"""TrackMembership's decisions, by example."""

import msgspec
import pytest

from schemas.rulesets import ShareRule
from tests.unit.following import ELECTRIC, HOUR, MINUTE, RULE, START, Follower, plan
from udfs.membership import COUNTED, DUPLICATE, LATE

pytestmark = pytest.mark.unit

DIESEL = "fuel=diesel"


def entered(at=0, **options):
    """A user who has just entered by three electric views of three, seconds after `at`."""
    user = Follower(**options)
    user.views(at, "electric", "EV", "Electric ")
    assert user.told[-1][:2] == ("enter", ELECTRIC)
    return user


def test_a_user_enters_with_the_view_that_makes_enough_of_them():
    user = Follower()
    assert user.view(0, "electric").publication is None
    assert user.view(1_000, "EV").publication is None
    outcome = user.view(2_000, "Electric ")
    assert outcome.verdict == COUNTED
    (change,) = outcome.publication.changes
    assert (change.change, change.segment, change.at) == ("enter", ELECTRIC, START + 2_000)
    assert (change.score, change.matching, change.views) == (1.0, 3, 3)
    assert (change.version, change.ruleset_version) == (1, 1)
    current = outcome.publication.current
    assert (current.version, current.as_of) == (1, START + 2_000)
    (stored,) = current.segments
    assert (stored.segment, stored.since, stored.score) == (ELECTRIC, START + 2_000, 1.0)


def test_a_share_of_exactly_enter_is_enough_and_a_view_without_the_attribute_counts():
    user = Follower()
    for at, fuels in enumerate([("electric",), (), (), ("electric",)]):
        outcome = user.view(at * 1_000, *fuels)
    (change,) = outcome.publication.changes
    assert (change.segment, change.matching, change.views) == (ELECTRIC, 2, 4)


def test_a_view_of_several_values_counts_once_for_each():
    user = Follower()
    for at in range(3):
        user.view(at, "electric", "EV", "diesel")
    assert user.told == [("enter", DIESEL, 2), ("enter", ELECTRIC, 2)]
    assert [(c.matching, c.views, c.version) for c in user.changes] == [(3, 3, 1), (3, 3, 2)]


def test_between_leave_and_enter_a_user_stays_where_they_are():
    user = entered()
    user.views(10_000, "a", "b", "c", "d")
    assert user.segments == [ELECTRIC], "3 of 7 is below enter but not below leave"
    user.view(20_000, "e")
    assert user.told[1:] == [("leave", ELECTRIC, 20_000)]
    assert (user.changes[-1].matching, user.changes[-1].views) == (3, 8)
    user.view(21_000, "electric")
    assert user.segments == [], "4 of 9 is above leave but not enough to enter again"
    user.view(22_000, "electric")
    assert user.told[2:] == [("enter", ELECTRIC, 22_000)]
    assert [c.version for c in user.changes] == [1, 2, 3]


def test_a_share_of_exactly_leave_is_enough_to_stay():
    user = entered()
    user.views(10_000, "electric", "a", "b", "c", "d", "e", "f")
    assert user.segments == [ELECTRIC], "4 of 10"
    user.view(20_000, "g")
    assert user.segments == []


def test_an_event_of_another_type_counts_for_nothing():
    user = entered()
    outcome = user.view(5_000, "diesel", kind="search")
    assert (outcome.verdict, outcome.publication) == (COUNTED, None)
    assert user.profile.clock_ms == START + 5_000
    assert user.profile.totals == [3, 3]


def test_a_timer_ends_a_membership_at_the_boundary():
    user = entered(59 * MINUTE)
    assert user.view(2 * HOUR, kind="search").wake_at == START + 10 * HOUR
    outcome = user.time(10 * HOUR)
    assert user.told[1:] == [("leave", ELECTRIC, 10 * HOUR)]
    assert (user.changes[-1].score, user.changes[-1].views) == (0.0, 0)
    assert outcome.verdict == ""
    assert (outcome.publication.current.segments, outcome.publication.current.version) == ((), 2)
    assert outcome.publication.current.as_of == START + 10 * HOUR


@pytest.mark.parametrize("late_by", [0, 1, 5 * MINUTE, 3 * HOUR, 30 * HOUR])
def test_the_boundary_is_told_even_when_the_next_event_discovers_it(late_by):
    by_timer, by_event = entered(), entered()
    by_timer.time(10 * HOUR)
    by_timer.view(10 * HOUR + late_by, "diesel")
    by_event.view(10 * HOUR + late_by, "diesel")
    assert by_event.told == by_timer.told
    assert by_event.told[1:] == [("leave", ELECTRIC, 10 * HOUR)]
    assert by_event.profile == by_timer.profile


def test_just_before_the_boundary_nothing_happens():
    user = entered()
    assert user.time(10 * HOUR - 1).publication is None
    assert user.segments == [ELECTRIC]
    assert user.time(10 * HOUR).publication is not None


@pytest.mark.parametrize("by_timer", [True, False], ids=["timer", "event"])
def test_several_boundaries_are_settled_one_by_one_in_order(by_timer):
    user = Follower()
    user.views(0, *["electric"] * 4)
    user.views(2 * HOUR, *["diesel"] * 3)
    assert user.told == [("enter", ELECTRIC, 2_000)]
    outcome = user.time(40 * HOUR) if by_timer else user.view(40 * HOUR, kind="search")
    assert user.told[1:] == [
        ("leave", ELECTRIC, 10 * HOUR),
        ("enter", DIESEL, 10 * HOUR),
        ("leave", DIESEL, 12 * HOUR),
    ]
    assert [(c.matching, c.views, c.version) for c in user.changes[1:]] == [
        (0, 3, 2),
        (3, 3, 3),
        (0, 0, 4),
    ]
    assert outcome.publication.current.as_of == START + 12 * HOUR
    assert outcome.publication.current.segments == ()


def test_an_event_older_than_the_window_is_late_and_changes_nothing():
    user = entered()
    user.view(10 * HOUR, "diesel")
    before = user.kept
    outcome = user.view(HOUR - 1, "electric")
    assert (outcome.verdict, outcome.publication, outcome.dirty) == (LATE, None, False)
    assert user.kept == before
    assert outcome.wake_at == START + 20 * HOUR, "and it is still looked at when that pane leaves"


def test_an_event_in_the_oldest_pane_of_the_window_counts():
    user = entered()
    user.view(10 * HOUR, "diesel")
    assert user.view(HOUR, "electric").verdict == COUNTED
    assert user.profile.oldest_pane == START // HOUR + 1


def test_the_clock_goes_on_by_boundaries_too():
    user = entered()
    user.time(30 * HOUR)
    assert user.profile.clock_ms == START + 10 * HOUR, "the boundary evaluated, not the timer's"
    assert user.view(HOUR - 1, "electric").verdict == LATE
    assert user.view(HOUR, "electric").verdict == COUNTED


def test_the_first_event_of_a_user_is_never_late():
    assert Follower().view(-500 * HOUR, "electric").verdict == COUNTED


def test_an_event_out_of_order_counts_and_is_decided_at_the_users_clock():
    user = Follower()
    user.views(3 * HOUR, "electric", "electric")
    user.view(2 * HOUR, "electric")
    assert user.told == [("enter", ELECTRIC, 3 * HOUR + 1_000)]
    assert user.profile.clock_ms == START + 3 * HOUR + 1_000
    assert user.changes[0].matching == 3


def test_a_duplicate_is_dropped():
    user = entered()
    outcome = user.view(5_000, "electric", event_id="e1")
    assert (outcome.verdict, outcome.publication, outcome.dirty) == (DUPLICATE, None, False)
    assert user.profile.totals == [3, 3]
    assert user.profile.clock_ms == START + 2_000


def test_an_id_counts_again_after_the_horizon():
    user = Follower()
    user.view(0, "electric", event_id="e1")
    assert user.view(24 * HOUR - 1, event_id="e1").verdict == DUPLICATE
    assert user.view(24 * HOUR, event_id="e1").verdict == COUNTED


def test_a_score_is_refreshed_when_it_moves_by_a_twentieth():
    user = entered()
    assert user.views(10_000, *["electric"] * 16).publication is None, "19 of 19 is as before"
    outcome = user.view(30_000, "diesel")
    assert outcome.publication.changes == (), "19 of 20 is 0.05 less, and no change"
    assert outcome.publication.current.segments[0].score == 0.95
    assert outcome.publication.current.version == 1
    assert user.view(31_000, "diesel").publication is None, "19 of 21 is less than 0.05 away"
    assert user.view(32_000, "diesel").publication.current.segments[0].matching == 19
    assert len(user.changes) == 1


def test_otherwise_it_is_refreshed_once_a_pane():
    user = entered()
    user.views(10_000, *["electric"] * 37)
    assert user.view(50_000, "diesel").publication is None, "40 of 41, in the same pane"
    outcome = user.view(HOUR, "electric")
    assert outcome.publication.changes == ()
    assert outcome.publication.current.segments[0].score == 41 / 42
    assert user.view(HOUR + 1, "diesel").publication is None
    assert user.view(2 * HOUR, "electric").publication is not None


def test_a_set_that_does_not_differ_is_not_published_again():
    user = entered()
    assert user.view(HOUR, kind="search").publication is None
    assert user.view(HOUR + 1, "electric").publication is None, "looked at once in this pane"
    assert user.view(2 * HOUR, "electric").publication is None, "two will not outlive the three"
    assert user.view(3 * HOUR, "electric").publication is not None, "three will"


def test_nobody_without_a_segment_is_published():
    user = Follower()
    assert user.view(0, "electric").publication is None
    assert user.view(HOUR, "diesel").publication is None


def test_valid_until_is_the_boundary_at_which_too_little_is_left():
    user = Follower()
    (stored,) = user.views(0, *["electric"] * 3).publication.current.segments
    assert stored.valid_until == START + 10 * HOUR
    user.view(2 * HOUR, "electric")
    user.views(3 * HOUR, "diesel", "electric")
    (stored,) = user.view(4 * HOUR, "electric").publication.current.segments
    assert stored.valid_until == START + 13 * HOUR, "3 of 4 are left, then 2 of 3, then one"
    user.time(stored.valid_until - START - 1)
    assert user.segments == [ELECTRIC]
    user.time(stored.valid_until - START)
    assert user.told[1:] == [("leave", ELECTRIC, 13 * HOUR)]


@pytest.mark.parametrize("touch", ["event", "duplicate", "late", "timer"])
def test_the_first_touch_in_a_new_run_publishes_the_whole_set_again(touch):
    user = entered(9 * HOUR)
    user.next_run()
    touches = {
        "event": lambda: user.view(9 * HOUR + 10_000, "electric"),
        "duplicate": lambda: user.view(9 * HOUR, "electric", event_id="e1"),
        "late": lambda: user.view(-HOUR, "electric"),
        "timer": lambda: user.time(9 * HOUR + 10_000),
    }
    outcome = touches[touch]()
    assert outcome.publication.changes == ()
    assert [s.segment for s in outcome.publication.current.segments] == [ELECTRIC]
    assert outcome.publication.current.version == 1
    assert outcome.dirty
    assert user.view(9 * HOUR + 20_000, "electric").publication is None, "but only the first"


def test_an_unknown_user_gets_an_empty_set_where_the_store_may_know_better():
    outcome = Follower(store_is_new=False).view(0, "electric")
    assert outcome.publication.current.segments == ()
    assert outcome.publication.current.version == 0
    assert outcome.publication.changes == ()
    assert Follower(store_is_new=True).view(0, "electric").publication is None


def test_a_rule_that_is_gone_ends_its_memberships_at_the_next_event():
    user = entered()
    other = ShareRule("petrol", "fuel", ("view",), enter=1.0, leave=1.0, min_views=3)
    user.next_run(plan(other, version=2))
    user.view(5_000, "electric")
    assert user.told[1:] == [("leave", ELECTRIC, 5_000), ("enter", "petrol=electric", 5_000)]
    assert [c.ruleset_version for c in user.changes] == [1, 2, 2]
    assert (user.changes[1].matching, user.changes[1].views) == (0, 0)


def test_stricter_rules_decide_at_the_next_event():
    user = entered()
    user.next_run(plan(ShareRule("fuel", "fuel", RULE.event_types, 0.5, 0.4, 5), version=2))
    user.view(5_000, "electric")
    assert user.told[1:] == [("leave", ELECTRIC, 5_000)]
    user.view(6_000, "electric")
    assert user.told[2:] == [("enter", ELECTRIC, 6_000)]


def test_a_new_value_counts_only_while_there_are_fewer_than_the_most():
    user = Follower(values_max=2)
    assert user.views(0, "electric", "diesel").saturated_values == 0
    outcome = user.view(2_000, "petrol")
    assert (outcome.verdict, outcome.saturated_values) == (COUNTED, 1)
    assert user.view(3_000, "electric", "petrol", "hybrid").saturated_values == 2
    assert user.told == [("enter", ELECTRIC, 3_000)]
    assert (user.changes[0].matching, user.changes[0].views) == (2, 4), "the views count all"


def test_room_is_made_when_a_value_leaves_the_window():
    user = Follower(values_max=2)
    user.view(0, "electric")
    user.view(HOUR, "diesel")
    assert user.view(2 * HOUR, "petrol").saturated_values == 1
    assert user.view(10 * HOUR, "petrol").saturated_values == 0


def test_an_id_forgotten_for_room_is_told_and_counts_again():
    user = Follower(ids_max=2)
    assert user.views(0, "electric", "electric").forgotten_ids == 0
    assert user.view(2_000, "electric").forgotten_ids == 1
    assert user.view(3_000, "electric", event_id="e3").verdict == DUPLICATE
    assert user.view(4_000, "electric", event_id="e1").verdict == COUNTED


def test_nothing_is_kept_of_a_user_who_never_changed_once_all_has_expired():
    user = Follower()
    assert user.view(0, "electric").wake_at == START + 10 * HOUR
    outcome = user.time(10 * HOUR)
    assert outcome.wake_at == START + 24 * HOUR, "the event id is remembered for longer"
    outcome = user.time(24 * HOUR)
    assert (user.kept, outcome.wake_at, outcome.publication) == (None, None, None)


def test_the_version_of_a_user_who_changed_is_kept_for_ever():
    user = entered()
    user.time(10 * HOUR)
    assert user.time(25 * HOUR).wake_at is None
    assert user.profile.version == 2
    user.views(900 * HOUR, *["electric"] * 3)
    assert [c.version for c in user.changes] == [1, 2, 3]


def test_a_set_is_published_again_when_somebody_asks_though_nothing_changed():
    user = Follower()
    user.views(0, "ev", "ev", "ev")
    before = user.segments
    outcome = user.republish()
    assert outcome.publication.changes == ()
    assert [s.segment for s in outcome.publication.current.segments] == before == [ELECTRIC]
    assert outcome.wake_at == user.tracking.plan.window.leaves_at(START // HOUR)


def test_a_set_asked_for_is_decided_by_the_rules_of_now():
    user = Follower()
    user.views(0, "ev", "ev", "ev")
    user.next_run(plan(msgspec.structs.replace(RULE, min_views=4)))
    outcome = user.republish()
    assert [c.change for c in outcome.publication.changes] == ["leave"]
    assert outcome.publication.current.segments == ()


def test_an_empty_set_is_published_for_a_user_who_is_asked_for_and_unknown():
    user = Follower(store_is_new=False)
    outcome = user.republish()
    assert outcome.publication.current.segments == ()
    assert (outcome.publication.current.version, outcome.wake_at) == (0, None)
    assert user.kept is None
