"""A rule set: the attribute dictionary and the rules, one immutable versioned document."""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.durations import parse_duration
from schemas.errors import Fault, InvalidDocumentError
from schemas.faults import find_faults

RULESET_VERSION = 1
READABLE_RULESET_VERSIONS = (1,)

PANES_MAX = 10_000
RULES_MAX = 1_000

# Special categories of personal data (GDPR Art. 9 and 10): never an attribute to segment by.
FORBIDDEN_CLASSES = frozenset(
    {
        "biometric",
        "criminal_record",
        "disability",
        "ethnicity",
        "genetic",
        "health",
        "political_opinion",
        "politics",
        "race",
        "religion",
        "sex_life",
        "sexual_orientation",
        "trade_union",
    }
)

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}(?![\s\S])")]
Text = Annotated[str, Meta(min_length=1, max_length=128)]


class CategoryAttribute(
    msgspec.Struct, frozen=True, tag_field="type", tag="category", forbid_unknown_fields=True
):
    """A value out of a set of words, or a list of them. `synonyms` maps a word to its canonical."""

    synonyms: dict[Text, Text] = {}
    data_class: str = msgspec.field(default="general", name="class")


class BooleanAttribute(
    msgspec.Struct, frozen=True, tag_field="type", tag="boolean", forbid_unknown_fields=True
):
    """Yes or no; read as the words `true` and `false`."""

    data_class: str = msgspec.field(default="general", name="class")


class NumberAttribute(
    msgspec.Struct, frozen=True, tag_field="type", tag="number", forbid_unknown_fields=True
):
    """A quantity in `unit`. `units` maps each further unit to how many of `unit` it is."""

    unit: str = ""
    units: dict[Text, float] = {}
    data_class: str = msgspec.field(default="general", name="class")


Attribute = CategoryAttribute | BooleanAttribute | NumberAttribute


class ShareRule(
    msgspec.Struct, frozen=True, tag_field="kind", tag="share", forbid_unknown_fields=True
):
    """One segment for each value of an attribute, held by its share of the user's events.

    A user enters at share >= `enter` with at least `min_views` events of the rule's types in the
    window, and leaves at share < `leave` or with fewer events. Segments are named `id=value`.
    """

    id: Name
    for_each: Name
    event_types: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=32)]
    enter: Annotated[float, Meta(gt=0, le=1)]
    leave: Annotated[float, Meta(gt=0, le=1)]
    min_views: Annotated[int, Meta(ge=1, le=1_000_000)]

    def segment(self, value: str) -> str:
        """The name of the segment of one value."""
        return f"{self.id}={value}"

    def ends(self, share: float, views: int) -> bool:
        """Whether a member with this share of this many views leaves."""
        return share < self.leave or views < self.min_views


class RuleSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole rule set as written. `window` and `pane` are durations such as `10d` and `1h`."""

    version: Annotated[int, Meta(ge=1)]
    window: str
    pane: str
    attributes: dict[Name, Attribute]
    rules: Annotated[tuple[ShareRule, ...], Meta(min_length=1, max_length=RULES_MAX)]
    schema_version: int = RULESET_VERSION


def parse_ruleset(text: bytes) -> RuleSet:
    """Read a rule set, refusing it whole if anything in it is wrong.

    Raises:
        InvalidDocumentError: with every fault by its path (`$.rules[0].leave`).
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocumentError("rule set", [Fault("$", f"not JSON: {error}")]) from None
    if isinstance(document, dict):
        version = document.get("schema_version", RULESET_VERSION)
        if version not in READABLE_RULESET_VERSIONS:
            problem = f"{version!r} is not readable here (readable: {READABLE_RULESET_VERSIONS})"
            raise InvalidDocumentError("rule set", [Fault("$.schema_version", problem)])
    faults = find_faults(document, RuleSet) or []
    if isinstance(document, dict):
        faults += _meaning_faults(document)
    if faults:
        raise InvalidDocumentError("rule set", faults)
    return msgspec.convert(document, RuleSet)


