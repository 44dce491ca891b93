"""`evothesis visitor`: what is held of one visitor."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from cli.running import Running

EVENTS = (
    "id event_id event_type session_id visitor_id site_id timestamp url path user_agent ip_address raw_event_data created_at "
    "exported_at"
)
REFUSED = "received_at reason message site_id payload"
# What a spreadsheet takes for a formula (OWASP ASVS 1.2.10).
FORMULA = re.compile(r"""[\s"']*[=+\-@\t\r\n\0]""")


@click.group()
def visitor() -> None:
    """What is held of one visitor."""


@visitor.command("export")
@click.argument("visitor_id")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The archive. [default: visitor-VISITOR_ID.zip]")
def export(visitor_id: str, output: Path | None) -> None:
    """Write everything that is held about a visitor into one archive: events and refusals, as JSON Lines and as CSV.

    That is what the database has, and what it has dropped because of its age and buckets still have. The archive is
    readable by its owner alone.
    """
    running = Running.find()
    target = output or Path(f"visitor-{visitor_id}.zip")
    pages = list(_pages(running, visitor_id))
    events = [row for page in pages for row in page["events"]]
    refused = [row for page in pages for row in page["rejected_events"]]
    about = {
        "visitor_id": visitor_id,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": len(events),
        "rejected_events": len(refused),
        "looked_in": "the database, and buckets that have what it has dropped, as it was stored",
        "not_looked_in": "hand-offs, and a bucket whose transforms change what it gets where there is no backup bucket",
    }
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"{target}: {error.strerror}; name another with --output") from None
    with open(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.json", json.dumps(about, indent=2) + "\n")
        for name, names, rows in (("events", EVENTS, events), ("rejected_events", REFUSED, refused)):
            archive.writestr(f"{name}.jsonl", "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
            archive.writestr(f"{name}.csv", _csv(names.split(), rows))
    click.echo(f"{target}: {len(events):,} events and {len(refused):,} refused ones")


def _pages(running: Running, visitor_id: str) -> Iterator[dict[str, Any]]:
    after = "0"
    while after is not None:
        status, page = running.get(f"/visitors/{quote(visitor_id, safe='')}/events?after={after}")
        if status != 200:
            click.echo(f"evothesis: {page.get('error', {}).get('message', f'HTTP {status}')}", err=True)
            sys.exit(1)
        yield page
        after = page["next"]


def _csv(names: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
