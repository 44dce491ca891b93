"""`evothesis status`: how the running runtime is, at a glance."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from cli.running import Running


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(as_json: bool) -> None:
    """Say whether events are stored, and how far each bucket is. Exit status 1 when something is wrong."""
    running = Running.find()
    _, health = running.get("/health")
    code, count = running.get("/events/count")
    _, exports = running.get("/export/status")
    _, waiting = running.get("/erasures")
    if code != 200:
        count, exports, waiting = {}, {}, {}
    erasures = waiting.get("erasures", [])
    if as_json:
        told = {"health": health, "events": count.get("count"), "export": exports, "erasures": erasures}
        click.echo(json.dumps(told, indent=2))
    else:
        _print(running, health, count, exports)
        for item in erasures:
            _print_erasure(item)
    failing = any(item["last_error"] for item in exports.get("destinations", []))
    failing = failing or any(item["state"] == "blocked" for item in erasures)
    sys.exit(0 if health.get("status") == "ok" and not failing else 1)


def _print(running: Running, health: dict[str, Any], count: dict[str, Any], exports: dict[str, Any]) -> None:
    good = health.get("status") == "ok"
    click.echo(f"runtime    {running.url}")
    click.echo("database   " + click.style(health.get("database", "unreachable"), fg="green" if good else "red"))
    if "count" in count:
        click.echo(f"events     {count['count']:,}, {exports.get('unplanned_events', 0):,} not yet in a batch")
    if exports.get("next_run_at"):
        click.echo(f"next run   {exports['next_run_at'][:19]}Z")
    for item in exports.get("destinations", []):
        _print_destination(item)


def _print_erasure(item: dict[str, Any]) -> None:
    click.echo(f"erasure    {item['erasure_id']} of {item['requested_at'][:19]}Z is {item['state']}")
    if item["reason"]:
        click.echo(click.style(f"           {item['reason']}", fg="red" if item["state"] == "blocked" else None))


def _print_destination(item: dict[str, Any]) -> None:
    line = f"{item['destination']:10} {item['delivered']:,} batches, {item['rows']:,} rows delivered"
    if item["last_delivered_at"]:
        line += f"; the last at {item['last_delivered_at'][:19]}Z"
    click.echo(line)
    if item["pending"]:
        waiting = f"           {item['pending']:,} batches pending, {item['backlog_events']:,} events"
        if item["backlog_bytes"]:
            waiting += f", about {item['backlog_bytes']:,} bytes"
        click.echo(f"{waiting}; the oldest waits for {round(item['lag_seconds']):,} s")
    if item["last_error"]:
        click.echo(click.style(f"           {item['last_error']}", fg="red"))
