"""Events to Parquet as one writes it first: psycopg fetches rows, pyarrow makes columns of them.

export_rows.py DATABASE_URL FILE
"""

from __future__ import annotations

import sys
from itertools import islice

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from storage.export.read import ROWS

GROUP = 131_072
QUERY = """
    SELECT id, event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
           host(ip_address), raw_event_data::text, created_at FROM events ORDER BY id
"""


def main(url: str, file: str) -> None:
    """Row by row from a cursor on the server, a row group at a time into the file."""
    with (
        psycopg.connect(url) as connection,
        connection.cursor(name="rows") as cursor,
        pq.ParquetWriter(file, ROWS, compression="zstd", compression_level=1) as writer,
    ):
        cursor.itersize = 10_000
        every = iter(cursor.execute(QUERY))
        while rows := list(islice(every, GROUP)):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, ROWS, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=ROWS))


if __name__ == "__main__":
    main(*sys.argv[1:])
