"""Proof that a bucket holds every event once: its manifests and objects read back, one against the other and the ledger."""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from storage import database, erasures, ledger, objects
from storage.database import Connection
from storage.destination import Destination
from storage.export.decode import ids
from storage.export.layout import Layout
from storage.export.read import record_batches
from storage.export.transform import Filter
from storage.rules import Filters
from storage.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: where, what, and which batch would mend it if it were delivered again."""

    key: str
    problem: str
    batch_id: str | None = None


@dataclass(slots=True)
class Report:
    """What was read and what was found; no finding means that every row of every batch is there once."""

    destination: str
    manifests: int = 0
    objects: int = 0
    bytes: int = 0
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    # The batches that would mend it if they were delivered again, and those of which this database knows nothing.
    deliver_again: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)


def run(settings: Settings, name: str) -> Report:
    """Verify the bucket of one side, `client` or `backup`.

    Raises:
        SettingsInvalid: that side has no bucket.
        DeliveryFailed: the bucket cannot be read.
        DatabaseUnavailable: PostgreSQL cannot be reached.
    """
    wanted = settings.require_destination(name)
    url = settings.require_database()
    return database.run(url, lambda connection: verify(connection, url, wanted))


def verify(connection: Connection, url: str, destination: Destination) -> Report:
    """Read everything back that a destination has been given.

    It reads only: the bucket and the ledger stay as they are. What is under way is no finding.

    Raises:
        DeliveryFailed: the bucket cannot be read.
    """
    report = Report(destination.name)
    delivered = {
        key: batch_id
        for batch_id, bucket, key in ledger.delivered_manifests(connection, destination.name)
        if bucket == destination.bucket
    }
    manifests = _read_manifests(destination, delivered, report)
    report.findings += _chain(manifests)
    report.findings += _ranges(
        manifests,
        ledger.highest_planned(connection),
        {batch.from_id: batch.to_id for batch in ledger.undelivered(connection)},
        ledger.first_planned(connection, destination.name),
    )
    planned = ledger.delivered_as(connection, destination.name)
    for key, (manifest, sha256) in manifests.items():
        layout, bucket, delivered_sha256 = planned.get(manifest["batch_id"], (None, None, None))
        if bucket == destination.bucket and delivered_sha256 not in (None, sha256):
            report.findings.append(Finding(key, "is not the manifest that was delivered", manifest["batch_id"]))
        rules = Layout(formats=("parquet",), **layout).of_destination(destination.name) if layout is not None else None
        # Of what was removed because of its age the manifest alone is left.
        if not manifest.get("expired_at"):
            report.findings += _batch(connection, url, destination, key, manifest, rules, report)
    named = {item["key"] for manifest, _ in manifests.values() for item in manifest["objects"]}
    pending = {batch.batch_id for batch in ledger.undelivered(connection)}
    for key in objects.keys(destination, f"{destination.prefix}/events/"):
        if key not in named and not any(batch_id in key for batch_id in pending):
            report.findings.append(Finding(key, "no manifest names it; a reader of the folder sees its rows twice"))
    found = sorted({finding.batch_id for finding in report.findings if finding.batch_id})
    report.unknown = ledger.unknown(connection, found)
    report.deliver_again = [batch_id for batch_id in found if batch_id not in report.unknown]
    return report


Manifests = Mapping[str, tuple[dict[str, Any], str]]


def _read_manifests(destination: Destination, delivered: Mapping[str, str], report: Report) -> Manifests:
    """The manifests by key, each with its SHA-256, in the order of their places."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for key in objects.keys(destination, f"{destination.prefix}/manifests/"):
        file = io.BytesIO()
        sha256 = objects.read(destination, key, file)
        try:
            manifest = orjson.loads(file.getvalue())
            found[key] = manifest, str(sha256)
            int(manifest["sequence"]), manifest["id_range"]["after"], manifest["objects"], manifest["rows"]
        except (ValueError, KeyError, TypeError):
            found.pop(key, None)
            report.findings.append(Finding(key, "is no manifest that can be read", delivered.get(key)))
    report.manifests = len(found)
    unreadable = {finding.key for finding in report.findings}
    for key, batch_id in delivered.items():
        if key not in found and key not in unreadable:
            report.findings.append(Finding(key, "is missing, though the ledger says that it was delivered", batch_id))
    return dict(sorted(found.items(), key=lambda item: item[1][0]["sequence"]))


def _chain(manifests: Manifests) -> Iterator[Finding]:
    """Whether each manifest names the one before it, from the first."""
    expected = 1
    before: set[str | None] = {None}
    for key, (manifest, sha256) in manifests.items():
        place = manifest["sequence"]
        if place < expected:
            yield Finding(key, f"has the place {place} of another manifest", manifest["batch_id"])
            continue
        for missing in range(expected, min(place, expected + 100)):
            yield Finding(key, f"the manifest in place {missing}, before this one, is missing")
        if place == expected and manifest["previous_sha256"] not in before:
            yield Finding(
                key, f"names another manifest in place {place - 1} than the one that lies there: that one was altered"
            )
        # An erasure puts a manifest in the place of another, which the next one may have named.
        expected, before = place + 1, {sha256, *(one["sha256"] for one in manifest.get("revisions", ()))}


