"""An hour of a hand-off: its objects and their manifest, and how far the whole is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from storage import objects
from storage.destination import Destination
from storage.export import manifest
from storage.export.deliver import CONTENT_TYPES, put_manifest
from storage.export.encode import Contents, Part
from storage.export.layout import Layout
from storage.ledger import Batch, Place
from storage.objects import Body


class Written(BaseModel):
    """What was written so far, as much as it takes to go on with it."""

    model_config = ConfigDict(extra="forbid")

    next_time: dt.datetime | None = None
    previous_sha256: str | None = None
    manifests: int = 0
    objects: int = 0
    rows: int = 0
    bytes: int = 0
    unfinished: bool = True


def write_hour(
    own: Destination,
    layout: Layout,
    batch: Batch,
    parts: Iterable[Part],
    fence: int,
    written: Written,
    left_out: Mapping[str, int],
) -> None:
    """Write *parts*, which are those of *batch*, and their manifest, the next in the chain; adds to *written*. Nothing of no part.

    *left_out* is read once all parts are there. The parts are closed.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    contents, described = Contents(), list[dict[str, Any]]()
    for part in parts:
        try:
            if part.format == layout.formats[0]:
                contents.include(part.contents)
            described.append(manifest.describe(own.prefix, batch, part))
            body = Body(part.open(), part.size, part.sha256, CONTENT_TYPES[part.format])
            objects.put(own, described[-1]["key"], body, fence)
        finally:
            part.close()
    if not described:
        return
    place = Place(written.manifests + 1, written.previous_sha256)
    text = manifest.render(batch, layout, described, contents, left_out, place)
    _, written.previous_sha256 = put_manifest(batch, own, text, fence)
    written.manifests += 1
    written.objects += len(described)
    written.rows += contents.rows
    written.bytes += sum(item["bytes"] for item in described)
