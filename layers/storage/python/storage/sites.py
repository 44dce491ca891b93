"""The sites that the pixel was seen on, as `discovery` found them."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from storage.database import Connection
from storage.naming import Site
from storage.settings import Settings

NAMELESS = Site()


def listing(connection: Connection, settings: Settings, after: str, limit: int) -> list[dict[str, Any]]:
    """The first *limit* sites whose names come *after* one, each with what it is, when it was seen, and its evidence."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            /* sites.listing */
            SELECT site_id, kind, registrable_domain, state, first_seen_at, last_seen_at, first_event_id, events,
                   agreeing_events, differing_events, bot_events, confirmed_at, confirmed_by,
                   handed_off_to, handed_off_at, handed_off_until,
                   (SELECT count(*) FROM quarantined_events q WHERE q.site_id = sites.site_id) AS quarantined_events
              FROM sites
             WHERE site_id > %s
             ORDER BY site_id
             LIMIT %s
            """,
            (after, limit),
        ).fetchall()
    return [{**row, **settings.sites.get(row["site_id"], NAMELESS).model_dump()} for row in rows]
