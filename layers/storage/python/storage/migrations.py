"""Numbered schema changes: each `.sql` file of `storage.schema` runs once, in order, while events arrive."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import LiteralString, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from storage.errors import SchemaTooNew, WritersBusy

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# The first line of a file whose statements stand alone, as those that build an index beside writers have to.
CONCURRENTLY = "-- concurrently"

# Whoever waits for a table holds up all who come after him, so a change waits no longer than a visitor may, and tries again.
LOCK_TIMEOUT = "300ms"
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 600


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
    """Bring the schema up to this release, and name what was applied; *connection* is in autocommit.

    Each migration applies whole or not at all, and what a failure left out is applied by the next call. Of processes
    that call it at the same time one does the work while the others wait. Writers are held up for moments: what has to
    wait for a table gives way to them, and tries again.

    Raises:
        SchemaTooNew: the database knows a migration that this release does not have.
        WritersBusy: for ten minutes there was no moment in which a table was free.
    """
    latest = all_migrations()[-1].version
    if _version(connection) == latest:
        return []
    with _alone(connection):
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


@contextmanager
def _alone(connection: psycopg.Connection[TupleRow]) -> Iterator[None]:
    # Asked for again and again: a statement that waits is what an index that is built beside writers waits for in turn.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _row(connection, "/* migrations.lock */ SELECT pg_try_advisory_lock(1163284308, 2)")[0]:
        if time.monotonic() > deadline:
            raise WritersBusy("another process has been changing the schema for ten minutes; look what it waits for")
        time.sleep(0.05)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("/* migrations.unlock */ SELECT pg_advisory_unlock(1163284308, 2)")


def _apply(connection: psycopg.Connection[TupleRow], migration: Migration) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if migration.statements.startswith(CONCURRENTLY):
                _drop_unfinished(connection, migration)
                for statement in migration.statements.strip().split(";\n"):
                    connection.execute(statement.encode())
                _record(connection, migration)
            else:
                with connection.transaction():
                    connection.execute(
                        "/* migrations.patience */ SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,)
                    )
                    connection.execute(migration.statements.encode())
                    _record(connection, migration)
        # Whoever waits for us with a statement of an older release is waited for by an index that is built beside writers.
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                raise WritersBusy(f"{migration.name}: its tables were in use for ten minutes; try again") from error
            time.sleep(PAUSE_SECONDS)
        else:
            return migration.name


def _drop_unfinished(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    # Who is killed while he waits for an index leaves it half built, or, as PostgreSQL goes on without him, whole: that one stays.
    unfinished = connection.execute(
        """
        /* migrations.unfinished */
        SELECT format('DROP INDEX CONCURRENTLY %%I', relname)
          FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace AND strpos(%s, relname) > 0
        """,
        (migration.statements,),
    ).fetchall()
    for (drop,) in unfinished:
        connection.execute(drop)


def _record(connection: psycopg.Connection[TupleRow], migration: Migration) -> None:
    connection.execute(
        "/* migrations.record */ INSERT INTO schema_migrations (version, name) VALUES (%s, %s)",
        (migration.version, migration.name),
    )


def _version(connection: psycopg.Connection[TupleRow]) -> int:
    if _row(connection, "/* migrations.known */ SELECT to_regclass('schema_migrations')")[0] is None:
        return 0
    return int(_row(connection, "/* migrations.version */ SELECT coalesce(max(version), 0) FROM schema_migrations")[0])


def _row(connection: psycopg.Connection[TupleRow], question: LiteralString) -> TupleRow:
    row = connection.execute(question).fetchone()
    assert row is not None, "each of these has one row"
    return row
