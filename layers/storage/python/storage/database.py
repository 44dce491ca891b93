"""The one place that opens a PostgreSQL connection: one a process, kept open between invocations."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from storage import migrations
from storage.errors import DatabaseUnavailable

Connection = psycopg.Connection[TupleRow]
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5

_open: dict[str, Connection] = {}


def connect(url: str, **options: Any) -> Connection:
    """Open a connection of the caller's own, in autocommit, which the caller closes.

    Raises:
        DatabaseUnavailable: no server answers at *url*, or it refuses the login.
    """
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="evothesis",
            keepalives_idle=30,
            **options,
        )
        # Hours and days are UTC's in every key and every report, whatever zone the server is set to.
        connection.execute("/* database.zone */ SET TIME ZONE 'UTC'")
        # Whoever is frozen or cut off in the middle keeps nobody waiting for hours.
        connection.execute("/* database.patience */ SET idle_in_transaction_session_timeout = '5min'")
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL does not answer at DATABASE_URL: {_reason(error)}") from error
    return connection


def run(url: str, work: Callable[[Connection], T]) -> T:
    """Do *work* on this process's connection, which is opened and its schema migrated on first use.

    *work* runs once at most: when the connection breaks under it, its transaction may have been committed or not, and
    only the caller knows whether to do it again. A connection that the server closed while it lay idle (a restart)
    is replaced before *work* begins.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or went away before *work* was known to be committed.
    """
    connection = _open.pop(url, None)
    if connection is not None and _was_closed(connection):
        connection.close()
        connection = None
    if connection is None:
        connection = _migrated(url)
    try:
        return work(connection)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL could not do it: {_reason(error)}") from error
    finally:
        _keep(url, connection)


@contextmanager
def held(connection: Connection, number: int) -> Iterator[bool]:
    """Whether the lock *number* of this product is the connection's for as long as the block runs; it waits for nobody.

    It is a lock of the session: who dies gives it up by dying.
    """
    row = connection.execute("/* database.hold */ SELECT pg_try_advisory_lock(1163284308, %s)", (number,)).fetchone()
    taken = row is not None and bool(row[0])
    try:
        yield taken
    finally:
        if taken and not connection.closed:
            connection.execute("/* database.release */ SELECT pg_advisory_unlock(1163284308, %s)", (number,))


def size(connection: Connection) -> int:
    """How many bytes the database takes of its disk, its log not counted."""
    row = connection.execute("/* database.size */ SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def close() -> None:
    """Close the connections that `run` keeps."""
    while _open:
        _open.popitem()[1].close()


def _migrated(url: str) -> Connection:
    connection = connect(url)
    try:
        migrations.migrate(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, psycopg.OperationalError):
            raise DatabaseUnavailable(f"PostgreSQL could not do it: {_reason(error)}") from error
        raise
    return connection


def _keep(url: str, connection: Connection) -> None:
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        connection.close()
    else:
        _open[url] = connection


def _was_closed(connection: Connection) -> bool:
    # An idle connection has nothing to read but the server's last word and the end of the stream.
    return connection.closed or bool(select.select([connection], [], [], 0)[0])


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
