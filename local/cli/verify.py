"""`evothesis verify`: read a bucket back and prove that every event is in it once."""

from __future__ import annotations

import sys
from typing import Any

import click

from cli.report import report_on


@click.command()
@click.argument("side", metavar="[client|backup|GROUP]", default="client")
@click.option("--json", "as_json", is_flag=True, help="Print what was read and found as JSON.")
def verify(side: str, as_json: bool) -> None:
    """Read the client's or the backup bucket back: every manifest, every object, every row.

    Exit status 1 when something is missing, altered, or there twice. Nothing is changed.
    """
    report = report_on(side, "evothesis.verify", as_json, _print)
    sys.exit(0 if report and not report["findings"] else 1)


def _print(report: dict[str, Any]) -> None:
    click.echo(
        f"{report['destination']} bucket: {report['manifests']:,} manifests, {report['objects']:,} objects, "
        f"{report['bytes']:,} bytes, {report['rows']:,} rows"
    )
    for finding in report["findings"]:
        click.echo(click.style(f"  {finding['key'] or 'the bucket'}: {finding['problem']}", fg="red"))
    if report["deliver_again"]:
        again = " ".join(f"--again {batch_id}" for batch_id in report["deliver_again"])
        click.echo(
            f"to deliver again what is missing, once what lies in its place is removed: evothesis export --bucket {report['destination']} {again}"
        )
    if report["unknown"]:
        click.echo(
            f"this database knows nothing of {', '.join(report['unknown'])}: if it is a new one, "
            f"`evothesis restore {report['destination']}` puts back what it lost, as long as it is empty"
        )
    if not report["findings"]:
        click.echo("every event is there once")
