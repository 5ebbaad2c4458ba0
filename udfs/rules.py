"""A rule set compiled for evaluation: what an event counts in, and who is in which segment."""

from typing import NamedTuple, TypeVar

from schemas.events import AttributeValue, Event
from schemas.rulesets import NumberAttribute, RuleSet, ShareRule, pane_ms, panes_in_window
from schemas.state import Profile
from udfs.canonical import AttributeValueError, Canonical, canonical_number, canonical_words
from udfs.windows import Window

CELL_SEPARATOR = "\x1f"
VIEWS = None
NAMES_MAX = 100_000

# A rule's counts for one user: all events of its types under VIEWS, and the matches by value.
Tally = dict[str | None, int]


class Evidence(NamedTuple):
    """The numbers behind a decision: `matching` of `views` events have the value."""

    matching: int
    views: int

    @property
    def share(self) -> float:
        """matching / views; 0.0 when there is no view."""
        return self.matching / self.views if self.views else 0.0


class AttributeFaultError(ValueError):
    """An event whose attribute the dictionary does not allow; `name` says which."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class Role(NamedTuple):
    """What a cell counts as: in a rule's views (value VIEWS) or in the matches of one value."""

    rule: int
    value: str | None


class SegmentPlan(NamedTuple):
    """Where the numbers of one segment are: its rule, and the cells of its views and matches."""

    rule: int
    value: str
    views: tuple[str, ...]
    matches: tuple[str, ...]


class RulePlan:
    """One rule set, ready to evaluate. Immutable but for caches of what it has computed."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.version = ruleset.version
        self.window = Window(pane_ms(ruleset), panes_in_window(ruleset))
        self.rules: tuple[ShareRule, ...] = ruleset.rules
        self._words: dict[str, Canonical] = {
            name: canonical_words(spec)
            for name, spec in ruleset.attributes.items()
            if not isinstance(spec, NumberAttribute)
        }
        self._numbers = {
            name: canonical_number(spec)
            for name, spec in ruleset.attributes.items()
            if isinstance(spec, NumberAttribute)
        }
        # What is counted is what some rule asks for: per event type, the attributes.
        self._counted: dict[str, set[str]] = {}
        for rule in self.rules:
            for kind in rule.event_types:
                self._counted.setdefault(kind, set()).add(rule.for_each)
        self._cells: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._rule_of = {rule.id: index for index, rule in enumerate(self.rules)}
        self._roles: dict[str, tuple[Role, ...]] = {}
        self._segments: dict[str, SegmentPlan | None] = {}

    def cells_of(self, event: Event) -> list[str]:
        """The names of the cells that an event counts in: its type, then one a distinct value.

        An event of a type that no rule names counts in none.

        Raises:
            AttributeFaultError: an attribute named in the dictionary has a value it forbids.
        """
        kind = event.type
        cells = [kind] if kind in self._counted else []
        known = self._cells
        for name, value in event.attributes.items():
            if type(value) is str:
                found = known.get((kind, name, value))
                if found is None:
                    found = self._cells_of_value(kind, name, value)
                    _remember(known, (kind, name, value), found)
                cells += found
            else:
                cells += self._cells_of_value(kind, name, value)
        return cells

    def _cells_of_value(self, kind: str, name: str, value: AttributeValue) -> tuple[str, ...]:
        """The cells that one attribute of an event counts in."""
        words, number = self._words.get(name), self._numbers.get(name)
        try:
            if words is not None:
                found = words(value)
                if name in self._counted.get(kind, ()):
                    start = f"{kind}{CELL_SEPARATOR}{name}{CELL_SEPARATOR}"
                    return tuple([start + word for word in found])
            elif number is not None:
                number(value)
        except AttributeValueError as error:
            raise AttributeFaultError(name, str(error)) from None
        return ()

    def evidence(self, profile: Profile) -> list[Tally]:
        """For each rule, the user's counts over the whole window."""
        tallies: list[Tally] = [{VIEWS: 0} for _ in self.rules]
        known = self._roles
        for cell, total in zip(profile.cells, profile.totals, strict=True):
            for rule, value in known.get(cell) or self.roles(cell):
                tally = tallies[rule]
                tally[value] = tally.get(value, 0) + total
        return tallies

    def roles(self, cell: str) -> tuple[Role, ...]:
        """Which rules a cell counts for, and as what."""
        found = self._roles.get(cell)
        if found is None:
            kind, _, rest = cell.partition(CELL_SEPARATOR)
            attribute, _, word = rest.partition(CELL_SEPARATOR)
            found = tuple(
                Role(index, word if rest else VIEWS)
                for index, rule in enumerate(self.rules)
                if kind in rule.event_types and (not rest or attribute == rule.for_each)
            )
            _remember(self._roles, cell, found)
        return found

    def segment(self, name: str) -> SegmentPlan | None:
        """Where the numbers of the segment of this name are; None when no rule has its id."""
        if name not in self._segments:
            rule_id, _, value = name.partition("=")
            index = self._rule_of.get(rule_id)
            plan = None
            if index is not None:
                kinds, attribute = self.rules[index].event_types, self.rules[index].for_each
                cells = (CELL_SEPARATOR.join((kind, attribute, value)) for kind in kinds)
                plan = SegmentPlan(index, value, kinds, tuple(cells))
            _remember(self._segments, name, plan)
        return self._segments[name]

    def ends(self, found: SegmentPlan | None, evidence: Evidence) -> bool:
        """Whether a member with this evidence leaves; one whose rule is no longer there does."""
        return found is None or self.rules[found.rule].ends(evidence.share, evidence.views)


_Name = TypeVar("_Name")
_Known = TypeVar("_Known")


def _remember(known: dict[_Name, _Known], name: _Name, found: _Known) -> None:
    """Keep what was found out about a name; the names are users' words, so bounded."""
    if len(known) >= NAMES_MAX:
        known.clear()
    known[name] = found
