"""`evothesis erase`: take a visitor out of everything, buckets included."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import quote

import click

from cli.running import Running

WORK = json.dumps({"source": "evothesis.erase", "detail-type": "Question", "detail": {}}).encode()


@click.command()
@click.argument("visitor_id")
@click.option("--dry-run", is_flag=True, help="Say what it would take out, and change nothing.")
@click.option("--confirm", is_flag=True, help="Erase it even though it is more than a visitor can have done.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer, or the receipt, as JSON.")
def erase(visitor_id: str, dry_run: bool, confirm: bool, as_json: bool) -> None:
    """Erase a visitor: the rows, and the visitor's rows in every object that was delivered, in both buckets.

    Nothing of that visitor is stored any more. Exit status 1 when it was refused, or a bucket refuses; it is tried again
    each minute then.
    """
    running = Running.find()
    query = "&".join(f"{name}=true" for name, given in (("dry_run", dry_run), ("confirm", confirm)) if given)
    status, answer = running.delete(f"/visitors/{quote(visitor_id, safe='')}?{query}")
    if status >= 400:
        click.echo(f"evothesis: {answer.get('error', {}).get('message', f'HTTP {status}')}", err=True)
        sys.exit(1)
    if not dry_run:
        running.invoke("VisitorDeletion", WORK)
        _, answer = running.get(f"/erasures/{answer['erasure_id']}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(answer)
    sys.exit(1 if answer.get("state") == "blocked" else 0)


def _print(answer: dict[str, Any]) -> None:
    if "dry_run" in answer:
        click.echo(
            f"in the database {answer['events']:,} events ({answer['share']:.1%} of all there), "
            f"{answer['rejected_events']:,} refused ones"
        )
        click.echo(
            f"in the buckets {answer['objects']:,} objects to write anew, {answer['batches_to_read']:,} batches to read through, "
            f"{answer['handoffs']:,} hand-offs to go through"
        )
        return
    click.echo(f"erasure {answer['erasure_id']}: {answer['state']}")
    click.echo(
        f"  {answer['events_erased']:,} events and {answer['rejected_events_erased']:,} refused ones are gone from the database"
    )
    for one in answer.get("receipt", {}).get("buckets", ()):
        click.echo(
            f"  {one['destination']} bucket {one['bucket']}, batch {one['batch_id']}: {one['rows_removed']:,} rows, "
            f"{len(one['objects'])} objects"
        )
    for one in answer.get("receipt", {}).get("handoffs", ()):
        click.echo(
            f"  {one['destination']} bucket {one['bucket']}, {one['prefix']}: {one['rows_removed']:,} rows, "
            f"{len(one['objects'])} objects"
        )
    found = answer.get("receipt", {}).get("buckets") or answer.get("receipt", {}).get("handoffs")
    if answer["state"] == "completed" and not (found or answer["events_erased"] or answer["rejected_events_erased"]):
        click.echo("  nothing was held of this id; look whether it is spelled right")
    if answer["state"] == "completed":
        click.echo(f"  `evothesis receipt {answer['erasure_id']}` prints the signed receipt")
    if "reason" in answer:
        click.echo(f"  {answer['reason']}")
