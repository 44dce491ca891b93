"""`evothesis export`: deliver what is due, now."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import click

from cli.running import Invocation, Running

SCHEDULED = b'{"source": "evothesis.export", "detail-type": "Scheduled Event", "detail": {}}'
LOOK_SECONDS = 0.5


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what the run did as JSON.")
def export(as_json: bool) -> None:
    """Deliver every event that is due to both buckets, and wait for it."""
    running = Running.find()
    with ThreadPoolExecutor(max_workers=1) as pool:
        under_way = pool.submit(running.invoke, "ExportScheduled", SCHEDULED)
        if not as_json:
            _watch(running, under_way)
        done = under_way.result()
    outcome = json.loads(done.payload)
    if as_json:
        click.echo(json.dumps(outcome, indent=2))
    elif done.failed:
        click.echo(f"failed: {outcome.get('errorMessage', 'see `evothesis logs ExportScheduled`')}", err=True)
    elif outcome.get("running"):
        click.echo("another export is under way")
    else:
        _print(outcome)
    sys.exit(1 if done.failed or outcome.get("failures") else 0)


def _watch(running: Running, under_way: Future[Invocation]) -> None:
    """Show how many deliveries are made of those that were to be made, on a terminal."""
    before = _deliveries(running)
    with click.progressbar(length=1, label="delivering", file=sys.stderr) as bar:
        while not wait([under_way], LOOK_SECONDS).done:
            now = _deliveries(running)
            made = now["delivered"] - before["delivered"]
            bar.length = max(1, made + now["pending"])
            bar.update(made - bar.pos)
        bar.update((bar.length or 1) - bar.pos)


def _deliveries(running: Running) -> dict[str, int]:
    _, status = running.get("/export/status")
    destinations = status.get("destinations", [])
    return {state: sum(item[state] for item in destinations) for state in ("delivered", "pending")}


def _print(outcome: dict[str, Any]) -> None:
    click.echo(f"planned {outcome['planned']} new batches, delivered {len(outcome['delivered'])}")
    for batch_id in outcome["delivered"]:
        click.echo(f"  {batch_id}")
    for who, why in outcome["failures"].items():
        click.echo(click.style(f"  {who}: {why}", fg="red"), err=True)
    if outcome["unfinished"]:
        click.echo("time ran out; the next run goes on")
