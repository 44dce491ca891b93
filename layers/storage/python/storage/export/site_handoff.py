"""A site's whole history for its owner: what the database has, and of what it has dropped, what the buckets have."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from storage import database, events, ledger, objects, webhooks
from storage.database import Connection
from storage.destination import Bucket, Destination
from storage.errors import HandoffInvalid
from storage.export import contract
from storage.export.encode import encode
from storage.export.handoff import HOUR, claim, ids_of, within
from storage.export.handoff_hour import Written, write_hour
from storage.export.held import batches_of_site
from storage.export.layout import Layout
from storage.export.read import record_batches
from storage.export.transform import Filter, Transform
from storage.ledger import Batch
from storage.rules import Filters, Transforms
from storage.settings import Settings, one_line


class Wanted(BaseModel):
    """Which site is handed off where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site_id: str
    to: Bucket

    @property
    def place(self) -> str:
        """Where to, as one writes it."""
        return f"s3://{self.to.bucket}/{self.to.prefix}"


class Progress(Written):
    """How far it is, as much as it takes to go on with it."""

    until: dt.datetime | None = None
    # Events that nobody has any more: too old for the database and for every bucket.
    gone: int = 0


def run(
    settings: Settings,
    asked: Mapping[str, Any],
    so_far: Mapping[str, Any] | None = None,
    has_time: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Write every event of a site that ever came, but for those of visitors who were erased, and mark the site.

    Hour by hour, each event once, with manifests and the contract, into a place that was empty. What the database has
    dropped because of its age is read from a bucket that has it. Where time runs out the answer says `unfinished`, and
    given back as *so_far* goes on. From then on the copy is its owner's: no erasure reaches it, and receipts say so.

    Raises:
        HandoffInvalid: there is no such site, or the place is not empty.
        ExportRunning: a hand-off is under way.
        DeliveryFailed: the place cannot be written to, or no bucket has what the database has dropped.
        BatchUnreadable: some events fit no file.
        DatabaseUnavailable: PostgreSQL went away.
    """
    try:
        wanted, progress = Wanted.model_validate(asked), Progress.model_validate(so_far or {})
    except ValidationError as error:
        raise HandoffInvalid(one_line(error)) from None
    own = Destination(name="owner", **dict(wanted.to))

    def work(connection: Connection) -> dict[str, Any]:
        with claim(connection):
            if progress.until is None:
                _require_site(connection, wanted.site_id)
                if next(iter(objects.keys(own, f"{own.prefix}/")), None):
                    raise HandoffInvalid(f"there is something below {wanted.place}/ already; name an empty place")
                progress.until = dt.datetime.now(dt.UTC)
                # Whatever arrived before this moment can be seen from now on.
                events.settled_mark(connection)
            turn = _Turn(connection, settings, wanted.site_id, own, progress)
            turn.go(has_time)
            if not progress.unfinished:
                contract.write(own, turn.layout, turn.fence)
                _mark(connection, wanted, progress)
        return progress.model_dump(mode="json")

    return database.run(settings.require_database(), work)


class _Turn:
    """As many hours of a site's history as there is time for."""

    def __init__(
        self, connection: Connection, settings: Settings, site_id: str, own: Destination, progress: Progress
    ) -> None:
        self._connection, self._settings, self._site_id, self._own = connection, settings, site_id, own
        self._progress = progress
        self.layout = Layout.of(settings).of_destination("backup").model_copy(update={"partition_by": None})
        self.fence = ledger.next_fence(connection)

    def go(self, has_time: Callable[[], bool]) -> None:
        progress = self._progress
        wanted = {"site_id": self._site_id, "after": progress.next_time, "until": progress.until}
        for (hour,) in self._connection.execute(HOURS, wanted).fetchall():
            if not has_time():
                return
            self._hand_off(hour, min(hour + HOUR, progress.until or hour + HOUR))
            progress.next_time = hour
        progress.unfinished = False

    def _hand_off(self, start: dt.datetime, end: dt.datetime) -> None:
        name, layout = f"{start:%Y%m%dT%H%M%SZ}", self.layout
        batch = Batch(name, 0, 0, start, end, list(layout.formats), layout.model_dump(), [])
        parts = encode(self._events(start, end), layout, Transform(Filters(), Transforms(), b""))
        write_hour(self._own, layout, batch, parts, self.fence, self._progress, {})

    def _events(self, start: dt.datetime, end: dt.datetime) -> Iterator[pa.RecordBatch]:
        """The site's events of an hour: those of batches that the database has dropped events of from a bucket, all others its own."""
        of_site = Filter(Filters(sites=(self._site_id,)))
        ranges = []
        for dropped in batches_of_site(self._connection, self._settings, self._site_id, start):
            self._progress.gone += dropped.gone
            ranges.append((dropped.from_id, dropped.to_id))
            yield from of_site.kept(within(dropped.read(), (start, end)))
        after, to = ids_of(self._connection, (start, end))
        if to is not None:
            read = record_batches(self._settings.require_database(), after, to)
            for found in of_site.kept(within(read, (start, end))):
                yield from _outside(found, ranges)


def _outside(found: pa.RecordBatch, ranges: list[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
    for from_id, to_id in ranges:
        ids = found.column("id")
        found = found.filter(pc.or_(pc.less_equal(ids, from_id), pc.greater(ids, to_id)))
    if found.num_rows:
        yield found


def _require_site(connection: Connection, site_id: str) -> None:
    if not connection.execute("/* site_handoff.site */ SELECT 1 FROM sites WHERE site_id = %s", (site_id,)).fetchone():
        raise HandoffInvalid(f"no event of {site_id[:100]!r} was seen; `evothesis site list` shows those that were")


def _mark(connection: Connection, wanted: Wanted, progress: Progress) -> None:
    with connection.transaction():
        connection.execute(MARK, (wanted.place, progress.until, wanted.site_id))
        told = {
            "site_id": wanted.site_id,
            "to": wanted.place,
            "until": progress.until,
            "events": progress.rows,
            "bytes": progress.bytes,
        }
        webhooks.tell(connection, "site.handed_off", told, f"site {wanted.site_id}")


# Those that the database has events of, and those that it has dropped events of because of their age.
HOURS = """
    /* site_handoff.hours */
    SELECT hour FROM (
        SELECT date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS hour FROM events
         WHERE site_id = %(site_id)s AND created_at < %(until)s
        UNION
        SELECT hour FROM erased_events WHERE site_id = %(site_id)s AND expired AND hour < %(until)s) hours
     WHERE %(after)s::timestamptz IS NULL OR hour > %(after)s
     ORDER BY hour
"""
MARK = """
    /* site_handoff.mark */
    UPDATE sites SET handed_off_to = %s, handed_off_at = now(), handed_off_until = %s WHERE site_id = %s
"""
