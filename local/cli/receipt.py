"""`evothesis receipt`: the receipt of an erasure, and whether one is as it was signed, and by whom."""

from __future__ import annotations

import json
import os
import sys
from uuid import UUID

import click

from cli.machine import Machine, MachineInvalid
from cli.running import Running


@click.command()
@click.argument("which", metavar="[FILE|ERASURE_ID]", required=False)
@click.option("--public-key", help="The key that it has to be signed with. [default: this installation's]")
def receipt(which: str | None, public_key: str | None) -> None:
    """Print the receipt of an erasure, or check the one in FILE, - for standard input; without either, print the public key.

    A usage statement is checked in the same way.

    Whoever is handed receipts should know the public key from the operator, not from the receipt. Exit status 1 when it is
    not as it was signed, or signed by another, or when the erasure is not completed.
    """
    if which and (erasure_id := _erasure_id(which)):
        _print(erasure_id)
    else:
        _check(which, public_key)


def _erasure_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _print(erasure_id: UUID) -> None:
    status, answer = Running.find().get(f"/erasures/{erasure_id}")
    if "receipt" in answer:
        click.echo(json.dumps(answer["receipt"], indent=2))
        return
    why = answer.get("error", {}).get("message") or f"the erasure is {answer.get('state', f'unknown: HTTP {status}')}"
    click.echo(f"evothesis: {why}", err=True)
    sys.exit(1)


def _check(which: str | None, public_key: str | None) -> None:
    # What signs takes half a second to load.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    from storage.export import receipts  # noqa: PLC0415

    expected = public_key or receipts.sign(_privacy_key(), {})["public_key"]
    if which is None:
        click.echo(expected)
        return
    try:
        with click.open_file(which, "rb") as file:
            told = json.load(file)
        # The answer of `GET /erasures/{id}` has it within.
        told = told.get("receipt", told)
        signed_by = told["signature"]["public_key"]
        receipts.verify(told, expected)
    except OSError as error:
        raise click.UsageError(f"{which}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.UsageError(f"{which} is no receipt of an erasure, or --public-key is no key") from None
    except InvalidSignature:
        why = "it was altered" if signed_by == expected else f"it is signed by {signed_by}"
        click.echo(f"not valid: {why}", err=True)
        sys.exit(1)
    if "statement" in told:
        click.echo(f"valid: usage statement of {told['statement']}, made at {told['made_at']}")
    else:
        click.echo(f"valid: erasure {told['erasure_id']}, {told['state']} at {told['completed_at']}")


def _privacy_key() -> bytes:
    """The key of this installation."""
    if given := os.environ.get("PRIVACY_KEY"):
        return given.encode()
    file = Machine.from_environ(os.environ).data_dir / "privacy-key"
    try:
        return file.read_text("utf-8").strip().encode()
    except OSError:
        raise MachineInvalid(f"PRIVACY_KEY is not set and {file} cannot be read; give --public-key") from None
