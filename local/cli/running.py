"""The runtime that is running on this machine, as the other commands ask it."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.machine import Machine
from storage import settings as storage_settings

# As long as a function may take, and a little.
LONGEST_SECONDS = 930


class NotRunning(Exception):
    """Nobody answers; the text says how to start it."""


class Refused(Exception):
    """The runtime refused; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of an invocation: the function's answer, whether it is an error, and the end of its log."""

    payload: bytes
    failed: bool
    log: str


@dataclass(frozen=True, slots=True)
class Running:
    """The addresses of a runtime, and the admin's token."""

    url: str
    invoke_url: str
    token: str
    data_dir: Path

    @classmethod
    def find(cls) -> Running:
        """The runtime of this data directory.

        Raises:
            NotRunning: there is none.
            MachineInvalid, SettingsInvalid: a setting is wrong.
        """
        data_dir = Machine.from_environ(os.environ).data_dir
        try:
            at = json.loads((data_dir / "runtime.json").read_text("utf-8"))
            set_one = storage_settings.load().evothesis_admin_token.get_secret_value().split()
            token = set_one[0] if set_one else (data_dir / "admin-token").read_text("utf-8").strip()
        except (OSError, ValueError):
            raise _not_running(data_dir) from None
        return cls(at["url"], at["invoke_url"], token, data_dir)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON body of an admin route.

        Raises:
            NotRunning: nobody answers.
        """
        return self._admin("GET", path)

    def post(self, path: str) -> tuple[int, Any]:
        """Status and JSON body of an admin route that is asked to do something.

        Raises:
            NotRunning: nobody answers.
        """
        return self._admin("POST", path)

    def delete(self, path: str) -> tuple[int, Any]:
        """Status and JSON body of an admin route that is asked to delete.

        Raises:
            NotRunning: nobody answers.
        """
        return self._admin("DELETE", path)

    def _admin(self, method: str, path: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status, _, body = self._ask(method, self.url + path, headers, b"" if method == "POST" else None)
        return status, _json(body)

    def invoke(self, function: str, payload: bytes, *, kind: str = "RequestResponse") -> Invocation:
        """Invoke a function by its logical id.

        Raises:
            NotRunning: nobody answers.
            Refused: there is no such function, or the payload is no event.
        """
        headers = {
            # The Invoke API wants to see a signature; on loopback it does not check it.
            "Authorization": "AWS4-HMAC-SHA256 Credential=local",
            "Content-Type": "application/json",
            "X-Amz-Invocation-Type": kind,
            "X-Amz-Log-Type": "Tail",
        }
        address = f"{self.invoke_url}/2015-03-31/functions/{function}/invocations"
        status, said, body = self._ask("POST", address, headers, payload)
        if status >= 300:
            told = _json(body)
            raise Refused(told.get("Message") or told.get("message") or f"HTTP {status}")
        log = base64.b64decode(said.get("x-amz-log-result", "")).decode(errors="replace")
        return Invocation(body, "x-amz-function-error" in said, log)

    def _ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the runtime wrote it, http
        try:
            with urllib.request.urlopen(request, timeout=LONGEST_SECONDS) as response:  # noqa: S310 - as above
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()
        except OSError:
            raise _not_running(self.data_dir) from None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def _not_running(data_dir: Path) -> NotRunning:
    return NotRunning(f"no runtime is running on {data_dir}; start it with `evothesis run`, or set EVOTHESIS_DATA_DIR")