def _ranges(manifests: Manifests, highest: int, under_way: Mapping[int, int], first: int) -> Iterator[Finding]:
    """Whether the ranges of ids follow one another, without a gap and without an overlap, from *first* on or before."""
    ranges = sorted(
        (manifest["id_range"]["after"], manifest["id_range"]["to"], key) for key, (manifest, _) in manifests.items()
    )
    at = min([first, *(after for after, _, _ in ranges)])
    for after, to, key in ranges:
        while at < after and at in under_way:
            at = under_way[at]
        if after > at:
            yield Finding(key, f"the ids after {at} up to {after} are in no manifest")
        elif after < at and to > after:
            yield Finding(key, f"the ids after {after} up to {min(at, to)} are in two manifests")
        at = max(at, to)
    while at < highest and at in under_way:
        at = under_way[at]
    if at < highest:
        yield Finding("", f"the ids after {at} up to {highest} are in no manifest")


def _batch(
    connection: Connection,
    url: str,
    destination: Destination,
    key: str,
    manifest: dict[str, Any],
    rules: Layout | None,
    report: Report,
) -> Iterator[Finding]:
    """Whether a batch's objects hold what its manifest says, in each format every row once.

    Which events it should have is the ledger's to say; the manifest's own word counts where the ledger has none.
    """
    try:
        filters = rules.filters if rules else Filters(**manifest.get("filters", {}))
    except (ValueError, TypeError):
        yield Finding(key, "tells of filters that this release does not know", manifest["batch_id"])
        return
    after, to = manifest["id_range"]["after"], manifest["id_range"]["to"]
    seen: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    whole = True
    for item in manifest["objects"]:
        problem = _object(destination, item, after, to, seen[item["format"]], report)
        if problem:
            whole = False
            yield Finding(item["key"], problem, manifest["batch_id"])
    report.rows += manifest["rows"]
    if not whole:
        return
    stored, total = _expected(connection, url, filters, after, to)
    # What is erased may be on its way out of the bucket, and what the database dropped because of its age stays in it.
    leaving = erasures.still_there(connection, destination.name, after, to) + erasures.dropped(connection, after, to)
    if leaving and stored <= manifest["rows"] <= stored + leaving:
        return
    for name, (rows, ids_total) in seen.items():
        if rows != manifest["rows"]:
            yield Finding(
                key, f"its {name} objects hold {rows} rows, and it says {manifest['rows']}", manifest["batch_id"]
            )
        elif (rows, ids_total) != (stored, total):
            yield Finding(
                key,
                f"its {name} objects hold {rows} rows, and the database has {stored}, or others",
                manifest["batch_id"],
            )
    if not seen and stored:
        yield Finding(key, f"holds nothing, and the database has {stored} rows", manifest["batch_id"])


def _expected(connection: Connection, url: str, filters: Filters, after: int, to: int) -> tuple[int, int]:
    """How many events of a range the database has for this bucket, and the sum of their ids."""
    if filters.keeps_all():
        return ledger.ids_between(connection, after, to)
    count = total = 0
    for rows in Filter(filters).kept(record_batches(url, after, to)):
        count += rows.num_rows
        total += sum(rows.column("id").to_pylist())
    return count, total


def _object(
    destination: Destination, item: dict[str, Any], after: int, to: int, seen: list[int], report: Report
) -> str | None:
    """What is wrong with an object, if anything; its rows and the sum of their ids go into *seen*."""
    with tempfile.TemporaryFile() as file:
        sha256 = objects.read(destination, item["key"], file)
        if sha256 is None:
            return "is missing"
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        report.objects += 1
        report.bytes += size
        if (size, sha256) != (item["bytes"], item["sha256"]):
            return f"holds other bytes ({size}, {sha256[:12]}…) than its manifest says ({item['bytes']}, {item['sha256'][:12]}…)"
        try:
            found = list(ids(file, item["key"]))
        except (ValueError, KeyError, OSError, pa.ArrowException) as error:
            return f"cannot be read: {' '.join(str(error).split())}"
    problem = _rows(found, item["rows"], after, to)
    if problem is None:
        seen[0] += len(found)
        seen[1] += sum(found)
    return problem


def _rows(found: list[int], expected: int, after: int, to: int) -> str | None:
    if len(found) != expected:
        return f"holds {len(found)} rows, and its manifest says {expected}"
    if len(set(found)) != len(found):
        return "holds a row twice"
    if found and not (after < min(found) and max(found) <= to):
        return f"holds ids outside of its batch's, which are after {after} up to {to}"
    return None
