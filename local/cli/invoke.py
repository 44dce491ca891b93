"""`evothesis invoke`: one event for one function of the running runtime."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import click

from cli.machine import ROOT
from cli.running import Refused, Running
from emulator import intrinsics

DEMO_TOKEN = b"demo-admin-token"


@click.command()
@click.argument("function")
@click.option("-e", "--event", type=click.File("rb"), help="File with the event, - for standard input. [default: {}]")
@click.option("--async", "asynchronous", is_flag=True, help="Do not wait; a failure is tried twice more.")
@click.option("--log", is_flag=True, help="Print the end of the function's log on standard error.")
def invoke(function: str, event: BinaryIO | None, asynchronous: bool, log: bool) -> None:
    """Invoke FUNCTION with an event and print what it returns.

    FUNCTION is its logical id in sam-template.yaml or its folder: Collect, collect, export_scheduled. The folder
    events/ has a sample of everything that the functions take; `demo-admin-token` in it stands for the admin's token.
    """
    name = _logical_id(function)
    running = Running.find()
    payload = (event.read() if event else b"{}").replace(DEMO_TOKEN, running.token.encode())
    try:
        done = running.invoke(name, payload, kind="Event" if asynchronous else "RequestResponse")
    except Refused as error:
        raise click.UsageError(str(error)) from None
    if log and not asynchronous:
        click.echo(done.log.rstrip(), err=True)
    click.echo("accepted" if asynchronous else done.payload)
    sys.exit(1 if done.failed else 0)


def _logical_id(name: str) -> str:
    resources: dict[str, Any] = intrinsics.read(ROOT / "sam-template.yaml")["Resources"]
    functions = [key for key, value in resources.items() if value["Type"] == "AWS::Serverless::Function"]
    plain = {key.lower(): key for key in functions}
    found = plain.get(name.lower().replace("_", "").replace("-", ""))
    if not found:
        raise click.UsageError(f"no function {name}; there are {', '.join(functions)}")
    return found
