"""Embedded S3: LocalStack from its own virtual environment, S3 alone, on loopback alone. It keeps nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from services import child

PREFERRED_PORT = 4566
# The first start of all compiles it, with what other processes leave of the processors.
START_SECONDS = 240
STOP_SECONDS = 10


class LocalStack:
    """One S3 server: `start`, then `url`, then `stop`."""

    def __init__(self, data_dir: Path, python: Path) -> None:
        self._python = python
        self._home = data_dir / "localstack"
        self._log = self._home / "server.log"
        self._objects = self._home / "objects"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.url = ""

    def start(self) -> None:
        """Start the server without waiting for it."""
        if not self._python.is_file() or not os.access(self._python, os.X_OK):
            raise child.StartFailed(
                f"EVOTHESIS_LOCALSTACK_PYTHON: LocalStack has no Python at {self._python}; run `make setup`"
            )
        self._home.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._objects, ignore_errors=True)
        port = self._port = child.free_port(PREFERRED_PORT)
        self.url = f"http://127.0.0.1:{port}"
        self._process = child.spawn(
            # -P: the folder of the script has a module of the same name as the package.
            [self._python, "-P", Path(__file__).with_name("localstack_main.py")],
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self._home),
                "SERVICES": "s3",
                "STRICT_SERVICE_LOADING": "1",
                "EAGER_SERVICE_LOADING": "1",
                # Its default server listens on every interface, whatever GATEWAY_LISTEN says.
                "GATEWAY_SERVER": "hypercorn",
                "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                # Everything in one folder, also inside a container.
                "OVERRIDE_IN_DOCKER": "0",
                "FILESYSTEM_ROOT": str(self._home),
                "TMPDIR": str(self._home),
                "EVOTHESIS_S3_DIR": str(self._objects),
                "DNS_ADDRESS": "0",
                "DISABLE_EVENTS": "1",
                "SKIP_SSL_CERT_DOWNLOAD": "1",
                "LS_LOG": "warning",
            },
            log=self._log,
            death_signal=signal.SIGKILL,
            # In real life it is another machine, that takes nothing from who receives beacons.
            gives_way=True,
        )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            StartFailed: it does not come up.
        """
        if self._process:
            child.wait_until(self._answers, self._process, "LocalStack", self._log, START_SECONDS)

    def require(self) -> None:
        """Do nothing while the server runs.

        Raises:
            Ended: it does not any more.
        """
        if self._process and self._process.poll() is not None:
            raise child.Ended(f"LocalStack ended with status {self._process.returncode}; see {self._log}")

    def stop(self) -> None:
        """End the server; its objects go with it."""
        # It has nothing to lose, and on SIGTERM it has been seen to stay.
        if self._process:
            child.stop(self._process, signal.SIGKILL, STOP_SECONDS)

    def _answers(self) -> bool:
        # Somebody else's server on the same port answers as well, and takes everything with it when it goes.
        if self._process is None or not child.listens(self._process, self._port):
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=2) as answer:  # noqa: S310 - our own URL
                services = json.load(answer).get("services", {})
                return services.get("s3") in ("running", "available")
        except (urllib.error.URLError, OSError, ValueError):
            return False
