"""A beacon that is put into a queue instead of the database, from which this function gets it back among others."""

from __future__ import annotations

from collect.beacons import Beacon, Unreadable, read
from storage import buffer
from storage.settings import Settings

# What is told by a beacon's headers: SQS takes ten attributes, and three more are added.
HEADERS = ("content-type", "content-encoding", "origin", "referer", "user-agent")


def put(settings: Settings, queue_url: str, beacon: Beacon) -> bool:
    """Whether a beacon waits in the queue now. What can be answered without the database is not put there.

    That is one with a privacy signal, of which nobody but the counter may hear, and one that cannot be read.
    """
    if beacon.signal:
        return False
    try:
        read(beacon, settings.collect_max_body_bytes)
    except Unreadable:
        return False
    headers = {name: beacon.header(name) or "" for name in HEADERS}
    told = {"source-ip": beacon.source_ip or "", "request-id": beacon.request_id}
    return buffer.put(queue_url, beacon.body, {**headers, **told})
