"""Processes are found again by pid and start, and end with their children."""

import signal
import sys

import psutil
import pytest

from stack.process import Command, Process, end, start

pytestmark = pytest.mark.unit

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, subprocess, sys, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]);"
    "print('child', child.pid, flush=True); time.sleep(600)"
)
LISTENER = (
    "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
    "print('port', s.getsockname()[1], flush=True); time.sleep(600)"
)


@pytest.fixture
def run(tmp_path):
    """Start a Python program; none outlives the test."""
    started = []

    def run_program(program):
        command = Command((sys.executable, "-c", program), tmp_path)
        started.append(start(command, tmp_path / "log"))
        return started[-1]

    yield run_program
    end(started, signal.SIGKILL, 10)


def said(log, word, process):
    """The number that a program prints after `word`, as soon as it does."""
    while process.found() is not None:
        for line in log.read_text().splitlines():
            if line.startswith(f"{word} ") and log.read_text().endswith("\n"):
                return int(line.split()[1])
    raise AssertionError(log.read_text())


def test_a_process_is_found_while_it_runs(run):
    process = run(SLEEPER)
    assert process.found().pid == process.pid
    assert process.memory_bytes() > 0
    end([process], signal.SIGTERM, 10)
    assert process.found() is None
    assert process.memory_bytes() == 0
    assert process.listening_ports() == frozenset()


def test_another_process_with_the_same_pid_is_left_alone(run):
    process = run(SLEEPER)
    earlier = Process(process.pid, process.started_s - 100)
    assert earlier.found() is None
    end([earlier], signal.SIGKILL, 10)
    assert process.found() is not None


def test_a_process_that_ignores_the_signal_is_killed_and_its_child_ends(run, tmp_path):
    process = run(STUBBORN)
    child = said(tmp_path / "log", "child", process)
    end([process], signal.SIGTERM, 0.2)
    assert process.found() is None
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_only_the_ports_of_the_process_itself_count(run, tmp_path):
    listener = run(LISTENER)
    port = said(tmp_path / "log", "port", listener)
    assert listener.listening_ports() == {port}
    assert run(SLEEPER).listening_ports() == frozenset()


def test_a_log_begins_with_the_command(run, tmp_path):
    run(SLEEPER)
    assert (tmp_path / "log").read_text().startswith(f"+ {sys.executable} -c 'import time;")
