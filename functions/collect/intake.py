"""The way of a beacon: signals, body, events, one transaction for all that came together, an answer for each."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aws_lambda_powertools import Logger

from collect.beacons import Beacon, Document, Unreadable, read
from collect.cleaning import Problem
from collect.events import Reader, consent_refused, identifier, members, sender_of
from storage import database, events, quarantine, refusals, visitors
from storage.events import Event
from storage.refusals import Refusal
from storage.settings import Settings

logger = Logger(service="collect")

UNSTORABLE = Problem("unstorable", "PostgreSQL refuses a value of this event")
SITE_UNKNOWN = Problem("site_unknown", "its site is not let in here; the operator lets sites in one by one")
SITE_UNNAMED = Problem(
    "site_unknown", "it names no site, and here sites are let in one by one; set its `url` or `site_id`"
)
SITE_REFUSED = Problem("site_refused", "the operator of this installation refused this site")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a beacon is answered: status and JSON body, None for an empty one."""

    status: int
    body: dict[str, Any] | None


@dataclass(slots=True)
class Reading:
    """What was found in one beacon, before anything is stored."""

    accepted: list[tuple[int, Event]] = field(default_factory=list)
    rejected: list[tuple[int, Problem]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    withheld: str | None = None
    withheld_events: int = 0
    unreadable: Unreadable | None = None
    failed: bool = False


def collect(settings: Settings, beacons: Sequence[Beacon], now: dt.datetime) -> list[Answer]:
    """Store what *beacons* hold and answer each, in order.

    Nothing is answered before all of it is committed. Events that came before, in this call or any other, are
    counted as duplicates by their event_id. A beacon that our own code trips over is answered 500 and takes no other
    with it. A beacon with a privacy signal, or an event whose visitor refused consent, leaves
    a number behind and nothing else.

    Raises:
        DatabaseUnavailable: nothing was stored; the same beacons can be handed in again.
    """
    readings = [_read_alone(settings, beacon, now) for beacon in beacons]
    accepted = [event for reading in readings for _, event in reading.accepted]
    refused = [refusal for reading in readings for refusal in reading.refusals]
    withheld: Counter[tuple[str, str | None]] = Counter()
    for beacon, reading in zip(beacons, readings, strict=True):
        if kept_out := 1 if reading.withheld else reading.withheld_events:
            site_id = sender_of(settings, beacon)
            withheld[reading.withheld or "consent", site_id] += kept_out

    def store(connection: database.Connection) -> tuple[set[str], dict[str, Problem]]:
        visitors.require_key(connection, settings.require_privacy_key())
        # A single statement is a transaction by itself, and nearly all that comes needs no other.
        with connection.transaction() if refused or withheld or settings.discovery != "auto" else nullcontext():
            doors = _by_door(connection, settings, accepted)
            appended = events.append(connection, doors.let_in)
            kept_apart = quarantine.keep(connection, doors.apart)
            unstorable = {**appended.unstorable, **kept_apart.unstorable}
            problems = doors.problems | dict.fromkeys(unstorable, UNSTORABLE)
            late = [_unstorable(event) for event in accepted if event.event_id in unstorable]
            refusals.keep(connection, refused + late)
            # Of a site that is not let in nothing is kept but how much of it came.
            turned_away = Counter(event.site_id for event in accepted if event.event_id in doors.problems)
            refusals.count_turned_away(connection, "refused", turned_away)
            refusals.count_withheld(connection, withheld)
            stored = {*appended.stored, *kept_apart.stored}
            fresh = stored | _of_erased(connection, [*doors.let_in, *doors.apart], stored)
            refusals.count_turned_away(connection, "duplicate", _duplicates(accepted, {*fresh, *problems}))
            return fresh, problems

    fresh, problems = database.run(settings.require_database(), store)
    return [_answer(reading, fresh, problems) for reading in readings]


@dataclass(slots=True)
class _Doors:
    """Which events go where; `problems` are those of events that go nowhere."""

    let_in: Sequence[Event] = ()
    apart: list[Event] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)


def _by_door(connection: database.Connection, settings: Settings, accepted: Sequence[Event]) -> _Doors:
    if settings.discovery == "auto" or not accepted:
        return _Doors(accepted)
    let_in, refused = quarantine.standing(connection, settings, {event.site_id for event in accepted if event.site_id})
    doors = _Doors([event for event in accepted if event.site_id in let_in])
    for event in accepted:
        if event.site_id in refused:
            doors.problems[event.event_id] = SITE_REFUSED
        elif event.site_id not in let_in:
            if event.site_id and settings.discovery == "allowlist":
                doors.apart.append(event)
            else:
                doors.problems[event.event_id] = SITE_UNKNOWN if event.site_id else SITE_UNNAMED
    return doors


