"""Rule sets on the topic `rulesets`: whole documents, each version once, keyed by its version."""

from typing import NamedTuple

import msgspec

from jobs.kafka_clients import broker_errors, count_partitions, open_producer
from jobs.read_topic import Record, read_to_end
from schemas.errors import InvalidDocumentError
from schemas.rulesets import RuleSet, pane_ms, panes_in_window, parse_ruleset
from schemas.topics import RULESETS

ACKNOWLEDGED_WITHIN_S = 60.0


class RuleSetRefusedError(ValueError):
    """A rule set that must not follow those on the topic; the message says why and what to do."""


class Published(NamedTuple):
    """A record of the topic: its version, and its rule set or what is wrong with it."""

    offset: int
    version: int
    ruleset: RuleSet | None
    problem: str = ""


def read_published(bootstrap: str) -> list[Published]:
    """The rule sets on the topic, in order.

    Raises:
        BrokerError: the broker does not answer.
        TopicMissingError: there is no such topic.
    """
    return [_published(record) for record in read_to_end(bootstrap, RULESETS)]


def publish(bootstrap: str, ruleset: RuleSet) -> int:
    """Put a rule set on the topic; its offset, once the broker has it.

    Raises:
        BrokerError: the broker does not answer or does not take it.
        TopicMissingError: there is no such topic.
    """
    count_partitions(bootstrap, RULESETS)
    key = str(ruleset.version).encode()
    with open_producer(bootstrap) as producer, broker_errors(bootstrap):
        answer = producer.send(RULESETS, msgspec.json.encode(ruleset), key)
        return int(answer.get(ACKNOWLEDGED_WITHIN_S).offset)


def is_published(ruleset: RuleSet, published: list[Published]) -> bool:
    """Whether the topic has exactly this rule set already, under this version."""
    return any(one.ruleset == ruleset for one in published)


def check_follows(ruleset: RuleSet, published: list[Published]) -> None:
    """Check that a rule set may come after those on the topic.

    Raises:
        RuleSetRefusedError: its version is not the highest, or its panes are not those that the
            job keeps its counts in.
    """
    highest = max((one.version for one in published), default=0)
    if any(one.version == ruleset.version for one in published):
        raise RuleSetRefusedError(
            f"version {ruleset.version} is on {RULESETS} already, with other content:"
            f" give this one version {highest + 1}"
        )
    if ruleset.version <= highest:
        raise RuleSetRefusedError(
            f"version {ruleset.version} is not above {highest}, the highest on {RULESETS}:"
            f" give this one version {highest + 1}"
        )
    last = next((one.ruleset for one in reversed(published) if one.ruleset is not None), None)
    if last is not None and _panes(ruleset) != _panes(last):
        raise RuleSetRefusedError(
            f"window {ruleset.window} in panes of {ruleset.pane} is not the window {last.window} in"
            f" panes of {last.pane} of version {last.version}, in which the running job keeps its"
            " counts: another window needs a new job, submitted with the new rule set"
        )


def _panes(ruleset: RuleSet) -> tuple[int, int]:
    return pane_ms(ruleset), panes_in_window(ruleset)


def _published(record: Record) -> Published:
    key = (record.key or b"").decode(errors="replace")
    version = int(key) if key.isascii() and key.isdigit() else 0
    try:
        ruleset = parse_ruleset(record.value or b"")
    except InvalidDocumentError as error:
        return Published(record.offset, version, None, str(error))
    return Published(record.offset, max(version, ruleset.version), ruleset)
