"""A naive recount of what the job must decide, written apart from its code.

It keeps every counted event in a list and counts by walking the list. Nothing is shared with
`udfs` but the message types and the meaning written in docs/MEANING.md.
"""

import dataclasses
from collections import Counter

from schemas.durations import parse_duration
from schemas.events import Event
from schemas.rulesets import NumberAttribute, RuleSet

SCORE_STEP = 0.05 - 1e-9


@dataclasses.dataclass
class Member:
    since: int
    score: float = -1.0
    valid_until: int = -1


@dataclasses.dataclass
class User:
    clock: int
    counted: list[tuple[int, str, dict[str, tuple[str, ...]]]] = dataclasses.field(
        default_factory=list
    )
    ids: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    published_pane: int = -1
    stored: dict[str, tuple[float, int, int]] = dataclasses.field(default_factory=dict)
    touched: bool = False
    known: bool = False


class Recount:
    """Replays events in arrival order, user by user, one naive step at a time."""

    def __init__(
        self,
        ruleset: RuleSet,
        horizon_ms: int = 86_400_000,
        ids_max: int = 1_000,
        values_max: int = 200,
        store_is_new: bool = True,
    ) -> None:
        self.ruleset = ruleset
        self.pane = parse_duration(ruleset.pane)
        self.panes = parse_duration(ruleset.window) // self.pane
        self.horizon_s = horizon_ms // 1000
        self.ids_max = ids_max
        self.values_max = values_max
        self.store_is_new = store_is_new
        self.users: dict[str, User] = {}
        self.changes: list[tuple[str, str, str, int]] = []
        self.totals: Counter[str] = Counter()
        self.types = {name for rule in ruleset.rules for name in rule.event_types}

    def event(self, event: Event) -> str:
        verdict = self._event(event)
        self.totals[verdict] += 1
        return verdict

    def _event(self, event: Event) -> str:
        user = self.users.get(event.user_id)
        fresh = user is None
        if user is None:
            user = self.users[event.user_id] = User(event.occurred_at, touched=self.store_is_new)
        clock = max(user.clock, event.occurred_at)
        remembered = [name for name, second in user.ids if clock // 1000 - second < self.horizon_s]
        if event.event_id in remembered:
            return "duplicate"
        in_window = event.occurred_at // self.pane > user.clock // self.pane - self.panes
        if not fresh and not in_window:
            return "late"
        self._boundaries(event.user_id, user, clock)
        user.clock = clock
        if event.type in self.types:
            user.counted.append((event.occurred_at, event.type, self._values(user, event)))
        user.ids = [pair for pair in user.ids if clock // 1000 - pair[1] < self.horizon_s] + [
            (event.event_id, clock // 1000)
        ]
        user.ids = user.ids[-self.ids_max :]
        self._decide(event.user_id, user, clock)
        return "accepted"

    def finish(self, end: int) -> None:
        for user_id, user in self.users.items():
            self._boundaries(user_id, user, end)

    def _values(self, user: User, event: Event) -> dict[str, tuple[str, ...]]:
        """The words that count, attribute by attribute: none beyond the most distinct ones."""
        values = {}
        for name, spec in self.ruleset.attributes.items():
            if isinstance(spec, NumberAttribute) or event.attributes.get(name) is None:
                continue
            present = {
                word
                for _, kind, earlier in user.counted
                if kind == event.type
                for word in earlier.get(name, ())
            }
            kept = []
            for word in self._words(event.attributes[name], getattr(spec, "synonyms", {})):
                if word in present or len(present) < self.values_max:
                    present.add(word)
                    kept.append(word)
            values[name] = tuple(kept)
        return values

    def _words(self, value: object, synonyms: dict[str, str]) -> list[str]:
        canonical = {k.strip().casefold(): v.strip().casefold() for k, v in synonyms.items()}
        words: list[str] = []
        for item in value if isinstance(value, list) else [value]:
            text = str(item).strip().casefold()
            if isinstance(item, float) and item == int(item):
                text = str(int(item))
            text = canonical.get(text, text)
            if text and text not in words:
                words.append(text)
        return words

    def _boundaries(self, user_id: str, user: User, until: int) -> None:
        leaving = {(at // self.pane + self.panes) * self.pane for at, _, _ in user.counted}
        for boundary in sorted(leaving):
            if boundary <= until:
                user.clock = max(user.clock, boundary)
                user.counted = self._window(user, boundary)
                self._decide(user_id, user, boundary)

    def _window(self, user: User, at: int) -> list[tuple[int, str, dict[str, tuple[str, ...]]]]:
        first = at // self.pane - self.panes
        return [entry for entry in user.counted if entry[0] // self.pane > first]

    def shares(
        self, counted: list[tuple[int, str, dict[str, tuple[str, ...]]]]
    ) -> dict[str, tuple[int, int]]:
        """Segment name -> (matching, views) for every value present."""
        found: dict[str, tuple[int, int]] = {}
        for rule in self.ruleset.rules:
            entries = [entry for entry in counted if entry[1] in rule.event_types]
            matches = Counter(
                word for _, _, values in entries for word in values.get(rule.for_each, ())
            )
            for word, matching in matches.items():
                found[f"{rule.id}={word}"] = (matching, len(entries))
        return found

    def _ends(
        self, segment: str, counted: list[tuple[int, str, dict[str, tuple[str, ...]]]]
    ) -> bool:
        rule = next(rule for rule in self.ruleset.rules if rule.id == segment.split("=", 1)[0])
        matching, views = self.shares(counted).get(segment, (0, 0))
        views = sum(kind in rule.event_types for _, kind, _ in counted)
        return views < rule.min_views or matching / views < rule.leave

    def _decide(self, user_id: str, user: User, at: int) -> None:
        shares = self.shares(user.counted)
        before = len(self.changes)
        for segment in list(user.members):
            if self._ends(segment, user.counted):
                del user.members[segment]
                self.changes.append((user_id, segment, "leave", at))
        for rule in self.ruleset.rules:
            for segment, (matching, views) in sorted(shares.items()):
                if segment.split("=", 1)[0] != rule.id or segment in user.members:
                    continue
                if views >= rule.min_views and matching / views >= rule.enter:
                    user.members[segment] = Member(at)
                    self.changes.append((user_id, segment, "enter", at))
        score = {s: shares[s][0] / shares[s][1] for s in user.members}
        moved = any(
            m.score >= 0 and abs(score[s] - m.score) >= SCORE_STEP for s, m in user.members.items()
        )
        pane = user.clock // self.pane
        due = moved or len(self.changes) > before or not user.touched
        if due or (pane > user.published_pane and user.members):
            user.touched = user.known = True
            user.published_pane = pane
            for segment, member in user.members.items():
                member.score = score[segment]
                member.valid_until = self._valid_until(user, segment)
            user.stored = {s: (m.score, m.since, m.valid_until) for s, m in user.members.items()}

    def _valid_until(self, user: User, segment: str) -> int:
        counted = user.counted
        for boundary in sorted(
            {(at // self.pane + self.panes) * self.pane for at, _, _ in counted}
        ):
            first = boundary // self.pane - self.panes
            counted = [entry for entry in counted if entry[0] // self.pane > first]
            if self._ends(segment, counted):
                return boundary
        raise AssertionError("a membership outlives its last event")
