"""What an export would deliver, without delivering it: rows, columns and bytes, now and after a change, and a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import orjson
import pyarrow as pa
from pydantic import ValidationError

from storage import database
from storage.errors import SettingsInvalid
from storage.export.encode import encode
from storage.export.jsonl import json_lines
from storage.export.layout import Layout
from storage.export.read import ROWS, record_batches
from storage.export.transform import Filter, Transform
from storage.settings import Settings, one_line

# The last so many events are looked at: enough to see what a change does, in a second or two.
EVENTS = 100_000
# An answer of a function holds 6 MB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of the events that were looked at, in the client's bucket."""

    looked_at: int
    events: int
    columns: dict[str, str]
    # By format.
    bytes: dict[str, int]
    sample: list[dict[str, Any]]


def run(settings: Settings, proposed: Mapping[str, Any] | None, sample: int) -> dict[str, Any]:
    """The effect of the settings, and that of others that are *proposed* over them by their names, over the last events.

    Nothing is written anywhere.

    Raises:
        SettingsInvalid: what is proposed is no setting.
        DatabaseUnavailable: PostgreSQL cannot be reached.
    """
    try:
        then = Settings(**{**settings.model_dump(), **proposed}) if proposed else settings
    except ValidationError as error:
        raise SettingsInvalid(one_line(error)) from None
    url = settings.require_database()
    after, to = database.run(url, _last)
    now = effect(settings, url, after, to, sample)
    other = effect(then, url, after, to, sample) if proposed else now
    return {"now": asdict(now), "then": asdict(other)}


def effect(settings: Settings, url: str, after: int, to: int, sample: int) -> Effect:
    """What *settings* make of the events with `after < id <= to` for the client's bucket."""
    layout = Layout.of(settings)
    key = settings.export_hash_key.get_secret_value().encode() if settings.export_hash_key else b""
    kept, transform = Filter(layout.filters), Transform(layout.filters, layout.transforms, key)
    last = _Last(sample)
    sizes: dict[str, int] = dict.fromkeys(layout.formats, 0)
    events = record_batches(url, after, to, by_site=bool(layout.partition_by))
    for part in encode(last.of(kept.kept(events)), layout, transform):
        sizes[part.format] += part.size
        part.close()
    columns = {field.name: str(field.type) for field in transform.schema}
    return Effect(last.seen + kept.left_out.total(), last.seen, columns, sizes, last.as_json(transform))


class _Last:
    """Remembers the last rows of what passes."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._held = pa.RecordBatch.from_pylist([], ROWS)
        self.seen = 0

    def of(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass *batches* on."""
        for batch in batches:
            self.seen += batch.num_rows
            tail = batch.slice(max(0, batch.num_rows - self._rows))
            before = self._held.slice(max(0, self._held.num_rows + tail.num_rows - self._rows))
            self._held = pa.concat_batches([before, tail])
            yield batch

    def as_json(self, transform: Transform) -> list[dict[str, Any]]:
        """What *transform* makes of them, as JSON Lines would have it."""
        lines = json_lines(transform.apply(self._held), transform.schema).splitlines()
        sizes = accumulate(len(line) for line in reversed(lines))
        fitting = sum(size <= MOST_BYTES for size in sizes)
        return [orjson.loads(line) for line in lines[len(lines) - fitting :]]


def _last(connection: database.Connection) -> tuple[int, int]:
    row = connection.execute(
        """
        /* preview.last */
        SELECT coalesce(min(id) - 1, 0), coalesce(max(id), 0)
          FROM (SELECT id FROM events ORDER BY id DESC LIMIT %s) last
        """,
        (EVENTS,),
    ).fetchone()
    assert row is not None, "an aggregate gives one row"
    return row[0], row[1]
