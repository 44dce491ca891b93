"""The events store: append, count, look at, settle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, LiteralString

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from storage.database import Connection
from storage.errors import WritersBusy

# Where events go: to the others, or apart from them, until their site is let in (`quarantine`).
Table = Literal["events", "quarantined_events"]


@dataclass(slots=True)
class Event:
    """One accepted event: the columns of `events_log`, and the whole event as it was sent, redacted.

    `sender_agrees` says whether Origin or Referer are of its site too, where they say anything. `event_id` is a UUID in its canonical form: lower case, with hyphens (RFC 9562, 4). By `visitor_hash` an erased visitor
    is known again; without it nobody is.
    """

    event_id: str
    event_type: str
    session_id: str | None
    visitor_id: str | None
    site_id: str | None
    timestamp: dt.datetime
    url: str | None
    path: str | None
    user_agent: str | None
    ip_address: str | None
    raw_event_data: dict[str, Any]
    visitor_hash: int | None = None
    sender_agrees: bool | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events that were handed to `append`: stored now, or refused by PostgreSQL itself."""

    stored: frozenset[str]
    unstorable: dict[str, str]


def append(connection: Connection, events: Sequence[Event], into: Table = "events") -> Appended:
    """Store *events*, each event_id once, whoever else stores it at the same time, and none of visitors who were erased.

    One statement serves all of them. Should PostgreSQL refuse a value, the batch is halved until the event that
    carries it stands alone, so that it takes no other event with it. Commits when the caller's transaction does; where
    the caller has none, with each statement: one trip to the server for all, where a transaction takes three.
    """
    if not events:
        return Appended(frozenset(), {})
    # In one order everywhere: two writers that insert the same two ids the other way round would deadlock.
    ordered = sorted(events, key=lambda event: event.event_id)
    unstorable: dict[str, str] = {}
    stored = _append(connection, ordered, unstorable, into)
    return Appended(frozenset(stored), unstorable)


def _append(connection: Connection, events: Sequence[Event], unstorable: dict[str, str], into: Table) -> list[str]:
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    try:
        with nullcontext() if idle else connection.transaction():
            return _insert(connection, events, into)
    except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        if len(events) == 1:
            unstorable[events[0].event_id] = error.diag.message_primary or "PostgreSQL refused a value"
            return []
    middle = len(events) // 2
    return [
        stored for half in (events[:middle], events[middle:]) for stored in _append(connection, half, unstorable, into)
    ]


def _insert(connection: Connection, events: Sequence[Event], into: Table) -> list[str]:
    rows = connection.execute(
        INSERT[into],
        (Jsonb(events, orjson.dumps), list({event.visitor_hash for event in events if event.visitor_hash is not None})),
    ).fetchall()
    return [row[0] for row in rows]


# The two tables have the same columns; PostgreSQL takes no parameter for the name of one.
INSERT: dict[Table, LiteralString] = {
    "events": """
        /* events.append */
        INSERT INTO events (event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
                            user_agent, ip_address, raw_event_data, sender_agrees)
        SELECT event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
               user_agent, ip_address, raw_event_data, sender_agrees
          FROM jsonb_to_recordset(%s) AS event (
               event_id uuid, event_type text, session_id text, visitor_id text, site_id text,
               timestamp timestamptz, url text, path text, user_agent text, ip_address inet, raw_event_data jsonb,
               visitor_hash bigint, sender_agrees boolean)
         WHERE visitor_hash IS NULL OR visitor_hash <> ALL ((SELECT suppressed_among(%s))::bigint[])
            ON CONFLICT ON CONSTRAINT events_event_id_key DO NOTHING
        RETURNING event_id::text
        """,
    "quarantined_events": """
        /* events.append_apart */
        INSERT INTO quarantined_events (event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
                                        user_agent, ip_address, raw_event_data, sender_agrees)
        SELECT event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
               user_agent, ip_address, raw_event_data, sender_agrees
          FROM jsonb_to_recordset(%s) AS event (
               event_id uuid, event_type text, session_id text, visitor_id text, site_id text,
               timestamp timestamptz, url text, path text, user_agent text, ip_address inet, raw_event_data jsonb,
               visitor_hash bigint, sender_agrees boolean)
         WHERE visitor_hash IS NULL OR visitor_hash <> ALL ((SELECT suppressed_among(%s))::bigint[])
            ON CONFLICT ON CONSTRAINT quarantined_events_event_id_key DO NOTHING
        RETURNING event_id::text
        """,
}


