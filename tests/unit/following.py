"""One user followed through the core, event by event, as readable examples need it."""

from schemas.events import Event
from schemas.rulesets import CategoryAttribute, RuleSet, ShareRule
from schemas.state import decode_profile, encode_profile
from udfs.dedupe import Dedupe
from udfs.membership import Limits, Tracking, is_empty, republish, track_event, track_time
from udfs.rules import RulePlan

MINUTE = 60_000
HOUR = 3_600_000
START = 491_666 * HOUR
ELECTRIC = "fuel=electric"

RULE = ShareRule("fuel", "fuel", ("view",), enter=0.5, leave=0.4, min_views=3)


def plan(*rules, version=1):
    """A window of ten hours in panes of one; by default with the one rule above."""
    return RulePlan(
        RuleSet(
            version=version,
            window="10h",
            pane="1h",
            attributes={"fuel": CategoryAttribute({"ev": "electric"})},
            rules=rules or (RULE,),
        )
    )


class Follower:
    """A user whose profile is kept as bytes between events, as the job keeps it."""

    def __init__(self, store_is_new=True, values_max=200, ids_max=1_000):
        self.limits = Limits(Dedupe(86_400, ids_max), values_max)
        self.tracking = Tracking(plan(), self.limits, 7, store_is_new)
        self.kept = None
        self.changes = []
        self.number = 0

    def view(self, at, *fuels, event_id=None, kind="view"):
        """An event at START + `at`, with a fuel each, or with none."""
        self.number += 1
        event = Event(
            event_id=event_id or f"e{self.number}",
            user_id="u1",
            type=kind,
            occurred_at=START + at,
            attributes={"fuel": list(fuels)} if fuels else {},
        )
        cells = self.tracking.plan.cells_of(event)
        return self._take(track_event(self.profile, event, cells, self.tracking))

    def views(self, at, *fuels):
        """One event a fuel, a second apart; what the last one decided."""
        for number, fuel in enumerate(fuels):
            outcome = self.view(at + number * 1_000, fuel)
        return outcome

    def time(self, at):
        """Event time reaches START + `at`."""
        return self._take(track_time("u1", self.profile, START + at, self.tracking))

    def republish(self):
        """Somebody asks for the whole set to be written again."""
        return self._take(republish("u1", self.profile, self.tracking))

    def next_run(self, run_plan=None):
        """The job starts again, and knows the store from before."""
        self.tracking = Tracking(run_plan or plan(), self.limits, self.tracking.run_id + 1)

    @property
    def profile(self):
        return None if self.kept is None else decode_profile(self.kept)

    @property
    def told(self):
        """Every change so far: (kind, segment, hours or ms past START)."""
        return [(c.change, c.segment, c.at - START) for c in self.changes]

    @property
    def segments(self):
        return [m.segment for m in self.profile.memberships]

    def _take(self, outcome):
        if is_empty(outcome.profile):
            self.kept = None
        elif outcome.dirty:
            self.kept = encode_profile(outcome.profile)
        else:
            assert encode_profile(outcome.profile) == self.kept, "changed, but not told to be"
        if outcome.publication is not None:
            self.changes += outcome.publication.changes
        return outcome
