"""The peer on Quix Streams: one share rule from Kafka to Kafka, exactly once, in one process.

Started as `quix_job.py BOOTSTRAP EVENTS CHANGES GROUP STATE_FOLDER COMMIT_S`, as often as there are
to be processes; each takes its share of the partitions. It runs in an environment of its own and
imports nothing of this project.

Quix keeps state by record key, has no timers, and shows a function the state of its record's key
alone. Membership must also end for users who send nothing, so every record of a partition gets the
same key: the users of a partition then share one store, in which each has an entry and each hour
has the list of the users to look at.
"""

import sys
from collections.abc import Iterator
from typing import Any

from quixstreams import Application, State, message_context
from quixstreams.models.serializers import Deserializer

HOUR_MS = 3_600_000
WINDOW_HOURS = 240
DEDUPE_S = 86_400
IDS_MAX = 1_000
DISORDER_MS = 60_000
ENTER, LEAVE, MIN_VIEWS = 0.5, 0.4, 5
SYNONYMS = {"ev": "electric", "gasoline": "petrol"}
NONE = ""
TURNED_HOUR = "turned"

Change = dict[str, str | int | float]
Profile = dict[str, Any]


class OneKey(Deserializer):  # type: ignore[misc]
    """The same key for every record."""

    def __call__(self, value: bytes, ctx: object) -> str:  # noqa: ARG002
        return "users"


class Partition:
    """How far event time is in one partition: the hours whose lists have been worked off."""

    def __init__(self, state: State) -> None:
        self.latest_ms = 0
        self.turned = state.get(TURNED_HOUR, 0)


class Tracker:
    """Keeps users in the segments that their views of the last ten days qualify them for."""

    def __init__(self) -> None:
        self._partitions: dict[int, Partition] = {}

    def __call__(self, event: dict[str, Any], state: State) -> list[Change]:
        """Take one event: the changes that it causes, after those that time has caused."""
        number = message_context().partition
        partition = self._partitions.get(number)
        if partition is None:
            partition = self._partitions[number] = Partition(state)
        at_ms = event["occurred_at"]
        changes: list[Change] = []
        if at_ms > partition.latest_ms:
            partition.latest_ms = at_ms
            hour = (at_ms - DISORDER_MS) // HOUR_MS
            if hour > partition.turned:
                changes.extend(self._turn(partition, hour, state))
        changes.extend(_track(event["user_id"], event, at_ms, state))
        return changes

    def _turn(self, partition: Partition, hour: int, state: State) -> Iterator[Change]:
        """Work off the lists of the hours that event time has passed."""
        first = partition.turned + 1 if partition.turned else hour
        for due in range(first, hour + 1):
            for user_id in state.get(f"hour {due}", ()):
                profile = state.get(user_id)
                if profile is not None:
                    profile["wake"] = 0
                    yield from _expire(user_id, profile, due)
                    _forget(profile["ids"], due * HOUR_MS // 1000 - DEDUPE_S)
                    _keep(user_id, profile, state)
            state.delete(f"hour {due}")
        partition.turned = hour
        state.set(TURNED_HOUR, hour)


def _track(user_id: str, event: dict[str, Any], at_ms: int, state: State) -> Iterator[Change]:
    profile: Profile | None = state.get(user_id)
    if profile is None:
        profile = {"clock": 0, "wake": 0, "ids": {}, "panes": {}, "in": [], "views": 0, "of": {}}
    ids, event_id, hour = profile["ids"], event["event_id"], at_ms // HOUR_MS
    clock_ms = max(profile["clock"], at_ms)
    clock_s = clock_ms // 1000
    _forget(ids, clock_s - DEDUPE_S)
    if event_id in ids or hour <= profile["clock"] // HOUR_MS - WINDOW_HOURS:
        return
    yield from _expire(user_id, profile, clock_ms // HOUR_MS)
    profile["clock"] = clock_ms
    if event["type"] == "view":
        _count(profile, str(hour), event)
        yield from _decide(user_id, profile, clock_ms)
    if len(ids) == IDS_MAX:
        del ids[next(iter(ids))]
    ids[event_id] = clock_s
    _keep(user_id, profile, state)


def _forget(ids: dict[str, int], oldest_s: int) -> None:
    """Drop the ids that the horizon has passed; they stand in the order of their times."""
    while ids and ids[first := next(iter(ids))] <= oldest_s:
        del ids[first]


def _count(profile: Profile, hour: str, event: dict[str, Any]) -> None:
    fuel = str(event.get("attributes", {}).get("fuel_type") or NONE).strip().casefold()
    fuel = SYNONYMS.get(fuel, fuel)
    pane, of = profile["panes"].setdefault(hour, {}), profile["of"]
    pane[fuel] = pane.get(fuel, 0) + 1
    of[fuel] = of.get(fuel, 0) + 1
    profile["views"] += 1


def _expire(user_id: str, profile: Profile, hour: int) -> Iterator[Change]:
    """Let the panes up to the window's start at `hour` leave, one boundary after the other."""
    panes, of = profile["panes"], profile["of"]
    for pane in sorted(pane for pane in panes if int(pane) + WINDOW_HOURS <= hour):
        for fuel, views in panes.pop(pane).items():
            profile["views"] -= views
            of[fuel] -= views
        boundary_ms = (int(pane) + WINDOW_HOURS) * HOUR_MS
        profile["clock"] = max(profile["clock"], boundary_ms)
        yield from _decide(user_id, profile, boundary_ms)


def _decide(user_id: str, profile: Profile, at_ms: int) -> Iterator[Change]:
    views, of, held = profile["views"], profile["of"], profile["in"]
    for fuel, matching in list(of.items()):
        bound = LEAVE if fuel in held else ENTER
        qualifies = views >= MIN_VIEWS and matching / views >= bound and fuel != NONE
        if qualifies != (fuel in held):
            (held.append if qualifies else held.remove)(fuel)
            yield {
                "user_id": user_id,
                "segment": f"fuel_type={fuel}",
                "change": "enter" if qualifies else "leave",
                "at": at_ms,
                "score": matching / views if views else 0.0,
                "matching": matching,
                "views": views,
            }
        if not matching:
            del of[fuel]


def _keep(user_id: str, profile: Profile, state: State) -> None:
    """Write the profile back, and note the hour in which the user must be looked at again."""
    panes, ids = profile["panes"], profile["ids"]
    if not (panes or ids):
        state.delete(user_id)
        return
    if panes:
        wake = min(map(int, panes)) + WINDOW_HOURS
    else:
        wake = (next(reversed(ids.values())) + DEDUPE_S) * 1000 // HOUR_MS + 1
    if not profile["wake"] or wake < profile["wake"]:
        profile["wake"] = wake
        state.set(f"hour {wake}", [*state.get(f"hour {wake}", ()), user_id])
    state.set(user_id, profile)


def main(
    bootstrap: str, events: str, changes: str, group: str, state_folder: str, commit_s: str
) -> None:
    """Process until told to stop."""
    app = Application(
        bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=float(commit_s),
        state_dir=state_folder,
        auto_create_topics=True,
        loglevel="WARNING",
    )
    source = app.topic(events, key_deserializer=OneKey(), value_deserializer="json")
    sink = app.topic(changes, key_serializer="str", value_serializer="json")
    tracked = app.dataframe(source).apply(Tracker(), stateful=True, expand=True)
    tracked.to_topic(sink, key=lambda change: change["user_id"])
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
