"""New sites are found in the events themselves, told of once, and confirmed once there is evidence enough.

Anybody can send events of any name. So a name alone costs next to nothing and is billed nothing: few unconfirmed ones are
kept, the weakest go first, and how many are told of in a day is bounded. What was sent is stored whatever becomes of a name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from storage import domains, events, webhooks
from storage.database import Connection
from storage.settings import Settings

# So many events are read in a transaction, so that memory does not grow with how many are waiting.
BITE = 100_000
# Of sites that were neither confirmed nor told of.
MOST_UNCONFIRMED = 1_000
# In a day, of sites that were told of at first sight, and of those that evidence confirms.
MOST_TOLD = 100
A_DAY = dt.timedelta(days=1)


def discover(connection: Connection, settings: Settings) -> list[str]:
    """Read the events that came since the last call, and name the sites that are kept of those that were not known before.

    Atomic and exact: the mark moves in the same transaction, only up to ids that are settled, and of callers at the
    same time one reads while the others wait; so every event counts once, and each site is told of once: by
    `site.discovered` when it is new, and by `site.confirmed` when it is certain.

    Raises:
        WritersBusy: a writer did not end its transaction in time.
    """
    settled = events.settled_mark(connection)
    found: set[str] = set()
    while _bite(connection, settings, settled, found):
        pass
    with connection.transaction():
        _mark(connection)
        _confirm_named(connection, settings)
        _confirm_evident(connection, settings)
        _tell_new(connection, settings)
        _tell_flood(connection)
        known = connection.execute(
            "/* discovery.kept */ SELECT site_id FROM sites WHERE site_id = ANY (%s)", ([*found],)
        )
        return sorted(row[0] for row in known)


def _bite(connection: Connection, settings: Settings, settled: int, found: set[str]) -> bool:
    """Read the next events, and say whether there may be more."""
    with connection.transaction():
        mark = _mark(connection)
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
        unplaced = max((row[1] for row in new), default=0) - len(new)
        unplaced += connection.execute(DROP_WEAKEST, part).rowcount
        connection.execute(
            "/* discovery.advance */ UPDATE discovery_mark SET discovered_to_id = %s, turned_away = turned_away + %s",
            (end, unplaced),
        )
        return end < settled


def _mark(connection: Connection) -> int:
    row = connection.execute("/* discovery.mark */ SELECT discovered_to_id FROM discovery_mark FOR UPDATE").fetchone()
    return int(row[0]) if row else 0


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


def _confirm_named(connection: Connection, settings: Settings) -> None:
    """Whom the operator names needs no evidence."""
    waiting = connection.execute(
        "/* discovery.named */ SELECT site_id FROM sites WHERE state = 'seen' AND kind = 'public' AND site_id = ANY (%s)",
        ([*settings.sites],),
    ).fetchall()
    for (site_id,) in waiting:
        confirm(connection, settings, site_id, "settings", {})


def _confirm_evident(connection: Connection, settings: Settings) -> None:
    left = MOST_TOLD - _count(
        connection,
        "/* discovery.confirmed_of_late */ SELECT count(*) FROM sites WHERE confirmed_by = 'evidence' AND confirmed_at > now() - %s::interval",
    )
    waiting = connection.execute(
        "/* discovery.unconfirmed */ SELECT site_id, sessions FROM sites WHERE state = 'seen' AND kind = 'public' AND sessions <> '{}' ORDER BY first_seen_at"
    ).fetchall()
    least = settings.discovery_sessions, 60 * settings.discovery_minutes
    for site_id, sessions in waiting:
        moments = sessions.values()
        if left > 0 and len(moments) >= least[0] and max(moments) - min(moments) >= least[1]:
            evidence = {"sessions": len(moments), "minutes": int(max(moments) - min(moments)) // 60}
            confirm(connection, settings, site_id, "evidence", evidence)
            left -= 1


def confirm_by_hand(connection: Connection, settings: Settings, site_id: str) -> str | None:
    """Confirm a site of the table because the operator says so, and give its kind; None where there is none of that name.

    What is no public site is not confirmed, as it has no domain that could be billed.
    """
    with connection.transaction():
        _mark(connection)
        row = connection.execute(
            "/* discovery.kind */ SELECT kind FROM sites WHERE site_id = %s", (site_id,)
        ).fetchone()
        if row and row[0] == "public":
            confirm(connection, settings, site_id, "operator", {})
        return row[0] if row else None


def confirm(connection: Connection, settings: Settings, site_id: str, by: str, evidence: dict[str, Any]) -> None:
    """Confirm a site of the table, and tell of it; of its discovery too, if that was not told. Needs a transaction."""
    _tell_discovered(connection, settings, site_id)
    row = connection.execute(
        """
        /* discovery.confirm */
        UPDATE sites SET state = 'confirmed', confirmed_at = clock_timestamp(), confirmed_by = %s, sessions = '{}'
         WHERE site_id = %s AND state <> 'confirmed' RETURNING registrable_domain, confirmed_at
        """,
        (by, site_id),
    ).fetchone()
    if row:
        about = {"site_id": site_id, "registrable_domain": row[0], "group": _group(settings, site_id)}
        webhooks.tell(
            connection, "site.confirmed", {**about, "confirmed_at": row[1], "by": by, **evidence}, f"site {site_id}"
        )


def refuse(connection: Connection, site_id: str) -> bool:
    """Let a site of the table never be told of or confirmed by evidence; False where there is none of that name.

    Its events stay, and still come: what is refused is the bill. `confirm` takes it back.
    """
    return (
        connection.execute(
            """
            /* discovery.refuse */
            UPDATE sites SET state = 'refused', confirmed_at = NULL, confirmed_by = NULL, sessions = '{}' WHERE site_id = %s
            """,
            (site_id,),
        ).rowcount
        > 0
    )


def _tell_new(connection: Connection, settings: Settings) -> None:
    told = _count(
        connection,
        "/* discovery.told_of_late */ SELECT count(*) FROM sites WHERE state = 'seen' AND told_at > now() - %s::interval",
    )
    waiting = connection.execute(
        """
        /* discovery.untold */
        SELECT site_id FROM sites
         WHERE state = 'seen' AND kind = 'public' AND told_at IS NULL AND events > bot_events
         ORDER BY (SELECT count(*) FROM jsonb_object_keys(sessions)) DESC, first_seen_at, site_id LIMIT %s
        """,
        (max(0, MOST_TOLD - told),),
    ).fetchall()
    for (site_id,) in waiting:
        _tell_discovered(connection, settings, site_id)


def _tell_discovered(connection: Connection, settings: Settings, site_id: str) -> None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            /* discovery.tell */
            UPDATE sites SET told_at = clock_timestamp() WHERE site_id = %s AND told_at IS NULL
            RETURNING site_id, registrable_domain, first_seen_at, first_event_id, events,
                      agreeing_events, differing_events, bot_events
            """,
            (site_id,),
        ).fetchone()
    if row:
        webhooks.tell(connection, "site.discovered", {**row, "group": _group(settings, site_id)}, f"site {site_id}")


