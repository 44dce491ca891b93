"""The compose stack as a project of its own, on ports of its own, and beacons that are sent to it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Self

import boto3
import httpx
from botocore.client import Config

ROOT = Path(__file__).resolve().parents[2]
SITE, API, S3 = "http://127.0.0.1:18080", "http://127.0.0.1:18000", "http://127.0.0.1:14566"
ENVIRON = {
    **os.environ,
    "COMPOSE_PROJECT_NAME": "evothesis-check",
    "EVOTHESIS_SITE_BIND": "127.0.0.1:18080",
    "EVOTHESIS_API_BIND": "127.0.0.1:18000",
    "EVOTHESIS_S3_BIND": "127.0.0.1:14566",
    "EVOTHESIS_METRICS_BIND": "127.0.0.1:19100",
}
OURS = ("runtime", "postgres", "nginx", "backup")
PARTS = (*OURS, "localstack")


def docker(*arguments: str) -> str:
    """Standard output of a command of Docker, without the white space at its end; what it complains of is seen."""
    done = subprocess.run(["docker", *arguments], cwd=ROOT, env=ENVIRON, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def compose(*arguments: str) -> str:
    """The same of a command of compose."""
    return docker("compose", "--progress", "quiet", *arguments)


def inside(part: str, *command: str) -> str:
    """The same of a command in the container of a part."""
    return compose("exec", "--no-TTY", part, *command)


def attempt(part: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the container of a part that may fail: how it ended, and what it said."""
    asked = ["docker", "compose", "exec", "--no-TTY", part, *command]
    return subprocess.run(asked, cwd=ROOT, env=ENVIRON, check=False, capture_output=True, text=True, timeout=300)


def up() -> None:
    """Start what is not running, and wait until it is healthy."""
    compose("up", "--detach", "--wait", "--quiet-pull")


def is_refused(part: str, command: str) -> bool:
    """Whether a command fails in the container of a part."""
    return attempt(part, "sh", "-c", command).returncode != 0


def s3() -> object:
    """A client of the demo's S3."""
    return boto3.client("s3", endpoint_url=S3, region_name="us-east-1", aws_access_key_id="demo",
                        aws_secret_access_key="demo", config=Config(s3={"addressing_style": "path"}))  # fmt: skip


def stored() -> set[str]:
    """The ids of all events."""
    return set(inside("postgres", "psql", "-U", "evothesis", "-Atc", "SELECT event_id FROM events").split())


def check(what: str, holds: object) -> None:
    """Say what was looked at, and stop where it is not so."""
    print(f"{'ok  ' if holds else 'FAIL'}  {what}", flush=True)
    if not holds:
        raise SystemExit(1)


def deliver(what: str) -> None:
    """Export what is due."""
    done = json.loads(inside("runtime", "evothesis", "export", "--json"))
    check(f"{what}: delivered", not done["failures"])


def verify_both() -> None:
    """Read both buckets back."""
    for side in ("client", "backup"):
        said = inside("runtime", "evothesis", "verify", side)
        check(f"{side}: {said.splitlines()[-1]}", said.endswith("every event is there once"))


class Load:
    """Sends so many beacons of so many events a second for as long as the block runs.

    `acknowledged` are the events that were answered 202, each with the moment of the answer; `refused` counts beacons.
    """

    def __init__(self, rate: int = 40, events: int = 1, threads: int = 4) -> None:
        self.acknowledged: dict[str, float] = {}
        self.refused = 0
        self._events = events
        self._pause = threads / rate
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def longest_pause(self) -> float:
        """The longest time in which nothing was acknowledged, in seconds."""
        moments = sorted(self.acknowledged.values())
        return max(after - before for before, after in pairwise(moments))

    def _send(self) -> None:
        due = time.monotonic()
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                ids = [str(uuid.uuid4()) for _ in range(self._events)]
                kind = {"event_type": "page_view", "url": "https://shop.example.com/"}
                beacon = {"events": [{"event_id": event_id, **kind} for event_id in ids]}
                try:
                    is_taken = client.post(f"{SITE}/collect", json=beacon).status_code == 202
                except httpx.HTTPError:
                    is_taken = False
                if is_taken:
                    self.acknowledged.update(dict.fromkeys(ids, time.monotonic()))
                else:
                    self.refused += 1
                due += self._pause
                self._over.wait(max(0.0, due - time.monotonic()))
