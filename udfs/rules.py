"""A rule set compiled for evaluation: what an event counts in, and who is in which segment."""

from typing import NamedTuple

from schemas.events import Event
from schemas.rulesets import NumberAttribute, RuleSet, ShareRule, pane_ms, panes_in_window
from schemas.state import Profile
from udfs.canonical import AttributeValueError, Canonical, canonical_number, canonical_words
from udfs.windows import Window

CELL_SEPARATOR = "\x1f"
VIEWS = None

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


class _Counted(NamedTuple):
    """Where a cell counts: in a rule's views (value VIEWS) or in the matches of one value."""

    rule: int
    value: str | None


class RulePlan:
    """One rule set, ready to evaluate. Immutable but for caches of what it has computed."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.version = ruleset.version
        self.window = Window(pane_ms(ruleset), panes_in_window(ruleset))
        self.rules: tuple[ShareRule, ...] = ruleset.rules
        self._words: tuple[tuple[str, Canonical], ...] = tuple(
            (name, canonical_words(spec))
            for name, spec in ruleset.attributes.items()
            if not isinstance(spec, NumberAttribute)
        )
        self._numbers = tuple(
            (name, canonical_number(spec))
            for name, spec in ruleset.attributes.items()
            if isinstance(spec, NumberAttribute)
        )
        self._counted_types = frozenset(name for rule in self.rules for name in rule.event_types)
        self._rule_of = {rule.id: index for index, rule in enumerate(self.rules)}
        self._roles: dict[str, tuple[_Counted, ...]] = {}

    def cells_of(self, event: Event) -> list[str]:
        """The names of the cells that an event counts in: its type, then one a distinct value.

        An event of a type that no rule names counts in none.

        Raises:
            AttributeFaultError: an attribute named in the dictionary has a value it forbids.
        """
        attributes = event.attributes
        kind = event.type
        cells = [kind]
        name = ""
        try:
            for name, words in self._words:
                if name in attributes:
                    start = f"{kind}{CELL_SEPARATOR}{name}{CELL_SEPARATOR}"
                    cells += [start + word for word in words(attributes[name])]
            for name, number in self._numbers:
                number(attributes.get(name))
        except AttributeValueError as error:
            raise AttributeFaultError(name, str(error)) from None
        return cells if kind in self._counted_types else []

    def evidence(self, profile: Profile) -> list[Tally]:
        """For each rule, the user's counts over the whole window."""
        tallies: list[Tally] = [{VIEWS: 0} for _ in self.rules]
        known = self._roles
        for cell, total in zip(profile.cells, profile.totals, strict=True):
            for rule, value in known.get(cell) or self.roles(cell):
                tally = tallies[rule]
                tally[value] = tally.get(value, 0) + total
        return tallies

    def roles(self, cell: str) -> tuple[_Counted, ...]:
        """Which rules a cell counts for, and as what."""
        found = self._roles.get(cell)
        if found is None:
            found = tuple(self._find_roles(cell))
            if len(self._roles) >= 100_000:
                self._roles.clear()
            self._roles[cell] = found
        return found

    def _find_roles(self, cell: str) -> list[_Counted]:
        kind, _, rest = cell.partition(CELL_SEPARATOR)
        attribute, _, word = rest.partition(CELL_SEPARATOR)
        return [
            _Counted(index, word if rest else VIEWS)
            for index, rule in enumerate(self.rules)
            if kind in rule.event_types and (not rest or attribute == rule.for_each)
        ]

    def split(self, segment: str) -> tuple[int, str] | None:
        """The rule's place and the value of a segment's name; None when no rule has that id."""
        name, _, value = segment.partition("=")
        index = self._rule_of.get(name)
        return None if index is None else (index, value)
