"""What is used, counted as discovery reads the events: by site, day of UTC, and type. Only it writes those tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.database import Connection

# Counted by name, of each site; those that come after so many are counted together.
MOST_TYPES = 100


def count(connection: Connection, part: Mapping[str, int]) -> None:
    """Add the events of *part* (`mark` < id <= `end`), which are those that discovery has just read. Needs its turn."""
    connection.execute(NEW_TYPES, {**part, "sites": None, "most": MOST_TYPES})
    connection.execute(ADD, {**part, "sites": None})


def take_on(connection: Connection, site_ids: Sequence[str]) -> dict[str, Any] | None:
    """Meter sites by their names from now on, and what came of them before too. Needs the turn of discovery.

    It reads all events where some of theirs were counted under no name, which is so only after a flood of names: the
    part of the events that it read, None where it did not have to.
    """
    taken = connection.execute(TAKE_ON, (list(site_ids),)).fetchall()
    if not taken:
        return None
    part = {"mark": 0, "end": taken[0][1], "sites": [row[0] for row in taken]}
    connection.execute(NEW_TYPES, {**part, "most": MOST_TYPES})
    connection.execute(MOVE_BACK, part)
    connection.execute(ADD, part)
    return part


def let_go(connection: Connection, site_ids: Sequence[str]) -> None:
    """Count what was metered of sites that are forgotten under no name. Needs the turn of discovery."""
    for query in (LET_GO, LET_GO_DROPPED, FORGET_TYPES, FORGET_AUDIENCES):
        connection.execute(query, {"sites": list(site_ids)})
    # Should one of them come again, some of its events are counted already.
    connection.execute("/* metering.overflow */ UPDATE discovery_mark SET overflowed = true")


def begin_anew(connection: Connection, after: int = 0) -> None:
    """Let discovery read and count every event once more, if it has read events beyond *after*; what is gone stays counted."""
    with connection.transaction():
        if connection.execute(TURN_BACK, (after,)).rowcount:
            connection.execute(FORGET_COUNTS)
            connection.execute("/* metering.forget */ DELETE FROM usage_days")
            connection.execute("/* metering.keep_dropped */ INSERT INTO usage_days SELECT * FROM usage_dropped")


def add_gone(connection: Connection, arrived: str, sites: Mapping[str, int]) -> None:
    """Count events of the day of *arrived* that are gone, by site; of what type they were, and how large, nobody knows."""
    for query in (GONE, GONE_TOO):
        connection.execute(query, {"arrived": arrived, "sites": list(sites), "numbers": list(sites.values())})


def recount(connection: Connection) -> list[dict[str, Any]]:
    """Where `usage_days` is not what the events and those that are gone come to; nothing, or something is wrong.

    All is seen at one moment, and nobody waits.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        rows = connection.execute(RECOUNT).fetchall()
    names = ("day", "site_id", "event_type", "metered_events", "events", "metered_bytes", "bytes")
    return [dict(zip(names, row, strict=True)) for row in rows]


