"""Numbered schema changes: each `.sql` file of `storage.schema` runs once, in order, in one transaction."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from storage.errors import SchemaTooNew

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(NamedTuple):
    """One `.sql` file: its number, its name without the ending, its text."""

    version: int
    name: str
    statements: str


@lru_cache(maxsize=1)
def all_migrations() -> tuple[Migration, ...]:
    """Every migration of this release, in order."""
    files = resources.files("storage.schema").iterdir()
    return tuple(
        sorted(
            Migration(int(match[1]), entry.name.removesuffix(".sql"), entry.read_text("utf-8"))
            for entry in files
            if (match := NAME.fullmatch(entry.name))
        )
    )


def migrate(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """Bring the schema up to this release, and name what was applied.

    Atomic and idempotent: all or none of the missing migrations apply, and of processes that call it at the same
    time one does the work while the others wait.

    Raises:
        SchemaTooNew: the database knows a migration that this release does not have.
    """
    latest = all_migrations()[-1].version
    if _version(connection) == latest:
        return []
    with connection.transaction():
        connection.execute("/* migrations.lock */ SELECT pg_advisory_xact_lock(1163284308, 2)")
        connection.execute(
            """
            /* migrations.ledger */
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer     CONSTRAINT schema_migrations_pkey PRIMARY KEY,
                name       text        NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        current = _version(connection)
        if current > latest:
            raise SchemaTooNew(
                f"the database is at schema {current}, this release knows {latest}; run the newer release"
            )
        return [_apply(connection, migration) for migration in all_migrations() if migration.version > current]


def _apply(connection: psycopg.Connection[TupleRow], migration: Migration) -> str:
    connection.execute(migration.statements.encode())
    connection.execute(
        "/* migrations.record */ INSERT INTO schema_migrations (version, name) VALUES (%s, %s)",
        (migration.version, migration.name),
    )
    return migration.name


def _version(connection: psycopg.Connection[TupleRow]) -> int:
    found = connection.execute("/* migrations.known */ SELECT to_regclass('schema_migrations')").fetchone()
    if found is None or found[0] is None:
        return 0
    row = connection.execute(
        "/* migrations.version */ SELECT coalesce(max(version), 0) FROM schema_migrations"
    ).fetchone()
    return int(row[0]) if row else 0
