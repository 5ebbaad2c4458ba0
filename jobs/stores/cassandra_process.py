"""The store process of one subtask: `python -m jobs.stores.cassandra_process JOB`.

It reads messages from its standard input and answers on its standard output. It ends when its
input does, so it never outlives the operator, however that ends.
"""

import logging
import os
import signal
import sys
import time
from threading import Thread

import msgspec

from jobs.stores.cassandra_messages import (
    FromStore,
    PipeReader,
    WriterJob,
    decode_to_store,
    pack,
)
from jobs.stores.cassandra_sender import Inbox, Sender

END_WAIT_S = 1.0

log = logging.getLogger(__name__)


def main() -> None:
    """Serve one operator until it lets go."""
    # Ctrl-C is for the job; the job then lets go of this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The driver tells of each attempt at length; the sender tells of an outage once.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    job = msgspec.json.decode(sys.argv[1], type=WriterJob)
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever prints shall not get between the answers.
    os.dup2(2, 1)

    def tell(answer: FromStore) -> None:
        answers.write(pack(answer))
        answers.flush()

    inbox = Inbox()
    sender = Sender(job, inbox, tell, lambda: time.time_ns() // 1_000)
    thread = Thread(target=_run, args=(sender,), name="sender", daemon=True)
    thread.start()
    messages = PipeReader(0)
    while (taken := messages.take()) is not None:
        for message in taken:
            inbox.put(decode_to_store(message))
    inbox.close()
    thread.join(END_WAIT_S)
    # Not waiting for the driver's threads, which may still be looking for a node.
    os._exit(0)


def _run(sender: Sender) -> None:
    try:
        sender.run()
    except BrokenPipeError:
        os._exit(0)
    except Exception:
        log.exception("the sender broke down")
        os._exit(1)


if __name__ == "__main__":
    main()
