"""`evothesis logs`: what the functions wrote."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

import click

from cli.machine import Machine

LOOK_SECONDS = 0.3


@click.command()
@click.argument("function", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", default=50, show_default=True, type=click.IntRange(0), help="So many of each log's last lines."
)
def logs(function: str | None, follow: bool, lines: int) -> None:
    """Print the log of FUNCTION, or of every function."""
    directory = Machine.from_environ(os.environ).data_dir / "logs"
    files = [file for file in sorted(directory.glob("*.log")) if _is_asked_for(function, file)]
    if not files:
        of = f" of {function}" if function else ""
        raise click.ClickException(f"no log{of} in {directory}")
    ends = {file: _print_last(file, lines, named=len(files) > 1) for file in files}
    try:
        while follow:
            ends = {file: _print_new(file, end, named=len(files) > 1) for file, end in ends.items()}
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        pass


def _is_asked_for(function: str | None, file: Path) -> bool:
    plain = (function or "").lower().replace("_", "").replace("-", "")
    return not function or file.stem.lower() == plain


def _print_last(file: Path, lines: int, named: bool) -> int:
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in deque(stream, maxlen=lines):
            _print(file, line, named)
        return stream.tell()


def _print_new(file: Path, end: int, named: bool) -> int:
    """Print what stands after *end*; a file that is shorter than that was begun anew."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        stream.seek(end if file.stat().st_size >= end else 0)
        while (line := stream.readline()).endswith("\n"):
            _print(file, line, named)
            end = stream.tell()
        return end


def _print(file: Path, line: str, named: bool) -> None:
    click.echo(f"{click.style(file.stem, fg='cyan')}  {line.rstrip()}" if named else line.rstrip())
