"""`evothesis webhooks`: what the operator's endpoint was told, and what it did not take."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click

from cli.report import answered
from cli.running import Running
from services.receiver import Message, Receiver
from storage.settings import is_secret

COLORS = {"delivered": "green", "waiting": "yellow", "given_up": "red"}


@click.group()
def webhooks() -> None:
    """What the operator's endpoint was told, and what it did not take."""


@webhooks.command("list")
@click.option("--state", type=click.Choice(list(COLORS)), help="Only those that are so.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, with what was said.")
def listing(state: str | None, as_json: bool) -> None:
    """List the last messages, newest first. Exit status 1 when any of them was given up."""
    answer = answered(Running.find().get(f"/webhooks{'?state=' + state if state else ''}"))
    for message in answer["messages"]:
        click.echo(json.dumps(message) if as_json else _line(message))
    sys.exit(any(message["state"] == "given_up" for message in answer["messages"]))


@webhooks.command()
@click.argument("message_id", required=False)
def replay(message_id: str | None) -> None:
    """Send again, within a minute, one message, or all that were given up."""
    answer = answered(Running.find().post(f"/webhooks/{message_id}/replay" if message_id else "/webhooks/replay"))
    click.echo(f"{answer['replayed']} will be sent again within a minute")
    if not message_id and not answer["replayed"]:
        click.echo("none was given up; what waits for its next try goes at once by its MESSAGE_ID", err=True)


@webhooks.command("test")
def try_out() -> None:
    """Send a message that says nothing, `evothesis.test`, and say whether the endpoint took it."""
    answered(Running.find().post("/webhooks/test"))
    click.echo("taken")


@webhooks.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="Of 127.0.0.1 to listen on."
)
@click.option("--secret", envvar="WEBHOOK_SECRET", default="", help="What it is signed with; better in WEBHOOK_SECRET.")
def receive(port: int, secret: str) -> None:
    """Receive what is told, for a demo: print what is signed as it should be, a line of JSON each.

    Set WEBHOOK_URL to what it says it listens on, and WEBHOOK_SECRET to the same secret.
    """

    def keep(message: Message) -> None:
        click.echo(json.dumps(asdict(message)))

    if not all(map(is_secret, secret.split() or [""])):
        raise click.UsageError('WEBHOOK_SECRET is no secret; echo "whsec_$(openssl rand -base64 32)" makes one')
    try:
        receiver = Receiver(
            secret.split(maxsplit=1)[0], port, keep, lambda why: click.echo(f"not taken: {why}", err=True)
        )
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from None
    with receiver, suppress(KeyboardInterrupt):
        click.echo(f"listening on {receiver.url}", err=True)
        threading.Event().wait()


def _line(message: dict[str, Any]) -> str:
    state = click.style(f"{message['state']:9}", fg=COLORS[message["state"]])
    line = f"{message['created_at'][:19]}Z  {state}  {message['type']:18} {message['about'] or '-'}  {message['message_id']}"
    tries = f"{message['attempts']} tries" if message["attempts"] != 1 else "1 try"
    if message["next_at"] and message["last_error"]:
        tries += f", the next at {message['next_at'][:19]}Z"
    return f"{line}\n    {tries}: {message['last_error']}" if message["last_error"] else line
