"""`evothesis usage`: what was used, and what of it is billed."""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlencode

import click

from cli.report import answered, ask
from cli.running import Running

UNITS = ("B", "kB", "MB", "GB", "TB")


@click.group(invoke_without_command=True)
@click.option("--from", "from_day", help="From this day of UTC on; else of this month.")
@click.option("--to", "to_day", help="And before this one.")
@click.option("--site", help="Of this site alone.")
@click.option("--group", help="Of the sites of this group.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def usage(
    context: click.Context, from_day: str | None, to_day: str | None, site: str | None, group: str | None, as_json: bool
) -> None:
    """Show what was used, by site."""
    if context.invoked_subcommand:
        return
    wanted = {"from": from_day, "to": to_day, "site": site, "group": group}
    query = urlencode({name: value for name, value in wanted.items() if value})
    told = answered(Running.find().get(f"/usage?{query}"))
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(_report(told)))


@usage.command()
@click.option("--json", "as_json", is_flag=True, help="Print what differs as JSON.")
def recount(as_json: bool) -> None:
    """Count all events once more, and say where that is not what was metered; exits with 1 where it is not."""
    differing = answered(Running.find().get("/usage/recount"))["differing"]
    if as_json:
        click.echo(json.dumps(differing, indent=2))
    elif not differing:
        click.echo("what is metered is what came")
    for one in differing if not as_json else ():
        what = f"{one['metered_events']:,} events are metered, {one['events']:,} came"
        click.echo(f"{one['day']} {one['site_id'] or '(no site)'} {one['event_type'] or '(other)'}: {what}", err=True)
    sys.exit(1 if differing else 0)


@usage.command()
@click.argument("month", metavar="YYYY-MM")
def statement(month: str) -> None:
    """Print the signed usage statement of a month, as it lies in the backup bucket."""
    told = ask("evothesis.statement", {"month": month})
    if told is None:
        sys.exit(1)
    click.echo(json.dumps(told, indent=2))


@usage.command()
@click.argument("month", metavar="YYYY-MM")
@click.option("--bucket", metavar="[client|backup|GROUP]", default="backup", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what differs as JSON.")
def reconcile(month: str, bucket: str, as_json: bool) -> None:
    """Compare the statement of a month with the manifests of a bucket, line by line; exits with 1 where they differ."""
    told = ask("evothesis.reconcile", {"month": month, "destination": bucket})
    if told is None:
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(
            f"{told['lines']:,} lines, {told['events']:,} events, {told['manifests']:,} manifests of the {bucket} bucket: "
            + (f"{len(told['differing']):,} differ" if told["differing"] else "all as stated")
        )
        for one in told["differing"]:
            where = f"{one['day']} {one['site_id'] or ''}".rstrip()
            click.echo(f"  {where}: {one['stated']:,} {one['what']} are stated, {one['found']:,} are there", err=True)
    sys.exit(1 if told["differing"] else 0)


def _report(told: dict[str, Any]) -> list[str]:
    totals, trend = told["totals"], told["trend"]["events"]
    change = (
        f", {trend['change']:+.0%} on {trend['before']:,} in as many days before" if trend["change"] is not None else ""
    )
    lines = [
        f"{told['from']} up to {told['to']}: {totals['events']:,} events{change}; {told['billed']['events']:,} billed",
        f"{totals['visitors']:,} visitors, {totals['sessions']:,} sessions, {_size(totals['bytes'])}",
        f"{totals['duplicates']:,} came twice, {totals['refused']:,} refused, {totals['withheld']:,} withheld",
    ]
    lines += [
        f"delivered to the {side} bucket: {brought['events']:,} events, {_size(brought['bytes'])}"
        for side, brought in sorted(totals["delivered"].items(), reverse=True)
    ]
    for one in filter(lambda one: one["events"], told["sites"]):
        name = one["name"] or one["site_id"] or "(no site)"
        visitors = "" if one["visitors"] is None else f"{one['visitors']:,} visitors"
        lines.append(f"  {name:40} {one['events']:>12,} events  {visitors}{'' if one['billed'] else '  not billed'}")
    lines += [
        f"quota of {one['name'] or 'all'}: {one['percent']} % of {one['quota_events']:,} events"
        + (f", {one['overage_events']:,} beyond" if one["overage_events"] else "")
        for one in told["quotas"]
    ]
    if told["sites_left_out"]:
        lines.append(f"  and {told['sites_left_out']:,} sites with fewer")
    return lines


def _size(number: float) -> str:
    for unit in UNITS:
        if number < 1000 or unit == UNITS[-1]:
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == UNITS[0] else f"{number:,.1f} {unit}"
