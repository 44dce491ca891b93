"""The sites that the pixel was seen on, discovered from the events themselves."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from storage import events
from storage.database import Connection


def discover(connection: Connection) -> list[str]:
    """Read the events that came since the last call, and name the sites that were not known before.

    Atomic and exact: the mark moves in the same transaction, only up to ids that are settled, and of callers at the
    same time one reads while the others wait; so every event counts once and a site is new once.
    """
    settled = events.settled_mark(connection)
    with connection.transaction():
        row = connection.execute("/* sites.mark */ SELECT discovered_to_id FROM discovery_mark FOR UPDATE").fetchone()
        mark = int(row[0]) if row else 0
        if settled <= mark:
            return []
        found = connection.execute(
            """
            /* sites.discover */
            INSERT INTO sites AS known (site_id, first_seen_at, last_seen_at, first_event_id, events)
            SELECT site_id, min(created_at), max(created_at), (array_agg(event_id ORDER BY id))[1], count(*)
              FROM events
             WHERE id > %s AND id <= %s AND site_id IS NOT NULL
             GROUP BY site_id
             ORDER BY site_id
                ON CONFLICT ON CONSTRAINT sites_pkey DO UPDATE
                SET last_seen_at = greatest(known.last_seen_at, excluded.last_seen_at),
                    events = known.events + excluded.events
            RETURNING site_id, known.xmax = 0
            """,
            (mark, settled),
        ).fetchall()
        connection.execute("/* sites.advance */ UPDATE discovery_mark SET discovered_to_id = %s", (settled,))
    return [site_id for site_id, is_new in found if is_new]


def listing(connection: Connection, after: str, limit: int) -> list[dict[str, Any]]:
    """The first *limit* sites whose names come *after* one, with first and last sight and number of events."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* sites.listing */
            SELECT site_id, first_seen_at, last_seen_at, first_event_id, events
              FROM sites
             WHERE site_id > %s
             ORDER BY site_id
             LIMIT %s
            """,
            (after, limit),
        ).fetchall()
