"""Events as a stream of Arrow record batches, by ADBC over PostgreSQL's binary COPY."""

from __future__ import annotations

import socket
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import accumulate
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
# Read while what came before is looked at, and no more.
BATCHES_AHEAD = 3

# Where the 32 digits of a UUID stand in its text of 36 characters.
UUID_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]
PGSQL_AF_INET = 2


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
            yield _in_rows(batch)


def _in_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch as PostgreSQL sent it, in the columns of `ROWS`.

    It sends UUIDs and addresses as the bytes that they are: their texts cost it a third of its time, and us next to none.
    """
    columns = [
        READABLE[field.name](column.storage) if field.name in READABLE else column
        for field, column in zip(ROWS, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ROWS)


def _uuids(values: pa.FixedSizeBinaryArray) -> pa.Array:
    """The texts of UUIDs, none of which is null."""
    start, rows = values.offset * 16, len(values)
    digits = memoryview(values.buffers()[1])[start : start + rows * 16].hex().encode()
    texts = bytearray(b"-" * (rows * 36))
    # All first digits, then all second ones, and so on: each into its place in every text.
    for digit, place in enumerate(UUID_PLACES):
        texts[place::36] = digits[digit::32]
    return _texts(range(0, rows * 36 + 1, 36), bytes(texts))


def _addresses(values: pa.BinaryArray) -> pa.Array:
    """The texts of addresses without their netmasks, as `host()` writes them; each value's once."""
    distinct = values.dictionary_encode()
    texts = [_address(value) for value in distinct.dictionary.to_pylist()]
    return _texts(accumulate(map(len, texts), initial=0), b"".join(texts)).take(distinct.indices)


@lru_cache(maxsize=16_384)
def _address(sent: bytes) -> bytes:
    """The text of an address: sent are its family, the bits of its mask, whether it is a network, its length, and itself."""
    address = sent[4:]
    family = socket.AF_INET if sent[0] == PGSQL_AF_INET else socket.AF_INET6
    return socket.inet_ntop(family, address).encode()


def _texts(offsets: Iterable[int], data: bytes) -> pa.Array:
    # Made of Python's strings by Arrow itself, it would load pandas to ask whether they are its.
    places = array("i", offsets)
    return pa.Array.from_buffers(pa.string(), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(data)])


READABLE: dict[str, Callable[[pa.Array], pa.Array]] = {"event_id": _uuids, "ip_address": _addresses}


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
    SELECT id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, ip_address, raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY id
"""
BY_SITE = """
    /* export.read_by_site */
    SELECT id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path,
           user_agent, ip_address, raw_event_data, created_at
      FROM events
     WHERE id > current_setting('evothesis.from_id')::bigint
       AND id <= current_setting('evothesis.to_id')::bigint
     ORDER BY nullif(site_id, '') COLLATE "C", id
"""
