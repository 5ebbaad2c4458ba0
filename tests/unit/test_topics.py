"""What the topics need, and what is said of one that lacks it."""

import pytest

from jobs.kafka_admin import ANY_LAYOUT, Layout, TopicState, faults_of
from schemas.topics import (
    LATE_EVENTS,
    REJECTS,
    RULESETS,
    SEGMENT_CHANGES,
    TOPICS,
    USER_COMMANDS,
    VIEW_EVENTS,
    settings_of,
)

pytestmark = pytest.mark.unit

BY_NAME = {topic.name: topic for topic in TOPICS}


def state(name, partitions=4, replication=1, **changed):
    """A topic as it should be, but for what is `changed` (dots written as underscores)."""
    topic = BY_NAME[name]
    settings = {s.name: s.value for s in settings_of(topic, replication)}
    settings |= {key.replace("_", "."): value for key, value in changed.items()}
    return TopicState(name, topic.partitions or partitions, replication, settings)


def faults(found, layout=ANY_LAYOUT):
    return faults_of(BY_NAME[found.name], found, layout)


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize("replication", [1, 3])
def test_a_topic_with_its_settings_has_no_fault(name, replication):
    assert faults(state(name, replication=replication), Layout(4, replication)) == []


def test_a_topic_that_does_not_exist_is_told_with_the_command_that_makes_it():
    (fault,) = faults_of(BY_NAME[REJECTS], None)
    assert str(fault) == "rejects: does not exist: `segstream topics create` makes it"
    assert fault.needed is None


@pytest.mark.parametrize(
    ("name", "setting", "found", "needed"),
    [
        (VIEW_EVENTS, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (USER_COMMANDS, "message.timestamp.type", "CreateTime", "LogAppendTime"),
        (VIEW_EVENTS, "retention.ms", "604800000", "1209600000"),
        (VIEW_EVENTS, "retention.bytes", "1073741824", "-1"),
        (VIEW_EVENTS, "cleanup.policy", "compact", "delete"),
        (RULESETS, "cleanup.policy", "delete", "compact"),
        (RULESETS, "cleanup.policy", "compact,delete", "compact"),
        (SEGMENT_CHANGES, "retention.ms", "31536000000", "-1"),
        (SEGMENT_CHANGES, "cleanup.policy", "compact", "delete"),
        (REJECTS, "retention.ms", "-1", "1209600000"),
        (LATE_EVENTS, "retention.ms", "-1", "1209600000"),
    ],
)
def test_a_wrong_setting_is_told_by_topic_and_name_with_the_value_that_mends_it(
    name, setting, found, needed
):
    (fault,) = faults(state(name, **{setting.replace(".", "_"): found}))
    assert (fault.topic, fault.setting, fault.needed) == (name, setting, needed)
    assert str(fault).startswith(f"{name} {setting}: is {found} and must be ")
    assert "`segstream topics create --fix` sets it" in str(fault)


@pytest.mark.parametrize(
    ("name", "retention_ms"),
    [(VIEW_EVENTS, "-1"), (VIEW_EVENTS, "2592000000"), (REJECTS, "86400000")],
)
def test_a_retention_that_does_as_well_is_no_fault(name, retention_ms):
    assert faults(state(name, retention_ms=retention_ms)) == []


def test_of_three_replicas_two_must_have_a_record():
    (fault,) = faults(state(VIEW_EVENTS, replication=3, min_insync_replicas="1"))
    assert (fault.setting, fault.needed) == ("min.insync.replicas", "2")


def test_fewer_partitions_or_replicas_than_asked_for_are_told_and_not_mended():
    found = state(VIEW_EVENTS, partitions=2, replication=1)
    told = faults(found, Layout(4, 2))
    assert [(fault.setting, fault.needed) for fault in told] == [
        ("partitions", None),
        ("replication", None),
    ]
    assert "Ask for --partitions 2" in told[0].problem
    assert faults(found, Layout(2, 1)) == []
    assert faults(found) == []


def test_rule_sets_in_several_partitions_have_no_order():
    found = state(RULESETS)._replace(partitions=3)
    (fault,) = faults(found, Layout(4, 1))
    assert str(fault).startswith("rulesets partitions: is 3 and must be 1")
    assert fault.needed is None