def count(connection: Connection) -> int:
    """How many events are stored."""
    row = connection.execute("/* events.count */ SELECT count(*) FROM events").fetchone()
    return int(row[0]) if row else 0


def recent(
    connection: Connection, limit: int, site_id: str | None = None, most_bytes: int = 4_000_000
) -> list[dict[str, Any]]:
    """The last *limit* events, newest first, as rows of `events_log`; as many as have *most_bytes* of raw data."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            /* events.recent */
            SELECT id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                   host(ip_address) AS ip_address, raw_event_data::text AS raw_event_data, created_at, exported_at
              FROM events_log
             WHERE %(site_id)s::text IS NULL OR site_id = %(site_id)s
             ORDER BY id DESC
             LIMIT %(limit)s
            """,
            {"site_id": site_id, "limit": limit},
        ).fetchall()
    sizes = accumulate(len(row["raw_event_data"].encode()) for row in rows)
    kept = [row for row, size in zip(rows, sizes, strict=True) if size <= most_bytes]
    # As it is written: a number that PostgreSQL holds may fit no number of ours.
    return [{**row, "raw_event_data": orjson.Fragment(row["raw_event_data"])} for row in kept]


def settled_mark(connection: Connection) -> int:
    """The greatest id below which no event can appear any more; 0 while there is none.

    Writers hold the same lock, shared, from before they draw an id until they have committed (schema 0001). So the
    moment in which it is held exclusively has no writer under way, and it lasts for one look at the index. Whoever
    waits for it holds up the writers behind it, so the wait is short.

    Raises:
        WritersBusy: a writer did not end its transaction in time.
    """
    try:
        # In one trip, which is a transaction by itself: writers wait for PostgreSQL alone, and never for us. Each
        # statement sees what was committed before it began, so the look comes after the lock.
        looked = connection.execute(
            """
            /* events.mark */
            SET LOCAL lock_timeout = '500ms';
            SELECT pg_advisory_xact_lock(1163284308, 1);
            SELECT coalesce(max(id), 0) FROM events
            """,
            prepare=False,
        )
        while looked.nextset():
            pass
        row = looked.fetchone()
    except psycopg.errors.LockNotAvailable:
        raise WritersBusy("a transaction that stored events is still open; end it, or try again later") from None
    return int(row[0]) if row else 0


def reserve_ids(connection: Connection, highest: int) -> bool:
    """Give every event from now on an id after *highest*; False, and nothing done, if there are events already."""
    with connection.transaction():
        connection.execute("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
        row = connection.execute(
            """
            /* events.reserve_ids */
            SELECT setval(pg_get_serial_sequence('events', 'id'), greatest(%s, 1))
             WHERE NOT EXISTS (SELECT 1 FROM events)
            """,
            (highest,),
        ).fetchone()
    return row is not None


def put_back(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Store events under the ids that they had, in the order of `events_log`, and say how many. Needs a transaction.

    What came in again meanwhile, from a browser that was not sure, gives way to the event that it is.
    """
    connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS put_back (LIKE events) ON COMMIT DROP")
    connection.execute("TRUNCATE put_back")
    with connection.cursor().copy(
        """
        /* events.put_back */
        COPY put_back (id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                       ip_address, raw_event_data, created_at) FROM STDIN
        """
    ) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute("/* events.replacing */ SELECT set_config('evothesis.replacing', 'on', true)")
    connection.execute(
        "/* events.make_way */ DELETE FROM events USING put_back WHERE events.event_id = put_back.event_id"
    )
    return connection.execute(
        "/* events.put_back */ INSERT INTO events OVERRIDING SYSTEM VALUE SELECT * FROM put_back"
    ).rowcount
