"""A hand-off without the rows of some visitors: hour by hour, as its manifests tell of its objects."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from storage import deliveries, handoffs, objects
from storage.database import Connection
from storage.deliveries import Delivery
from storage.destination import Destination
from storage.erasures import Erasure
from storage.export.batch_rewrite import Blocked, Rewrite, destination_of, told
from storage.export.layout import Layout
from storage.export.rewrite import Names
from storage.handoffs import Handoff
from storage.ledger import Place
from storage.settings import Settings


class _Hour(Rewrite):
    """The objects of one manifest of a hand-off; what it did is kept until all of the hand-off is done."""

    def __init__(self, *arguments: Any, manifest: dict[str, Any]) -> None:
        super().__init__(*arguments)
        self._manifest_before = manifest
        self.opened: Sequence[tuple[dict[str, Any], dict[str, Any]]] = ()

    def _record(
        self,
        now: Sequence[dict[str, Any]],
        revision: tuple[str, dict[str, Any]] | None,
        opened: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        *,
        whole: bool,
    ) -> None:
        del now, revision, whole
        self.opened = opened

    def _place(self) -> Place:
        return Place(self._manifest_before["sequence"], self._manifest_before["previous_sha256"])

    @property
    def found(self) -> set[int]:
        """Whose rows were in it, or are known to have been."""
        removed = {int(name) for _, after in self.opened for name in after.get("removed", {})}
        return removed | {visitor for visitor, _ in self._gone.events.values()}

    @property
    def first_format(self) -> str:
        """In which rows are counted."""
        return self._delivery.formats[0]

    @property
    def knows_by(self) -> str:
        """By what a row tells whose it is: the visitor's `id`, a `hash` of it, or nothing."""
        names = Names(self._layout)
        return "" if not names.visitor else "hash" if names.visitor_is_hashed else "id"

    def forget(self) -> None:
        """Nothing is about to be put anywhere any more."""
        deliveries.forget_rewrites(self._connection, self._delivery)


def rewrite(
    connection: Connection, settings: Settings, of: Handoff, for_whom: Sequence[Erasure], key: bytes, fence: int
) -> int:
    """Write the objects of a hand-off anew without some visitors, with their manifests; gives how many.

    Older versions go, those of an earlier hand-off to the same place too. Whoever is killed leaves what the next call ends
    the same. Not while the hand-off is under way: whoever calls has its lock.

    Raises:
        Blocked: its bucket is not set any more, something was altered, or it hides whose rows it holds.
        DeliveryFailed: the bucket refuses, or cannot be reached.
    """
    own = destination_of(settings, of.destination, of.bucket).model_copy(update={"prefix": of.prefix})
    hours, written = [], 0
    for delivery, manifest in _deliveries(own, of):
        layout = Layout(formats=tuple(delivery.formats), **delivery.layout)
        hours.append(_Hour(connection, own, delivery, layout, for_whom, key, fence, manifest=manifest))
        written += hours[-1].run()
    _require_found(of, hours, for_whom)
    known = {item["key"] for hour in hours for _, item in hour.opened}
    for name in objects.keys_of_versions(own, f"{own.prefix}/events/"):
        objects.purge(own, name, keep=name in known)
    with connection.transaction():
        for erasure in for_whom:
            parts = [told(erasure, hour.opened, hour.first_format) for hour in hours]
            rows, seen = sum(part[0] for part in parts), [item for part in parts for item in part[1]]
            handoffs.done(connection, erasure.erasure_id, of, rows, seen)
        for hour in hours:
            hour.forget()
    return written


def _deliveries(own: Destination, of: Handoff) -> Iterator[tuple[Delivery, dict[str, Any]]]:
    """What each manifest tells, as of a batch that was delivered."""
    for key in objects.keys(own, f"{own.prefix}/manifests/"):
        text, _ = objects.fetch(own, key)
        told_of = orjson.loads(text)
        window, ids = told_of["window"], told_of["id_range"]
        # Of one that an earlier release made, the manifest alone tells as what it was written.
        formats = of.formats or list(dict.fromkeys(item["format"] for item in told_of["objects"]))
        rules = {name: told_of[name] for name in ("filters", "transforms") if name in told_of}
        yield (
            Delivery(
                told_of["batch_id"],
                ids["after"],
                ids["to"],
                dt.datetime.fromisoformat(window["start"]),
                dt.datetime.fromisoformat(window["end"]),
                formats,
                of.layout or rules,
                own.name,
                own.bucket,
                told_of["objects"],
                told_of["rows"],
                {"": told_of["left_out"]} if told_of.get("left_out") else {},
                key,
                hashlib.sha256(text).hexdigest(),
                told_of.get("revisions", []),
                [],
                unindexed=True,
            ),
            told_of,
        )


def _require_found(of: Handoff, hours: Sequence[_Hour], for_whom: Sequence[Erasure]) -> None:
    """Where it hides who a row is of, and nobody knows it otherwise, somebody has to decide."""
    told_by = {hour.knows_by for hour in hours}
    if told_by <= {"id"}:
        return
    known = {visitor for hour in hours for visitor in hour.found}
    known |= {one.visitor_hash for one in for_whom if one.exported_as and "" not in told_by}
    if not {one.visitor_hash for one in for_whom} <= known:
        raise Blocked(
            f"{of.destination} bucket {of.bucket}: {of.prefix}/ hides whose rows it holds, and the database has none of "
            "them any more; remove it, or hand it off anew"
        )
