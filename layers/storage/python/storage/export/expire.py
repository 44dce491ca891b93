"""Batches in buckets that are older than the policy lets them be: their objects go, their manifests stay and say so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from botocore.exceptions import BotoCoreError

from storage import database, deliveries, handoffs, ledger, objects
from storage.database import Connection
from storage.errors import DeliveryFailed
from storage.export import manifest
from storage.export.batch_rewrite import Blocked, destination_of, replace_manifest
from storage.export.encode import Contents
from storage.export.layout import Layout
from storage.settings import Settings

MOST = 1000


def run(settings: Settings, days: int, has_time: Callable[[], bool] = lambda: True) -> tuple[int, list[str]]:
    """Remove the objects of all batches that ended so many days ago, with all their versions; gives how many, and what refused.

    What was handed off beside them goes as a whole. A batch that any bucket still lacks stays in all of them. The
    manifest is written first, so nobody reads of objects that are gone; whoever is killed in between leaves what the next
    run does again. A bucket that refuses keeps its objects until a run in which it does not.

    Raises:
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """

    def work(connection: Connection) -> tuple[int, list[str]]:
        # Not while an eraser writes the same objects anew.
        with database.held(connection, 6) as is_ours:
            if not is_ours:
                return 0, []
            removed, refused = _remove_all(connection, settings, days, has_time)
            handed_off, also = _remove_handoffs(connection, settings, days, has_time)
            return removed + handed_off, refused + also

    return database.run(settings.require_database(), work)


def _remove_all(
    connection: Connection, settings: Settings, days: int, has_time: Callable[[], bool]
) -> tuple[int, list[str]]:
    removed, refused, silent = 0, list[str](), set[str]()
    fence = ledger.next_fence(connection)
    for batch_id, name in deliveries.older(connection, days, MOST):
        if name in silent:
            continue
        if not has_time():
            break
        try:
            removed += _remove(connection, settings, batch_id, name, fence)
        except (DeliveryFailed, Blocked) as error:
            # One batch that is not as it should be keeps no other; a bucket that nobody answers for is not asked again.
            refused.append(str(error))
            if isinstance(error.__cause__, BotoCoreError):
                silent.add(name)
    return removed, list(dict.fromkeys(refused))


def _remove(connection: Connection, settings: Settings, batch_id: str, name: str, fence: int) -> int:
    delivery = deliveries.find(connection, batch_id, name)
    destination = destination_of(settings, delivery.destination, delivery.bucket)
    layout = Layout(formats=tuple(delivery.formats), **delivery.layout).of_destination(destination.name)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    revision = {
        "sha256": delivery.manifest_sha256,
        "expired_at": now.isoformat(),
        "rows_removed": delivery.rows,
        **manifest.removed(delivery.objects, [], layout),
    }
    place = ledger.place(connection, batch_id, name, delivery.bucket)
    text = manifest.render(
        delivery.as_batch(),
        layout,
        [],
        Contents(),
        delivery.left_out,
        place,
        [*delivery.revisions, revision],
        expired_at=now,
    )
    announced = deliveries.rewrites(connection, batch_id, name)
    sha256 = replace_manifest(connection, destination, delivery, text, fence, announced)
    keys = [*(item["key"] for item in delivery.objects), *delivery.leftovers]
    for key in keys:
        objects.purge(destination, key, keep=False)
    deliveries.expired(connection, delivery, sha256, revision)
    return len(delivery.objects)


def _remove_handoffs(
    connection: Connection, settings: Settings, days: int, has_time: Callable[[], bool]
) -> tuple[int, list[str]]:
    removed, refused = 0, []
    with database.held(connection, 4) as nobody_hands_off:
        for name, bucket, prefix in handoffs.older(connection, days) if nobody_hands_off else ():
            if not has_time():
                break
            try:
                destination = destination_of(settings, name, bucket)
                for key in objects.keys_of_versions(destination, f"{prefix}/"):
                    objects.purge(destination, key, keep=False)
                    removed += "/events/" in key
                handoffs.remove(connection, (name, bucket, prefix))
            except (DeliveryFailed, Blocked) as error:
                refused.append(str(error))
    return removed, refused
