"""What the exporter finds out about a bucket when it is asked to, printed as the command line prints it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from cli.running import Running


def report_on(side: str, source: str, as_json: bool, show: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Ask the exporter by an event of *source* about the bucket of *side*, and print its report: as JSON, or by *show*.

    Gives the report, or None where the exporter failed; the reason is printed then.
    """
    event = {"source": source, "detail-type": "Question", "detail": {"destination": side}}
    done = Running.find().invoke("ExportScheduled", json.dumps(event).encode())
    report: dict[str, Any] = json.loads(done.payload)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif done.failed:
        click.echo(f"failed: {report.get('errorMessage', 'see `evothesis logs ExportScheduled`')}", err=True)
    else:
        show(report)
    return None if done.failed else report
