"""Events as a stream of Arrow record batches, by ADBC over PostgreSQL's binary COPY."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from threading import Event, Thread

# The driver itself and not its DB-API, which loads all data frame libraries that it finds.
import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa

from storage.errors import DatabaseUnavailable

ROWS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("visitor_id", pa.string()),
        pa.field("site_id", pa.string()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("url", pa.string()),
        pa.field("path", pa.string()),
        pa.field("user_agent", pa.string()),
        pa.field("ip_address", pa.string()),
        pa.field("raw_event_data", pa.string(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)

# How much PostgreSQL hands over at once; with the row groups it decides how much memory an export takes.
BATCH_BYTES = 2 * 1024 * 1024
# Read while what came before is encoded, and no more.
BATCHES_AHEAD = 4


def record_batches(url: str, from_id: int, to_id: int, by_site: bool = False) -> Iterator[pa.RecordBatch]:
    """The events with `from_id < id <= to_id`, in the columns of `ROWS`: in the order of ids, or of sites and then ids.

    A thread of its own reads ahead. By sites PostgreSQL sorts, on its disk where it has to, so memory stays flat here
    whatever the range.

    Raises:
        DatabaseUnavailable: the server went away; what was read before is true, but not all.
    """
    ready: Queue[pa.RecordBatch | Exception | None] = Queue(BATCHES_AHEAD)
    stopped = Event()

    def read() -> None:
        try:
            for batch in _read(url, from_id, to_id, by_site):
                ready.put(batch)
                if stopped.is_set():
                    break
            ready.put(None)
        except Exception as error:  # noqa: BLE001 - whoever waits for the next batch gets it
            ready.put(error)

    thread = Thread(target=read, name="export-read", daemon=True)
    thread.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        stopped.set()
        while thread.is_alive():
            # It waits for room at most once more.
            with suppress(Empty):
                ready.get(timeout=0.05)
        thread.join()


def _read(url: str, from_id: int, to_id: int, by_site: bool) -> Iterator[pa.RecordBatch]:
    with (
        _understood(),
        adbc_driver_postgresql.connect(url) as server,
        adbc.AdbcConnection(server) as connection,
        adbc.AdbcStatement(connection) as statement,
    ):
        # The range reaches the query as settings of the session, because COPY takes no parameters.
        statement.set_sql_query(RANGE)
        statement.bind(pa.RecordBatch.from_arrays([_one(from_id), _one(to_id)], ["from_id", "to_id"]))
        statement.execute_update()
        statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        statement.set_sql_query(BY_SITE if by_site else BY_ID)
        stream, _ = statement.execute_query()
        batches = pa.RecordBatchReader.from_stream(stream)
        while (batch := _next(batches)) is not None:
            yield batch.cast(ROWS)


def _one(number: int) -> pa.Array:
    # Made of Python's numbers by Arrow itself, it would load pandas to ask whether they are its.
    return pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(number.to_bytes(8, sys.byteorder, signed=True))])


def _next(batches: pa.RecordBatchReader) -> pa.RecordBatch | None:
    with _understood():
        return next(batches, None)


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (adbc.OperationalError, OSError) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL went away while events were read: {' '.join(str(error).split())}"
        ) from error


RANGE = """
    /* export.range */
    SELECT set_config('evothesis.from_id', $1::bigint::text, false),
           set_config('evothesis.to_id', $2::bigint::text, false)
"""
BY_ID = """
    /* export.read */
    SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, host(ip_address) AS ip_address, raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY id
"""
BY_SITE = """
    /* export.read_by_site */
    SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, host(ip_address) AS ip_address, raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY site_id COLLATE "C", id
"""
