"""Makes database and demo buckets ready, in a process of its own: what it imports would stay in the runner."""

from __future__ import annotations

import sys

from storage import buckets, database, migrations, settings
from storage.errors import ExportRunning, StorageError
from storage.export import run as export


def prepare(demo_buckets: bool) -> None:
    """Migrate the schema; make the demo buckets and plan again what they forgot when they were restarted."""
    current = settings.current()
    with database.connect(current.require_database()) as connection:
        migrations.migrate(connection)
    if not demo_buckets:
        return
    for destination in current.require_destinations():
        buckets.make(destination)
    try:
        lost = export.reopen_lost(current)
        if lost:
            export.run(current)
    except ExportRunning:
        pass  # Whoever exports from this database delivers what is planned.


if __name__ == "__main__":
    try:
        prepare("--demo-buckets" in sys.argv[1:])
    except StorageError as error:
        sys.exit(str(error))
