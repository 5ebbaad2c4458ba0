"""Topics on a real broker: made, checked and put right."""

import json
import subprocess

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource

from jobs.kafka_admin import check_topics
from jobs.read_topic import read_to_end
from tests.e2e.topics.calling import COMMAND, NAMES, RULESET, event_line, segstream, write_log

pytestmark = pytest.mark.e2e


def create(admin, name, partitions=1, **settings):
    admin.create_topics(
        {name: {"num_partitions": partitions, "replication_factor": 1, "configs": settings}},
        wait_for_metadata=True,
    )


def settings_of(admin, name):
    found = admin.describe_configs([ConfigResource("TOPIC", name)], config_filter="all")
    return {key: entry["value"] for key, entry in found["topic"][name].items()}


def test_topics_are_created_with_their_settings_once(admin, bootstrap):
    said = segstream("topics", "check", "--bootstrap", bootstrap, status=1)
    assert said.count("does not exist: `segstream topics create` makes it") == len(NAMES)

    said = segstream("topics", "create", "--bootstrap", bootstrap, "--partitions", 2)
    assert [f"{name}: created" in said for name in NAMES] == [True] * len(NAMES)
    counts = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(NAMES)}
    assert counts == {name: 1 if name == "rulesets" else 2 for name in NAMES}
    assert settings_of(admin, "view-events")["message.timestamp.type"] == "LogAppendTime"
    assert int(settings_of(admin, "view-events")["retention.ms"]) > 10 * 86_400_000
    assert settings_of(admin, "user-commands")["message.timestamp.type"] == "LogAppendTime"
    assert settings_of(admin, "rulesets")["cleanup.policy"] == "compact"
    assert settings_of(admin, "segment-changes")["retention.ms"] == "-1"
    assert int(settings_of(admin, "rejects")["retention.ms"]) > 0
    assert int(settings_of(admin, "late-events")["retention.ms"]) > 0

    said = segstream("topics", "create", "--bootstrap", bootstrap, "--partitions", 2)
    assert said == "the topics are as the job needs them\n"
    assert "are as the job needs" in segstream("topics", "check", "--bootstrap", bootstrap)
    assert check_topics(bootstrap) == []
    listed = segstream("topics", "list", "--bootstrap", bootstrap)
    assert "rulesets         partitions=1 replicas=1 cleanup.policy=compact\n" in listed


def test_wrong_settings_are_told_changed_by_fix_alone_and_cost_no_record(admin, bootstrap):
    create(admin, "view-events", 2, **{"retention.ms": "3600000"})
    create(admin, "rulesets", 3)
    create(admin, "segment-changes", 2, **{"cleanup.policy": "compact", "retention.ms": "1000000"})
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        producer.send("segment-changes", b"kept", b"u1").get(30)

    wrong = {
        "view-events message.timestamp.type: is CreateTime and must be LogAppendTime",
        "view-events retention.ms: is 3600000 and must be 1209600000 or more",
        "rulesets cleanup.policy: is delete and must be compact",
        "segment-changes cleanup.policy: is compact and must be delete",
        "segment-changes retention.ms: is 1000000 and must be -1",
    }
    asked = ("topics", "create", "--bootstrap", bootstrap, "--partitions", 3)
    said = segstream(*asked, status=1)
    assert {fault for fault in wrong if fault not in said} == set()
    assert "view-events partitions: is 2, and 3 are asked for. Ask for --partitions 2" in said
    assert "rulesets partitions: is 3 and must be 1" in said
    assert settings_of(admin, "view-events")["retention.ms"] == "3600000"

    said = segstream(*asked[:-1], 2, "--fix", status=1)
    assert "view-events message.timestamp.type: set to LogAppendTime" in said
    assert "error: rulesets partitions: is 3 and must be 1" in said
    assert [fault.setting for fault in check_topics(bootstrap)] == ["partitions"]
    assert settings_of(admin, "segment-changes")["cleanup.policy"] == "delete"
    assert [record.value for record in read_to_end(bootstrap, "segment-changes")] == [b"kept"]


def test_more_replicas_than_brokers_are_refused_plainly(admin, bootstrap):
    said = segstream("topics", "create", "--bootstrap", bootstrap, "--replication", 3, status=1)
    assert "view-events cannot be created: " in said
    assert "replication factor" in said
    assert not set(NAMES) & set(admin.list_topics())


COMMANDS = [
    ("topics", "create"),
    ("topics", "check"),
    ("topics", "list"),
    ("rules", "publish", "rules.json"),
    ("produce", "--events", "log.jsonl"),
    ("changes",),
    ("changes", "--follow"),
]


def outcomes(folder, commands, *options):
    """What each of the commands says, all run at once with these options, and their statuses."""
    write_log(folder / "log.jsonl", [event_line(1)])
    (folder / "rules.json").write_text(json.dumps(RULESET))
    running = [
        subprocess.Popen(
            [*COMMAND, *command, *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    return dict(zip(commands, said, strict=True)), {process.returncode for process in running}


def test_a_broker_that_is_not_there_is_told_in_one_line(tmp_path):
    said, statuses = outcomes(tmp_path, COMMANDS, "--bootstrap", "127.0.0.1:1")
    assert statuses == {1}
    for text in said.values():
        (line,) = [line for line in text.splitlines() if not line.startswith("producing")]
        assert line.startswith("error: no Kafka broker answers at 127.0.0.1:1 within 10 s")
        assert "--bootstrap" in line


def test_an_address_that_is_none_is_told_at_once(tmp_path):
    said, statuses = outcomes(tmp_path, COMMANDS, "--bootstrap", "localhost")
    assert statuses == {1}
    assert all("error: --bootstrap 'localhost': write HOST:PORT" in text for text in said.values())


def test_a_missing_topic_is_told_with_the_command_that_makes_it(tmp_path, admin, bootstrap):
    said, statuses = outcomes(tmp_path, COMMANDS[3:], "--bootstrap", bootstrap)
    assert statuses == {1}
    for text in said.values():
        assert f"at {bootstrap}: `segstream topics create --bootstrap {bootstrap}` makes it" in text
    assert not set(NAMES) & set(admin.list_topics()), "asking makes none"
