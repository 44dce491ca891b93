"""`evothesis site`: which sites were seen, and which of them are billed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from cli.running import Running

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
        code, answer = running.get(f"/sites?after={quote(after, safe='')}")
        _be_answered(code, answer)
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


def _decide(site_id: str, what: str) -> None:
    code, answer = Running.find().post(f"/sites/{quote(site_id, safe='')}/{what}")
    _be_answered(code, answer)
    click.echo(f"{answer['site_id']} is {answer['state']}")


def _be_answered(code: int, answer: dict[str, Any]) -> None:
    if code >= 300:
        raise click.ClickException(answer.get("error", {}).get("message") or f"HTTP {code}")


def _line(one: dict[str, Any]) -> str:
    state = click.style(f"{one['state']:9}", fg=COLORS[one["state"]])
    what = one["registrable_domain"] if one["kind"] == "public" else f"({one['kind']})"
    bots = f", {one['bot_events']:,} of bots" if one["bot_events"] else ""
    apart = f", {one['quarantined_events']:,} kept apart" if one["quarantined_events"] else ""
    return f"{state}  {one['site_id']:40} {what:30} {one['events']:,} events{bots}{apart}; last {one['last_seen_at'][:19]}Z"
