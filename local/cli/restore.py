"""`evothesis restore`: the events of a bucket into an empty database."""

from __future__ import annotations

import sys
from typing import Any

import click

from cli.report import report_on


@click.command()
@click.argument("side", type=click.Choice(["client", "backup"]), default="backup")
@click.option("--json", "as_json", is_flag=True, help="Print what was put back as JSON, once for each turn.")
def restore(side: str, as_json: bool) -> None:
    """Put back every event that the client's or the backup bucket has, into the database of the running runtime.

    The database has to be empty, or to hold what an interrupted restore put there. What is in no bucket yet is lost
    with the database. Exit status 1 when something does not fit; what was put back until then stays.
    """
    unfinished = True
    while unfinished:
        report = report_on(side, "evothesis.restore", as_json, _print)
        if report is None:
            sys.exit(1)
        unfinished = report["unfinished"]


def _print(report: dict[str, Any]) -> None:
    click.echo(f"{report['destination']} bucket: {report['batches']:,} batches put back, {report['events']:,} events")
