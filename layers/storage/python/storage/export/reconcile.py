"""A usage statement against the manifests of a bucket, line by line."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from storage import objects
from storage.destination import Destination
from storage.export import statements
from storage.export.layout import Layout
from storage.export.manifest import brought
from storage.settings import Settings


@dataclass(slots=True)
class Reconciliation:
    """What a statement says was brought into a bucket, and what its manifests say; nothing differs, or something is wrong."""

    month: str
    destination: str
    manifests: int = 0
    lines: int = 0
    events: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)


def run(settings: Settings, month: str, name: str) -> Reconciliation:
    """Compare the statement of a month such as `2026-11` with the manifests of the bucket of one side.

    Events are compared by day and site, by day alone where the bucket hides sites; bytes by day. Rows that were taken out
    since then count, as the manifests say how many they were.

    Raises:
        StatementMissing: there is none, or it is not as it was signed.
        SettingsInvalid: that side has no bucket.
        DeliveryFailed: a bucket cannot be read.
    """
    destination = settings.require_destination(name)
    statement = statements.fetch(settings, month)
    outcome = Reconciliation(month, name)
    events, held, hidden = _delivered(destination, month, outcome)
    stated_events: Counter[tuple[str, str]] = Counter()
    stated_bytes: Counter[str] = Counter()
    for line in statement["lines"]:
        if told := line["delivered"].get(name):
            site_id = "" if line["day"] in hidden else line["site_id"]
            stated_events[line["day"], site_id] += told["events"]
            stated_bytes[line["day"]] += told["bytes"]
            outcome.events += told["events"]
    outcome.lines = len(stated_events)
    for day, site_id in sorted({*stated_events, *events}):
        both = {"stated": stated_events[day, site_id], "found": events[day, site_id]}
        if both["stated"] != both["found"]:
            outcome.differing.append({"day": day, "site_id": site_id, "what": "events", **both})
    for day in sorted({*stated_bytes, *held}):
        both = {"stated": stated_bytes[day], "found": held[day]}
        if both["stated"] != both["found"]:
            outcome.differing.append({"day": day, "site_id": None, "what": "bytes", **both})
    return outcome


def _delivered(
    destination: Destination, month: str, outcome: Reconciliation
) -> tuple[Counter[tuple[str, str]], Counter[str], set[str]]:
    """Events by day and site, bytes by day, and the days of which a manifest hides sites, whose events are by day alone."""
    events: Counter[tuple[str, str]] = Counter()
    held: Counter[str] = Counter()
    hidden: set[str] = set()
    for key in objects.keys(destination, f"{destination.prefix}/manifests/date={month}-"):
        manifest = orjson.loads(objects.fetch(destination, key)[0])
        outcome.manifests += 1
        day = str(manifest["window"]["start"])[:10]
        rules = {name: manifest.get(name, {}) for name in ("filters", "transforms")}
        if Layout(formats=("parquet",), **rules).hides("site_id"):
            hidden.add(day)
        for site_id, (number, size) in brought(manifest).items():
            events[day, site_id] += number
            held[day] += size
        held[day] += sum(item["bytes"] for item in manifest["objects"] if not item["rows"])
    together: Counter[tuple[str, str]] = Counter()
    for (day, site_id), number in events.items():
        together[day, "" if day in hidden else site_id] += number
    return together, held, hidden
