"""`evothesis site`: which sites were seen, and which of them are billed."""

from __future__ import annotations

import json
import re
import sys
from typing import Any
from urllib.parse import quote

import click

from cli.handoff import turn_by_turn
from cli.report import answered
from cli.running import Running
from storage.hosts import canonical

COLORS = {"confirmed": "green", "seen": "yellow", "refused": "red"}


@click.group()
def site() -> None:
    """Which sites were seen, and which of them are billed."""


@site.command("list")
@click.option("--state", type=click.Choice(list(COLORS)), help="Only those that are so.")
@click.option("--json", "as_json", is_flag=True, help="Print everything, a line of JSON each.")
def listing(state: str | None, as_json: bool) -> None:
    """List the sites by name."""
    running, after = Running.find(), ""
    while True:
        answer = answered(running.get(f"/sites?after={quote(after, safe='')}"))
        for one in answer["sites"]:
            if state in (None, one["state"]):
                click.echo(json.dumps(one) if as_json else _line(one))
        after = answer["next"]
        if after is None:
            return


@site.command()
@click.argument("site_id", metavar="SITE")
def confirm(site_id: str) -> None:
    """Let a site be billed, whatever evidence there is of it; and in, with its events, where sites have to be let in."""
    _decide(site_id, "confirm")


@site.command()
@click.argument("site_id", metavar="SITE")
def refuse(site_id: str) -> None:
    """Let a site never be billed. Its events stay, but for those that are kept apart; `confirm` takes it back."""
    _decide(site_id, "refuse")


@site.command()
@click.argument("site_id", metavar="SITE")
@click.option("--to", required=True, metavar="s3://BUCKET/PREFIX", help="An empty place of the owner's.")
@click.option("--region", help="Of the bucket.")
@click.option("--endpoint-url", help="Of the bucket, where it is not AWS's.")
@click.option("--role-arn", help="A role by which the bucket is reached.")
@click.option("--external-id", help="What the role asks for beside it.")
@click.option("--access-key", envvar="HANDOFF_S3_ACCESS_KEY", help="Better in HANDOFF_S3_ACCESS_KEY.")
@click.option("--secret-key", envvar="HANDOFF_S3_SECRET_KEY", help="Better in HANDOFF_S3_SECRET_KEY.")
def handoff(site_id: str, to: str, **reached: str | None) -> None:
    """Give a site's whole history to its owner, and mark the site.

    Every event that ever came, once, hour by hour, with manifests and schema; what the database has dropped because of
    its age comes from the backup bucket. From then on the copy is the owner's: no erasure reaches it.
    """
    place = re.fullmatch(r"s3://([^/]+)/(.*[^/])/*", to)
    if not place:
        raise click.UsageError("--to has to be a bucket and a prefix in it, such as s3://their-bucket/analytics")
    bucket = {"bucket": place[1], "prefix": place[2], **{name: value for name, value in reached.items() if value}}
    wanted = {"site_id": canonical(site_id) or site_id, "to": bucket}
    progress = turn_by_turn("evothesis.site_handoff", wanted)
    if progress is None:
        sys.exit(1)
    click.echo(
        f"{progress['rows']:,} events in {progress['objects']:,} objects, {progress['bytes']:,} bytes, below {to.rstrip('/')}/"
    )
    if progress["gone"]:
        click.echo(f"{progress['gone']:,} more were too old for the database and for every bucket", err=True)


def _decide(site_id: str, what: str) -> None:
    answer = answered(Running.find().post(f"/sites/{quote(site_id, safe='')}/{what}"))
    click.echo(f"{answer['site_id']} is {answer['state']}")


def _line(one: dict[str, Any]) -> str:
    state = click.style(f"{one['state']:9}", fg=COLORS[one["state"]])
    what = one["registrable_domain"] if one["kind"] == "public" else f"({one['kind']})"
    bots = f", {one['bot_events']:,} of bots" if one["bot_events"] else ""
    apart = f", {one['quarantined_events']:,} kept apart" if one["quarantined_events"] else ""
    return f"{state}  {one['site_id']:40} {what:30} {one['events']:,} events{bots}{apart}; last {one['last_seen_at'][:19]}Z"
