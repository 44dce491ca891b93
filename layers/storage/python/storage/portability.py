"""All that the database holds of one visitor, for whoever asks for a copy (GDPR, article 20)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import orjson
from psycopg.rows import dict_row

from storage.database import Connection

MOST_ROWS = 1000
MOST_BYTES = 4_000_000


def held(connection: Connection, visitor_id: str, after: int = 0) -> dict[str, Any]:
    """The events of a visitor with ids after *after*, oldest first, as rows of `events_log`; with the first, what was refused.

    As many as have four megabytes of raw data, and one at least; `next` is the *after* of the rest, None where there is none.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            /* portability.events */
            SELECT id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                   host(ip_address) AS ip_address, raw_event_data::text AS raw_event_data, created_at, exported_at
              FROM events_log WHERE visitor_id = %s AND id > %s ORDER BY id LIMIT %s
            """,
            (visitor_id, after, MOST_ROWS + 1),
        ).fetchall()
        refused = cursor.execute(
            """
            /* portability.refused */
            SELECT received_at, reason, message, site_id, payload::text AS payload
              FROM rejected_events WHERE visitor_id = %(visitor_id)s AND %(after)s = 0
            UNION ALL
            SELECT received_at, 'quarantined', 'its site is not let in yet', site_id, raw_event_data::text
              FROM quarantined_events WHERE visitor_id = %(visitor_id)s AND %(after)s = 0
             ORDER BY received_at
            """,
            {"visitor_id": visitor_id, "after": after},
        ).fetchall()
    page, more = page_of(rows)
    return {
        "events": page,
        "rejected_events": [_as_it_is(row, "payload") for row in refused],
        "next": str(page[-1]["id"]) if more else None,
    }


def page_of(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """As many of *rows* as make a page, one at least where there is one, and whether there are more."""
    sizes = accumulate(len(row["raw_event_data"].encode()) for row in rows)
    fit = min(max(1, sum(size <= MOST_BYTES for size in sizes)), MOST_ROWS)
    return [_as_it_is(row, "raw_event_data") for row in rows[:fit]], fit < len(rows)


def _as_it_is(row: dict[str, Any], name: str) -> dict[str, Any]:
    # A number that PostgreSQL holds may fit no number of ours.
    return {**row, name: orjson.Fragment(row[name]) if row[name] is not None else None}
