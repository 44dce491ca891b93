"""`evothesis export --dry-run`: what an export would deliver, and what a change of its settings would do to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from cli.report import ask
from storage import settings

# What a file decides by itself: without them in it, and in the environment, there are none.
WHOLE = ("export_filters", "export_transforms")


def preview(config: Path | None, sample: int, as_json: bool) -> bool:
    """Print the effect of the settings on the last events, beside that of those in *config*; False if it failed.

    Raises:
        SettingsInvalid: the file has no settings.
    """
    proposed = None
    if config:
        named = settings.from_yaml(config)
        none: dict[str, Any] = {name: {} for name in WHOLE if name.upper() not in os.environ}
        proposed = {**none, **{name: value for name, value in named.items() if name.startswith("export_")}}
    report = ask("evothesis.preview", {"sample": sample, "settings": proposed})
    if report is None:
        return False
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, config)
    return True


def _print(report: dict[str, Any], config: Path | None) -> None:
    now, then = report["now"], report["then"]
    click.echo(f"of the last {now['looked_at']:,} events the client bucket would have")
    for name, one in [("as it is set", now), *([(f"by {config}", then)] if config else [])]:
        sizes = ", ".join(f"{size:,} bytes of {kind}" for kind, size in one["bytes"].items())
        click.echo(f"  {name}: {one['events']:,} events in {len(one['columns'])} columns, {sizes}")
    for column, kind in then["columns"].items():
        if now["columns"].get(column) != kind:
            click.echo(click.style(f"  + {column} {kind}", fg="green"))
    for column, kind in now["columns"].items():
        if then["columns"].get(column) != kind:
            click.echo(click.style(f"  - {column} {kind}", fg="red"))
    for row in then["sample"]:
        click.echo(json.dumps(row, ensure_ascii=False))
