"""An exporter that is killed (-9) at a marked point; run as a program by test_crash.py."""

import dataclasses
import os
import signal
import sys

import psycopg

from storage import ledger, objects, settings
from storage.export import deliver, run


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(module, name, when=lambda *arguments: True):
    real = getattr(module, name)

    def dying(*arguments, **options):
        result = real(*arguments, **options)
        if when(*arguments):
            die()
        return result

    setattr(module, name, dying)


class DyingBody:
    """A file that kills its reader in the middle."""

    def __init__(self, file):
        self.file = file
        self.left = file.seek(0, os.SEEK_END) // 2
        file.seek(0)

    def read(self, size=-1):
        data = self.file.read(size)
        self.left -= len(data)
        if self.left <= 0:
            # What was read before this went to the socket.
            die()
        return data

    def __getattr__(self, name):
        return getattr(self.file, name)


def dying_upload():
    real = objects.put

    def put(destination, key, body, fence):
        if key.endswith((".parquet", ".gz")):
            body = dataclasses.replace(body, file=DyingBody(body.file))
        return real(destination, key, body, fence)

    objects.put = put


def dying_at(statement):
    real = psycopg.Connection.execute

    def execute(self, query, *arguments, **options):
        if isinstance(query, str) and statement in query:
            die()
        return real(self, query, *arguments, **options)

    psycopg.Connection.execute = execute


POINTS = {
    "in the middle of the plan": lambda: dying_after(ledger, "_plan_deliveries"),
    "after the plan": lambda: dying_after(ledger, "plan"),
    "between the announcement and the first byte": lambda: dying_after(ledger, "announce"),
    "in the middle of an upload": dying_upload,
    "between the last byte and its record": lambda: dying_after(objects, "put"),
    "after the first bucket": lambda: dying_after(ledger, "delivered"),
    "before the manifest": lambda: dying_after(ledger, "written"),
    "with a place for the manifest": lambda: dying_after(ledger, "place"),
    "before the commit": lambda: dying_after(deliver, "put_manifest"),
    "in the middle of the commit": lambda: dying_at("ledger.complete"),
}

if __name__ == "__main__":
    POINTS[sys.argv[1]]()
    run.run(settings.current())
