"""`evothesis export`: deliver what is due, now; or show what that would be, or hand a part of it off."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import click

from cli.handoff import Moment, hand_off
from cli.preview import preview
from cli.report import ask
from cli.running import Invocation, Running
from storage.hosts import canonical
from storage.settings import FORMATS

SCHEDULED = b'{"source": "evothesis.export", "detail-type": "Scheduled Event", "detail": {}}'
LOOK_SECONDS = 0.5


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("--dry-run", is_flag=True, help="Deliver nothing; show what the last events would become.")
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Beside it, by this YAML file."
)
@click.option("--sample", type=click.IntRange(0, 1000), default=0, help="With so many of them.", show_default=True)
@click.option("--from", "from_time", type=Moment(), help="Hand off what arrived from this day or moment on (UTC).")
@click.option("--to", "to_time", type=Moment(), help="And before this one.")
@click.option("--site", help="Of this site alone.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="In this format, or several.")
@click.option("--again", multiple=True, metavar="BATCH_ID", help="Deliver this batch, which was delivered, once more.")
@click.option("--give-up", metavar="GROUP", help="Let go of what a bucket lacks that is set no more.")
@click.option("--bucket", metavar="[client|backup|GROUP]", help="Into this bucket; else the client's.")
def export(
    as_json: bool,
    dry_run: bool,
    config: Path | None,
    sample: int,
    again: tuple[str, ...],
    give_up: str | None,
    **wanted: Any,
) -> None:
    """Deliver every event that is due to both buckets, and wait for it.

    With --dry-run nothing is delivered. With --again batches that `evothesis verify` misses in a bucket are delivered
    to it once more. With --from and --to a range of time is written as files of its own, below handoffs/ in the client's
    or the backup bucket, and the regular stream stays as it is.
    """
    if give_up:
        answer = ask("evothesis.give_up", {"destination": give_up})
        if answer is not None:
            click.echo(f"{answer['given_up']:,} deliveries into the {give_up} bucket are given up")
        sys.exit(answer is None)
    if again:
        if dry_run or wanted["from_time"] or wanted["to_time"] or wanted["site"] or wanted["formats"]:
            raise click.UsageError("--again takes --bucket and --json, and nothing else")
        if ask("evothesis.reopen", {"destination": wanted["bucket"] or "client", "batch_ids": again}) is None:
            sys.exit(1)
        _deliver(as_json)
    if any(wanted[name] is not None for name in ("from_time", "to_time", "site", "bucket")) or wanted["formats"]:
        if not (wanted["from_time"] and wanted["to_time"]) or dry_run:
            raise click.UsageError(
                "--site, --format and --bucket are for a hand-off, which takes --from and --to, and no --dry-run; "
                "an export goes to every bucket"
            )
        sys.exit(0 if hand_off(_asked(wanted), as_json) else 1)
    if dry_run:
        sys.exit(0 if preview(config, sample, as_json) else 1)
    if config or sample:
        raise click.UsageError("--config and --sample belong to --dry-run")
    _deliver(as_json)


def _asked(wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "destination": wanted["bucket"] or "client",
        "from_time": wanted["from_time"],
        "to_time": wanted["to_time"],
        # As its events have it: https://www.Example.com/ is of example.com.
        "site_id": canonical(wanted["site"] or "") or wanted["site"],
        "formats": list(wanted["formats"]),
    }


def _deliver(as_json: bool) -> None:
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
