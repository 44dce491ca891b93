"""New sites are found in the events themselves, told of once, and confirmed once there is evidence enough.

Anybody can send events of any name. So a name alone costs next to nothing and is billed nothing: few unconfirmed ones are
kept, the weakest go first, and how many are told of in a day is bounded. What was sent is stored whatever becomes of a name.
"""

from __future__ import annotations

import hashlib

from psycopg.types.json import Jsonb

from storage import audiences, domains, events, metering, quarantine, quotas
from storage.confirmation import confirm_evident, confirm_named, take_turn, tell_flood, tell_new
from storage.database import Connection
from storage.settings import Settings

# So many events are read in a transaction, so that memory does not grow with how many are waiting.
BITE = 100_000
# Of sites that were neither confirmed nor told of.
MOST_UNCONFIRMED = 1_000


def discover(connection: Connection, settings: Settings) -> list[str]:
    """Read the events that came since the last call, and name the sites that are kept of those that were not known before.

    Atomic and exact: the mark moves in the same transaction, only up to ids that are settled, and of callers at the
    same time one reads while the others wait; so every event counts once, and each site is told of once: by
    `site.discovered` when it is new, and by `site.confirmed` when it is certain.

    Raises:
        WritersBusy: a writer did not end its transaction in time.
    """
    quarantine.settle(connection, settings)
    settled = events.settled_mark(connection)
    found = find_quarantined(connection)
    while _bite(connection, settings, settled, found):
        pass
    with connection.transaction():
        take_turn(connection)
        confirm_named(connection, settings)
        if settings.discovery == "auto":
            confirm_evident(connection, settings)
        tell_new(connection, settings)
        tell_flood(connection, MOST_UNCONFIRMED)
        quotas.watch(connection, settings)
        known = connection.execute(
            "/* discovery.kept */ SELECT site_id FROM sites WHERE site_id = ANY (%s)", ([*found],)
        )
        return sorted(row[0] for row in known)


def _bite(connection: Connection, settings: Settings, settled: int, found: set[str]) -> bool:
    """Read the next events, and say whether there may be more."""
    with connection.transaction():
        mark = take_turn(connection)
        if settled <= mark:
            return False
        row = connection.execute(BITE_END, {"mark": mark, "settled": settled, "bite": BITE}).fetchone()
        end = row[0] if row and row[0] is not None else settled
        part = {"mark": mark, "end": end, "most": MOST_UNCONFIRMED}
        connection.execute(KNOWN, part)
        new = connection.execute(NEW, part).fetchall()
        found.update(row[0] for row in new)
        _name_domains(connection)
        _gather_evidence(connection, settings, part)
        unplaced = max((row[1] for row in new), default=0) - len(new) + _drop_weakest(connection)
        metering.count(connection, part)
        audiences.count(connection, settings.require_privacy_key(), part)
        connection.execute(ADVANCE, {"end": end, "unplaced": unplaced})
        return end < settled


def _drop_weakest(connection: Connection) -> int:
    dropped = [row[0] for row in connection.execute(DROP_WEAKEST, {"most": MOST_UNCONFIRMED})]
    if dropped:
        metering.let_go(connection, dropped)
    return len(dropped)


def find_quarantined(connection: Connection, site_id: str | None = None) -> set[str]:
    """Record the sites whose events are kept apart, those with most first, or one; none of their events counts yet."""
    apart = quarantine.waiting(connection, MOST_UNCONFIRMED, site_id)
    if not apart:
        return set()
    names = ("site_id", "first_seen_at", "last_seen_at", "first_event_id")
    with connection.transaction():
        take_turn(connection)
        new = connection.execute(NEW_APART, [[one[name] for one in apart] for name in names]).fetchall()
        _name_domains(connection)
        if site_id is None:
            _drop_weakest(connection)
    return {site_id for site_id, is_new in new if is_new}


def _name_domains(connection: Connection) -> None:
    unnamed = connection.execute("/* discovery.unnamed */ SELECT site_id FROM sites WHERE kind IS NULL").fetchall()
    named = [(site_id, domains.of(site_id)) for (site_id,) in unnamed]
    connection.execute(
        """
        /* discovery.name_domains */
        UPDATE sites SET kind = named.kind, registrable_domain = named.registrable
          FROM unnest(%s::text[], %s::text[], %s::text[]) AS named (site_id, kind, registrable)
         WHERE sites.site_id = named.site_id
        """,
        (
            [site_id for site_id, _ in named],
            [domain.kind for _, domain in named],
            [domain.registrable for _, domain in named],
        ),
    )


