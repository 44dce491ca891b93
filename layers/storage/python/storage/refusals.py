"""What was not stored as an event: refused with a reason, or withheld by a privacy signal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from psycopg.types.json import Jsonb

from storage.database import Connection


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event, or a body that could not be read, with the reason why it was refused; the payload is redacted."""

    refusal_id: str
    reason: str
    message: str
    site_id: str | None
    visitor_id: str | None
    body_bytes: int
    payload: Any
    visitor_hash: int | None = None


def keep(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Keep *refusals*, each refusal_id once, and none of visitors who were erased; commits when the caller's transaction does."""
    if not refusals:
        return
    kept = connection.execute(
        """
        /* refusals.keep */
        INSERT INTO rejected_events (refusal_id, reason, message, site_id, visitor_id, body_bytes, payload)
        SELECT refusal_id, reason, message, site_id, visitor_id, body_bytes, payload
          FROM jsonb_to_recordset(%s) AS refusal (
               refusal_id uuid, reason text, message text, site_id text, visitor_id text, body_bytes integer, payload jsonb,
               visitor_hash bigint)
         WHERE visitor_hash IS NULL OR visitor_hash <> ALL ((SELECT suppressed_among(%s))::bigint[])
            ON CONFLICT ON CONSTRAINT rejected_events_refusal_id_key DO NOTHING
        RETURNING site_id
        """,
        (Jsonb(refusals, orjson.dumps), list({one.visitor_hash for one in refusals if one.visitor_hash is not None})),
    )
    count_turned_away(connection, "refused", Counter(row[0] for row in kept))


def count_turned_away(
    connection: Connection, reason: Literal["duplicate", "refused"], sites: Mapping[str | None, int]
) -> None:
    """Add to this hour's numbers of what was refused, or had come before, by the known site of the page."""
    if sites:
        connection.execute(TURN_AWAY, {"reason": reason, "sites": list(sites), "numbers": list(sites.values())})


def count_withheld(connection: Connection, signals: Mapping[tuple[str, str | None], int]) -> None:
    """Add to this hour's numbers of beacons that privacy signals kept out, by signal and site; nothing else of them is known.

    A site that has no events yet is none: whoever makes names up fills no table.
    """
    if signals:
        columns = {
            "signals": [signal for signal, _ in signals],
            "sites": [site_id for _, site_id in signals],
            "numbers": list(signals.values()),
        }
        connection.execute(WITHHOLD, columns)


# In one order everywhere, by the names under which they are kept: two writers that take them the other way round would deadlock.
TURN_AWAY = """
    /* refusals.count_turned_away */
    INSERT INTO turned_away_events AS away (hour, site_id, reason, events)
    SELECT date_trunc('hour', now(), 'UTC'), coalesce(s.site_id, ''), %(reason)s, sum(number)
      FROM unnest(%(sites)s::text[], %(numbers)s::bigint[]) AS sent (site_id, number) LEFT JOIN sites s USING (site_id)
     GROUP BY 2 ORDER BY 2
        ON CONFLICT ON CONSTRAINT turned_away_events_pkey DO UPDATE SET events = away.events + excluded.events
"""
WITHHOLD = """
    /* refusals.count_withheld */
    INSERT INTO withheld_beacons AS held (hour, site_id, signal, beacons)
    SELECT date_trunc('hour', now(), 'UTC'), coalesce(s.site_id, ''), signal, sum(number)
      FROM unnest(%(signals)s::text[], %(sites)s::text[], %(numbers)s::bigint[]) AS sent (signal, site_id, number)
      LEFT JOIN sites s USING (site_id)
     GROUP BY 2, 3 ORDER BY 2, 3
        ON CONFLICT ON CONSTRAINT withheld_beacons_pkey DO UPDATE SET beacons = held.beacons + excluded.beacons
"""
