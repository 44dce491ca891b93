"""`evothesis`: the product on one machine."""

from __future__ import annotations

import sys

import click

from cli.machine import MachineInvalid
from cli.run import run
from emulator.errors import EmulatorError
from services.child import Ended, StartFailed
from storage.errors import StorageError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evothesis", prog_name="evothesis")
def commands() -> None:
    """First-party web analytics data that the client owns."""


commands.add_command(run)


def main() -> None:
    """Run the command line; what a user can mend is one line on standard error, and exit status 1."""
    try:
        commands()
    except (StorageError, EmulatorError, StartFailed, Ended, MachineInvalid) as error:
        click.echo(f"evothesis: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
