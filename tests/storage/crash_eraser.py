"""An eraser that is killed (-9) at a marked point; run as a program with a point and a visitor."""

import os
import signal
import sys

import psycopg

from storage import database, deliveries, erasures, objects, settings
from storage.export import erase, manifest, receipts


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying(module, name, *, after, times=1):
    real, left = getattr(module, name), [times]

    def instead(*arguments, **options):
        left[0] -= 1
        if not after and not left[0]:
            die()
        result = real(*arguments, **options)
        if after and not left[0]:
            die()
        return result

    setattr(module, name, instead)


def dying_at(statement):
    real = psycopg.Connection.execute

    def execute(self, query, *arguments, **options):
        if isinstance(query, str) and statement in query:
            die()
        return real(self, query, *arguments, **options)

    psycopg.Connection.execute = execute


POINTS = {
    "between the suppression and the rows": lambda: dying_at("erasures.turn"),
    "with the rows gone": lambda: dying(erasures, "unfinished", after=False),
    "between the announcement and the first byte": lambda: dying(deliveries, "announce_rewrite", after=True),
    "with an object written": lambda: dying(objects, "replace", after=True),
    "with its old versions gone": lambda: dying(objects, "purge", after=True, times=2),
    "before the manifest": lambda: dying(manifest, "render", after=False),
    "with the manifest written": lambda: dying(objects, "replace", after=True, times=4),
    "in the middle of the record": lambda: dying_at("deliveries.forget_rewrites"),
    "with one bucket done": lambda: dying(deliveries, "find", after=False, times=2),
    "before the receipt": lambda: dying(receipts, "issue", after=False),
    "between the receipt and its record": lambda: dying(erasures, "complete", after=False),
}

if __name__ == "__main__":
    point, visitor_id = sys.argv[1:]
    POINTS[point]()
    current = settings.current()
    key = current.require_privacy_key()
    database.run(current.require_database(), lambda connection: erasures.erase(connection, key, visitor_id))
    erase.run(current)
