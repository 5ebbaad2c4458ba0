"""A seeded log of a used-car marketplace: what its users would send, faults included."""

import gzip
import random
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from jobs.files import whole_file
from schemas.durations import DAY_MS, HOUR_MS, SECOND_MS
from schemas.events import Event

ADVERTS = 3_000
ARRIVAL_DELAY_MS_MAX = 30 * SECOND_MS
LATE_BY_DAYS = (11, 20)

_FUELS = {"petrol": 0.42, "diesel": 0.28, "hybrid": 0.18, "electric": 0.12}
_BODIES = {"hatchback": 0.34, "suv": 0.30, "estate": 0.16, "saloon": 0.14, "van": 0.06}
_MAKES = ("audi", "bmw", "ford", "kia", "nissan", "skoda", "tesla", "toyota", "volkswagen", "volvo")
_TYPES = {"view": 0.86, "search": 0.09, "click": 0.05}
_SPELLINGS = {
    "electric": ("electric", "Electric", "EV", "electric "),
    "petrol": ("petrol", "Petrol", "gasoline"),
}

_json = msgspec.json.Encoder().encode


class Shares(NamedTuple):
    """Which shares of the lines are not plain events in order."""

    duplicates: float
    disorder: float
    late: float
    malformed: float


class _Arrival(NamedTuple):
    at_ms: int
    number: int
    line: bytes


class _Marketplace:
    """Adverts, and users whose tastes lean to some of them and drift."""

    def __init__(self, users: int, days: int, chance: random.Random) -> None:
        self._chance = chance
        self._days = days
        self._by_taste: dict[str, list[dict[str, str | int]]] = {fuel: [] for fuel in _FUELS}
        for number in range(ADVERTS):
            advert = self._advert(number)
            self._by_taste[str(advert["fuel_type"])].append(advert)
        self._adverts = [advert for adverts in self._by_taste.values() for advert in adverts]
        self._activity = [min(chance.paretovariate(1.1), 60.0) for _ in range(users)]
        self._tastes = [
            (self._weighted(_FUELS), self._weighted(_FUELS), chance.uniform(0.2, 1.0) * days)
            for _ in range(users)
        ]

    def sessions(self, count: int, start_ms: int) -> Iterable[Event]:
        """`count` events, session by session, in no order between sessions."""
        users = range(len(self._activity))
        made = session = 0
        while made < count:
            user = self._chance.choices(users, self._activity)[0]
            session += 1
            # Evenings are busier: the mean of two hours of the day, pushed towards 20:00.
            hour = self._chance.triangular(0, 24, 20)
            day = self._chance.randrange(self._days)
            at_ms = start_ms + day * DAY_MS + int(hour * HOUR_MS)
            for _ in range(min(1 + int(self._chance.expovariate(1 / 6)), count - made)):
                at_ms += self._chance.randint(2, 90) * SECOND_MS + self._chance.randrange(1000)
                yield self._event(user, session, made, at_ms, day)
                made += 1

    def _event(self, user: int, session: int, number: int, at_ms: int, day: int) -> Event:
        chance = self._chance
        first, second, drift_day = self._tastes[user]
        taste = first if day < drift_day else second
        adverts = self._by_taste[taste] if chance.random() < 0.7 else self._adverts
        advert = chance.choice(adverts)
        fuel = str(advert["fuel_type"])
        attributes = {
            "fuel_type": chance.choice(_SPELLINGS.get(fuel, (fuel,))),
            "body_type": advert["body_type"],
            "make": advert["make"],
            "price": advert["price"],
            "mileage": advert["mileage"],
        }
        kind = self._weighted(_TYPES)
        if kind == "search":
            attributes = {"fuel_type": fuel, "body_type": advert["body_type"]}
        return Event(
            event_id=f"e{number}",
            user_id=f"u{user}",
            type=kind,
            occurred_at=at_ms,
            session_id=f"s{session}",
            item_id=None if kind == "search" else str(advert["item_id"]),
            attributes={
                name: value for name, value in attributes.items() if chance.random() < 0.97
            },
        )

    def _advert(self, number: int) -> dict[str, str | int]:
        fuel = self._weighted(_FUELS)
        age = self._chance.triangular(0, 15, 3)
        new_price = self._chance.lognormvariate(10.2, 0.4) * (1.25 if fuel == "electric" else 1.0)
        return {
            "item_id": f"a{number}",
            "fuel_type": fuel,
            "body_type": self._weighted(_BODIES),
            "make": self._chance.choice(_MAKES),
            "price": max(500, round(new_price * 0.86**age / 50) * 50),
            "mileage": int(age * self._chance.uniform(4_000, 14_000)),
        }

    def _weighted(self, weights: dict[str, float]) -> str:
        return self._chance.choices(tuple(weights), tuple(weights.values()))[0]