def _gather_evidence(connection: Connection, settings: Settings, part: dict[str, int]) -> None:
    """Keep of each site that is not confirmed the sessions that were first, and the one that began last."""
    waiting: dict[str, dict[str, float]] = dict(
        connection.execute(
            "/* discovery.waiting */ SELECT site_id, sessions FROM sites WHERE state = 'seen' AND kind = 'public'"
        ).fetchall()
    )
    # By name: a table of names that come and go is one of which PostgreSQL never knows how large it is.
    which = {**part, "sessions": settings.discovery_sessions, "waiting": [*waiting]}
    sessions: dict[str, dict[str, float]] = {}
    for site_id, session_id, first in connection.execute(EVIDENCE, which).fetchall():
        known = sessions.setdefault(site_id, waiting[site_id])
        name = hashlib.sha256(session_id.encode()).hexdigest()[:16]
        known[name] = min(first.timestamp(), known.get(name, first.timestamp()))
    for site_id, known in sessions.items():
        ordered = sorted(known.items(), key=lambda item: item[1])
        most = settings.discovery_sessions
        kept = dict(ordered if len(ordered) <= most else [*ordered[: most - 1], ordered[-1]])
        connection.execute(
            "/* discovery.keep_evidence */ UPDATE sites SET sessions = %s WHERE site_id = %s", (Jsonb(kept), site_id)
        )


BITE_END = """
    /* discovery.bite */
    SELECT max(id) FROM (SELECT id FROM events WHERE id > %(mark)s AND id <= %(settled)s ORDER BY id LIMIT %(bite)s) next
"""
KNOWN = """
    /* discovery.known */
    UPDATE sites SET last_seen_at = greatest(last_seen_at, seen.last), events = sites.events + seen.events,
                     agreeing_events = agreeing_events + seen.agreeing, differing_events = differing_events + seen.differing,
                     bot_events = bot_events + seen.bots
      FROM (SELECT site_id, max(created_at) AS last, count(*) AS events, count(*) FILTER (WHERE sender_agrees) AS agreeing,
                   count(*) FILTER (WHERE NOT sender_agrees) AS differing,
                   count(*) FILTER (WHERE raw_event_data ? '_bot') AS bots
              FROM events WHERE id > %(mark)s AND id <= %(end)s AND site_id IS NOT NULL GROUP BY site_id) seen
     WHERE sites.site_id = seen.site_id
"""
# Of many new names those first that have something to show.
NEW = """
    /* discovery.new */
    WITH unknown AS MATERIALIZED (
        SELECT site_id, min(created_at) AS first, max(created_at) AS last, min(id) AS first_id, count(*) AS events,
               count(*) FILTER (WHERE sender_agrees) AS agreeing, count(*) FILTER (WHERE NOT sender_agrees) AS differing,
               count(*) FILTER (WHERE raw_event_data ? '_bot') AS bots,
               count(DISTINCT session_id) FILTER (WHERE sender_agrees AND NOT raw_event_data ? '_bot') AS sessions
          FROM events e
         WHERE id > %(mark)s AND id <= %(end)s AND site_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM sites WHERE sites.site_id = e.site_id)
         GROUP BY site_id)
    INSERT INTO sites (site_id, first_seen_at, last_seen_at, first_event_id, events, agreeing_events, differing_events, bot_events,
                       metered)
    SELECT site_id, first, last, (SELECT event_id FROM events WHERE id = first_id), events, agreeing, differing, bots,
           (SELECT NOT overflowed FROM discovery_mark)
      FROM unknown ORDER BY sessions DESC, events DESC, first_id LIMIT %(most)s
    RETURNING site_id, (SELECT count(*) FROM unknown)
"""
NEW_APART = """
    /* discovery.new_apart */
    INSERT INTO sites (site_id, first_seen_at, last_seen_at, first_event_id, events, metered)
    SELECT *, 0, (SELECT NOT overflowed FROM discovery_mark) FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::uuid[])
        ON CONFLICT ON CONSTRAINT sites_pkey DO UPDATE SET last_seen_at = greatest(sites.last_seen_at, excluded.last_seen_at)
    -- No transaction has touched a row that is new.
    RETURNING site_id, xmax = 0
"""
EVIDENCE = """
    /* discovery.evidence */
    SELECT site_id, session_id, first
      FROM (SELECT site_id, session_id, min(created_at) AS first,
                   row_number() OVER (PARTITION BY site_id ORDER BY min(created_at), session_id) AS nth,
                   row_number() OVER (PARTITION BY site_id ORDER BY min(created_at) DESC, session_id DESC) AS nth_last
              FROM events
             WHERE id > %(mark)s AND id <= %(end)s AND sender_agrees AND session_id IS NOT NULL
               AND NOT raw_event_data ? '_bot' AND site_id = ANY (%(waiting)s)
             GROUP BY site_id, session_id) numbered
     WHERE nth < %(sessions)s OR nth_last = 1
"""
DROP_WEAKEST = """
    /* discovery.drop_weakest */
    DELETE FROM sites WHERE site_id IN (
        SELECT site_id FROM sites WHERE state = 'seen' AND told_at IS NULL
         ORDER BY (SELECT count(*) FROM jsonb_object_keys(sessions)) DESC, events DESC, last_seen_at DESC, site_id
        OFFSET %(most)s)
    RETURNING site_id
"""
ADVANCE = """
    /* discovery.advance */
    UPDATE discovery_mark SET discovered_to_id = %(end)s, turned_away = turned_away + %(unplaced)s,
                              overflowed = overflowed OR %(unplaced)s > 0
"""
