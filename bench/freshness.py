"""From an event on its way to Kafka to a lookup that shows it, at a steady load.

Probe users are one view short of a segment. Their last view is sent, and from that moment the
served lookup is asked for them again and again until it shows the segment.
"""

import asyncio
import json
import time
from pathlib import Path
from statistics import median, quantiles

from kafka import KafkaProducer

from bench.core import RULESET
from bench.logs import PLAIN, SEED, START_MS
from bench.processes import process, seconds_of, segstream, server
from bench.report import print_table, progress
from jobs.generate import generate_log
from schemas.topics import VIEW_EVENTS
from stack.servers import Stack, StackSpec, up

LOAD_PER_S = 1_000
PROBES_PER_S = 5
ROUNDS = 3
ROUND_S = 30
WARM_UP_S = 20
ASK_EVERY_S = 0.01
GIVE_UP_S = 20.0
VIEWS_NEEDED = 5
SEGMENT = b'"fuel_type=electric"'
FLOOR_P50_MS, FLOOR_P99_MS = 300, 1_000


def run(folder: Path) -> None:
    """Start every server, submit the job, and measure while a log is produced."""
    log = folder / "events.jsonl"
    probes = PROBES_PER_S * ROUND_S
    lines = LOAD_PER_S * (WARM_UP_S + ROUNDS * (ROUND_S + 30))
    # One day, so that nothing has left the window by the wall clock.
    generate_log(log, lines, lines // 20, 1, START_MS, SEED, PLAIN)
    with up(StackSpec(folder / "stack", task_managers=2)) as stack:
        _prepare(stack, folder)
        store = stack.cassandra.store()
        serve = segstream("serve", "--store", store, "--port", 0)
        produce = segstream(
            *("produce", "--bootstrap", stack.kafka.bootstrap, "--events", log),
            *("--rate", LOAD_PER_S, "--time-shift", "now"),
        )
        with (
            server(serve, folder) as port,
            (folder / "produce.txt").open("wb") as said,
            process(produce, folder, said.fileno()),
        ):
            producer = KafkaProducer(bootstrap_servers=stack.kafka.bootstrap, acks="all")
            progress(f"{LOAD_PER_S:,} events a second, {WARM_UP_S} s to warm up")
            time.sleep(WARM_UP_S)
            rounds = []
            for number in range(ROUNDS):
                took = asyncio.run(_round(producer, port, number, probes))
                rounds.append(took)
                progress(f"round {number + 1}: p50 {median(took):,.0f} ms of {len(took)} probes")
            producer.close()
    _print(rounds)


def _prepare(stack: Stack, folder: Path) -> None:
    bootstrap, store = stack.kafka.bootstrap, stack.cassandra.store()
    for command in (
        segstream("topics", "create", "--bootstrap", bootstrap),
        segstream("store", "migrate", "--store", store),
        segstream(
            *("submit", "--flink", stack.flink.rest, "--bootstrap", bootstrap, "--store", store),
            *("--ruleset", RULESET, "--parallelism", 2),
        ),
    ):
        seconds_of(command, folder)


async def _round(producer: KafkaProducer, port: int, number: int, probes: int) -> list[float]:
    """Milliseconds of each probe, at a steady rate."""
    users = [f"probe-{number}-{probe}" for probe in range(probes)]
    for view in range(1, VIEWS_NEEDED):
        for user in users:
            _send(producer, user, view)
    producer.flush()
    tasks = []
    started = time.perf_counter()
    for probe, user in enumerate(users):
        await asyncio.sleep(max(0.0, started + probe / PROBES_PER_S - time.perf_counter()))
        tasks.append(asyncio.create_task(_probe(producer, port, user)))
    return list(await asyncio.gather(*tasks))


async def _probe(producer: KafkaProducer, port: int, user: str) -> float:
    """Send a user's last view and ask until the lookup shows the segment.

    Raises:
        RuntimeError: it never did.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /v1/users/{user}/segments HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
    started = time.perf_counter()
    _send(producer, user, VIEWS_NEEDED)
    try:
        while time.perf_counter() - started < GIVE_UP_S:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if SEGMENT in await reader.readexactly(length):
                return (time.perf_counter() - started) * 1000
            await asyncio.sleep(ASK_EVERY_S)
    finally:
        writer.close()
    raise RuntimeError(f"{user}: not in the segment after {GIVE_UP_S} s")


def _send(producer: KafkaProducer, user: str, view: int) -> None:
    event = {
        "event_id": f"{user}-{view}",
        "user_id": user,
        "type": "view",
        "occurred_at": int(time.time() * 1000),
        "attributes": {"fuel_type": "electric"},
    }
    producer.send(VIEW_EVENTS, json.dumps(event).encode(), user.encode())


def _print(rounds: list[list[float]]) -> None:
    cuts = [quantiles(took, n=100) for took in rounds]
    p50, p90, p99 = (median(cut[at] for cut in cuts) for at in (49, 89, 98))
    print_table(
        f"freshness: event sent to lookup that shows it, at {LOAD_PER_S:,} events a second",
        [
            f"medians of {ROUNDS} rounds of {len(rounds[0])} probes, {PROBES_PER_S} a second;"
            " two TaskManagers; serve as it is by default",
            f"each asks every {ASK_EVERY_S * 1000:.0f} ms from the moment of sending, so the answer"
            " before is already cached",
        ],
        ("", "p50 ms", "p90 ms", "p99 ms", "slowest"),
        [
            (
                "segstream",
                f"{p50:,.0f}",
                f"{p90:,.0f}",
                f"{p99:,.0f}",
                f"{max(map(max, rounds)):,.0f}",
            )
        ],
    )
    kept = p50 <= FLOOR_P50_MS and p99 <= FLOOR_P99_MS
    verdict = "kept" if kept else "MISSED"
    print(f"  floor: p50 {FLOOR_P50_MS} ms, p99 {FLOOR_P99_MS} ms - {verdict}")
