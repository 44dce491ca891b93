"""The one place that opens a PostgreSQL connection: one a process, kept open between invocations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
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
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="evothesis",
            keepalives_idle=30,
            **options,
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL does not answer: {_reason(error)}") from error


def run(url: str, work: Callable[[Connection], T]) -> T:
    """Do *work* on this process's connection, which is opened and its schema migrated on first use.

    When the connection turns out to be dead (the server was restarted), *work* runs once more on a new one; so it
    has to be idempotent, as every verb of this layer is.

    Raises:
        DatabaseUnavailable: the server cannot be reached, also not by a new connection.
    """
    kept = _open.pop(url, None)
    if kept is not None and not kept.closed:
        try:
            return _keep(url, kept, work)
        except psycopg.OperationalError as error:
            if not kept.broken and not _is_shutdown(error):
                raise DatabaseUnavailable(f"PostgreSQL could not do it: {_reason(error)}") from error
            kept.close()
    connection = connect(url)
    try:
        migrations.migrate(connection)
        return _keep(url, connection, work)
    except psycopg.OperationalError as error:
        connection.close()
        raise DatabaseUnavailable(f"PostgreSQL went away: {_reason(error)}") from error


def close() -> None:
    """Close the connections that `run` keeps."""
    while _open:
        _open.popitem()[1].close()


def _keep(url: str, connection: Connection, work: Callable[[Connection], T]) -> T:
    try:
        return work(connection)
    finally:
        if not connection.closed:
            _open[url] = connection


def _is_shutdown(error: psycopg.OperationalError) -> bool:
    # Class 57P: the server is going down, was crashed, or is starting up.
    return bool(error.sqlstate and error.sqlstate.startswith("57P"))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
