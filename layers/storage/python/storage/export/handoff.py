"""A hand-off: the events of a range of time, or one site's, as files of their own beside the regular stream."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from storage import database, events, handoffs, ledger, objects, visitors
from storage.database import Connection
from storage.destination import Destination
from storage.errors import ExportRunning, HandoffInvalid, SettingsInvalid
from storage.export import contract
from storage.export.encode import EPOCH, Part, encode
from storage.export.handoff_hour import Written, write_hour
from storage.export.layout import Layout
from storage.export.read import record_batches
from storage.export.transform import Filter, Transform
from storage.ledger import Batch
from storage.rules import Filters
from storage.settings import Format, Settings, one_line

HOUR = dt.timedelta(hours=1)
MOST_NAME = 400
# How a folder names its range.
TIME = "%Y%m%dT%H%M%SZ"
NAMED = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([0-9]{8}T[0-9]{6}Z)(?:-(.+))?", re.ASCII)


class Wanted(BaseModel):
    """What is to be handed off: the events that arrived from a time on and before another, of every site or of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    destination: str = "client"
    from_time: dt.datetime
    to_time: dt.datetime
    site_id: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    formats: tuple[Format, ...] = ()

    @field_validator("from_time", "to_time")
    @classmethod
    def _time(cls, value: dt.datetime) -> dt.datetime:
        if value.tzinfo is None:
            raise ValueError("give it with its zone, such as 2026-11-01T00:00:00Z")
        if value.microsecond:
            raise ValueError("give whole seconds")
        try:
            return value.astimezone(dt.UTC)
        except OverflowError:
            raise ValueError("is no time that can be") from None

    @field_validator("site_id")
    @classmethod
    def _site(cls, value: str | None) -> str | None:
        # A key of S3 holds 1024 bytes, and the name stands in it as in an address.
        if value is not None and ("\0" in value or len(quote(value, safe="", errors="replace")) > MOST_NAME):
            raise ValueError("is no site such as shop.example.com")
        return value

    @field_validator("formats")
    @classmethod
    def _once(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(dict.fromkeys(value))

    @property
    def name(self) -> str:
        """The folder that it lies in: the same range and site, the same folder."""
        times = "-".join(f"{time:{TIME}}" for time in (self.from_time, self.to_time))
        return f"{times}-{quote(self.site_id, safe='')}" if self.site_id else times


def take_over(connection: Connection, destination: Destination) -> None:
    """Record what was handed off to a bucket before this database was there; nobody knows who is in it."""
    below = f"{destination.prefix}/handoffs/"
    folders = {key.removeprefix(below).partition("/")[0] for key in objects.keys_of_versions(destination, below)}
    for folder in sorted(folders):
        if told := NAMED.fullmatch(folder):
            start, end = (dt.datetime.strptime(told[n], TIME).replace(tzinfo=dt.UTC) for n in (1, 2))
            place = destination.name, destination.bucket, f"{below}{folder}"
            handoffs.take_over(connection, place, (start, end, unquote(told[3]) if told[3] else None))


class Progress(Written):
    """How far a hand-off is, as much as it takes to go on with it."""

    prefix: str = ""
    # By what the turns of one hand-off know each other.
    began_at: dt.datetime | None = None
    layout: Layout | None = None


def run(
    settings: Settings,
    asked: Mapping[str, Any],
    so_far: Mapping[str, Any] | None = None,
    has_time: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Write what is *asked* for below `<prefix>/handoffs/<range and site>/`, in the layout of the regular stream.

    The regular stream and its ledger stay as they are. What an earlier hand-off of the same range and site left there
    gives way. Where time runs out between two hours, the answer says `unfinished`, and given back as *so_far* goes on.

    Raises:
        HandoffInvalid: what is asked for is no range of the past, or no destination or format; or another hand-off of
            the same range, or other settings, came between two turns.
        ExportRunning: a hand-off is under way.
        DeliveryFailed: the bucket refused or cannot be reached.
        BatchUnreadable: some events fit no file.
        DatabaseUnavailable: PostgreSQL went away.
    """
    wanted, progress, regular = _understood(settings, asked, so_far)
    own = regular.model_copy(update={"prefix": f"{regular.prefix}/handoffs/{wanted.name}"})
    layout = Layout.of(settings).of_destination(wanted.destination)
    if wanted.formats:
        layout = layout.model_copy(update={"formats": wanted.formats})

    def work(connection: Connection) -> dict[str, Any]:
        with claim(connection):
            if progress.began_at is None:
                progress.began_at, progress.layout = _begin(connection, wanted, own, layout), layout
                progress.next_time = max(wanted.from_time, _first_hour(connection) or wanted.to_time)
            elif progress.began_at != handoffs.began_at(connection, *_place(own)) or progress.layout != layout:
                raise HandoffInvalid("another hand-off of this range, or other settings, came between; begin it anew")
            fence = ledger.next_fence(connection)
            # Whatever arrived before this moment can be seen from now on.
            events.settled_mark(connection)
            progress.prefix = own.prefix
            for start, end in _hours(progress.next_time or wanted.from_time, wanted.to_time):
                if not has_time():
                    break
                _hand_off(connection, settings, own, layout, wanted, (start, end), fence, progress)
                progress.next_time = end
            progress.unfinished = progress.next_time is None or progress.next_time < wanted.to_time
            if not progress.unfinished:
                _end(connection, own, layout, fence, is_empty=not progress.rows)
        return progress.model_dump(mode="json")

    return database.run(settings.require_database(), work)


def _understood(
    settings: Settings, asked: Mapping[str, Any], so_far: Mapping[str, Any] | None
) -> tuple[Wanted, Progress, Destination]:
    try:
        wanted = Wanted.model_validate(asked)
        progress = Progress.model_validate(so_far or {})
        regular = settings.require_destination(wanted.destination)
    except ValidationError as error:
        raise HandoffInvalid(one_line(error)) from None
    except SettingsInvalid as error:
        raise HandoffInvalid(f"DESTINATION: {error}") from None
    now = dt.datetime.now(dt.UTC)
    if not wanted.from_time < wanted.to_time <= now:
        latest = f"to end in the past; the latest end is {now:%Y-%m-%dT%H:%M:%SZ}"
        raise HandoffInvalid(f"the range has {latest if wanted.to_time > now else 'to begin before it ends'}")
    return wanted, progress, regular


def _hours(start: dt.datetime, end: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The hours of UTC that the range touches, each as far as it is in it."""
    while start < end:
        next_hour = min(start.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0) + HOUR, end)
        yield start, next_hour
        start = next_hour


def _hand_off(
    connection: Connection,
    settings: Settings,
    own: Destination,
    layout: Layout,
    wanted: Wanted,
    window: tuple[dt.datetime, dt.datetime],
    fence: int,
    progress: Progress,
) -> None:
    after, to = ids_of(connection, window)
    if to is None:
        return
    batch = Batch(
        f"{window[0]:%Y%m%dT%H%M%SZ}-{to:012}", after, to, *window, list(layout.formats), layout.model_dump(), []
    )
    of_site, kept = Filter(Filters(sites=(wanted.site_id,) if wanted.site_id else ())), Filter(layout.filters)
    transform = Transform(layout.filters, layout.transforms, own.hashing_key())
    read = record_batches(settings.require_database(), after, to, by_site=bool(layout.partition_by))
    parts = encode(kept.kept(of_site.kept(within(read, window))), layout, transform)
    indexed = _indexed(connection, own, settings.require_privacy_key(), parts)
    write_hour(own, layout, batch, indexed, fence, progress, kept.left_out)


def _indexed(connection: Connection, own: Destination, key: bytes, parts: Iterable[Part]) -> Iterator[Part]:
    """*parts*, each once whoever erases knows who is in it, and so before a byte of it is sent."""
    for part in parts:
        try:
            handoffs.keep_index(connection, _place(own), visitors.hashes_of(key, part.visitors.ids()))
        except BaseException:
            part.close()
            raise
        yield part


def within(batches: Iterable[pa.RecordBatch], window: tuple[dt.datetime, dt.datetime]) -> Iterator[pa.RecordBatch]:
    """What of *batches* arrived from the one time on and before the other."""
    start, end = (pa.scalar((time - EPOCH) // dt.timedelta(microseconds=1), pa.int64()) for time in window)
    for batch in batches:
        arrived = batch.column("created_at").cast(pa.int64())
        inside = batch.filter(pc.and_(pc.greater_equal(arrived, start), pc.less(arrived, end)))
        if inside.num_rows:
            yield inside


def ids_of(connection: Connection, window: Sequence[dt.datetime]) -> tuple[int, int | None]:
    """After which id and up to which one events arrived in a window; beside them there may be others. None if none did."""
    row = connection.execute(
        """
        /* handoff.ids */
        -- Found by the times; without OFFSET the extremes would be looked for from both ends of the ids.
        SELECT coalesce(min(id) - 1, 0), max(id)
          FROM (SELECT id FROM events WHERE created_at >= %s AND created_at < %s OFFSET 0) inside
        """,
        (window[0], window[1]),
    ).fetchone()
    assert row is not None, "an aggregate gives one row"
    return row[0], row[1]


def _first_hour(connection: Connection) -> dt.datetime | None:
    """An hour before the first event's, as times and ids are in the same order but for moments; None without events."""
    row = connection.execute(
        """
        /* handoff.first_hour */
        SELECT date_trunc('hour', created_at, 'UTC') - interval '1 hour' FROM events ORDER BY id LIMIT 1
        """
    ).fetchone()
    return row[0] if row else None


@contextmanager
def claim(connection: Connection) -> Iterator[None]:
    """Be the only one who hands off for as long as the block runs.

    Raises:
        ExportRunning: somebody else does.
    """
    with database.held(connection, 4) as is_ours:
        if not is_ours:
            raise ExportRunning("another hand-off is under way; try again when it is done")
        yield


def _begin(connection: Connection, wanted: Wanted, own: Destination, layout: Layout) -> dt.datetime:
    rules = layout.model_dump(mode="json", exclude={"formats"})
    began = handoffs.begin(
        connection, _place(own), (wanted.from_time, wanted.to_time, wanted.site_id), layout.formats, rules
    )
    # Files of an earlier hand-off of the same would be read beside these.
    for key in objects.keys(own, f"{own.prefix}/"):
        objects.remove(own, key)
    return began


def _end(connection: Connection, own: Destination, layout: Layout, fence: int, is_empty: bool) -> None:
    # Beside no events, as for a site whose name is mistyped, the contract would look like a hand-off.
    if not is_empty:
        contract.write(own, layout, fence)
    handoffs.end(connection, _place(own))


def _place(own: Destination) -> tuple[str, str, str]:
    return own.name, own.bucket, own.prefix
