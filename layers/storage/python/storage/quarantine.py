"""Events of sites that have to be let in and were not yet: kept apart, then moved to the events or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg.rows import dict_row

from storage import events
from storage.database import Connection
from storage.events import Appended, Event
from storage.settings import Settings

# Moved in one transaction, while which whoever erases waits.
BITE = 5_000


def standing(connection: Connection, settings: Settings, site_ids: Iterable[str]) -> tuple[set[str], set[str]]:
    """Which of *site_ids* are let in, and which were refused; of the others nobody said anything."""
    asked = set(site_ids)
    known = asked & settings.sites.keys()
    refused: set[str] = set()
    if asked - known:
        for site_id, state in connection.execute(
            "/* quarantine.standing */ SELECT site_id, state FROM sites WHERE site_id = ANY (%s) AND state <> 'seen'",
            ([*(asked - known)],),
        ):
            (known if state == "confirmed" else refused).add(site_id)
    return known, refused


def keep(connection: Connection, apart: Sequence[Event]) -> Appended:
    """Keep events apart, each event_id once, as `events.append` stores others."""
    return events.append(connection, apart, into="quarantined_events")


def settle(connection: Connection, settings: Settings) -> None:
    """Move the events of sites that are let in to the others, under new ids, and drop those of refused ones.

    They count as received when they are moved. In bites, each of its own transaction: whoever is killed loses nothing.
    """
    connection.execute(
        """
        /* quarantine.drop */
        DELETE FROM quarantined_events WHERE site_id IN (SELECT site_id FROM sites WHERE state = 'refused')
        """
    )
    let_in = [
        row[0] for row in connection.execute(LET_IN, {"named": [*settings.sites], "all": settings.discovery == "auto"})
    ]
    while let_in:
        with connection.transaction():
            # Whoever erases finds an event here or there, and not on its way.
            connection.execute("/* quarantine.turn */ SELECT pg_advisory_xact_lock(1163284308, 5)")
            if connection.execute(MOVE, {"sites": let_in, "bite": BITE}).rowcount < BITE:
                return


def waiting(connection: Connection, most: int, site_id: str | None = None) -> list[dict[str, Any]]:
    """The *most* sites with most events kept apart, or one: how many, and when the first and the last came."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* quarantine.waiting */
            SELECT q.site_id, q.events, q.first_seen_at, q.last_seen_at, first.event_id AS first_event_id
              FROM (SELECT site_id, count(*) AS events, min(id) AS first_id, min(received_at) AS first_seen_at,
                           max(received_at) AS last_seen_at
                      FROM quarantined_events WHERE %(site_id)s::text IS NULL OR site_id = %(site_id)s
                     GROUP BY site_id ORDER BY events DESC, site_id LIMIT %(most)s) q
              JOIN quarantined_events first ON first.id = q.first_id
            """,
            {"most": most, "site_id": site_id},
        ).fetchall()


LET_IN = """
    /* quarantine.let_in */
    SELECT site_id FROM sites WHERE state = 'confirmed'
       AND EXISTS (SELECT 1 FROM quarantined_events q WHERE q.site_id = sites.site_id)
    UNION SELECT site_id FROM quarantined_events WHERE site_id = ANY (%(named)s)
    UNION SELECT site_id FROM quarantined_events WHERE %(all)s
"""
# Under ids that are drawn now, so that the next export has them; in the order in which all writers take event_ids.
MOVE = """
    /* quarantine.move */
    WITH moved AS (
        DELETE FROM quarantined_events
         WHERE id IN (SELECT id FROM quarantined_events WHERE site_id = ANY (%(sites)s) ORDER BY id LIMIT %(bite)s)
        RETURNING id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                  ip_address, raw_event_data, sender_agrees),
    stored AS (
        INSERT INTO events (event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                            ip_address, raw_event_data, sender_agrees)
        SELECT event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
               ip_address, raw_event_data, sender_agrees
          FROM moved ORDER BY event_id
            ON CONFLICT ON CONSTRAINT events_event_id_key DO NOTHING)
    SELECT id FROM moved
"""
