"""`evothesis receipt`: is the receipt of an erasure as it was signed, and by whom."""

from __future__ import annotations

import json
import os
import sys
from typing import BinaryIO

import click

from cli.machine import Machine, MachineInvalid


@click.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--public-key", help="The key that it has to be signed with. [default: this installation's]")
def receipt(file: BinaryIO | None, public_key: str | None) -> None:
    """Check the receipt of an erasure in FILE, - for standard input; without FILE, print this installation's public key.

    Whoever is handed receipts should know the public key from the operator, not from the receipt. Exit status 1 when it is
    not as it was signed, or signed by another.
    """
    # What signs takes half a second to load.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    from storage.export import receipts  # noqa: PLC0415

    expected = public_key or receipts.sign(_privacy_key(), {})["public_key"]
    if file is None:
        click.echo(expected)
        return
    try:
        told = json.load(file)
        # The answer of `GET /erasures/{id}` has it within.
        told = told.get("receipt", told)
        signed_by = told["signature"]["public_key"]
        receipts.verify(told, expected)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.UsageError(f"{file.name} is no receipt of an erasure, or --public-key is no key") from None
    except InvalidSignature:
        why = "it was altered" if signed_by == expected else f"it is signed by {signed_by}"
        click.echo(f"not valid: {why}", err=True)
        sys.exit(1)
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
