"""`evothesis check`: whether the buckets can be delivered to, right by right."""

from __future__ import annotations

import sys
from typing import Any

import click

from cli.report import report_on


@click.command()
@click.argument("side", metavar="[client|backup|GROUP]", default="client")
@click.option("--json", "as_json", is_flag=True, help="Print what was tried as JSON.")
def check(side: str, as_json: bool) -> None:
    """Use each right that a delivery to the client's or the backup bucket needs, once.

    Exit status 1 when one is missing. What is written for that is removed again.
    """
    report = report_on(side, "evothesis.check", as_json, _print)
    sys.exit(0 if report and report["usable"] else 1)


def _print(report: dict[str, Any]) -> None:
    click.echo(f"{report['destination']} bucket {report['bucket']}")
    for right in report["rights"]:
        click.echo(
            click.style(f"  {'✓' if right['granted'] else '✗'} ", fg="green" if right["granted"] else "red")
            + right["name"]
        )
        if right["problem"]:
            click.echo(f"    {right['problem']}")