def _read_alone(settings: Settings, beacon: Beacon, now: dt.datetime) -> Reading:
    try:
        return _read(settings, beacon, now)
    except Exception:
        logger.exception("beacon_failed", body_bytes=len(beacon.body))
        return Reading(failed=True)


def _read(settings: Settings, beacon: Beacon, now: dt.datetime) -> Reading:
    # Before the body is looked at: who asks not to be tracked is not read either.
    reading = Reading(withheld=beacon.signal)
    if reading.withheld:
        return reading
    try:
        document = read(beacon, settings.collect_max_body_bytes)
        if consent_refused(document.envelope):
            reading.withheld = "consent"
            return reading
        _read_members(settings, beacon, document, now, reading)
    except Unreadable as problem:
        reading.unreadable = problem
        site_id = sender_of(settings, beacon)
        # The body cannot be redacted, for it cannot be read; so only its size is kept.
        reading.refusals = [
            Refusal(beacon.id_of("refused"), problem.reason, problem.message, site_id, None, len(beacon.body), None)
        ]
    return reading


def _read_members(settings: Settings, beacon: Beacon, document: Document, now: dt.datetime, reading: Reading) -> None:
    reader = Reader(settings, beacon, document, now)
    for index, member in enumerate(members(document.envelope, settings.collect_max_events)):
        if isinstance(member, dict) and consent_refused(member):
            reading.withheld_events += 1
            continue
        event, problem, raw = reader.read(index, member)
        if event:
            reading.accepted.append((index, event))
        elif problem:
            reading.rejected.append((index, problem))
            reading.refusals.append(
                Refusal(
                    beacon.id_of(f"refused {index}"),
                    problem.reason,
                    problem.message,
                    reader.site_of(raw or {}),
                    identifier(raw, "visitor_id"),
                    len(beacon.body),
                    raw,
                    reader.visitor_hash(raw),
                )
            )
        else:
            reading.withheld_events += 1


def _of_erased(connection: database.Connection, sent: Sequence[Event], stored: set[str]) -> set[str]:
    """The events that were not stored because their visitor was erased: nobody is to tell that from the answer."""
    left = [event for event in sent if event.event_id not in stored and event.visitor_hash is not None]
    if not left:
        return set()
    erased = visitors.suppressed(connection, [event.visitor_hash for event in left if event.visitor_hash is not None])
    return {event.event_id for event in left if event.visitor_hash in erased}


def _duplicates(accepted: Sequence[Event], fresh: set[str]) -> Counter[str | None]:
    """By site, how many of the events had come before, or twice at once."""
    if len(accepted) == len(fresh):
        return Counter()
    found: Counter[str | None] = Counter()
    for event in accepted:
        if event.event_id in fresh:
            fresh.discard(event.event_id)
        else:
            found[event.site_id] += 1
    return found


def _unstorable(event: Event) -> Refusal:
    # An event's own id serves: it is refused once, however often it comes.
    return Refusal(
        event.event_id,
        UNSTORABLE.reason,
        UNSTORABLE.message,
        event.site_id,
        event.visitor_id,
        0,
        None,
        event.visitor_hash,
    )


def _answer(reading: Reading, fresh: set[str], problems: dict[str, Problem]) -> Answer:
    if reading.failed:
        return _refused(500, "internal_error", "this is our fault; the log has it by request id", {})
    if reading.withheld:
        return Answer(204, None)
    if reading.unreadable:
        return _refused(reading.unreadable.status, reading.unreadable.reason, reading.unreadable.message, {})
    rejected = list(reading.rejected)
    accepted = duplicates = 0
    for index, event in reading.accepted:
        if event.event_id in fresh:
            # Whoever else names this id, here or in a beacon beside it, repeats it.
            fresh.discard(event.event_id)
            accepted += 1
        elif event.event_id in problems:
            rejected.append((index, problems[event.event_id]))
        else:
            duplicates += 1
    if not rejected:
        return _all_stored(accepted, duplicates)
    counts = {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": [
            {"index": index, "reason": problem.reason, "message": problem.message}
            for index, problem in sorted(rejected, key=lambda item: item[0])
        ],
    }
    if accepted or duplicates:
        return Answer(202, counts)
    return _refused(400, rejected[0][1].reason, rejected[0][1].message, counts)


@lru_cache(maxsize=64)
def _all_stored(accepted: int, duplicates: int) -> Answer:
    if not accepted and not duplicates:
        return Answer(204, None)
    return Answer(202, {"accepted": accepted, "duplicates": duplicates, "rejected": []})


def _refused(status: int, code: str, message: str, counts: dict[str, Any]) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message}, **counts})
