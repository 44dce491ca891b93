"""What a destination gets of the events: filters and transforms, over Arrow where a column is enough, else event by event."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jmespath
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from storage import visitors
from storage.errors import SettingsInvalid
from storage.export.read import ROWS
from storage.rules import TEXTS, ColumnType, Filters, Transforms

RAW = "raw_event_data"
TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
NUMBER = re.compile(r"-?\d{1,300}(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
INTEGERS = range(-(2**63), 2**63)


class Filter:
    """Which events are kept."""

    def __init__(self, filters: Filters) -> None:
        self._in = [("site_id", filters.sites), ("event_type", filters.event_types)]
        self._where = _search(filters.where) if filters.where else None
        # By site; the empty one is that of events whose site could not be told.
        self.left_out: Counter[str] = Counter()

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events of *batch* that are kept; the others are counted in `left_out`."""
        before = batch
        for column, values in self._in:
            if values:
                batch = batch.filter(pc.is_in(batch.column(column), pa.array(values, pa.string())))
        if self._where and batch.num_rows:
            beside = {name: batch.column(name) for name in ("id", *TEXTS)}
            batch = batch.filter(
                pa.array([_true(self._where(event)) for event in _events(beside, batch.column(RAW))], pa.bool_())
            )
        if batch.num_rows < before.num_rows:
            self.left_out += _by_site(before) - _by_site(batch)
        return batch

    def kept(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What is kept of each of *batches*."""
        for batch in batches:
            if (kept := self.keep(batch)).num_rows:
                yield kept


def _by_site(batch: pa.RecordBatch) -> Counter[str]:
    counts = pc.value_counts(batch.column("site_id")).to_pylist()
    return Counter({pair["values"] or "": pair["counts"] for pair in counts})


class Transform:
    """What becomes of the columns. `schema` names those that come out, in the order of those that `apply` gives."""

    def __init__(self, filters: Filters, transforms: Transforms, key: bytes) -> None:
        if transforms.hash and not key:
            # Without a key whoever has the hash finds out of what it is.
            raise SettingsInvalid(
                "EXPORT_HASH_KEY is not set, and there are batches that were planned to be hashed with it"
            )
        self._key = key
        self._hash = [name for name in transforms.hash if name in TEXTS]
        self._truncate = {name: most for name, most in transforms.truncate.items() if name in TEXTS}
        # In the order of their names: a plan that is read back from the ledger has no other.
        self._flatten = {
            name: (_search(one.path), TYPES[one.type], one.type) for name, one in sorted(transforms.flatten.items())
        }
        dropped = [*transforms.drop, *(name for name in ROWS.names if filters.fields and name not in filters.fields)]
        flattened = [pa.field(name, kind) for name, (_, kind, _) in self._flatten.items()]
        self._fields = [field for field in (*ROWS, *flattened) if field.name not in dropped]
        self._edits: list[tuple[list[str], Callable[[Any], Any] | None]] = [
            *((name.split("."), self._hashed) for name in transforms.hash),
            *((name.split("."), _cut(most)) for name, most in transforms.truncate.items()),
            *((name.split("."), None) for name in dropped),
        ]
        self._seen = [name for name in ("id", *TEXTS) if name not in dropped]
        self._raw = RAW not in dropped or bool(self._flatten)
        self.schema = pa.schema(
            [field.with_name(transforms.rename.get(field.name, field.name)) for field in self._fields]
        )
        self.origins = dict(zip(self.schema.names, (field.name for field in self._fields), strict=True))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of *batch*, which has the columns of `ROWS`, by the names that they had: a writer gives the new ones."""
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name in self._hash:
            columns[name] = self._hashed_column(columns[name])
        for name, most in self._truncate.items():
            columns[name] = pc.utf8_slice_codeunits(columns[name], 0, most)
        if self._edits and self._raw:
            columns[RAW] = pa.array([self._edited(text) for text in columns[RAW].to_pylist()], pa.string())
        if self._flatten:
            beside = {name: columns[name] for name in self._seen}
            events = list(_events(beside, columns[RAW]))
            for name, (search, kind, named) in self._flatten.items():
                columns[name] = pa.array([_typed(search(event), named) for event in events], kind)
        return pa.RecordBatch.from_arrays(
            [columns[field.name] for field in self._fields], schema=pa.schema(self._fields)
        )

    def _hashed_column(self, column: pa.Array) -> pa.Array:
        # Each value once: visitors come again.
        values = column.dictionary_encode()
        hashed = pa.array([self._hashed(value) for value in values.dictionary.to_pylist()], pa.string())
        return hashed.take(values.indices)

    def _hashed(self, value: Any) -> str | None:
        if value is None:
            return None
        data = value.encode() if isinstance(value, str) else orjson.dumps(value)
        return visitors.exported_as(self._key, data)

    def _edited(self, text: str) -> str:
        # Numbers pass as they are written: what PostgreSQL holds may fit no number of ours.
        event = json.loads(text, parse_float=_number, parse_int=_number)
        for path, become in self._edits:
            _change(event, path, become)
        return orjson.dumps(event).decode()


def _number(text: str) -> orjson.Fragment:
    return orjson.Fragment(text)


def _change(value: Any, path: list[str], become: Callable[[Any], Any] | None) -> None:
    """Let what lies at *path* become something else, or go where that is None; of a list, in each of its items."""
    if isinstance(value, list):
        for item in value:
            _change(item, path, become)
    elif isinstance(value, dict):
        # A key may have dots of its own.
        for length in range(1, len(path) + 1):
            key = ".".join(path[:length])
            if key not in value:
                continue
            if length < len(path):
                _change(value[key], path[length:], become)
            elif become is None:
                del value[key]
            else:
                value[key] = become(value[key])


def _cut(most: int) -> Callable[[Any], Any]:
    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(item) for item in value]
        return value[:most] if isinstance(value, str) else value

    return cut


def _events(beside: Mapping[str, pa.Array], raw: pa.Array) -> Iterator[dict[str, Any]]:
    """Events as an expression sees them: the raw ones, with columns beside."""
    for columns, text in zip(pa.table(beside).to_pylist(), raw.to_pylist(), strict=True):
        event = _loaded(text)
        yield {**event, **columns} if isinstance(event, dict) else columns


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _search(expression: str) -> Callable[[dict[str, Any]], Any]:
    """What *expression* finds in an event; none where a function of it does not fit what is there."""
    search = jmespath.compile(expression).search

    def found(event: dict[str, Any]) -> Any:
        try:
            return search(event)
        except Exception:  # noqa: BLE001 - whatever its functions trip over, it is what somebody sent
            return None

    return found


def _true(value: Any) -> bool:
    # https://jmespath.org/specification.html#or-expressions: zero is true.
    return bool(value) or (isinstance(value, int | float) and value is not False)


def _typed(value: Any, kind: ColumnType) -> Any:
    """*value* as the type of its column; none where it does not fit."""
    try:
        return _converted(value, kind)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _converted(value: Any, kind: ColumnType) -> Any:
    if value is None:
        return None
    match kind:
        case "string":
            # Numbers may be larger than what a faster writer takes.
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            text.encode()
            return text
        case "boolean":
            return value if isinstance(value, bool) else None
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value) if kind == "number" or "." in value or "e" in value.lower() else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind == "number":
        return float(value)
    return int(value) if value == int(value) and int(value) in INTEGERS else None
