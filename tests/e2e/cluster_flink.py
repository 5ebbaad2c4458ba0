"""A Flink cluster asked over REST, and by Flink's own command."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pyflink

from jobs import operators
from tests.e2e.cluster_waiting import wait_until

_ENDED = {"CANCELED", "FAILED", "FINISHED"}
_SAVEPOINT = re.compile(r"Savepoint completed\. Path: (\S+)")


class FlinkCluster:
    """The jobs of one JobManager, whose REST is at `rest`."""

    def __init__(self, rest: str) -> None:
        self.rest = rest

    def ask(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        """What REST answers, decoded."""
        answer = httpx.request(method, self.rest + path, json=body, timeout=30, trust_env=False)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json()

    def free_slots(self) -> int:
        """How many subtasks of each operator have room."""
        return int(self.ask("/overview")["slots-available"])

    def jobs(self) -> list[str]:
        """The jobs that have not ended."""
        return [
            job["jid"] for job in self.ask("/jobs/overview")["jobs"] if job["state"] not in _ENDED
        ]

    def runs(self, job_id: str) -> bool:
        """Whether every subtask of a job runs."""
        job = self.ask(f"/jobs/{job_id}")
        return {job["state"], *(one["status"] for one in job["vertices"])} == {"RUNNING"}

    def restarted_at(self, job_id: str) -> int:
        """When a job was last restarted, in epoch ms; 0 if it never was."""
        return int(self.ask(f"/jobs/{job_id}")["timestamps"]["RESTARTING"])

    def tracked(self, job_id: str) -> int:
        """How many records TrackMembership has read since its last start."""
        return sum(
            vertex["metrics"]["read-records"]
            for vertex in self.ask(f"/jobs/{job_id}")["vertices"]
            if operators.TRACK_MEMBERSHIP in vertex["name"]
        )

    def plan(self, job_id: str) -> str:
        """What the job's operators are described as."""
        return json.dumps(self.ask(f"/jobs/{job_id}/plan"))

    def cancel(self, job_id: str) -> None:
        """Cancel a job and wait until there is room for another."""
        free = self.free_slots()
        self.ask(f"/jobs/{job_id}?mode=cancel", "PATCH")
        self._await_room(job_id, free)

    def checkpoint(self, job_id: str) -> None:
        """Have a checkpoint begin now, and wait until it is complete."""
        path = f"/jobs/{job_id}/checkpoints"
        asked = self.ask(path, "POST", {"checkpointType": "CONFIGURED"})

        def is_complete() -> bool:
            shown = self.ask(f"{path}/{asked['request-id']}")
            operation = shown.get("operation") or {}
            assert "failureCause" not in operation, operation
            return bool(shown["status"]["id"] == "COMPLETED")

        wait_until(is_complete, "the checkpoint is complete")

    def stop_with_savepoint(self, job_id: str, folder: Path) -> str:
        """Stop a job by hand, with Flink's own command; where the savepoint is."""
        free = self.free_slots()
        flink = Path(pyflink.__file__).parent / "bin" / "flink"
        done = subprocess.run(
            [
                *(str(flink), "stop", "--savepointPath", str(folder / "savepoints")),
                *("-m", self.rest.removeprefix("http://"), job_id),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self._await_room(job_id, free)
        return _SAVEPOINT.findall(done.stdout)[-1]

    def _await_room(self, job_id: str, free_before: int) -> None:
        wait_until(lambda: job_id not in self.jobs(), f"job {job_id} has ended")
        wait_until(lambda: self.free_slots() > free_before, "its slots are free")
