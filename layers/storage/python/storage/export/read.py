"""Events as a stream of Arrow record batches, by ADBC over PostgreSQL's binary COPY."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

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
BATCH_BYTES = 4 * 1024 * 1024


def record_batches(url: str, from_id: int, to_id: int) -> Iterator[pa.RecordBatch]:
    """The events with `from_id < id <= to_id`, by site, then visitor, then id, in the columns of `ROWS`.

    PostgreSQL sorts, on its disk where it has to, so memory stays flat here whatever the range. In this order the
    statistics of a Parquet file tell a reader which parts hold one site or one visitor. The range reaches the query as settings of the session, because COPY
    takes no parameters.

    Raises:
        DatabaseUnavailable: the server went away; what was read before is true, but not all.
    """
    try:
        with closing(adbc.connect(url)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(
                """
                /* export.range */
                SELECT set_config('evothesis.from_id', $1, false), set_config('evothesis.to_id', $2, false)
                """,
                (str(from_id), str(to_id)),
            )
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(
                """
                /* export.read */
                SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path,
                       user_agent, host(ip_address) AS ip_address, raw_event_data::text AS raw_event_data, created_at
                  FROM events
                 WHERE id > current_setting('evothesis.from_id')::bigint
                   AND id <= current_setting('evothesis.to_id')::bigint
                 ORDER BY site_id COLLATE "C", visitor_id COLLATE "C", id
                """
            )
            for batch in cursor.fetch_record_batch():
                yield batch.cast(ROWS)
    except adbc.OperationalError as error:
        raise DatabaseUnavailable(
            f"PostgreSQL went away while events were read: {' '.join(str(error).split())}"
        ) from error
