"""`evothesis export --from --to`: a range of time, or one site of it, as files of its own."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import click

from cli.report import ask


def hand_off(wanted: dict[str, Any], as_json: bool) -> bool:
    """Write what is *wanted* beside the regular stream, hour by hour, and say where; False if it failed."""
    progress = turn_by_turn("evothesis.handoff", wanted, as_json)
    if progress is None:
        return False
    if as_json:
        return True
    if not progress["rows"]:
        of_site = f" of {wanted['site_id']}" if wanted["site_id"] else ""
        click.echo(f"no event{of_site} arrived in that range; nothing was written", err=True)
    else:
        click.echo(
            f"{progress['rows']:,} events in {progress['objects']:,} objects, {progress['bytes']:,} bytes, "
            f"in the {wanted['destination']} bucket below {progress['prefix']}/"
        )
    return True


def turn_by_turn(source: str, wanted: dict[str, Any], as_json: bool = False) -> dict[str, Any] | None:
    """Ask the exporter by events of *source* until it is done, and say how far it is; None if it failed, which is said."""
    progress: dict[str, Any] | None = None
    while progress is None or progress["unfinished"]:
        progress = ask(source, {"wanted": wanted, "so_far": progress})
        if progress is None:
            return None
        if as_json:
            click.echo(json.dumps(progress, indent=2))
        elif progress["unfinished"]:
            click.echo(f"up to {progress['next_time']}: {progress['rows']:,} events", err=True)
    return progress


class Moment(click.ParamType[str]):
    """A day or a moment in RFC 3339; without a zone it is UTC's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment in RFC 3339."""
        try:
            moment = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is no day and no moment such as 2026-11-01 or 2026-11-01T12:00:00Z", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).isoformat()
