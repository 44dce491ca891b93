"""The way back: a bucket's events into an empty database, and its manifests into the ledger."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from storage import database, events, ledger, metering, objects, retention, visitors
from storage.database import Connection
from storage.destination import Destination
from storage.errors import RestoreRefused
from storage.export import balances, handoff, receipts, statements
from storage.export.decode import BEST, rows
from storage.export.layout import SCHEMA_VERSION, Layout
from storage.export.manifest import brought
from storage.export.read import ROWS
from storage.settings import SIDES, Settings

VISITOR = ROWS.names.index("visitor_id")


@dataclass(frozen=True, slots=True)
class Held:
    """A manifest as it lies in a bucket."""

    key: str
    manifest: dict[str, Any]
    sha256: str
    fence: int


@dataclass(slots=True)
class Outcome:
    """What was done: batches and events of them that were put back, and whether there is more."""

    destination: str
    batches: int = 0
    events: int = 0
    unfinished: bool = False

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def run(settings: Settings, name: str, has_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Put back what the bucket of one side, `client` or `backup`, has, oldest first; stop between batches once *has_time* says no.

    Events get the ids that they had, and the ledger knows of every bucket what it has, so that nothing is delivered
    twice and the next export goes on where the last one ended. Each batch is there whole or not at all: killed anywhere,
    the same call goes on. Events that come meanwhile have ids after all of these. Who was erased stays so.

    Raises:
        SettingsInvalid: that side has no bucket, or visitors were erased under another privacy key.
        RestoreRefused: the database has events of its own, or an object is not what its manifest says.
        ExportRunning: an exporter is at it.
        DeliveryFailed: a bucket cannot be read.
        DatabaseUnavailable: PostgreSQL went away; the next call goes on.
    """
    source = settings.require_destination(name)
    key = settings.require_privacy_key()

    def work(connection: Connection) -> Outcome:
        with ledger.claim(connection):
            destinations = settings.require_destinations()
            held: dict[str, dict[str, Held]] = {one.name: _manifests(one) for one in destinations}
            known = ledger.planned_batches(connection)
            _require_room(connection, source, held[name], known)
            receipts.suppress_again(connection, settings)
            retention.forget_marks(connection)
            ledger.skip_fences(connection, max(one.fence for every in held.values() for one in every.values()))
            for one in destinations:
                balances.take_over(connection, one)
                statements.take_over(connection, one)
                handoff.take_over(connection, one)
            outcome = Outcome(name)
            for batch_id, found in held[name].items():
                if batch_id in known:
                    continue
                if not has_time():
                    outcome.unfinished = True
                    break
                with connection.transaction():
                    metering.begin_anew(connection, found.manifest["id_range"]["after"])
                    outcome.events += _put_back(connection, source, found.manifest, key)
                    metering.add_gone(connection, found.manifest["window"]["start"], _gone(found.manifest))
                    there = {name: every[batch_id] for name, every in held.items() if batch_id in every}
                    layout = _layout(settings, found.manifest, there)
                    # Of the batches before it was there a group has none, and of those of other sites none either.
                    wanted = [one.name for one in destinations if one.name in SIDES or one.name in there]
                    ledger.take_over(connection, found.manifest, layout, wanted)
                    for one in destinations:
                        if batch_id in held[one.name]:
                            _record(connection, one, held[one.name][batch_id], found.manifest["sites"])
                outcome.batches += 1
            return outcome

    return database.run(settings.require_database(), work)


def _manifests(destination: Destination) -> dict[str, Held]:
    """Every manifest of a bucket by its batch, in the order of their ids."""
    every = []
    for key in objects.keys(destination, f"{destination.prefix}/manifests/"):
        text, fence = objects.fetch(destination, key)
        try:
            manifest = orjson.loads(text)
            place = manifest["id_range"]["to"], manifest["sequence"]
        except (ValueError, KeyError, TypeError):
            raise RestoreRefused(
                f"{destination.name} bucket {destination.bucket}: {key} is no manifest that can be read; "
                f"`evothesis verify {destination.name}` says what else is wrong"
            ) from None
        if manifest["schema_version"] > SCHEMA_VERSION:
            raise RestoreRefused(f"{key} was written by a newer release; restore with that release")
        every.append((place, Held(key, manifest, hashlib.sha256(text).hexdigest(), fence)))
    every.sort(key=itemgetter(0))
    return {held.manifest["batch_id"]: held for _, held in every}


