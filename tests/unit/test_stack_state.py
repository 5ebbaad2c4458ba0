"""What `up` takes from a folder, and what it refuses before it starts anything."""

import msgspec
import pytest

from stack.errors import StackError
from stack.process import Process
from stack.servers import Stack, StackSpec, merged_state, up
from stack.state import Ports, State, choose_ports, read_state, write_state

pytestmark = pytest.mark.unit

KNOWN = State(("kafka",), Ports(1, 2, 3, 4, 5, 6), 2, {"kafka": Process(17, 4.5)})


def test_a_new_stack_has_everything_on_ports_of_its_own():
    state = merged_state(StackSpec(), None)
    assert state.parts == ("kafka", "cassandra", "flink")
    assert state.task_managers == 2
    ports = msgspec.structs.astuple(state.ports)
    assert len(set(ports)) == len(ports)
    assert all(10_000 <= port < 32_000 for port in ports)


def test_ports_that_were_asked_for_are_taken():
    ports = choose_ports(kafka=9092, cassandra=0, flink=8081)
    assert (ports.kafka, ports.flink) == (9092, 8081)


def test_a_known_stack_keeps_its_ports_and_processes_and_grows():
    spec = StackSpec(parts=("flink",), task_managers=3, kafka_port=1)
    grown = merged_state(spec, KNOWN)
    assert grown == msgspec.structs.replace(KNOWN, parts=("kafka", "flink"), task_managers=3)
    assert merged_state(StackSpec(), KNOWN) == KNOWN


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (StackSpec(kafka_port=9092), "--kafka-port 9092: kafka has port 1"),
        (StackSpec(flink_port=8081), "--flink-port 8081: flink has port 5"),
        (StackSpec(task_managers=1), "has 2 TaskManagers, and `up` stops none"),
    ],
)
def test_what_a_known_stack_cannot_become_is_refused(spec, message):
    with pytest.raises(StackError, match=message):
        merged_state(spec, KNOWN)


def test_a_state_is_read_as_it_was_written(tmp_path):
    assert read_state(tmp_path) is None
    write_state(tmp_path, KNOWN)
    assert read_state(tmp_path) == KNOWN
    assert [file.name for file in tmp_path.iterdir()] == ["stack.json"]


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "stack.json").write_text('{"parts": ["zookeeper"]}')
    with pytest.raises(StackError, match=r"stack\.json is damaged: .*zookeeper"):
        read_state(tmp_path)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="is no stack and not empty"):
        up(StackSpec(tmp_path))
    with pytest.raises(StackError, match="there is no stack in"):
        Stack(tmp_path).down()
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
