"""The topics as the broker has them: made, held to what schemas.topics asks for, and put right."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from kafka.admin import ConfigResource
from kafka.errors import for_code

from jobs.kafka_clients import BrokerError, broker_errors, open_admin
from schemas.topics import TOPICS, Topic, settings_of

_TOPIC_EXISTS = 36


class Layout(NamedTuple):
    """How many partitions and replicas are asked for; None where any number does."""

    partitions: int | None = None
    replication: int | None = None


ANY_LAYOUT = Layout()


class TopicState(NamedTuple):
    """A topic as the broker has it. `settings` holds the ones that schemas.topics names."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


class TopicFault(msgspec.Struct, frozen=True):
    """What is wrong with a topic. `needed` is the value that mends `setting`, where one does."""

    topic: str
    setting: str
    problem: str
    needed: str | None = None

    def __str__(self) -> str:
        return f"{self.topic} {self.setting}".rstrip() + f": {self.problem}"


def check_topics(bootstrap: str, layout: Layout = ANY_LAYOUT) -> list[TopicFault]:
    """Compare the topics with what the job needs; nothing is changed.

    Raises:
        BrokerError: the broker does not answer.
    """
    states = read_topics(bootstrap)
    return [fault for topic in TOPICS for fault in faults_of(topic, states.get(topic.name), layout)]


def read_topics(bootstrap: str) -> dict[str, TopicState]:
    """Those of the job's topics that exist, by name.

    Raises:
        BrokerError: the broker does not answer.
    """
    with open_admin(bootstrap) as admin, broker_errors(bootstrap):
        existing = set(admin.list_topics())
        names = [topic.name for topic in TOPICS if topic.name in existing]
        if not names:
            return {}
        resources = [ConfigResource("TOPIC", name, _SETTINGS) for name in names]
        settings = admin.describe_configs(resources, config_filter="all")["topic"]
        return {
            described["name"]: TopicState(
                described["name"],
                len(described["partitions"]),
                min(len(part["replica_nodes"]) for part in described["partitions"]),
                {name: entry["value"] for name, entry in settings[described["name"]].items()},
            )
            for described in admin.describe_topics(names)
        }


def create_topics(bootstrap: str, partitions: int, replication: int) -> list[str]:
    """Create the topics that do not exist; the names of those created here.

    Raises:
        BrokerError: the broker does not answer, or does not take a topic.
    """
    existing = read_topics(bootstrap)
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions or partitions,
            "replication_factor": replication,
            "configs": {s.name: s.value for s in settings_of(topic, replication)},
        }
        for topic in TOPICS
        if topic.name not in existing
    }
    if not wanted:
        return []
    with open_admin(bootstrap) as admin, broker_errors(bootstrap):
        results = admin.create_topics(wanted, raise_errors=False)["topics"]
        refused = [result for result in results if result["error_code"] not in (0, _TOPIC_EXISTS)]
        if refused:
            raise BrokerError("\n".join(map(_refusal, refused)))
        admin.wait_for_topics(list(wanted))
        return [result["name"] for result in results if result["error_code"] == 0]


def mend_topics(bootstrap: str, faults: Iterable[TopicFault]) -> list[TopicFault]:
    """Set what can be set without losing a record; the faults that were mended.

    Raises:
        BrokerError: the broker does not answer, or refuses a setting.
    """
    mendable = [fault for fault in faults if fault.needed is not None]
    changes: dict[str, dict[str, str | None]] = {}
    for fault in mendable:
        changes.setdefault(fault.topic, {})[fault.setting] = fault.needed
    if not changes:
        return []
    with open_admin(bootstrap) as admin, broker_errors(bootstrap):
        resources = [ConfigResource("TOPIC", name, settings) for name, settings in changes.items()]
        answers = admin.alter_configs(resources)["topic"]
    refused = [f"{name}: {answer}" for name, answer in answers.items() if answer != "OK"]
    if refused:
        raise BrokerError("\n".join(refused))
    return mendable


def faults_of(
    topic: Topic, state: TopicState | None, layout: Layout = ANY_LAYOUT
) -> list[TopicFault]:
    """What is wrong with a topic; `state` is None where it does not exist."""
    if state is None:
        return [TopicFault(topic.name, "", "does not exist: `segstream topics create` makes it")]
    faults = _layout_faults(topic, state, layout)
    for setting in settings_of(topic, state.replication):
        found = state.settings[setting.name]
        if not setting.fits(found):
            problem = (
                f"is {found} and must be {setting.wanted()}, as {setting.why}:"
                " `segstream topics create --fix` sets it"
            )
            faults.append(TopicFault(topic.name, setting.name, problem, setting.value))
    return faults


def _layout_faults(topic: Topic, state: TopicState, layout: Layout) -> list[TopicFault]:
    faults = []
    if topic.partitions is not None and state.partitions != topic.partitions:
        problem = (
            f"is {state.partitions} and must be {topic.partitions}, or its records have no order."
            " A topic cannot lose partitions: delete it by hand, create it and publish again"
        )
        faults.append(TopicFault(topic.name, "partitions", problem))
    elif topic.partitions is None and state.partitions < (layout.partitions or 0):
        problem = (
            f"is {state.partitions}, and {layout.partitions} are asked for. Ask for"
            f" --partitions {state.partitions}, or add some by hand while nothing is produced or"
            " read: users move to other partitions, and their records then have no order"
        )
        faults.append(TopicFault(topic.name, "partitions", problem))
    if state.replication < (layout.replication or 0):
        problem = (
            f"is {state.replication}, and {layout.replication} are asked for. Ask for"
            f" --replication {state.replication}, or move replicas with kafka-reassign-partitions"
        )
        faults.append(TopicFault(topic.name, "replication", problem))
    return faults


def _refusal(result: dict[str, Any]) -> str:
    told = result.get("error_message") or for_code(result["error_code"]).__name__
    return f"{result['name']} cannot be created: {told}"


_SETTINGS = sorted({setting.name for topic in TOPICS for setting in settings_of(topic, 3)})
