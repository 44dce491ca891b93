"""Erasure in the buckets: every object that holds a visitor who is to be erased is written anew without that visitor's rows."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import pyarrow as pa

from storage import database, deliveries, erasures, ledger, objects, visitors
from storage.database import Connection
from storage.deliveries import Delivery
from storage.erasures import Affected, Erasure
from storage.errors import DeliveryFailed
from storage.export import manifest, receipts
from storage.export.deliver import CONTENT_TYPES
from storage.export.encode import Contents
from storage.export.hashed import HashingFile
from storage.export.layout import Layout
from storage.export.rewrite import Gone, Names, without
from storage.objects import Body
from storage.settings import Destination, Settings


@dataclass(slots=True)
class Outcome:
    """What a run did: how many erasures it completed, how many wait, and the objects that it wrote anew."""

    completed: int = 0
    waiting: int = 0
    objects: int = 0


class Blocked(Exception):
    """An erasure cannot go on by itself; the text says why, and what to do."""


def run(settings: Settings, has_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Go on with every erasure that is not completed; stop between batches once *has_time* says no.

    A batch in a bucket is gone through once for all that wait for it. Whoever is killed in the middle of it leaves what
    the next run completes: what is about to be put in the place of an object is recorded before. A bucket that refuses
    leaves its erasures blocked, with the reason, and the next run tries again. Exports go on meanwhile.

    Raises:
        SettingsInvalid: there is no privacy key, or another one than the database's.
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """
    key = settings.require_privacy_key()

    def work(connection: Connection) -> Outcome:
        visitors.require_key(connection, key)
        with database.held(connection, 6) as is_ours:
            return _run(connection, settings, key, has_time) if is_ours else Outcome()

    return database.run(settings.require_database(), work)


def _run(connection: Connection, settings: Settings, key: bytes, has_time: Callable[[], bool]) -> Outcome:
    outcome = Outcome()
    waiting = {one.erasure_id: one for one in erasures.unfinished(connection)}
    if not waiting:
        return outcome
    fence = ledger.next_fence(connection)
    held: dict[UUID, tuple[str, str]] = {
        erasure_id: ("pending", f"batch {batch_id} is under way")
        for erasure_id, batch_id in erasures.under_way(connection).items()
    }
    for affected in erasures.affected(connection):
        for_whom = [waiting[one] for one in affected.erasure_ids if one in waiting]
        if not has_time():
            held |= {one.erasure_id: ("pending", "the next run goes on") for one in for_whom}
            continue
        try:
            outcome.objects += _Rewriting(connection, settings, affected, for_whom, key, fence).run()
        except (DeliveryFailed, Blocked) as error:
            held |= {one.erasure_id: ("blocked", str(error)) for one in for_whom}
    for erasure in waiting.values():
        try:
            if erasure.erasure_id not in held:
                receipts.issue(connection, settings, erasure, key, fence)
                outcome.completed += 1
                continue
        except DeliveryFailed as error:
            held[erasure.erasure_id] = ("blocked", str(error))
        erasures.hold(connection, erasure.erasure_id, *held[erasure.erasure_id])
        outcome.waiting += 1
    return outcome


