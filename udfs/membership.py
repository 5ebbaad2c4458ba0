"""TrackMembership's decisions: a user's profile and an event in, the next profile and effects out.

Nothing here reads a clock, a store or the engine. The profile given is consumed: it is the working
copy that the caller has just decoded, changed in place and handed back.
"""

from typing import Literal, NamedTuple

from schemas.changes import Change
from schemas.events import Event
from schemas.segments import Publication, Segment, UserSegments
from schemas.state import Membership, Profile
from udfs import dedupe, windows
from udfs.dedupe import Dedupe
from udfs.rules import CELL_SEPARATOR, VIEWS, Evidence, RulePlan, SegmentPlan, Tally

# A stored score is refreshed when it has moved this far. The small slack makes 0.60 against 0.55
# count as 0.05 although their difference in binary floating point is a little less.
SCORE_STEP = 0.05 - 1e-9

COUNTED = "counted"
DUPLICATE = "duplicate"
LATE = "late"


class Limits(NamedTuple):
    """What bounds the memory of one user."""

    dedupe: Dedupe
    values_max: int = 200


class Tracking(NamedTuple):
    """What one run of the job decides by.

    `run_id` names the run: a user's first touch in a run publishes the whole set even if it has
    not changed, because the store may hold what an earlier run wrote and a recovery took back.
    `store_is_new` says that there was none, so that a user nothing is known of needs no such row.
    """

    plan: RulePlan
    limits: Limits
    run_id: int
    store_is_new: bool = False


class Outcome(NamedTuple):
    """What one event or timer decided.

    `verdict` is what became of the event ("" for a timer or a command). `dirty` says whether the
    profile differs from the one given. `wake_at` is the event time, in epoch ms, at which the user
    must be looked at again although no event comes.
    """

    verdict: str
    profile: Profile
    dirty: bool
    wake_at: int | None = None
    publication: Publication | None = None
    saturated_values: int = 0
    forgotten_ids: int = 0


