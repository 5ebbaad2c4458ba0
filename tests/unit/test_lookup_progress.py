"""How far the job has come and whether it lives: what its notes say, and what answers then say."""

import asyncio
import json

import msgspec
import pytest

from schemas.progress import Progress
from serving.lookup.answers import UserAnswer
from serving.lookup.settings import LookupSettings
from serving.lookup.store import JobProgress, StoreError, job_progress
from serving.lookup.watch import JobWatch
from tests.unit.builders import START, segment, user_segments
from tests.unit.lookups import PATIENT, GatedReader, app_client

pytestmark = pytest.mark.unit

NOW = START + 1_000_000
U1 = "/v1/users/u1/segments"


def note(subtask=0, parallelism=1, watermark=START, written_at=NOW):
    return Progress(
        subtask=subtask,
        parallelism=parallelism,
        watermark=watermark,
        ruleset_version=1,
        written_at=written_at,
    )


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([], (0, 0)),
        ([note()], (START, NOW)),
        ([note(0, 2, START + 5, NOW), note(1, 2, START, NOW + 9)], (START, NOW)),
        # Scaled down: the subtask that is no more does not hold time back.
        ([note(0, 1, START + 9, NOW + 9), note(1, 2, START, NOW)], (START + 9, NOW + 9)),
        # Scaling up: until a subtask has written, what was there under its number stands for it.
        ([note(0, 2, START + 9, NOW + 9), note(1, 3, START, NOW)], (START, NOW)),
        # Not all have ever written: the job as a whole has said nothing.
        ([note(0, 2, START + 9, NOW)], (START + 9, 0)),
        # No event yet.
        ([note(watermark=-(2**63))], (0, NOW)),
    ],
)
def test_the_notes_of_the_parallelism_written_last_count(notes, expected):
    assert job_progress(notes) == JobProgress(*expected)
    assert job_progress(notes[::-1]) == JobProgress(*expected)


class Clocks:
    """This process' clocks, which go as fast as the test says."""

    def __init__(self):
        self.seconds = 500.0

    def monotonic(self):
        return self.seconds

    def wall(self):
        return NOW / 1000 + self.seconds - 500


class Watched:
    """A watch of a job whose notes the test writes."""

    def __init__(self, dead_after_seconds=10.0):
        self.reader = GatedReader()
        self.clocks = Clocks()
        settings = LookupSettings(job_dead_after_seconds=dead_after_seconds)
        self.watch = JobWatch(self.reader, settings, self.clocks.monotonic, self.clocks.wall)

    def hear(self, job, after_seconds=0.0):
        """Ask when so much time has passed; what fresh answers say from then on."""
        self.clocks.seconds += after_seconds
        self.reader.job = job
        try:
            asyncio.run(self.watch.ask())
        except StoreError:
            assert isinstance(job, StoreError)
        said = json.loads(b"{" + self.watch.fresh_tail.json)
        assert said["stale"] == (said["stale_reason"] is not None)
        return said["as_of"], said["stale_reason"]


def test_a_job_that_goes_on_writing_lives():
    watched = Watched()
    for second in range(30):
        written = JobProgress(START + second, NOW + second * 1000)
        assert watched.hear(written, 1.0) == (START + second, None)


def test_a_job_that_replays_history_lives_however_old_its_watermark():
    assert Watched().hear(JobProgress(1, NOW)) == (1, None)


def test_a_job_that_stops_writing_is_dead_after_the_time_given_and_lives_when_it_writes_again():
    watched = Watched()
    watched.hear(JobProgress(START, NOW))
    assert watched.hear(JobProgress(START, NOW), 9.9) == (START, None)
    assert watched.hear(JobProgress(START, NOW), 0.2) == (START, "job")
    assert watched.watch.job_is_silent
    assert watched.watch.silent_seconds == pytest.approx(10.1)
    assert watched.hear(JobProgress(START + 1, NOW + 20_000), 1.0) == (START + 1, None)


def test_a_job_found_dead_is_told_at_once():
    assert Watched().hear(JobProgress(START, NOW - 10_001)) == (START, "job")
    assert Watched().hear(JobProgress(START, NOW - 9_000)) == (START, None)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_job_whose_clock_is_wrong_is_neither_dead_nor_immortal(hours):
    watched = Watched()
    skewed = NOW + hours * 3_600_000
    watched.hear(JobProgress(START, skewed))
    assert watched.hear(JobProgress(START, skewed + 1_000), 1.0) == (START, None)
    assert watched.hear(JobProgress(START, skewed + 1_000), 10.1) == (START, "job")


def test_an_older_note_is_no_sign_of_life():
    """Replicas may differ over the last words of a dead job."""
    watched = Watched()
    watched.hear(JobProgress(START + 1, NOW))
    for _ in range(6):
        watched.hear(JobProgress(START, NOW - 1_000), 1.0)
        last = watched.hear(JobProgress(START + 1, NOW), 1.0)
    assert last == (START + 1, "job")


def test_a_bounded_run_has_ended_and_cannot_be_dead():
    watched = Watched()
    assert watched.hear(JobProgress(START, None)) == (START, None)
    assert watched.hear(JobProgress(START, None), 1_000_000.0) == (START, None)