def _require_room(connection: Connection, source: Destination, held: Mapping[str, Held], known: set[str]) -> None:
    if not held:
        raise RestoreRefused(f"{source.name} bucket {source.bucket} has no manifest below {source.prefix}/manifests/")
    if any("left_out" in one.manifest for one in held.values()):
        raise RestoreRefused(
            f"{source.name} bucket {source.bucket} holds what its filters and transforms left of the events; "
            "restore from the backup bucket, which has all of them"
        )
    if strange := known - held.keys():
        raise RestoreRefused(
            f"the ledger has a batch that {source.name} bucket {source.bucket} does not, {min(strange)}; "
            "restore into a database of its own"
        )
    if not known:
        highest = max(one.manifest["id_range"]["to"] for one in held.values())
        if not events.reserve_ids(connection, highest):
            raise RestoreRefused("the database has events of its own; restore into an empty one")


def _record(connection: Connection, destination: Destination, held: Held, sites: Mapping[str, int]) -> None:
    """Record that a destination has a batch of events of *sites*: its manifest lies there."""
    batch_id, name, manifest = held.manifest["batch_id"], destination.name, held.manifest
    left_out = {}
    if manifest.get("left_out"):
        left_out = {site: rows - manifest["sites"].get(site, 0) for site, rows in sites.items()}
    ledger.written(
        connection,
        batch_id,
        name,
        destination.bucket,
        manifest["objects"],
        manifest["rows"],
        left_out,
    )
    revisions = manifest.get("revisions", ())
    ledger.unindexed(connection, batch_id, name)
    metered = brought(manifest)
    ledger.delivered(connection, batch_id, name, held.key, manifest["sequence"], held.sha256, revisions, metered)


def _layout(settings: Settings, manifest: Mapping[str, Any], there: Mapping[str, Held]) -> dict[str, Any]:
    """How the batch became objects, as far as it matters to whoever lacks it; what another side gets of it is in its own manifest."""
    rules = Layout.of(settings).model_dump(include={"filters", "transforms"})
    if "client" in there:
        rules = {name: there["client"].manifest.get(name, {}) for name in rules}
    groups = {name: held.manifest["filters"]["sites"] for name, held in there.items() if name not in SIDES}
    by_site = any("/site_id=" in item["key"] for item in manifest["objects"])
    return {**rules, "groups": groups, **({"partition_by": "site_id"} if by_site else {})}


def _gone(manifest: Mapping[str, Any]) -> Counter[str]:
    """The events of each site that were in a batch once, and were erased or grew too old."""
    found: Counter[str] = Counter()
    for revision in manifest.get("revisions", ()):
        found.update(revision.get("sites_removed", {}))
    return found


class _Erased:
    """Who was erased, and whose rows the bucket still has: they are not put back."""

    def __init__(self, connection: Connection, key: bytes) -> None:
        self._key = key
        self._hashes = visitors.suppressed(connection)
        self.rows = 0

    def left_out(self, stored: Iterable[list[Any]]) -> Iterator[list[Any]]:
        """Everybody else's rows."""
        for row in stored:
            visitor_id = row[VISITOR]
            if self._hashes and visitor_id and visitors.hash_of(self._key, visitor_id) in self._hashes:
                self.rows += 1
            else:
                yield row


def _put_back(connection: Connection, source: Destination, manifest: Mapping[str, Any], key: bytes) -> int:
    if not manifest["rows"]:
        return 0
    there = {item["format"] for item in manifest["objects"]}
    best = next(name for name in BEST if name in there)
    stored = 0
    erased = _Erased(connection, key)
    for item in manifest["objects"]:
        if item["format"] == best:
            with tempfile.TemporaryFile() as file:
                if objects.read(source, item["key"], file) != item["sha256"]:
                    raise RestoreRefused(f"{item['key']} is missing, or holds other bytes than its manifest says")
                try:
                    stored += events.put_back(connection, erased.left_out(rows(file, item["key"])))
                except (ValueError, KeyError, OSError, pa.ArrowException) as error:
                    raise RestoreRefused(f"{item['key']} cannot be read: {' '.join(str(error).split())}") from error
    if stored + erased.rows != manifest["rows"]:
        raise RestoreRefused(f"{manifest['batch_id']} holds {stored} events, and its manifest says {manifest['rows']}")
    return stored
