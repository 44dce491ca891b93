"""A batch in a bucket without the rows of some visitors: its objects, its manifest, and what the ledger says of both."""

from __future__ import annotations

import csv
import datetime as dt
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, cast

import pyarrow as pa

from storage import deliveries, erasures, ledger, objects, visitors
from storage.database import Connection
from storage.deliveries import Delivery
from storage.destination import Destination
from storage.erasures import Affected, Erasure
from storage.errors import DeliveryFailed
from storage.export import manifest
from storage.export.deliver import CONTENT_TYPES
from storage.export.encode import Contents
from storage.export.hashed import HashingFile
from storage.export.layout import Layout
from storage.export.rewrite import Gone, Names, without
from storage.ledger import Place
from storage.objects import Body
from storage.settings import Settings


class Blocked(Exception):
    """An erasure cannot go on by itself; the text says why, and what to do."""


class Rewrite:
    """The objects of a batch and its manifest, written anew without some visitors: `run`."""

    def __init__(
        self,
        connection: Connection,
        destination: Destination,
        delivery: Delivery,
        layout: Layout,
        for_whom: Sequence[Erasure],
        key: bytes,
        fence: int,
    ) -> None:
        self._connection, self._fence = connection, fence
        self._destination, self._delivery, self._layout = destination, delivery, layout
        self._for_whom = for_whom
        self._index = visitors.held_by(connection, delivery.batch_id, [one.visitor_hash for one in for_whom])
        self._announced = deliveries.rewrites(connection, delivery.batch_id, delivery.destination)
        self._gone = Gone(
            key,
            frozenset(one.visitor_hash for one in for_whom),
            {one.exported_as: one.visitor_hash for one in for_whom if one.exported_as},
            erasures.erased_between(connection, [one.erasure_id for one in for_whom], delivery.from_id, delivery.to_id),
        )

    def run(self) -> int:
        """Do it, and give how many objects were written anew.

        Where it cannot be done to the end, what was done has its manifest, and whoever goes on knows of it.
        """
        now, opened = list(self._delivery.objects), []
        failure: Exception | None = None
        for place, item in enumerate(now):
            if self._may_hold(item["key"]):
                try:
                    now[place] = self._object(item)
                except (DeliveryFailed, Blocked) as error:
                    failure = error
                    break
                opened.append((item, now[place]))
        changed = [after for before, after in opened if after["sha256"] != before["sha256"]]
        revision = self._manifest(now) if changed else None
        if failure is None:
            for key in self._delivery.leftovers:
                objects.purge(self._destination, key, keep=False)
        self._record(now, revision, opened, whole=failure is None)
        if failure is not None:
            raise failure
        return len(changed)

    def _record(
        self,
        now: Sequence[dict[str, Any]],
        revision: tuple[str, dict[str, Any]] | None,
        opened: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        *,
        whole: bool,
    ) -> None:
        """Keep what was done: of a batch, in the ledger."""
        with self._connection.transaction():
            if revision:
                deliveries.rewritten(self._connection, self._delivery, [_plain(item) for item in now], *revision)
            if whole:
                self._done(opened)

    def _place(self) -> Place:
        """Where in the chain of manifests it is."""
        delivery = self._delivery
        return ledger.place(self._connection, delivery.batch_id, delivery.destination, delivery.bucket)

    def _done(self, opened: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        for erasure in self._for_whom:
            rows, seen = told(erasure, opened, self._delivery.formats[0])
            batch_id, name = self._delivery.batch_id, self._destination.name
            erasures.done(self._connection, erasure.erasure_id, batch_id, name, rows, seen)
        deliveries.forget_rewrites(self._connection, self._delivery)

    def _may_hold(self, key: str) -> bool:
        return self._delivery.unindexed or self._index.get(self._below_prefix(key), True)

    def _below_prefix(self, key: str) -> str:
        return key.removeprefix(f"{self._destination.prefix}/")

    def _object(self, item: dict[str, Any]) -> dict[str, Any]:
        """An object without the visitors, as the manifest describes it, with what was removed for whom."""
        key = item["key"]
        with tempfile.TemporaryFile() as held, tempfile.TemporaryFile() as made:
            sha256 = objects.read(self._destination, key, held)
            # What was done for it before, if anything was, counts too.
            before = self._announced.get((key, sha256 or "")) or (item if sha256 == item["sha256"] else None)
            if before is None:
                raise Blocked(
                    f"{self._destination.name} bucket {self._destination.bucket}: {key} is missing, or holds other bytes "
                    f"than were delivered; `evothesis verify {self._destination.name}` says more"
                )
            held.seek(0)
            file = HashingFile(made)
            try:
                kept = without(held, key, self._layout, self._gone, file)
            except (ValueError, KeyError, EOFError, csv.Error, pa.ArrowException) as error:
                raise Blocked(f"{key} cannot be read: {' '.join(str(error).split())}") from error
            file.flush()
            self._require_found(key, kept.removed)
            if not kept.removed:
                objects.purge(self._destination, key)
                return before
            for erasure in self._for_whom:
                events = {one: site for one, (whose, site) in kept.events.items() if whose == erasure.visitor_hash}
                erasures.found(self._connection, erasure.erasure_id, events)
            sites = _less(before["sites"], kept.sites_removed)
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
                "sha256_before": before.get("sha256_before", before["sha256"]),
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
        if names.visitor and not names.visitor_is_hashed:
            return
        known = {visitor for visitor, _ in self._gone.events.values()} | set(removed)
        if names.visitor:
            known |= set(self._gone.exported_as.values())
        if not self._gone.hashes <= known and self._may_hide(key):
            raise Blocked(
                f"{self._destination.name} bucket {self._destination.bucket}: {key} hides whose rows it holds, and the "
                "database has none of them any more; remove the object, or its rows of that time"
            )

    def _may_hide(self, key: str) -> bool:
        """Whether an object may hold rows of whoever is not known by what the database and the other bucket told."""
        batch_id = self._delivery.batch_id
        return self._index.get(self._below_prefix(key), False) or (
            self._below_prefix(key) not in self._index
            # What the database still had it told of, and what the backup bucket has it tells of.
            and erasures.dropped_of(self._connection, batch_id)
            and not erasures.gone_through(
                self._connection, [one.erasure_id for one in self._for_whom], batch_id, "backup"
            )
        )

    def _manifest(self, now: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """Write the manifest anew; gives its SHA-256, and what it takes the place of."""
        delivery = self._delivery
        contents = _contents(now, delivery.formats[0])
        revision = {
            "sha256": delivery.manifest_sha256,
            "erasures": sorted(str(one.erasure_id) for one in self._for_whom),
            "rows_removed": delivery.rows - contents.rows,
            **manifest.removed(delivery.objects, now, self._layout),
        }
        described = [_described(item) for item in now]
        text = manifest.render(
            delivery.as_batch(),
            self._layout,
            described,
            contents,
            delivery.left_out,
            self._place(),
            [*delivery.revisions, revision],
        )
        sha256 = replace_manifest(self._connection, self._destination, delivery, text, self._fence, self._announced)
        return sha256, revision


def replace_manifest(
    connection: Connection,
    destination: Destination,
    delivery: Delivery,
    text: bytes,
    fence: int,
    announced: Iterable[tuple[str, str]],
) -> str:
    """Put another manifest in the place of the one that was delivered, for good; gives its SHA-256.

    *announced* are keys and SHA-256 of what was about to be put anywhere before: killed between the bucket and the ledger,
    that lies there, and gives way.

    Raises:
        Blocked: neither is what lies there.
        DeliveryFailed: the bucket refuses, or cannot be reached.
    """
    body = Body.of(text, "application/json")
    key = delivery.manifest_key
    deliveries.announce_rewrite(connection, delivery, key, {"sha256": body.sha256.hex()})
    known = [sha256 for one, sha256 in announced if one == key]
    for sha256 in [*known, delivery.manifest_sha256]:
        if objects.sha256_of(destination, key) in (sha256, body.sha256.hex()):
            objects.replace(destination, key, body, fence, sha256)
            break
    else:
        raise Blocked(f"{key} is not the manifest that was delivered; `evothesis verify {delivery.destination}`")
    objects.purge(destination, key)
    return body.sha256.hex()


def of_batch(
    connection: Connection,
    settings: Settings,
    affected: Affected,
    for_whom: Sequence[Erasure],
    key: bytes,
    fence: int,
) -> Rewrite:
    """The rewriting of a batch in the bucket that has it.

    Raises:
        Blocked: that bucket is not set any more.
    """
    delivery = deliveries.find(connection, affected.batch_id, affected.destination)
    destination = destination_of(settings, delivery.destination, delivery.bucket)
    layout = Layout(formats=tuple(delivery.formats), **delivery.layout).of_destination(destination.name)
    return Rewrite(connection, destination, delivery, layout, for_whom, key, fence)


def destination_of(settings: Settings, name: str, bucket: str) -> Destination:
    """The bucket that holds events.

    Raises:
        Blocked: it is not set any more.
    """
    for destination in settings.destinations():
        if (destination.name, destination.bucket) == (name, bucket):
            return destination
    raise Blocked(f"the {name} bucket {bucket} holds events and is not set any more; set it until this is done")


def told(
    erasure: Erasure, opened: Sequence[tuple[dict[str, Any], dict[str, Any]]], first: str
) -> tuple[int, list[Any]]:
    """The rows of a visitor that are gone, in one format, and the objects that held them."""
    rows, seen = 0, []
    for before, after in opened:
        removed = after.get("removed", {}).get(str(erasure.visitor_hash), 0)
        if not removed:
            continue
        if before["format"] == first:
            rows += removed
        seen.append(
            {
                "key": before["key"],
                "sha256_before": after["sha256_before"],
                "sha256_after": after["sha256"],
                "rows_removed": removed,
            }
        )
    return rows, seen


def _sum(before: dict[str, int], removed: dict[int, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + removed.get(int(name), 0) for name in {*before, *(str(one) for one in removed)}}


def _less(sites: dict[str, int], removed: dict[str, int]) -> dict[str, int]:
    """The rows of each site without those that went; where sites are hidden all are counted together."""
    left = dict(sites)
    for site, rows in removed.items():
        name = site if site in left else ""
        left[name] = left.get(name, 0) - rows
    return left


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """An object without what only whoever rewrites it wants to know."""
    return {name: value for name, value in item.items() if name not in ("removed", "sha256_before")}


def _described(item: dict[str, Any]) -> dict[str, Any]:
    """An object as the manifest has it."""
    return {
        **_plain(item),
        **{name: _moment(item[name]) for name in ("first_timestamp", "last_timestamp")},
    }


def _moment(value: str | dt.datetime | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _contents(items: Sequence[dict[str, Any]], first: str) -> Contents:
    """What the objects of one format hold together."""
    contents = Contents()
    for item in items:
        if item["format"] == first:
            one = _described(item)
            contents.include(Contents(**{part.name: one[part.name] for part in fields(Contents)}))
    return contents
