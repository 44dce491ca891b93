"""Events to Parquet by DuckDB's PostgreSQL reader: `export_duckdb.py DATABASE_URL FILE`, in an environment that has it."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import duckdb_ext

EXTENSION = Path(duckdb_ext.__path__[0]) / "extensions" / f"v{duckdb.__version__}" / "linux_amd64"
COLUMNS = """
    id, event_id::VARCHAR AS event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
    ip_address::VARCHAR AS ip_address, raw_event_data::VARCHAR AS raw_event_data, created_at
"""


def main(url: str, file: str) -> None:
    """As its documentation does it; the same compression, level and row groups as ours."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.load_extension(str(EXTENSION / "postgres_scanner.duckdb_extension"))
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)")
    connection.execute(
        f"COPY (SELECT {COLUMNS} FROM pg.public.events) TO '{file}' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 131072)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