class _Run:
    """One call's work on one user: what changed so far and the last set that must be seen."""

    def __init__(self, user_id: str, profile: Profile, tracking: Tracking) -> None:
        self.user_id = user_id
        self.profile = profile
        self.plan = tracking.plan
        self.limits = tracking.limits
        self.changes: list[Change] = []
        self.published = False
        self.first_touch = profile.run_id != tracking.run_id
        profile.run_id = tracking.run_id

    def expire(self, until_ms: int) -> None:
        """Settle, one by one and in order, every boundary up to `until_ms` where a pane leaves."""
        profile, window = self.profile, self.plan.window
        while profile.oldest_pane >= 0:
            boundary_ms = window.leaves_at(profile.oldest_pane)
            if boundary_ms > until_ms:
                return
            windows.drop_oldest(profile)
            profile.clock_ms = max(profile.clock_ms, boundary_ms)
            self.settle(boundary_ms)

    def settle(self, at_ms: int, tallies: list[Tally] | None = None) -> None:
        """Decide every segment at `at_ms`, and whether the set must be published as it is there.

        Publishing is decided at each boundary and not once a call, so that the stored set does
        not depend on whether a timer or the user's next event discovers a boundary.
        """
        if tallies is None:
            tallies = self.plan.evidence(self.profile)
        changes_before = len(self.changes)
        moved = self._leave(tallies, at_ms)
        self._enter(tallies, at_ms)
        due = moved or self.first_touch or len(self.changes) > changes_before
        pane = self.plan.window.pane_of(self.profile.clock_ms)
        if due or (pane > self.profile.published_pane and self.profile.memberships):
            self._publish(tallies, pane, due)

    def settle_event(self, cells: list[str], at_ms: int) -> None:
        """Settle if one more event, counted in `cells`, can have changed anything.

        It can if the user is new to this run or this pane, if a rule has just got its fewest
        views, if a value that the event has is now enough to enter, or if a membership's share
        has fallen below `leave` or moved. Any other value's share has only become smaller.
        """
        profile, plan = self.profile, self.plan
        memberships = profile.memberships
        pane_passed = profile.clock_ms // plan.window.pane_ms > profile.published_pane
        if self.first_touch or (memberships and pane_passed):
            self.settle(at_ms)
        elif cells:
            tallies = plan.evidence(profile)
            if any([self._has_ended_or_moved(one, tallies) for one in memberships]) or any(
                [self._can_enter(cell, tallies) for cell in cells]
            ):
                self.settle(at_ms, tallies)

    def _has_ended_or_moved(self, membership: Membership, tallies: list[Tally]) -> bool:
        found = self.plan.segment(membership.segment)
        if found is None:
            return True
        tally = tallies[found.rule]
        views = tally[VIEWS]
        share = tally.get(found.value, 0) / views if views else 0.0
        ends = self.plan.rules[found.rule].ends(share, views)
        return ends or abs(share - membership.score) >= SCORE_STEP

    def _can_enter(self, cell: str, tallies: list[Tally]) -> bool:
        """Whether one more event in a cell can take the user into a segment."""
        plan = self.plan
        for index, value in plan.roles(cell):
            rule, tally = plan.rules[index], tallies[index]
            views = tally[VIEWS]
            if value is VIEWS:
                if views == rule.min_views:
                    return True
            elif views > rule.min_views and tally[value] / views >= rule.enter:
                segment = rule.segment(value)
                if all([one.segment != segment for one in self.profile.memberships]):
                    return True
        return False

    def outcome(self, verdict: str, saturated: int = 0, lost: int = 0) -> Outcome:
        """Close the work: what to keep, what to put out and when to wake."""
        profile = self.profile
        if self.first_touch and not self.published:
            self.settle(profile.clock_ms)
        publication = None
        if self.published:
            publication = Publication(published_set(self.user_id, profile), tuple(self.changes))
        wake_at = _wake_at(profile, self.plan, self.limits)
        return Outcome(verdict, profile, True, wake_at, publication, saturated, lost)

    def _leave(self, tallies: list[Tally], at_ms: int) -> bool:
        """Take the user out of what they no longer qualify for; whether a kept score has moved."""
        kept, moved = [], False
        for membership in self.profile.memberships:
            found = self.plan.segment(membership.segment)
            evidence = _evidence(tallies, found)
            if self.plan.ends(found, evidence):
                self._change("leave", membership.segment, at_ms, evidence)
            else:
                kept.append(membership)
                moved = moved or _has_moved(membership, evidence)
        self.profile.memberships = kept
        return moved

    def _enter(self, tallies: list[Tally], at_ms: int) -> None:
        """Take the user into what they now qualify for, in the order of the rules and values."""
        memberships = self.profile.memberships
        held = {membership.segment for membership in memberships}
        for rule, tally in zip(self.plan.rules, tallies, strict=True):
            views = tally[VIEWS]
            if views < rule.min_views:
                continue
            found = [v for v, n in tally.items() if n / views >= rule.enter and v is not VIEWS]
            for value in sorted(found):
                segment = rule.segment(value)
                if segment not in held:
                    memberships.append(Membership(segment, at_ms))
                    self._change("enter", segment, at_ms, Evidence(tally[value], views))

    def _publish(self, tallies: list[Tally], pane: int, due: bool) -> None:
        """Take the set as it is now for publishing, unless nothing in it differs from the last."""
        profile = self.profile
        ends_ms = valid_until(profile, self.plan, tallies)
        profile.published_pane = pane
        for membership in profile.memberships:
            evidence = _evidence(tallies, self.plan.segment(membership.segment))
            ends = ends_ms[membership.segment]
            due = due or (evidence.share, ends) != (membership.score, membership.valid_until_ms)
            membership.score, membership.valid_until_ms = evidence.share, ends
            membership.matching, membership.views = evidence
        if due:
            self.first_touch = False
            self.published = True
            profile.published_ms = profile.clock_ms
            profile.ruleset_version = self.plan.version

    def _change(
        self, change: Literal["enter", "leave"], segment: str, at_ms: int, evidence: Evidence
    ) -> None:
        self.profile.version += 1
        self.changes.append(
            Change(
                user_id=self.user_id,
                segment=segment,
                change=change,
                at=at_ms,
                score=evidence.share,
                matching=evidence.matching,
                views=evidence.views,
                ruleset_version=self.plan.version,
                version=self.profile.version,
            )
        )


def track_event(
    profile: Profile | None, event: Event, cells: list[str], tracking: Tracking
) -> Outcome:
    """Take one event of a user whose profile is given (None: nothing is known of them).

    `cells` is what `plan.cells_of(event)` returned.
    """
    window, limits = tracking.plan.window, tracking.limits
    known = profile is not None
    if profile is None:
        run_id = tracking.run_id if tracking.store_is_new else 0
        profile = Profile(event.occurred_at, run_id=run_id)
    clock_ms = max(profile.clock_ms, event.occurred_at)
    seen = dedupe.expired(profile.seen, clock_ms, limits.dedupe)
    event_hash = dedupe.hash_of(event.event_id)
    pane = window.pane_of(event.occurred_at)
    if dedupe.contains(seen, event_hash):
        return _dropped(DUPLICATE, event.user_id, profile, tracking)
    if known and pane < window.first_pane(profile.clock_ms):
        return _dropped(LATE, event.user_id, profile, tracking)
    run = _Run(event.user_id, profile, tracking)
    run.expire(clock_ms)
    profile.clock_ms = clock_ms
    counted = _within(profile, cells, limits.values_max)
    if counted:
        windows.add(profile, pane, counted)
    profile.seen, forgotten = dedupe.remember(seen, event_hash, clock_ms, limits.dedupe)
    run.settle_event(counted, clock_ms)
    return run.outcome(COUNTED, len(cells) - len(counted), int(forgotten))