NEW_TYPES = """
    /* metering.new_types */
    INSERT INTO usage_types (site_id, event_type)
    SELECT site_id, event_type
      FROM (SELECT e.site_id, e.event_type, row_number() OVER (PARTITION BY e.site_id ORDER BY min(e.id)) AS place
              FROM events e JOIN sites s ON s.site_id = e.site_id AND s.metered
             WHERE e.id > %(mark)s AND e.id <= %(end)s AND (%(sites)s::text[] IS NULL OR e.site_id = ANY (%(sites)s))
               AND NOT EXISTS (SELECT 1 FROM usage_types t WHERE t.site_id = e.site_id AND t.event_type = e.event_type)
             GROUP BY e.site_id, e.event_type) new
     WHERE place + (SELECT count(*) FROM usage_types t WHERE t.site_id = new.site_id) <= %(most)s
"""
ADD = """
    /* metering.add */
    INSERT INTO usage_days AS used (day, site_id, event_type, events, bytes, bot_events)
    SELECT (e.created_at AT TIME ZONE 'UTC')::date, coalesce(s.site_id, ''), coalesce(t.event_type, ''), count(*),
           sum(octet_length(e.raw_event_data::text)), count(*) FILTER (WHERE e.raw_event_data ? '_bot')
      FROM events e
      LEFT JOIN sites s ON s.site_id = e.site_id AND s.metered
      LEFT JOIN usage_types t ON t.site_id = s.site_id AND t.event_type = e.event_type
     WHERE e.id > %(mark)s AND e.id <= %(end)s AND (%(sites)s::text[] IS NULL OR e.site_id = ANY (%(sites)s))
     GROUP BY 1, 2, 3
        ON CONFLICT ON CONSTRAINT usage_days_pkey
        DO UPDATE SET events = used.events + excluded.events, bytes = used.bytes + excluded.bytes,
                      bot_events = used.bot_events + excluded.bot_events
"""
TAKE_ON = """
    /* metering.take_on */
    UPDATE sites SET metered = true WHERE site_id = ANY (%s) AND NOT metered
    RETURNING site_id, (SELECT discovered_to_id FROM discovery_mark)
"""
MOVE_BACK = """
    /* metering.move_back */
    UPDATE usage_days used
       SET events = used.events - own.events, bytes = used.bytes - own.bytes, bot_events = used.bot_events - own.bots
      FROM (SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS events,
                   sum(octet_length(raw_event_data::text)) AS bytes,
                   count(*) FILTER (WHERE raw_event_data ? '_bot') AS bots
              FROM events WHERE id > %(mark)s AND id <= %(end)s AND site_id = ANY (%(sites)s) GROUP BY 1) own
     WHERE used.day = own.day AND used.site_id = ''
"""
LET_GO = """
    /* metering.let_go */
    WITH gone AS (DELETE FROM usage_days WHERE site_id = ANY (%(sites)s) RETURNING *)
    INSERT INTO usage_days AS used (day, site_id, event_type, events, bytes, bot_events)
    SELECT day, '', '', sum(events), sum(bytes), sum(bot_events) FROM gone GROUP BY day
        ON CONFLICT ON CONSTRAINT usage_days_pkey
        DO UPDATE SET events = used.events + excluded.events, bytes = used.bytes + excluded.bytes,
                      bot_events = used.bot_events + excluded.bot_events
"""
LET_GO_DROPPED = """
    /* metering.let_go_dropped */
    WITH gone AS (DELETE FROM usage_dropped WHERE site_id = ANY (%(sites)s) RETURNING *)
    INSERT INTO usage_dropped AS used (day, site_id, event_type, events, bytes, bot_events)
    SELECT day, '', '', sum(events), sum(bytes), sum(bot_events) FROM gone GROUP BY day
        ON CONFLICT ON CONSTRAINT usage_dropped_pkey
        DO UPDATE SET events = used.events + excluded.events, bytes = used.bytes + excluded.bytes,
                      bot_events = used.bot_events + excluded.bot_events
"""
FORGET_TYPES = "/* metering.forget_types */ DELETE FROM usage_types WHERE site_id = ANY (%(sites)s)"
FORGET_AUDIENCES = "/* metering.forget_audiences */ DELETE FROM usage_audiences WHERE site_id = ANY (%(sites)s)"
TURN_BACK = "/* metering.turn_back */ UPDATE discovery_mark SET discovered_to_id = 0 WHERE discovered_to_id > %s"
FORGET_COUNTS = """
    /* metering.forget_counts */
    UPDATE sites SET events = 0, agreeing_events = 0, differing_events = 0, bot_events = 0
"""
GONE = """
    /* metering.add_gone */
    INSERT INTO usage_dropped AS gone (day, site_id, event_type, events, bytes, bot_events)
    SELECT (%(arrived)s::timestamptz AT TIME ZONE 'UTC')::date, site_id, '', number, 0, 0
      FROM unnest(%(sites)s::text[], %(numbers)s::bigint[]) AS each (site_id, number)
        ON CONFLICT ON CONSTRAINT usage_dropped_pkey DO UPDATE SET events = gone.events + excluded.events
"""
GONE_TOO = """
    /* metering.add_gone_too */
    INSERT INTO usage_days AS used (day, site_id, event_type, events, bytes, bot_events)
    SELECT (%(arrived)s::timestamptz AT TIME ZONE 'UTC')::date, site_id, '', number, 0, 0
      FROM unnest(%(sites)s::text[], %(numbers)s::bigint[]) AS each (site_id, number)
        ON CONFLICT ON CONSTRAINT usage_days_pkey DO UPDATE SET events = used.events + excluded.events
"""
RECOUNT = """
    /* metering.recount */
    WITH counted AS (
        SELECT (e.created_at AT TIME ZONE 'UTC')::date AS day, coalesce(s.site_id, '') AS site_id,
               coalesce(t.event_type, '') AS event_type, count(*) AS events,
               sum(octet_length(e.raw_event_data::text)) AS bytes
          FROM events e
          LEFT JOIN sites s ON s.site_id = e.site_id AND s.metered
          LEFT JOIN usage_types t ON t.site_id = s.site_id AND t.event_type = e.event_type
         WHERE e.id <= (SELECT discovered_to_id FROM discovery_mark)
         GROUP BY 1, 2, 3
        UNION ALL SELECT day, site_id, event_type, events, bytes FROM usage_dropped),
    known AS (
        SELECT day, site_id, event_type, sum(events) AS events, sum(bytes) AS bytes FROM counted GROUP BY 1, 2, 3)
    SELECT day, site_id, event_type, coalesce(u.events, 0)::bigint, coalesce(k.events, 0)::bigint,
           coalesce(u.bytes, 0)::bigint, coalesce(k.bytes, 0)::bigint
      FROM usage_days u FULL JOIN known k USING (day, site_id, event_type)
     WHERE (coalesce(u.events, 0), coalesce(u.bytes, 0)) <> (coalesce(k.events, 0), coalesce(k.bytes, 0))
     ORDER BY day, site_id, event_type
"""
