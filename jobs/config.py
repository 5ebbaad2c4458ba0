"""What a job on a cluster is submitted with: one frozen document, read once at its start."""

from typing import Literal

import msgspec

from schemas.durations import DAY_MS, MINUTE_MS, SECOND_MS
from schemas.locations import CassandraUrl
from schemas.rulesets import RuleSet

Clock = Literal["wall", "events"]


class JobConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job between Kafka and a store. Lengths of time are milliseconds.

    With `clock` `wall`, event time follows the wall clock `disorder_ms` behind when no event
    comes; with `events` it is moved by events alone, as a replay of an old log needs it.
    A partition from which nothing came for `idle_ms` no longer holds event time back; None: it
    does for ever, so that a starved machine cannot overtake what is still to be read.
    `store` is None where changes go to their topic alone.
    `transaction_ms` must be longer than the longest outage that is to lose no change, and no
    longer than the broker's transaction.max.timeout.ms.
    """

    bootstrap: str
    ruleset: RuleSet
    store: CassandraUrl | None
    clock: Clock = "wall"
    parallelism: int = 1
    disorder_ms: int = MINUTE_MS
    idle_ms: int | None = MINUTE_MS
    checkpoint_ms: int = 10 * SECOND_MS
    transaction_ms: int = 15 * MINUTE_MS
    buffer_ms: int = 20
    dedupe_horizon_ms: int = DAY_MS
    dedupe_ids_max: int = 1_000
    values_max: int = 200
