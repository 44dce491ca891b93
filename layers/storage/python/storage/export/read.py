"""Events as a stream of Arrow record batches, by ADBC over PostgreSQL's binary COPY."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from queue import Empty, Queue
from threading import Event, Thread

import adbc_driver_postgresql.dbapi as adbc
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
BATCHES_AHEAD = 8


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
    try:
        with closing(adbc.connect(url)) as connection, closing(connection.cursor()) as cursor:
            # The range reaches the query as settings of the session, because COPY takes no parameters.
            cursor.execute(
                """
                /* export.range */
                SELECT set_config('evothesis.from_id', $1, false), set_config('evothesis.to_id', $2, false)
                """,
                (str(from_id), str(to_id)),
            )
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(BY_SITE if by_site else BY_ID)
            for batch in cursor.fetch_record_batch():
                # What ADBC hands over has room to grow, up to as much again; a copy has not.
                yield pa.ipc.read_record_batch(batch.cast(ROWS).serialize(), ROWS)
    except adbc.OperationalError as error:
        raise DatabaseUnavailable(
            f"PostgreSQL went away while events were read: {' '.join(str(error).split())}"
        ) from error


BY_ID = """
    /* export.read */
    SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, host(ip_address) AS ip_address, raw_event_data::text AS raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY id
"""
BY_SITE = """
    /* export.read_by_site */
    SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, host(ip_address) AS ip_address, raw_event_data::text AS raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY site_id COLLATE "C", id
"""
