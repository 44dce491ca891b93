"""The manifest: written last, so that a reader that goes by manifests sees whole batches only."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from storage.export.encode import Contents, Part
from storage.export.layout import SCHEMA_VERSION, Layout
from storage.ledger import Batch, Place


def object_key(prefix: str, batch: Batch, part: Part) -> str:
    """Where an object of *batch* lies; date and hour are of its window, in UTC, and the site that of its rows."""
    site = f"site_id={_partition(part.site_id)}/" if batch.layout.get("partition_by") else ""
    number = f"-{part.number:04}" if part.number > 1 else ""
    return (
        f"{prefix}/events/{site}date={batch.window_start:%Y-%m-%d}/hour={batch.window_start:%H}/"
        f"{batch.batch_id}{number}.{part.extension}"
    )


def relative_key(batch: Batch, part: Part) -> str:
    """Where an object of *batch* lies below whatever prefix."""
    return object_key("", batch, part).removeprefix("/")


def _partition(site_id: str | None) -> str:
    # As Hive writes the value that is none, and those that no path can have.
    return quote(site_id, safe="") if site_id else "__HIVE_DEFAULT_PARTITION__"


def manifest_key(prefix: str, batch: Batch) -> str:
    """Where the manifest of *batch* lies."""
    return f"{prefix}/manifests/date={batch.window_start:%Y-%m-%d}/{batch.batch_id}.json"


def describe(prefix: str, batch: Batch, part: Part) -> dict[str, Any]:
    """What the manifest and the ledger say of an object."""
    return {
        "key": object_key(prefix, batch, part),
        "format": part.format,
        "bytes": part.size,
        "sha256": part.sha256.hex(),
        **_contents(part.contents),
    }


def shares(objects: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Of each site in a batch its events, and its bytes in all formats: of an object that several share, by their rows.

    *objects* are as `describe` says; they come to all of their bytes. An event that is there in two formats is one.
    """
    found: dict[str, tuple[int, int]] = {}
    for item in objects:
        if not item["rows"]:
            # All of it was taken out.
            continue
        upto = before = 0
        for site_id, rows in sorted(item["sites"].items()):
            upto += rows
            share = item["bytes"] * upto // item["rows"] - before
            before += share
            events, held = found.get(site_id, (0, 0))
            found[site_id] = events + (rows if item["format"] == objects[0]["format"] else 0), held + share
    return found


def brought(manifest: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """`shares` of a manifest, with what was taken out of its objects since; the bytes of that are one site's of those that it was of."""
    found = shares(manifest["objects"])
    for revision in manifest.get("revisions", ()):
        gone, held = revision.get("sites_removed", {}), revision.get("bytes_removed", 0)
        for site_id in gone or ([""] if held else []):
            events, before = found.get(site_id, (0, 0))
            found[site_id] = events + gone.get(site_id, 0), before + held
            held = 0
    return found


def removed(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], layout: Layout) -> dict[str, Any]:
    """What a manifest says of rows that were taken out of its objects: how many of each site, and bytes; so that what was delivered can be told from it."""
    had, left = shares(before), shares(now)
    sites = {site_id: events - left.get(site_id, (0, 0))[0] for site_id, (events, _) in had.items()}
    gone = {site_id: rows for site_id, rows in sites.items() if rows}
    return {
        "sites_removed": {"": sum(gone.values())} if gone and layout.hides("site_id") else gone,
        "bytes_removed": sum(item["bytes"] for item in before) - sum(item["bytes"] for item in now),
    }


def render(
    batch: Batch,
    layout: Layout,
    objects: Sequence[dict[str, Any]],
    contents: Contents,
    left_out: Mapping[str, int],
    place: Place,
    revisions: Sequence[dict[str, Any]] = (),
    expired_at: dt.datetime | None = None,
) -> bytes:
    """The manifest's bytes: the same batch with the same events at the same place makes the same bytes.

    *left_out* is how many events of the batch, by site, the filters of *layout* kept out; the manifest has their number
    alone, and of what the rules hide nothing. *revisions* are the manifests that it takes the place of, which the next one
    may name as the one before it. With *expired_at* the objects were removed then, because of their age.
    """
    return orjson.dumps(
        {
            "batch_id": batch.batch_id,
            "schema_version": SCHEMA_VERSION,
            "sequence": place.sequence,
            "previous_sha256": place.previous_sha256,
            "window": {"start": batch.window_start, "end": batch.window_end},
            "id_range": {"after": batch.from_id, "to": batch.to_id},
            **_shown(_contents(contents), layout),
            **_rules(layout, left_out),
            **({"revisions": list(revisions)} if revisions else {}),
            **({"expired_at": expired_at} if expired_at else {}),
            "objects": [_shown(item, layout) for item in objects],
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
    )


def _rules(layout: Layout, left_out: Mapping[str, int]) -> dict[str, Any]:
    """What a reader has to know of events that are not here, or not as they were stored; nothing where all are."""
    if layout.is_complete():
        return {}
    rules = layout.model_dump(include={"filters", "transforms"}, exclude_defaults=True)
    return {
        "schema": layout.schema_name(),
        "left_out": sum(left_out.values()),
        "filters": {},
        "transforms": {},
        **rules,
    }


def _shown(described: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """What a manifest may say of rows, where its rules hide sites or times."""
    shown = dict(described)
    if layout.hides("site_id"):
        shown["sites"] = {"": described["rows"]} if described["rows"] else {}
    if layout.hides("timestamp"):
        shown["first_timestamp"] = shown["last_timestamp"] = None
    return shown


def _contents(contents: Contents) -> dict[str, Any]:
    # Events whose site could not be told count under the empty name.
    sites: Counter[str] = Counter()
    for site_id, rows in contents.sites.items():
        sites[site_id or ""] += rows
    return {
        "rows": contents.rows,
        "first_id": contents.first_id,
        "last_id": contents.last_id,
        "first_timestamp": contents.first_timestamp,
        "last_timestamp": contents.last_timestamp,
        "sites": dict(sorted(sites.items())),
    }