def test_progress_that_cannot_be_read_for_too_long_is_a_dead_job():
    down = StoreError("down")
    for written_at in (NOW, None):
        watched = Watched()
        watched.hear(JobProgress(START, written_at))
        assert watched.hear(down, 9.9) == (START, None)
        assert watched.hear(down, 0.2) == (START, "job")
        back = JobProgress(START + 1, written_at and written_at + 11_000)
        assert watched.hear(back, 1.0) == (START + 1, None)


def test_a_job_that_never_wrote_is_not_heard_of():
    watched = Watched()
    assert watched.hear(JobProgress(0, 0)) == (0, "job")
    assert watched.watch.silent_seconds == float("inf")


def test_a_store_that_was_emptied_does_not_undo_how_far_the_job_had_come():
    watched = Watched()
    watched.hear(JobProgress(START, NOW))
    assert watched.hear(JobProgress(0, 0), 1.0) == (START, None)
    assert watched.hear(JobProgress(0, 0), 10.0) == (START, "job")
    assert watched.hear(JobProgress(START - 5, NOW + 12_000), 1.0) == (START - 5, None)


def test_nothing_is_answered_before_it_is_known_how_far_the_job_had_come():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        reader.job = StoreError("no progress for this test")
        settings = PATIENT._replace(progress_seconds=0.01)
        async with app_client(lambda: reader, settings) as client:
            refused = await client.get(U1)
            reader.job = JobProgress(START, None)
            while (good := await client.get(U1)).status_code == 503:
                await asyncio.sleep(0.01)
        return refused, good

    refused, good = asyncio.run(run())
    assert (refused.status_code, refused.json()["detail"]) == (503, "no progress for this test")
    assert good.json()["as_of"] == START


def answers_as_time_goes_on(segments, *jobs, settings=PATIENT):
    """What is answered of one user, read once, as the job's progress comes in."""

    async def run():
        reader = GatedReader()
        reader.gate.set()
        reader.current = user_segments(segments=segments)
        reader.job = jobs[0]
        found = []
        async with app_client(lambda: reader, settings) as client:
            for job in jobs:
                reader.job = job
                assert (await client.get("/readyz")).status_code == 200
                found.append(await client.get(U1))
        assert reader.asked == ["u1"]
        return found

    return asyncio.run(run())


def test_a_segment_is_left_out_from_when_it_ends_though_the_user_is_not_read_again():
    held = [segment("a=1", START + 5), segment("b=2", START + 9)]
    times = [START, START + 4, START + 5, START + 8, START + 9, START + 8, START]
    responses = answers_as_time_goes_on(held, *(JobProgress(at, None) for at in times))
    answers = [msgspec.json.decode(r.content, type=UserAnswer) for r in responses]
    assert [answer.as_of for answer in answers] == times
    assert [[s.segment for s in answer.segments] for answer in answers] == [
        ["a=1", "b=2"],
        ["a=1", "b=2"],
        ["b=2"],
        ["b=2"],
        [],
        ["b=2"],
        ["a=1", "b=2"],
    ]


def test_an_answer_has_another_validator_when_its_time_or_its_standing_is_another():
    jobs = [JobProgress(START, 1), JobProgress(START + 1, 1), JobProgress(START + 1, None)]
    dead, dead_later, alive = answers_as_time_goes_on([segment()], *jobs)
    assert dead.json()["stale_reason"] == dead_later.json()["stale_reason"] == "job"
    assert alive.json()["stale_reason"] is None
    assert len({r.headers["etag"] for r in (dead, dead_later, alive)}) == 3
    assert dead.headers["cache-control"] == "no-store"


def test_the_bytes_of_an_answer_are_those_of_its_message():
    for response in answers_as_time_goes_on([segment()], JobProgress(START, None)):
        decoded = msgspec.json.decode(response.content, type=UserAnswer, strict=True)
        assert msgspec.json.encode(decoded) == response.content


def test_a_dead_job_is_shown_while_the_store_is_ready():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        reader.job = JobProgress(START, 1)
        async with app_client(lambda: reader) as client:
            ready = await client.get("/readyz")
            user = await client.get(U1)
            batch = await client.post("/v1/segments:batchGet", json={"user_ids": ["u1", "u2"]})
            metrics = await client.get("/metrics")
        return ready, user, batch, metrics

    ready, user, batch, metrics = asyncio.run(run())
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "job": "silent"})
    assert (user.status_code, user.json()["stale"], user.json()["stale_reason"]) == (
        200,
        True,
        "job",
    )
    assert [one["stale_reason"] for one in batch.json()["users"]] == ["job", "job"]
    shown = dict(line.rsplit(" ", 1) for line in metrics.text.splitlines())
    assert float(shown["segstream_as_of_timestamp_seconds"]) == START / 1000
    assert float(shown["segstream_job_progress_age_seconds"]) > 1_000_000


def test_a_store_that_cannot_be_asked_outdoes_a_dead_job():
    async def run():
        reader = GatedReader()
        reader.gate.set()
        reader.job = JobProgress(START, 1)
        async with app_client(lambda: reader, PATIENT._replace(fresh_seconds=0.0)) as client:
            before = await client.get(U1)
            reader.broken = True
            return before, await client.get(U1)

    before, after = asyncio.run(run())
    assert before.json()["stale_reason"] == "job"
    assert after.json() == {**before.json(), "stale_reason": "store"}
    assert after.headers["etag"] != before.headers["etag"]
