"""A child process that cannot outlive its parent, however the parent dies."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
PATIENCE = 10
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StartFailed(Exception):
    """An embedded part did not come up; the text says why and where its log lies."""


class Ended(Exception):
    """An embedded part ended while it was needed; the text says which and where its log lies."""


def die_with_parent(death_signal: int) -> Callable[[], None]:
    """What a child runs before its program, so that the kernel sends it *death_signal* when its parent is gone.

    The parent is the thread that starts the child, so start children from the main thread (prctl(2),
    PR_SET_PDEATHSIG). Only Linux can do this; elsewhere a killed runner leaves its children.
    """
    parent = os.getpid()

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # It died before the call took effect.
                os._exit(1)

    return prepare


def give_way() -> None:
    """What a child runs before its program, so that it takes the processor after others: with a tenth of their weight."""
    os.nice(PATIENCE)
    # Where each session is a group of its own, the group has a weight too (sched(7), the autogroup feature).
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(PATIENCE))


def spawn(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    death_signal: int = signal.SIGTERM,
    user: int | None = None,
    group: int | None = None,
    gives_way: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output appended to *log*; it dies with this process.

    One that *gives_way* takes the processor after others.
    """
    mortal = die_with_parent(death_signal)

    def prepare() -> None:
        mortal()
        if gives_way:
            give_way()

    with log.open("ab") as output:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal is for the runner alone; it stops its children in order.
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            preexec_fn=prepare,
        )


def stop(process: subprocess.Popen[bytes], how: int, patience_seconds: float) -> None:
    """End *process* with the signal *how*, and with SIGKILL when it takes longer than *patience_seconds*."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path, patience_seconds: float
) -> None:
    """Wait for *ready*.

    Raises:
        StartFailed: the process ended, or *patience_seconds* went by.
    """
    deadline = time.monotonic() + patience_seconds
    while not ready():
        if process.poll() is not None:
            raise StartFailed(f"{name} ended with status {process.returncode} while starting; see {log}")
        if time.monotonic() > deadline:
            raise StartFailed(f"{name} was not ready after {patience_seconds:.0f} s; see {log}")
        time.sleep(0.02)


def wait_for(condition: Callable[[], bool], patience_seconds: float) -> bool:
    """Whether *condition* came true within *patience_seconds*."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it is *process* that listens on *port*."""
    with contextlib.suppress(psutil.NoSuchProcess):
        connections = psutil.Process(process.pid).net_connections("tcp")
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
    return False


def free_port(preferred: int) -> int:
    """*preferred* if nothing listens there on loopback, else a port that the kernel gives."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartFailed("no port is free on 127.0.0.1")
