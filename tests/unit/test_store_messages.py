"""The pipes between the operator and its store process."""

import os
from contextlib import suppress

import pytest

from jobs.stores.cassandra_messages import (
    Flush,
    Flushed,
    PipeReader,
    PipeWriter,
    ProgressNote,
    RuleSetNote,
    Stored,
    UserSet,
    WriterCounts,
    decode_from_store,
    decode_to_store,
    pack,
)
from schemas.progress import Progress

pytestmark = pytest.mark.unit

BYTES_MAX = 1_000_000
LARGE = UserSet("u1", 1, 1, bytes(300_000), ())


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def taken(reader):
    return [decode_to_store(message) for message in reader.take()]


@pytest.mark.parametrize(
    ("message", "decode"),
    [
        (UserSet("u\0ü", 7, 2, b'{"a": 1}', ((1, b"one"), (2, b"two")), 1), decode_to_store),
        (RuleSetNote(3, b"\xff\x00"), decode_to_store),
        (
            ProgressNote(
                Progress(
                    subtask=1, parallelism=2, watermark=-(2**63), ruleset_version=3, written_at=4
                )
            ),
            decode_to_store,
        ),
        (Flush(4, 0.5), decode_to_store),
        (Stored([("u1", 2**60), ("", 0)], WriterCounts(stored=2)), decode_from_store),
        (Flushed(4, "no node answers", WriterCounts(dropped=1)), decode_from_store),
    ],
)
def test_a_message_arrives_as_it_was_put(pipe, message, decode):
    os.write(pipe[1], pack(message))
    (received,) = PipeReader(pipe[0]).take()
    assert decode(received) == message


def test_messages_are_taken_in_their_order_several_at_once(pipe):
    writer = PipeWriter(pipe[1], BYTES_MAX)
    flushes = [Flush(number, 1.0) for number in range(100)]
    for flush in flushes:
        assert writer.put(flush)
    assert taken(PipeReader(pipe[0])) == flushes


def test_what_does_not_fit_into_the_pipe_goes_on_later_in_pieces(pipe):
    writer, reader = PipeWriter(pipe[1], BYTES_MAX), PipeReader(pipe[0])
    for message in (LARGE, LARGE, Flush(1, 1.0)):
        assert writer.put(message)
    received = []
    while len(received) < 3:
        received += taken(reader)
        writer.push()
    assert received == [LARGE, LARGE, Flush(1, 1.0)]
    assert writer.push()


def test_beyond_what_may_be_kept_a_message_is_refused_until_there_is_room(pipe):
    writer, reader = PipeWriter(pipe[1], 100_000), PipeReader(pipe[0])
    assert writer.put(LARGE)
    assert not writer.put(Flush(1, 1.0))
    received = []
    while not received:
        received += taken(reader)
        writer.push()
    assert writer.put(Flush(2, 1.0))
    assert received + taken(reader) == [LARGE, Flush(2, 1.0)]


def test_nobody_to_read_is_told(pipe):
    writer = PipeWriter(pipe[1], BYTES_MAX)
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        writer.put(Flush(1, 1.0))


def test_the_end_of_the_pipe_is_told(pipe):
    os.close(pipe[1])
    assert PipeReader(pipe[0]).take() is None
