"""`evothesis`: the product on one machine."""

from __future__ import annotations

import sys

import click

from cli.check import check
from cli.doctor import doctor
from cli.erase import erase
from cli.export import export
from cli.invoke import invoke
from cli.logs import logs
from cli.machine import MachineInvalid
from cli.policy import policy
from cli.receipt import receipt
from cli.restore import restore
from cli.run import run
from cli.running import NotRunning
from cli.site import site
from cli.status import status
from cli.usage import usage
from cli.verify import verify
from cli.visitor import visitor
from cli.webhooks import webhooks
from emulator.errors import EmulatorError
from services.child import Ended, StartFailed
from storage.errors import StorageError

EXIT_CODES = "\b\nExit status: 0 done, 1 failed, 2 wrong usage, 3 no runtime is running."


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(package_name="evothesis", prog_name="evothesis")
def commands() -> None:
    """First-party web analytics data that the client owns."""


for command in (
    run,
    status,
    export,
    verify,
    check,
    restore,
    doctor,
    erase,
    receipt,
    visitor,
    site,
    policy,
    usage,
    webhooks,
    invoke,
    logs,
):
    commands.add_command(command)


def main() -> None:
    """Run the command line; what a user can mend is one line on standard error."""
    try:
        commands(prog_name="evothesis")
    except NotRunning as error:
        click.echo(f"evothesis: {error}", err=True)
        sys.exit(3)
    except (StorageError, EmulatorError, StartFailed, Ended, MachineInvalid) as error:
        click.echo(f"evothesis: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