class _Rewriting:
    """One batch in one bucket."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        affected: Affected,
        for_whom: Sequence[Erasure],
        key: bytes,
        fence: int,
    ) -> None:
        self._connection, self._fence = connection, fence
        self._for_whom = for_whom
        self._delivery = delivery = deliveries.find(connection, affected.batch_id, affected.destination)
        self._destination = _destination(settings, delivery)
        self._layout = Layout(formats=tuple(delivery.formats), **delivery.layout).of_destination(self._destination.name)
        self._index = visitors.index_of(connection, affected.batch_id)
        self._announced = deliveries.rewrites(connection, affected.batch_id, affected.destination)
        self._gone = Gone(
            key,
            frozenset(one.visitor_hash for one in for_whom),
            {one.exported_as: one.visitor_hash for one in for_whom if one.exported_as},
            erasures.erased_between(connection, delivery.from_id, delivery.to_id),
        )

    def run(self) -> int:
        """Do it, and give how many objects were written anew."""
        now, opened = [], []
        for item in self._delivery.objects:
            if not self._may_hold(item["key"]):
                now.append(item)
                continue
            after = self._object(item)
            now.append(after)
            opened.append((item, after))
        for key in self._delivery.leftovers:
            objects.purge(self._destination, key)
        changed = [after for before, after in opened if after["sha256"] != before["sha256"]]
        revision = self._manifest(now) if changed else None
        with self._connection.transaction():
            if revision:
                described = [{name: value for name, value in item.items() if name != "removed"} for item in now]
                deliveries.rewritten(self._connection, self._delivery, described, *revision)
            for erasure in self._for_whom:
                rows, seen = _told(erasure, opened, self._delivery.formats[0])
                erasures.done(
                    self._connection, erasure.erasure_id, self._delivery.batch_id, self._destination.name, rows, seen
                )
        return len(changed)

    def _may_hold(self, key: str) -> bool:
        hashes = self._index.get(key.removeprefix(f"{self._destination.prefix}/"))
        return hashes is None or not self._gone.hashes.isdisjoint(hashes)

    def _object(self, item: dict[str, Any]) -> dict[str, Any]:
        """An object without the visitors, as the manifest describes it, with what was removed for whom."""
        key = item["key"]
        with tempfile.TemporaryFile() as held, tempfile.TemporaryFile() as made:
            sha256 = objects.read(self._destination, key, held)
            before = item if sha256 == item["sha256"] else self._announced.get((key, sha256 or ""))
            if before is None:
                raise Blocked(
                    f"{self._destination.name} bucket {self._destination.bucket}: {key} is missing, or holds other bytes "
                    f"than were delivered; `evothesis verify {self._destination.name}` says more"
                )
            held.seek(0)
            file = HashingFile(made)
            try:
                kept = without(held, key, self._layout, self._gone, file)
            except (ValueError, KeyError, pa.ArrowException) as error:
                raise Blocked(f"{key} cannot be read: {' '.join(str(error).split())}") from error
            file.flush()
            self._require_found(key, kept.removed)
            if not kept.removed:
                objects.purge(self._destination, key)
                return before
            for erasure in self._for_whom:
                events = {one: site for one, (whose, site) in kept.events.items() if whose == erasure.visitor_hash}
                erasures.found(self._connection, erasure.erasure_id, events)
            sites = {site: rows - kept.sites_removed[site] for site, rows in before["sites"].items()}
            after = {
                **before,
                "bytes": file.size,
                "sha256": file.digest().hex(),
                "rows": kept.rows,
                "first_id": kept.first_id,
                "last_id": kept.last_id,
                "first_timestamp": kept.first_timestamp or (before["first_timestamp"] if kept.rows else None),
                "last_timestamp": kept.last_timestamp or (before["last_timestamp"] if kept.rows else None),
                "sites": {site: rows for site, rows in sites.items() if rows},
                "removed": _sum(before.get("removed", {}), kept.removed),
            }
            deliveries.announce_rewrite(self._connection, self._delivery, key, after)
            made.seek(0)
            body = Body(cast("Any", made), file.size, file.digest(), CONTENT_TYPES[item["format"]])
            objects.replace(self._destination, key, body, self._fence, before["sha256"])
            objects.purge(self._destination, key)
            return after

    def _require_found(self, key: str, removed: dict[int, int]) -> None:
        """Where an object hides who a row is of, and nobody knows it otherwise, somebody has to decide."""
        names = Names(self._layout)
        if names.visitor and (not names.visitor_is_hashed or self._gone.exported_as):
            return
        known = {visitor for visitor, _ in self._gone.events.values()} | set(removed)
        if not self._gone.hashes <= known and key.removeprefix(f"{self._destination.prefix}/") in self._index:
            raise Blocked(
                f"{self._destination.name} bucket {self._destination.bucket}: {key} hides whose rows it holds, and the "
                "database has none of them any more; remove the object, or its rows of that time"
            )

    def _manifest(self, now: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """Write the manifest anew; gives its SHA-256, and what it takes the place of."""
        delivery = self._delivery
        before = ledger.place(self._connection, delivery.batch_id, delivery.destination, delivery.bucket)
        revision = {
            "sha256": delivery.manifest_sha256,
            "erasures": sorted(str(one.erasure_id) for one in self._for_whom),
            "rows_removed": delivery.rows - _contents(now, delivery.formats[0]).rows,
        }
        described = [_described(item) for item in now]
        text = manifest.render(
            delivery.as_batch(),
            self._layout,
            described,
            _contents(now, delivery.formats[0]),
            delivery.left_out,
            before,
            [*delivery.revisions, revision],
        )
        body = Body.of(text, "application/json")
        key = delivery.manifest_key
        deliveries.announce_rewrite(self._connection, delivery, key, {"sha256": body.sha256.hex()})
        # Killed between this and the ledger, the one that was announced lies there, and gives way.
        announced = [sha256 for known, sha256 in self._announced if known == key]
        for sha256 in [*announced, delivery.manifest_sha256]:
            if objects.sha256_of(self._destination, key) in (sha256, body.sha256.hex()):
                objects.replace(self._destination, key, body, self._fence, sha256)
                break
        else:
            raise Blocked(f"{key} is not the manifest that was delivered; `evothesis verify {delivery.destination}`")
        objects.purge(self._destination, key)
        return body.sha256.hex(), revision


def _destination(settings: Settings, delivery: Delivery) -> Destination:
    for destination in settings.destinations():
        if (destination.name, destination.bucket) == (delivery.destination, delivery.bucket):
            return destination
    raise Blocked(
        f"the {delivery.destination} bucket {delivery.bucket} holds events and is not set any more; set it until this is done"
    )


def _told(
    erasure: Erasure, opened: Sequence[tuple[dict[str, Any], dict[str, Any]]], first: str
) -> tuple[int, list[Any]]:
    """The rows of a visitor that are gone, in one format, and the objects that held them."""
    rows, seen = 0, []
    for before, after in opened:
        removed = after.get("removed", {}).get(str(erasure.visitor_hash), 0)
        if before["format"] == first:
            rows += removed
        seen.append(
            {
                "key": before["key"],
                "sha256_before": before["sha256"],
                "sha256_after": after["sha256"],
                "rows_removed": removed,
            }
        )
    return rows, seen


def _sum(before: dict[str, int], removed: dict[int, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + removed.get(int(name), 0) for name in {*before, *(str(one) for one in removed)}}


def _described(item: dict[str, Any]) -> dict[str, Any]:
    """An object as the manifest has it."""
    return {
        **{name: value for name, value in item.items() if name != "removed"},
        **{name: _moment(item[name]) for name in ("first_timestamp", "last_timestamp")},
    }


def _moment(value: str | dt.datetime | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _contents(items: Sequence[dict[str, Any]], first: str) -> Contents:
    """What the objects of one format hold together."""
    contents = Contents()
    for item in items:
        if item["format"] != first or not item["rows"]:
            continue
        one = _described(item)
        contents.rows += one["rows"]
        contents.first_id = min(one["first_id"], contents.first_id or one["first_id"])
        contents.last_id = max(one["last_id"], contents.last_id or one["last_id"])
        contents.first_timestamp = min(one["first_timestamp"], contents.first_timestamp or one["first_timestamp"])
        contents.last_timestamp = max(one["last_timestamp"], contents.last_timestamp or one["last_timestamp"])
        contents.sites.update(one["sites"])
    return contents
