"""From seen to confirmed: which sites are billed, and what the operator is told of them, each thing once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from storage import audiences, domains, metering, webhooks
from storage.database import Connection
from storage.hosts import canonical
from storage.settings import Settings

# In a day, of sites that were told of at first sight, and of those that evidence confirms.
MOST_TOLD = 100
A_DAY = dt.timedelta(days=1)
# A site, who says that it is certain, and what for.
Decided = tuple[str, str, dict[str, Any]]


def take_turn(connection: Connection) -> int:
    """Wait until nobody else discovers or confirms, and give the id up to which events were read. Needs a transaction."""
    row = connection.execute("/* discovery.mark */ SELECT discovered_to_id FROM discovery_mark FOR UPDATE").fetchone()
    return int(row[0]) if row else 0


def confirm_named(connection: Connection, settings: Settings) -> None:
    """Whom the operator names needs no evidence."""
    waiting = connection.execute(
        "/* discovery.named */ SELECT site_id FROM sites WHERE state = 'seen' AND kind = 'public' AND site_id = ANY (%s)",
        ([*settings.sites],),
    ).fetchall()
    confirm(connection, settings, [(site_id, "settings", {}) for (site_id,) in waiting])


def confirm_evident(connection: Connection, settings: Settings) -> None:
    """Confirm those with sessions enough over time enough, so many a day."""
    left = MOST_TOLD - _count(
        connection,
        "/* discovery.confirmed_of_late */ SELECT count(*) FROM sites WHERE confirmed_by = 'evidence' AND confirmed_at > now() - %s::interval",
    )
    waiting = connection.execute(
        "/* discovery.unconfirmed */ SELECT site_id, sessions FROM sites WHERE state = 'seen' AND kind = 'public' AND sessions <> '{}' ORDER BY first_seen_at"
    ).fetchall()
    least = settings.discovery_sessions, 60 * settings.discovery_minutes
    decided: list[Decided] = []
    for site_id, sessions in waiting:
        moments = sessions.values()
        if len(decided) < left and len(moments) >= least[0] and max(moments) - min(moments) >= least[1]:
            evidence = {"sessions": len(moments), "minutes": int(max(moments) - min(moments)) // 60}
            decided.append((site_id, "evidence", evidence))
    confirm(connection, settings, decided)


def confirm_by_hand(connection: Connection, settings: Settings, site_id: str) -> str | None:
    """Confirm a site because the operator says so, and give its kind; None where there is none of that name.

    What is no public site has no domain that could be billed: it is confirmed where that lets its events in, and else not.
    There a site can be let in before its first event, too.
    """
    with connection.transaction():
        take_turn(connection)
        if settings.discovery != "auto" and canonical(site_id) == site_id:
            domain = domains.of(site_id)
            connection.execute(LET_IN, (site_id, domain.kind, domain.registrable))
        row = connection.execute(
            "/* discovery.kind */ SELECT kind FROM sites WHERE site_id = %s", (site_id,)
        ).fetchone()
        if row and (row[0] == "public" or settings.discovery != "auto"):
            confirm(connection, settings, [(site_id, "operator", {})])
        return row[0] if row else None


def confirm(connection: Connection, settings: Settings, decided: Sequence[Decided]) -> None:
    """Confirm sites of the table, and tell of it; of their discovery too, if that was not told. Needs a transaction."""
    if not decided:
        return
    if part := metering.take_on(connection, [site_id for site_id, _, _ in decided]):
        audiences.count(connection, settings.require_privacy_key(), part)
    for site_id, by, evidence in decided:
        row = connection.execute(CONFIRM, (by, site_id)).fetchone()
        # What is no public site is nobody's bill.
        if row and row[2] == "public":
            _tell_discovered(connection, settings, site_id)
            about = {"site_id": site_id, "registrable_domain": row[0], "group": _group(settings, site_id)}
            told = {**about, "confirmed_at": row[1], "by": by, **evidence}
            webhooks.tell(connection, "site.confirmed", told, f"site {site_id}")


LET_IN = """
    /* discovery.let_in */
    INSERT INTO sites (site_id, first_seen_at, last_seen_at, events, kind, registrable_domain, metered)
    SELECT %s, now(), now(), 0, %s, %s, NOT overflowed FROM discovery_mark
        ON CONFLICT ON CONSTRAINT sites_pkey DO NOTHING
"""
CONFIRM = """
    /* discovery.confirm */
    UPDATE sites SET state = 'confirmed', confirmed_at = clock_timestamp(), confirmed_by = %s, sessions = '{}'
     WHERE site_id = %s AND state <> 'confirmed' RETURNING registrable_domain, confirmed_at, kind
"""


def refuse(connection: Connection, site_id: str) -> bool:
    """Let a site of the table never be told of or confirmed by evidence; False where there is none of that name.

    Its events stay, and where every site is let in they still come: what is refused is the bill. Those that are kept apart
    are dropped at the next turn of discovery. `confirm` takes it back.
    """
    with connection.transaction():
        take_turn(connection)
        refused = connection.execute(
            """
            /* discovery.refuse */
            UPDATE sites SET state = 'refused', confirmed_at = NULL, confirmed_by = NULL, sessions = '{}' WHERE site_id = %s
            """,
            (site_id,),
        )
        return refused.rowcount > 0


def tell_new(connection: Connection, settings: Settings) -> None:
    """Tell of public sites that are new and that not only bots visit, so many a day."""
    told = _count(
        connection,
        "/* discovery.told_of_late */ SELECT count(*) FROM sites WHERE state = 'seen' AND told_at > now() - %s::interval",
    )
    waiting = connection.execute(
        """
        /* discovery.untold */
        SELECT site_id FROM sites
         WHERE state = 'seen' AND kind = 'public' AND told_at IS NULL AND (events > bot_events OR events = 0)
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


def tell_flood(connection: Connection, kept: int) -> None:
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
        webhooks.tell(connection, "discovery.flooded", {"turned_away": row[0], "kept": kept}, "discovery")


def _count(connection: Connection, query: Any) -> int:
    row = connection.execute(query, (A_DAY,)).fetchone()
    return int(row[0]) if row else 0
