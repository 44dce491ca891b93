"""Events as record batches: what PostgreSQL says in bytes is what it says in text, and its end is told as such."""

import pyarrow as pa
import pytest

from storage.errors import DatabaseUnavailable
from storage.export.read import ROWS, record_batches

ADDRESSES = (
    "203.0.113.0", "0.0.0.0", "255.255.255.255", "10.0.0.0/8", "2001:db8::", "::", "::1", "::ffff:203.0.113.0",
    "fe80::1:2:3:4", "1:0:0:2:0:0:0:3", "2001:db8::/48", None,
)  # fmt: skip


def read(url, to):
    return pa.Table.from_batches(record_batches(url, 0, to), ROWS)


@pytest.mark.parametrize("by_site", [False, True])
def test_ids_and_addresses_are_written_as_postgresql_writes_them(connection, database_url, by_site):
    for address in ADDRESSES * 3:
        connection.execute(
            "INSERT INTO events (event_type, timestamp, ip_address, raw_event_data) VALUES ('x', now(), %s, '{}')",
            (address,),
        )
    wanted = connection.execute("SELECT event_id::text, host(ip_address) FROM events ORDER BY id").fetchall()
    rows = pa.Table.from_batches(record_batches(database_url, 0, 100, by_site), ROWS).select(["event_id", "ip_address"])
    assert [tuple(row.values()) for row in rows.to_pylist()] == wanted


def test_of_a_range_without_events_there_is_nothing(connection, database_url, many):
    assert read(database_url, 10).num_rows == 0
    many(10)
    assert pa.Table.from_batches(record_batches(database_url, 10, 20), ROWS).num_rows == 0


def test_a_server_that_goes_away_in_the_middle_is_told_as_that(connection, database_url, many):
    many(200_000)
    batches = record_batches(database_url, 0, 200_000)
    next(batches)
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%export.read %' AND pid <> pg_backend_pid()"
    ).fetchall()
    assert ended == [(True,)]
    with pytest.raises(DatabaseUnavailable, match="while events were read"):
        list(batches)