def track_time(user_id: str, profile: Profile, now_ms: int, tracking: Tracking) -> Outcome:
    """Let event time reach `now_ms` for a user who sent no event."""
    run = _Run(user_id, profile, tracking)
    run.expire(now_ms)
    profile.seen = dedupe.expired(profile.seen, now_ms, tracking.limits.dedupe)
    return run.outcome("")


def republish(user_id: str, profile: Profile | None, tracking: Tracking) -> Outcome:
    """Publish a user's whole set although nothing may have changed; an empty one if unknown."""
    run = _Run(user_id, profile or Profile(0), tracking)
    run.first_touch = True
    return run.outcome("")


def is_empty(profile: Profile) -> bool:
    """Whether nothing in a profile has to be kept."""
    held = profile.version or profile.seen or profile.outbox
    return not held and profile.oldest_pane < 0


def published_set(user_id: str, profile: Profile) -> UserSegments:
    """The user's whole set as it was last published."""
    return UserSegments(
        user_id=user_id,
        version=profile.version,
        ruleset_version=profile.ruleset_version,
        as_of=profile.published_ms,
        segments=tuple(
            Segment(
                segment=membership.segment,
                score=membership.score,
                since=membership.since_ms,
                valid_until=membership.valid_until_ms,
                matching=membership.matching,
                views=membership.views,
            )
            for membership in profile.memberships
        ),
    )


def valid_until(profile: Profile, plan: RulePlan, tallies: list[Tally]) -> dict[str, int]:
    """When each membership would end, in epoch ms, if the user sent no further event.

    `tallies` is the evidence now. Every rule has leave > 0 and min_views >= 1, so no membership
    outlives the last pane.
    """
    lasting = [_Lasting(m.segment, profile.cells, plan, tallies) for m in profile.memberships]
    ends_ms: dict[str, int] = {}
    for counts in windows.panes(profile) if lasting else ():
        ended = [one for one in lasting if one.ends_without(counts)]
        if ended:
            for one in ended:
                ends_ms[one.segment] = plan.window.leaves_at(counts[0])
            lasting = [one for one in lasting if one.segment not in ends_ms]
            if not lasting:
                break
    return ends_ms


class _Lasting:
    """A membership whose evidence shrinks pane by pane."""

    __slots__ = ("match_cells", "matching", "rule", "segment", "view_cells", "views")

    def __init__(
        self, segment: str, cells: list[str], plan: RulePlan, tallies: list[Tally]
    ) -> None:
        found = plan.segment(segment)
        if found is None:
            raise AssertionError(f"{segment} is held, but no rule has it")
        self.segment = segment
        self.rule = plan.rules[found.rule]
        self.matching, self.views = _evidence(tallies, found)
        self.match_cells = [cells.index(name) for name in found.matches if name in cells]
        self.view_cells = [cells.index(name) for name in found.views if name in cells]

    def ends_without(self, counts: list[int]) -> bool:
        """Take a pane away; whether the membership ends with it."""
        for at in range(1, len(counts), 2):
            cell = counts[at]
            if cell in self.match_cells:
                self.matching -= counts[at + 1]
            elif cell in self.view_cells:
                self.views -= counts[at + 1]
        share = self.matching / self.views if self.views else 0.0
        return self.rule.ends(share, self.views)


def _has_moved(membership: Membership, evidence: Evidence) -> bool:
    """Whether the score is far enough from the one last published to be published again."""
    return abs(evidence.share - membership.score) >= SCORE_STEP


def _evidence(tallies: list[Tally], found: SegmentPlan | None) -> Evidence:
    """The numbers of one segment; none at all for a rule that is no longer there."""
    if found is None:
        return Evidence(0, 0)
    tally = tallies[found.rule]
    return Evidence(tally.get(found.value, 0), tally[VIEWS])


def _dropped(verdict: str, user_id: str, profile: Profile, tracking: Tracking) -> Outcome:
    """An event that changes nothing; a first touch in this run still publishes."""
    if profile.run_id == tracking.run_id:
        wake_at = _wake_at(profile, tracking.plan, tracking.limits)
        return Outcome(verdict, profile, False, wake_at)
    return _Run(user_id, profile, tracking).outcome(verdict)


def _wake_at(profile: Profile, plan: RulePlan, limits: Limits) -> int | None:
    """The next boundary where a pane leaves; without panes, when the last event id is forgotten."""
    boundary_ms = windows.next_boundary(profile, plan.window)
    return dedupe.ends_at(profile.seen, limits.dedupe) if boundary_ms is None else boundary_ms


def _within(profile: Profile, cells: list[str], values_max: int) -> list[str]:
    """The cells that may count: a new value only while its attribute has fewer than the most."""
    if len(profile.cells) < values_max:
        return cells
    counted = []
    for cell in cells:
        if cell not in profile.cells and CELL_SEPARATOR in cell:
            kind, attribute, _ = cell.split(CELL_SEPARATOR, 2)
            start = f"{kind}{CELL_SEPARATOR}{attribute}{CELL_SEPARATOR}"
            if sum(name.startswith(start) for name in profile.cells) >= values_max:
                continue
        counted.append(cell)
    return counted
