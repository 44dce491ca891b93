"""The manifest: written last, so that a reader that goes by manifests sees whole batches only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from storage.export.encode import Contents, Encoded
from storage.ledger import Batch

# The version of the columns; docs/export.md lists what changed with each.
SCHEMA_VERSION = 1


def object_key(prefix: str, batch: Batch, extension: str) -> str:
    """Where an object of *batch* lies; date and hour are of its window, in UTC."""
    return (
        f"{prefix}/events/date={batch.window_start:%Y-%m-%d}/hour={batch.window_start:%H}/{batch.batch_id}.{extension}"
    )


def manifest_key(prefix: str, batch: Batch) -> str:
    """Where the manifest of *batch* lies."""
    return f"{prefix}/manifests/date={batch.window_start:%Y-%m-%d}/{batch.batch_id}.json"


def describe(prefix: str, batch: Batch, objects: Sequence[Encoded]) -> list[dict[str, Any]]:
    """What the manifest and the ledger say of each object."""
    return [
        {
            "key": object_key(prefix, batch, item.extension),
            "format": item.format,
            "bytes": item.size,
            "sha256": item.sha256.hex(),
        }
        for item in objects
    ]


def render(batch: Batch, objects: Sequence[dict[str, Any]], contents: Contents) -> bytes:
    """The manifest's bytes: the same batch with the same events makes the same bytes."""
    return orjson.dumps(
        {
            "batch_id": batch.batch_id,
            "schema_version": SCHEMA_VERSION,
            "window": {"start": batch.window_start, "end": batch.window_end},
            "id_range": {"after": batch.from_id, "to": batch.to_id},
            "rows": contents.rows,
            "first_id": contents.first_id,
            "last_id": contents.last_id,
            "first_timestamp": contents.first_timestamp,
            "last_timestamp": contents.last_timestamp,
            # Events whose site could not be told count under the empty name.
            "sites": {
                site_id or "": rows for site_id, rows in sorted(contents.sites.items(), key=lambda item: item[0] or "")
            },
            "objects": [{**item, "rows": contents.rows} for item in objects],
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
    )
