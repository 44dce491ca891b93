"""An object without the rows of some visitors: everything else in it stays as it is."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage import visitors
from storage.export.compressed import compressed
from storage.export.decode import plain, unquoted
from storage.export.encode import EPOCH
from storage.export.hashed import HashingFile
from storage.export.layout import Layout
from storage.export.parquet import ZSTD_LEVEL
from storage.settings import Compression


@dataclass(frozen=True, slots=True)
class Gone:
    """Whose rows go: visitors by their hashes, and events of theirs by their ids, each with its visitor and its site."""

    key: bytes
    hashes: frozenset[int]
    # What a bucket that hashes ids has in the place of a visitor's.
    exported_as: Mapping[str, int]
    events: Mapping[int, tuple[int, str]]

    def visitor_of(self, shown: str | None, hashed: bool) -> int | None:
        """The visitor whose id is *shown*, if the rows of that one go."""
        if shown is None:
            return None
        if hashed:
            return self.exported_as.get(shown)
        found = visitors.hash_of(self.key, shown)
        return found if found in self.hashes else None


@dataclass(slots=True)
class Kept:
    """What is left of an object, and what went: rows by visitor, and by site."""

    rows: int = 0
    first_id: int | None = None
    last_id: int | None = None
    first_timestamp: dt.datetime | None = None
    last_timestamp: dt.datetime | None = None
    removed: Counter[int] = field(default_factory=Counter)
    sites_removed: Counter[str] = field(default_factory=Counter)
    # By id, the visitor and the site of what went.
    events: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, rows: int, ids: tuple[int, int], times: tuple[dt.datetime, dt.datetime] | None) -> None:
        """Count rows that stay, with their least and greatest id and time."""
        self.rows += rows
        self.first_id = min(ids[0], self.first_id or ids[0])
        self.last_id = max(ids[1], self.last_id or ids[1])
        if times:
            self.first_timestamp = min(times[0], self.first_timestamp or times[0])
            self.last_timestamp = max(times[1], self.last_timestamp or times[1])

    def remove(self, number: int, visitor: int, site: str | None) -> None:
        """Count a row that goes."""
        self.events[number] = visitor, site or ""
        self.removed[visitor] += 1
        self.sites_removed[site or ""] += 1


class Names:
    """By which names the columns that matter here lie in an object of a layout; None where it has them not, or not as they were."""

    def __init__(self, layout: Layout) -> None:
        rules = layout.transforms

        def shown(column: str) -> str | None:
            if column in rules.drop or layout.filters.hides(column) or column in rules.truncate:
                return None
            return rules.rename.get(column, column)

        self.visitor = shown("visitor_id")
        self.visitor_is_hashed = "visitor_id" in rules.hash
        self.site = None if "site_id" in rules.hash else shown("site_id")
        self.timestamp = shown("timestamp")


def without(file: IO[bytes], key: str, layout: Layout, gone: Gone, into: HashingFile) -> Kept:
    """Write the object *key* of *layout*, which lies in *file*, into another file without the rows that are gone.

    Raises:
        ValueError, KeyError, OSError, pa.ArrowException: it is no such object.
    """
    if key.endswith(".parquet"):
        return _parquet(file, layout, gone, into)
    return _text(file, key, Names(layout), gone, into)


def _parquet(file: IO[bytes], layout: Layout, gone: Gone, into: HashingFile) -> Kept:
    kept, names, source = Kept(), Names(layout), pq.ParquetFile(file)
    compression = layout.compression_of("parquet")
    with pq.ParquetWriter(
        cast("IO[bytes]", into),
        source.schema_arrow,
        compression=compression,
        compression_level=ZSTD_LEVEL if compression == "zstd" else None,
        write_page_index=True,
        # A dictionary that is taken over would keep the values of rows that are not there any more.
        use_dictionary=_dictionaries(source),
    ) as writer:
        for number in range(source.num_row_groups):
            rows = source.read_row_group(number)
            stays = rows.filter(pa.array(_stay(rows, names, gone, kept), pa.bool_()))
            if stays.num_rows:
                kept.add(stays.num_rows, _ends(stays.column("id")), _times(stays, names))
                writer.write_table(stays, row_group_size=stays.num_rows)
    return kept


def _dictionaries(source: pq.ParquetFile) -> list[str]:
    """The columns that were written with a dictionary."""
    if not source.num_row_groups:
        return []
    group = source.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return [column.path_in_schema for column in columns if column.has_dictionary_page]


def _stay(rows: pa.Table, names: Names, gone: Gone, kept: Kept) -> list[bool]:
    visitor_ids = rows.column(names.visitor) if names.visitor else None
    known: dict[str | None, int | None] = {}
    if visitor_ids is not None:
        # Each once: a visitor has many rows.
        known = {one: gone.visitor_of(one, names.visitor_is_hashed) for one in pc.unique(visitor_ids).to_pylist()}
    wanted = {one for one, visitor in known.items() if visitor is not None}
    ids = rows.column("id").to_pylist()
    if not wanted and gone.events.keys().isdisjoint(ids):
        return [True] * len(ids)
    shown = visitor_ids.to_pylist() if visitor_ids is not None else [None] * len(ids)
    sites = rows.column(names.site).to_pylist() if names.site else [None] * len(ids)
    return [
        not _goes(number, known.get(visitor), site, gone, kept)
        for number, visitor, site in zip(ids, shown, sites, strict=True)
    ]


def _goes(number: int, visitor: int | None, site: str | None, gone: Gone, kept: Kept) -> bool:
    if event := gone.events.get(number):
        visitor, site = event
    if visitor is None:
        return False
    kept.remove(number, visitor, site)
    return True


def _ends(column: pa.ChunkedArray) -> tuple[int, int]:
    found = pc.min_max(column).as_py()
    return found["min"], found["max"]


def _times(rows: pa.Table, names: Names) -> tuple[dt.datetime, dt.datetime] | None:
    if names.timestamp is None:
        return None
    first, last = _ends(rows.column(names.timestamp).cast(pa.int64()))
    return EPOCH + dt.timedelta(microseconds=first), EPOCH + dt.timedelta(microseconds=last)


def _text(file: IO[bytes], key: str, names: Names, gone: Gone, into: HashingFile) -> Kept:
    kept, name = Kept(), key.rpartition("/")[2]
    compression: Compression = "gzip" if name.endswith(".gz") else "zstd" if name.endswith(".zst") else "none"
    sink = compressed(cast("IO[bytes]", into), compression)
    is_csv = ".csv" in name
    known: dict[str | None, int | None] = {}
    for raw, row in _records(file, name, is_csv):
        if row is None:
            sink.write(raw)
            continue
        number, shown = int(row["id"]), row[names.visitor] if names.visitor else None
        site = row[names.site] if names.site else None
        if is_csv:
            shown, site = (unquoted(value) if value else None for value in (shown, site))
        if shown not in known:
            known[shown] = gone.visitor_of(shown, names.visitor_is_hashed)
        if not _goes(number, known[shown], site, gone, kept):
            moment = dt.datetime.fromisoformat(row[names.timestamp]) if names.timestamp else None
            kept.add(1, (number, number), (moment, moment) if moment else None)
            sink.write(raw)
    sink.close()
    return kept


def _records(file: IO[bytes], name: str, is_csv: bool) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Each record as it is written, and what it says; of the line of names nothing."""
    with closing(plain(file, name)) as data:
        if not is_csv:
            for line in data:
                yield line, orjson.loads(line)
            return
        with io.TextIOWrapper(data, "utf-8", newline="") as text:
            lines: list[str] = []
            header: list[str] | None = None
            for fields in csv.reader(_remembered(text, lines)):
                raw = "".join(lines).encode()
                lines.clear()
                yield raw, dict(zip(header, fields, strict=True)) if header else None
                header = header or fields


def _remembered(text: Iterator[str], lines: list[str]) -> Iterator[str]:
    """The lines of *text*, each of which is put into *lines*: a record may have several."""
    for line in text:
        lines.append(line)
        yield line
