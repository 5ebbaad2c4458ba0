"""Rule sets published to a real broker."""

import json

import pytest
from kafka import KafkaProducer

from jobs.read_topic import read_to_end
from tests.e2e.topics.calling import RULESET, segstream

pytestmark = pytest.mark.e2e


def test_rule_sets_are_published_in_order_and_once(tmp_path, topics, bootstrap):
    def publish(status=0, **fields):
        path = tmp_path / "rules.json"
        path.write_text(json.dumps({**RULESET, **fields}, indent=4))
        return segstream("rules", "publish", path, "--bootstrap", bootstrap, status=status)

    assert "version 3 is published, at offset 0" in publish(version=3)
    assert "version 3 is already there, with the same content" in publish(version=3)
    assert "version 3 is on rulesets already, with other" in publish(
        1, version=3, attributes={**RULESET["attributes"], "colour": {"type": "category"}}
    )
    assert "version 2 is not above 3" in publish(1, version=2)
    assert "another window needs a new job" in publish(1, version=4, window="20d")
    said = publish(1, version="four", pane="7h")
    assert "$.version: Expected `int`, got `str`" in said
    assert "$.pane: 7h does not divide the window" in said
    assert "version 4 is published" in publish(version=4, window="240h")

    records = list(read_to_end(bootstrap, "rulesets"))
    assert [record.key for record in records] == [b"3", b"4"]
    assert json.loads(records[1].value)["window"] == "240h"

    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        producer.send("rulesets", b"no rule set", b"8").get(30)
    said = publish(1, version=8)
    assert "warning: rulesets offset 2: rule set has 1 fault(s)" in said
    assert "give this one version 9" in said
    assert "version 9 is published" in publish(version=9)
