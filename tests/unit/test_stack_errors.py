"""What is told of a server that failed, and of what is missing before one can start."""

import pytest

from stack.errors import ServerFailedError, StackError, telling_lines
from stack.java import maven_jars, require_java

pytestmark = pytest.mark.unit

BURIED = """\
+ java -cp old Main
ERROR the trouble of an earlier start
+ java -cp new Main
12:00:01,000 INFO  Server - starting
12:00:02,000 ERROR Server - cannot start
java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind(Net.java:555)
\t... 6 more
12:00:03,000 INFO  Server - shut down completely
"""


def test_the_reason_is_dug_out_of_the_last_start(tmp_path):
    log = tmp_path / "kafka.log"
    log.write_text(BURIED)
    assert telling_lines(log) == [
        "12:00:02,000 ERROR Server - cannot start",
        "java.net.BindException: Address already in use",
    ]
    said = str(ServerFailedError("kafka", "ended", log))
    assert said.startswith(f"kafka ended. Its log is {log}; it says:\n")
    assert said.endswith("\n  | java.net.BindException: Address already in use")


def test_routine_lines_are_shown_where_there_are_no_others(tmp_path):
    log = tmp_path / "kafka.log"
    log.write_text("+ java Main\n12:00:01 INFO  Server - starting\n")
    assert telling_lines(log) == ["12:00:01 INFO  Server - starting"]


def test_a_server_that_wrote_nothing_is_still_named(tmp_path):
    log = tmp_path / "kafka.log"
    assert str(ServerFailedError("kafka", "ended", log)) == f"kafka ended. Its log is {log}"


def test_java_must_be_there_and_be_17(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="Java 17 is missing"):
        require_java()
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\" 2023-10-17' >&2\n")
    java.chmod(0o755)
    with pytest.raises(StackError, match=r'Java 17 is needed, and .*java is openjdk version "21'):
        require_java()


def test_maven_must_be_there_only_when_jars_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="Maven is missing"):
        maven_jars("kafka", tmp_path / "jars")
