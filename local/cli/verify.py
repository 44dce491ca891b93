"""`evothesis verify`: read a bucket back and prove that every event is in it once."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from cli.running import Running


@click.command()
@click.argument("side", type=click.Choice(["client", "backup"]), default="client")
@click.option("--json", "as_json", is_flag=True, help="Print what was read and found as JSON.")
def verify(side: str, as_json: bool) -> None:
    """Read the client's or the backup bucket back: every manifest, every object, every row.

    Exit status 1 when something is missing, altered, or there twice. Nothing is changed.
    """
    event = {"source": "evothesis.verify", "detail-type": "Verify", "detail": {"destination": side}}
    done = Running.find().invoke("ExportScheduled", json.dumps(event).encode())
    report = json.loads(done.payload)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif done.failed:
        click.echo(f"failed: {report.get('errorMessage', 'see `evothesis logs ExportScheduled`')}", err=True)
    else:
        _print(report)
    sys.exit(1 if done.failed or report["findings"] else 0)


def _print(report: dict[str, Any]) -> None:
    click.echo(
        f"{report['destination']} bucket: {report['manifests']:,} manifests, {report['objects']:,} objects, "
        f"{report['bytes']:,} bytes, {report['rows']:,} rows"
    )
    for finding in report["findings"]:
        click.echo(click.style(f"  {finding['key'] or 'the bucket'}: {finding['problem']}", fg="red"))
    for batch_id in report["deliver_again"]:
        click.echo(f"  to deliver again: {batch_id}")
    if not report["findings"]:
        click.echo("every event is there once")