def generate_log(
    path: Path, lines: int, users: int, days: int, start_ms: int, seed: int, shares: Shares
) -> str:
    """Write a log of exactly `lines` lines; returns in words what was written.

    Every event that comes out of order does so by less than 30 s. A late event follows one of the
    same user that is at least 11 days newer.

    Raises:
        ValueError: the shares leave no room for plain events.
        OSError: the file cannot be written.
    """
    copies, late, bad = (
        round(lines * s) for s in (shares.duplicates, shares.late, shares.malformed)
    )
    plain = lines - copies - late - bad
    if plain <= 0:
        raise ValueError("the shares of duplicates, late and malformed lines add up to all of them")
    chance = random.Random(seed)
    events = sorted(
        _Marketplace(users, days, chance).sessions(plain, start_ms), key=lambda e: e.occurred_at
    )
    arrivals = []
    delayed = 0
    for number, event in enumerate(events):
        delay_ms = 0
        if chance.random() < shares.disorder:
            delay_ms = chance.randint(1, ARRIVAL_DELAY_MS_MAX)
            delayed += 1
        arrivals.append(_Arrival(event.occurred_at + delay_ms, number, _json(event)))
    for arrival in chance.choices(arrivals, k=copies):
        delay_ms = chance.randint(0, ARRIVAL_DELAY_MS_MAX)
        arrivals.append(_Arrival(arrival.at_ms + delay_ms, len(arrivals), arrival.line))
    for event in chance.choices(events, k=late):
        old = msgspec.structs.replace(
            event,
            event_id=f"late{len(arrivals)}",
            occurred_at=event.occurred_at - chance.randint(*LATE_BY_DAYS) * DAY_MS,
        )
        after_ms = event.occurred_at + ARRIVAL_DELAY_MS_MAX
        arrivals.append(_Arrival(after_ms, len(arrivals), _json(old)))
    for event in chance.choices(events, k=bad):
        line = chance.choice(MALFORMED)(event)
        arrivals.append(_Arrival(event.occurred_at, len(arrivals), line))
    arrivals.sort()
    _write(path, arrivals)
    return (
        f"{lines:,} lines: {plain:,} events of {users:,} users over {days} days"
        f" ({delayed:,} out of order), {copies:,} duplicates, {late:,} late, {bad:,} malformed"
    )


def _changed(**fields: object) -> Callable[[Event], bytes]:
    def line(event: Event) -> bytes:
        return _json({**msgspec.to_builtins(event), **fields})

    return line


def _without(name: str) -> Callable[[Event], bytes]:
    def line(event: Event) -> bytes:
        record = msgspec.to_builtins(event)
        del record[name]
        return _json(record)

    return line


MALFORMED: tuple[Callable[[Event], bytes], ...] = (
    lambda event: _json(event)[:-7],
    lambda event: b"GET /adverts/" + event.event_id.encode(),
    lambda event: _json(event).replace(b"view", b"vi\xff\xfew") + b"\xc3",
    lambda _: b"",
    lambda _: b"[1, 2]",
    _changed(occurred_at="yesterday"),
    _changed(occurred_at=-1),
    _changed(occurred_at=1_700_000_000),
    _changed(occurred_at=253_402_300_800_000),
    _changed(user_id=17),
    _changed(user_id=""),
    _changed(schema_version=99),
    _changed(attributes={"fuel_type": {"nested": True}}),
    _without("user_id"),
    _without("occurred_at"),
)


def _write(path: Path, arrivals: list[_Arrival]) -> None:
    """Write the lines beside the target, then put the file in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as raw:
        # No name and no time in the header: the same seed gives the same bytes.
        zipped = gzip.GzipFile("", "wb", 6, raw, 0) if path.suffix == ".gz" else None
        with closing(zipped or raw) as out:
            for arrival in arrivals:
                out.write(arrival.line + b"\n")
