"""`evothesis doctor`: everything that has to work, tried out, and what mends what does not."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from cli.report import asked
from cli.running import Running

LEAST_BYTES = 2_000_000_000
# S3 refuses whoever is further off than a quarter of an hour.
MOST_SKEW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was tried: what came of it, how long that took, and what mends it where it did not work."""

    name: str
    is_well: bool
    said: str
    seconds: float
    mend: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(as_json: bool) -> None:
    """Try everything out that has to work: database, disks, clock, every bucket, the webhook, what is waiting.

    Exit status 1 when something does not. What is written for that is removed again; the webhook gets `evothesis.test`.
    """
    running = Running.find()
    findings = []
    for finding in _findings(running):
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    sys.exit(not all(finding.is_well for finding in findings))


def _findings(running: Running) -> Iterator[Finding]:
    yield _tried("database", lambda: _database(running))
    for name, folder in {"data directory": running.data_dir, "temporary disk": Path(tempfile.gettempdir())}.items():
        yield _tried(name, lambda folder=folder: _disk(folder))  # type: ignore[misc]
    _, config = running.get("/export/config")
    skews = []
    for destination in config.get("destinations", []):
        found: dict[str, Any] = {}
        yield _tried(f"{destination['name']} bucket", lambda: _bucket(destination["name"], found))  # noqa: B023 - called at once
        skews.append(found.get("clock_skew_seconds"))
    if not skews:
        yield Finding("buckets", False, "none is set", 0, "set CLIENT_S3_BUCKET, and BACKUP_S3_BUCKET beside it")
    known = [skew for skew in skews if skew is not None]
    if known:
        skew = max(known, key=abs)
        yield Finding("clock", abs(skew) <= MOST_SKEW_SECONDS, f"{skew:+.0f} s to the buckets'", 0,
                      "set this machine's clock by NTP; S3 refuses whoever is a quarter of an hour off")  # fmt: skip
    yield _tried("webhook", lambda: _webhook(running))
    yield _tried("deliveries", lambda: _deliveries(running))
    yield _tried("erasures", lambda: _erasures(running))
    yield _tried("messages", lambda: _messages(running))


def _tried(name: str, look: Callable[[], tuple[bool, str, str]]) -> Finding:
    began = time.monotonic()
    is_well, said, mend = look()
    return Finding(name, is_well, said, round(time.monotonic() - began, 3), "" if is_well else mend)


def _database(running: Running) -> tuple[bool, str, str]:
    code, health = running.get("/health")
    counted, count = running.get("/events/count")
    if code == counted == 200:
        return True, f"connected, {count['count']:,} events", ""
    said = health.get("error", {}).get("message") or health.get("database", "unreachable")
    return False, said, "look whether PostgreSQL runs and DATABASE_URL leads to it; events wait in browsers until then"


def _disk(folder: Path) -> tuple[bool, str, str]:
    if not os.access(folder, os.W_OK):
        return False, f"{folder} cannot be written to", f"let the user of this process write to {folder}"
    free = shutil.disk_usage(folder).free
    mend = f"make room on the disk of {folder}, or set POLICY with events_days so that old events go"
    return free >= LEAST_BYTES, f"{free / 1e9:,.1f} GB free in {folder}", mend


def _bucket(name: str, found: dict[str, Any]) -> tuple[bool, str, str]:
    report, problem = asked("evothesis.check", {"destination": name})
    if report is None:
        return False, problem, f"evothesis logs ExportScheduled says more; evothesis check {name} tries again"
    found |= report
    if report["usable"]:
        return True, f"{report['bucket']}: list, write, read, delete", ""
    wrong = next(right for right in report["rights"] if not right["granted"])
    mend = f"mend that in the settings; evothesis check {name} tries again"
    if "it takes s3:" in wrong["problem"]:
        mend = f"evothesis policy {name} prints what the bucket has to allow"
    return False, wrong["problem"], mend


def _webhook(running: Running) -> tuple[bool, str, str]:
    code, answer = running.post("/webhooks/test")
    if code == 409:
        return True, "none is set", ""
    said = answer.get("error", {}).get("message", "taken")
    return (
        code == 200,
        said,
        "look whether WEBHOOK_URL is right, and whether its endpoint runs and knows WEBHOOK_SECRET",
    )


def _deliveries(running: Running) -> tuple[bool, str, str]:
    _, status = running.get("/export/status")
    late = [one for one in status.get("destinations", []) if one["last_error"]]
    if late:
        return (
            False,
            f"{late[0]['destination']}: {late[0]['last_error']}",
            "mend it; the next run delivers all that waits",
        )
    waiting = sum(one["pending"] for one in status.get("destinations", []))
    return True, f"{waiting:,} wait for the next run, {status.get('unplanned_events', 0):,} events are in none yet", ""


def _erasures(running: Running) -> tuple[bool, str, str]:
    _, waiting = running.get("/erasures")
    blocked = [one for one in waiting.get("erasures", []) if one["state"] == "blocked"]
    if blocked:
        return False, f"{len(blocked)} are blocked: {blocked[0]['reason']}", "mend it; the next run goes on"
    return True, f"{len(waiting.get('erasures', [])):,} wait", ""


def _messages(running: Running) -> tuple[bool, str, str]:
    _, given_up = running.get("/webhooks?state=given_up")
    count = len(given_up.get("messages", []))
    return not count, f"{count:,} were given up", "evothesis webhooks replay sends them again, once the endpoint runs"


def _line(finding: Finding) -> str:
    sign = click.style("✓" if finding.is_well else "✗", fg="green" if finding.is_well else "red")
    line = f"{sign} {finding.name:16} {finding.said}  ({finding.seconds:.1f} s)"
    return line if finding.is_well else f"{line}\n    {finding.mend}"
