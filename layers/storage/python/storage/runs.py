"""The exporter's runs: when each began, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg.rows import class_row

from storage.database import Connection

KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Run:
    """A run, and what became of it; None while it is under way, or where it was killed."""

    run_id: int
    outcome: dict[str, Any] | None


def begin(connection: Connection, idempotency_key: str | None = None) -> Run:
    """Begin a run, or give the one that ended under the same key. One that was killed begins anew. Needs the claim.

    What is older than `KEPT_DAYS` is forgotten, and so are its keys.
    """
    connection.execute(
        "/* runs.forget */ DELETE FROM export_runs WHERE began_at < now() - make_interval(days => %s)", (KEPT_DAYS,)
    )
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        run = cursor.execute(
            """
            /* runs.begin */
            INSERT INTO export_runs (idempotency_key) VALUES (%s)
                ON CONFLICT (idempotency_key) DO UPDATE
               SET began_at = CASE WHEN export_runs.ended_at IS NULL THEN now() ELSE export_runs.began_at END
            RETURNING run_id, outcome
            """,
            (idempotency_key,),
        ).fetchone()
    assert run is not None, "an upsert returns its row"
    return run


def ended(connection: Connection, idempotency_key: str) -> dict[str, Any] | None:
    """What became of the run that ended under a key; None if there is none."""
    row = connection.execute(
        "/* runs.ended */ SELECT outcome FROM export_runs WHERE idempotency_key = %s", (idempotency_key,)
    ).fetchone()
    return row[0] if row else None


def end(connection: Connection, run_id: int, outcome: Mapping[str, Any]) -> None:
    """Record what became of a run."""
    connection.execute(
        "/* runs.end */ UPDATE export_runs SET ended_at = now(), outcome = %s WHERE run_id = %s",
        (orjson.dumps(outcome).decode(), run_id),
    )
