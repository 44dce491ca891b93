"""One batch into its destinations: encode once, then write, verify, manifest, commit for each on its own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

from storage import ledger, objects
from storage.database import Connection
from storage.errors import BatchUnreadable, DeliveryFailed
from storage.export import manifest
from storage.export.encode import Contents, Encoded, encode
from storage.export.read import record_batches
from storage.ledger import Batch
from storage.objects import Body
from storage.settings import Destination

CONTENT_TYPES = {
    "json": "application/gzip",
    "csv": "application/gzip",
    "parquet": "application/vnd.apache.parquet",
}


def deliver(
    connection: Connection, url: str, batch: Batch, destinations: Sequence[Destination], fence: int
) -> dict[str, str]:
    """Bring *batch* to every one of *destinations*, and say per destination what went wrong.

    Each destination goes its own way: what one refuses, the other still gets. Everything is written under keys that
    the plan fixed, so whatever dies on the way, doing it again ends in the same objects.

    Raises:
        BatchUnreadable: the batch fits no file; no destination got it, and the ledger says so of each.
    """
    failures: dict[str, str] = {}
    try:
        with encode(record_batches(url, batch.from_id, batch.to_id), batch.formats) as (encoded, contents):
            for destination in destinations:
                try:
                    _deliver_to(connection, batch, destination, encoded, contents, fence)
                except DeliveryFailed as error:
                    ledger.failed(connection, batch.batch_id, destination.name, str(error))
                    failures[destination.name] = str(error)
    except BatchUnreadable as error:
        for destination in destinations:
            ledger.failed(connection, batch.batch_id, destination.name, str(error))
        raise
    return failures


def _deliver_to(
    connection: Connection,
    batch: Batch,
    destination: Destination,
    encoded: Sequence[Encoded],
    contents: Contents,
    fence: int,
) -> None:
    described = manifest.describe(destination.prefix, batch, encoded)
    for item, entry in zip(encoded, described, strict=True):
        body = Body(item.file, item.size, item.sha256, CONTENT_TYPES[item.format])
        objects.put(destination, entry["key"], body, fence)
    ledger.written(connection, batch.batch_id, destination.name, destination.bucket, described, contents.rows)
    key = _put_manifest(batch, destination, described, contents, fence)
    ledger.delivered(connection, batch.batch_id, destination.name, key)


def _put_manifest(
    batch: Batch, destination: Destination, described: list[dict[str, Any]], contents: Contents, fence: int
) -> str:
    key = manifest.manifest_key(destination.prefix, batch)
    text = manifest.render(batch, described, contents)
    objects.put(
        destination, key, Body(io.BytesIO(text), len(text), hashlib.sha256(text).digest(), "application/json"), fence
    )
    return key