def _group(settings: Settings, site_id: str) -> str | None:
    named = settings.sites.get(site_id)
    return named.group if named else None


def _tell_flood(connection: Connection) -> None:
    """Once a day, that more new names came than are kept."""
    row = connection.execute(
        """
        /* discovery.flood */
        UPDATE discovery_mark SET flooded_at = now(), turned_away = 0
          FROM (SELECT turned_away FROM discovery_mark) before
         WHERE before.turned_away > 0 AND (flooded_at IS NULL OR flooded_at < now() - %s::interval)
        RETURNING before.turned_away
        """,
        (A_DAY,),
    ).fetchone()
    if row:
        webhooks.tell(connection, "discovery.flooded", {"turned_away": row[0], "kept": MOST_UNCONFIRMED}, "discovery")


def _count(connection: Connection, query: Any) -> int:
    row = connection.execute(query, (A_DAY,)).fetchone()
    return int(row[0]) if row else 0


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
    INSERT INTO sites (site_id, first_seen_at, last_seen_at, first_event_id, events, agreeing_events, differing_events, bot_events)
    SELECT site_id, first, last, (SELECT event_id FROM events WHERE id = first_id), events, agreeing, differing, bots
      FROM unknown ORDER BY sessions DESC, events DESC, first_id LIMIT %(most)s
    RETURNING site_id, (SELECT count(*) FROM unknown)
"""
EVIDENCE = """
    /* discovery.evidence */
    SELECT site_id, session_id, first
      FROM (SELECT site_id, session_id, min(created_at) AS first,
                   row_number() OVER (PARTITION BY site_id ORDER BY min(created_at)) AS nth,
                   row_number() OVER (PARTITION BY site_id ORDER BY min(created_at) DESC) AS nth_last
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
"""
