"""A whole export: plan what is settled, deliver what is missing, oldest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from storage import database, ledger, objects
from storage.export.deliver import deliver
from storage.ledger import Batch
from storage.settings import Settings


@dataclass(slots=True)
class Outcome:
    """What a run did: how many batches it planned, which it delivered, and what each destination refused."""

    planned: int = 0
    delivered: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    unfinished: bool = False


def run(settings: Settings, has_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Deliver every settled event to every destination; stop between batches once *has_time* says no.

    Whoever is killed in the middle of it leaves a ledger from which the next run goes on. A destination that
    refuses a batch is not asked again in this run; the others go on without it.

    Raises:
        ExportRunning: another process is at it.
        SettingsInvalid: a bucket is missing.
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """
    destinations = settings.require_destinations()
    url = settings.require_database()

    def work(connection: database.Connection) -> Outcome:
        with ledger.claim(connection):
            names = [destination.name for destination in destinations]
            outcome = Outcome(
                planned=ledger.plan(connection, names, settings.export_format, settings.export_batch_rows)
            )
            for batch in ledger.undelivered(connection):
                if not has_time():
                    outcome.unfinished = True
                    break
                _deliver(connection, url, batch, settings, outcome)
            return outcome

    return database.run(url, work)


def _deliver(connection: database.Connection, url: str, batch: Batch, settings: Settings, outcome: Outcome) -> None:
    wanted = [name for name in batch.pending if name not in outcome.failures]
    if not wanted:
        return
    failures = deliver(connection, url, replace(batch, pending=wanted), settings.destinations())
    outcome.failures |= failures
    if not failures and wanted == batch.pending:
        outcome.delivered.append(batch.batch_id)


def reopen_lost(settings: Settings) -> int:
    """Plan again what the ledger calls delivered but a destination no longer has; gives the number of batches.

    For buckets that forget, such as those of a LocalStack that was restarted.
    """

    def work(connection: database.Connection) -> int:
        lost = 0
        with ledger.claim(connection):
            for destination in settings.require_destinations():
                missing = [
                    batch_id
                    for batch_id, bucket, key in ledger.delivered_manifests(connection, destination.name)
                    if bucket == destination.bucket and not objects.exists(destination, key)
                ]
                ledger.reopen(connection, missing, destination.name)
                lost += len(missing)
        return lost

    return database.run(settings.require_database(), work)