def _meaning_faults(document: dict[str, object]) -> list[Fault]:
    """Faults that the types cannot show. Parts whose type is wrong are passed over here."""
    faults = _window_faults(document.get("window"), document.get("pane"))
    attributes = document.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    for name, spec in attributes.items():
        if isinstance(spec, dict):
            faults += _attribute_faults(f"$.attributes.{name}", name, spec)
    rules = document.get("rules")
    seen: set[object] = set()
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if isinstance(rule, dict):
            faults += _rule_faults(f"$.rules[{index}]", rule, attributes, seen)
    return faults


def _window_faults(window: object, pane: object) -> list[Fault]:
    lengths_ms: dict[str, int] = {}
    faults = []
    for name, text in (("window", window), ("pane", pane)):
        if isinstance(text, str):
            try:
                lengths_ms[name] = parse_duration(text)
            except ValueError as error:
                faults.append(Fault(f"$.{name}", str(error)))
    if len(lengths_ms) == 2:
        window_ms, pane_ms = lengths_ms["window"], lengths_ms["pane"]
        if window_ms % pane_ms:
            faults.append(Fault("$.pane", f"{pane} does not divide the window of {window}"))
        elif window_ms // pane_ms > PANES_MAX:
            faults.append(Fault("$.pane", f"more than {PANES_MAX} panes in the window of {window}"))
    return faults


def _attribute_faults(path: str, name: str, spec: dict[str, object]) -> list[Fault]:
    faults = []
    data_class = spec.get("class", "general")
    words = (str(data_class).strip().casefold(), name)
    marked = next((word for word in words if word in FORBIDDEN_CLASSES), None)
    if marked is not None:
        faults.append(Fault(path, f"class {marked!r} is forbidden: special-category personal data"))
    synonyms = spec.get("synonyms")
    if isinstance(synonyms, dict):
        folded = {str(word).strip().casefold() for word in synonyms}
        if len(folded) < len(synonyms):
            faults.append(Fault(f"{path}.synonyms", "two words are the same after case-folding"))
        for word, canonical in synonyms.items():
            target = str(canonical).strip().casefold()
            if target in folded and target != str(word).strip().casefold():
                problem = f"{canonical!r} is itself a synonym: map to the canonical word"
                faults.append(Fault(f"{path}.synonyms.{word}", problem))
    units = spec.get("units")
    for unit, factor in (units if isinstance(units, dict) else {}).items():
        if isinstance(factor, int | float) and not factor > 0:
            faults.append(Fault(f"{path}.units.{unit}", "a unit's factor must be more than 0"))
    return faults


def _rule_faults(
    path: str, rule: dict[str, object], attributes: dict[str, object], seen: set[object]
) -> list[Fault]:
    faults = []
    name = rule.get("id")
    if isinstance(name, str) and name in seen:
        faults.append(Fault(f"{path}.id", f"{name!r} is used by an earlier rule"))
    seen.add(name if isinstance(name, str) else None)
    attribute = rule.get("for_each")
    if isinstance(attribute, str):
        spec = attributes.get(attribute)
        if spec is None:
            known = ", ".join(sorted(attributes)) or "none"
            problem = f"{attribute!r} is not in the attribute dictionary (named there: {known})"
            faults.append(Fault(f"{path}.for_each", problem))
        elif isinstance(spec, dict) and spec.get("type") == "number":
            problem = f"{attribute!r} is a number: a segment a value needs a category or a boolean"
            faults.append(Fault(f"{path}.for_each", problem))
    enter, leave = rule.get("enter"), rule.get("leave")
    if isinstance(enter, int | float) and isinstance(leave, int | float) and leave > enter:
        faults.append(Fault(f"{path}.leave", f"{leave} is above enter ({enter})"))
    types = rule.get("event_types")
    if isinstance(types, list) and len({str(name) for name in types}) < len(types):
        faults.append(Fault(f"{path}.event_types", "an event type is named twice"))
    return faults


def pane_ms(ruleset: RuleSet) -> int:
    """The length of a pane in milliseconds (at least one second)."""
    return parse_duration(ruleset.pane)


def panes_in_window(ruleset: RuleSet) -> int:
    """How many panes the window has."""
    return parse_duration(ruleset.window) // pane_ms(ruleset)
