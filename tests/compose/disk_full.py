"""Fills PostgreSQL's disk under load and gives it room again: what was acknowledged is there, and it goes on by itself.

`make compose-exhaust` runs it (needs Docker, and lets it mount).
"""

from __future__ import annotations

import os
import time
import uuid

import httpx
from stack import ENVIRON, SITE, check, compose, deliver, docker, stored, up, verify_both

HOLDER = "evothesis-check-disk"
ENVIRON["COMPOSE_FILE"] = "docker-compose.yml:tests/compose/small-disk.yml"


def send(client: httpx.Client, acknowledged: set[str]) -> int:
    """Send a beacon of ten large events; gives the status, and notes what was acknowledged."""
    ids = [str(uuid.uuid4()) for _ in range(10)]
    kind = {"event_type": "page_view", "url": "https://shop.example.com/"}
    # What is the same compresses to nothing, on the disk too.
    beacon = {"events": [{"event_id": one, **kind, "data": {"text": os.urandom(3500).hex()}} for one in ids]}
    # An address may send 50 beacons a second.
    time.sleep(0.02)
    status = client.post(f"{SITE}/collect", json=beacon).status_code
    if status == 202:
        acknowledged.update(ids)
    return status


def until(client: httpx.Client, acknowledged: set[str], wanted: int, seconds: float) -> bool:
    """Send until one is answered so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = send(client, acknowledged)
        if status == wanted:
            return True
        if status != 202:
            time.sleep(0.5)
    return False


def main() -> None:
    """Go through all of it."""
    compose("build", "--quiet")
    acknowledged: set[str] = set()
    try:
        up()
        # A disk of memory is gone with its last user, and a PostgreSQL that cannot write its log ends to begin anew.
        docker(
            "run",
            "--detach",
            "--name",
            HOLDER,
            "--volume",
            "evothesis-check_postgres:/mnt",
            "evothesis-postgres",
            "sleep",
            "900",
        )
        with httpx.Client(timeout=30) as client:
            check("on a full disk beacons are answered 503, to be sent again", until(client, acknowledged, 503, 300))
            print(f"      {len(acknowledged):,} events were acknowledged until then")
            # Now and then PostgreSQL finds some room in its log, and takes one.
            answers = {send(client, acknowledged) for _ in range(20)}
            check(f"and nothing else: {sorted(answers)}", answers <= {202, 503})
            check("the runtime runs on", httpx.get(f"{SITE}/js/tracking.js").status_code == 200)
            room = "remount,size=1500m"
            docker("run", "--rm", "--privileged", "--user", "root", "--entrypoint", "mount",
                   "--volume", "evothesis-check_postgres:/mnt", "evothesis-postgres", "-o", room, "/mnt")  # fmt: skip
            check("given room, it takes beacons again by itself", until(client, acknowledged, 202, 180))
        lost = acknowledged - stored()
        check(f"of {len(acknowledged):,} acknowledged events {len(lost)} were lost", not lost)
        deliver("they are")
        verify_both()
    finally:
        docker("rm", "--force", HOLDER)
        compose("down", "--volumes")


if __name__ == "__main__":
    main()
