"""A whole export: plan what is settled, deliver what is missing, oldest first."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from storage import alarms, database, erasures, ledger, objects, runs, visitors
from storage.destination import Destination
from storage.errors import DeliveryFailed, ExportRunning, RedeliveryRefused, SettingsInvalid
from storage.export import balances, contract, statements
from storage.export.deliver import deliver
from storage.export.layout import Layout
from storage.ledger import Batch
from storage.settings import Settings

LOOK_SECONDS = 1.0
MANIFEST = re.compile(r"/(\d{8}T\d{6}Z-\d{12,})\.json$")


@dataclass(slots=True)
class Outcome:
    """What a run did: how many batches it planned, which it delivered, and what went wrong.

    `failures` has the reason by destination that refused, or by batch that could not be encoded.
    """

    planned: int = 0
    delivered: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    unfinished: bool = False


def run(settings: Settings, has_time: Callable[[], bool] = lambda: True, idempotency_key: str | None = None) -> Outcome:
    """Deliver every settled event to every destination; stop between batches once *has_time* says no.

    Whoever is killed in the middle of it leaves a ledger from which the next run goes on. A destination that
    refuses a batch is not asked again in this run; the others go on without it. A run that ended under the same
    *idempotency_key* is not made again: what became of it then is said once more. One that ran out of time goes on.

    Raises:
        ExportRunning: another process is at it.
        SettingsInvalid: a bucket or the privacy key is missing.
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """
    # Said before anything is begun.
    settings.require_destinations()
    settings.require_privacy_key()
    url = settings.require_database()

    def work(connection: database.Connection) -> Outcome:
        with ledger.claim(connection) as fence:
            this = runs.begin(connection, idempotency_key)
            if this.outcome is not None:
                return Outcome(**this.outcome)
            outcome = _run(connection, settings, has_time, fence)
            if not outcome.unfinished:
                runs.end(connection, this.run_id, asdict(outcome))
            return outcome

    return database.run(url, work)


def sooner(settings: Settings, most: int, until: float, has_time: Callable[[], bool] = lambda: True) -> list[Outcome]:
    """Export each time that *most* events wait, until the monotonic clock shows *until*; gives what each run did.

    Raises:
        SettingsInvalid, DatabaseUnavailable: as `run` does.
    """
    outcomes: list[Outcome] = []
    while time.monotonic() + LOOK_SECONDS < until and has_time():
        time.sleep(LOOK_SECONDS)
        if database.run(settings.require_database(), lambda connection: ledger.has_unplanned(connection, most)):
            with suppress(ExportRunning):
                outcomes.append(run(settings, has_time))
    return outcomes


def told(settings: Settings, idempotency_key: str) -> Outcome | None:
    """What became of the run that ended under a key, whoever exports at the moment; None if there is none."""
    outcome = database.run(settings.require_database(), lambda connection: runs.ended(connection, idempotency_key))
    return Outcome(**outcome) if outcome else None


def _run(connection: database.Connection, settings: Settings, has_time: Callable[[], bool], fence: int) -> Outcome:
    destinations = settings.require_destinations()
    key = settings.require_privacy_key()
    visitors.require_key(connection, key)
    layout = Layout.of(settings)
    outcome = Outcome()
    ours = [destination for destination in destinations if not _is_beyond(connection, destination, outcome)]
    # A batch of this database's own would stand in the way of the restore that is asked for.
    if ours:
        outcome.planned = ledger.plan(
            connection,
            [destination.name for destination in destinations],
            settings.export_format,
            settings.export_batch_rows,
            layout.model_dump(exclude={"formats"}),
        )
    batches = _asked(connection, ours, has_time, outcome)
    names = {destination.name for destination in ours}
    tells = bool(settings.webhook_url)
    for batch, failures in deliver(connection, settings.require_database(), batches, fence, key, tells):
        outcome.failures |= failures
        # A destination that was planned for and is not set any more stays pending; it is nobody's failure.
        if not failures and names.issuperset(batch.pending):
            outcome.delivered.append(batch.batch_id)
    # What a batch of an earlier plan may have written just now gives way to what is set.
    contract_fence = ledger.next_fence(connection)
    for destination in destinations:
        if destination.name not in outcome.failures:
            try:
                contract.put(destination, layout.of_destination(destination.name), contract_fence)
                balances.put(connection, destination, layout.of_destination(destination.name), fence, has_time)
            except DeliveryFailed as error:
                outcome.failures[destination.name] = str(error)
    keeper = settings.keeper().name
    if keeper not in outcome.failures:
        try:
            statements.put_due(connection, settings, fence)
        except DeliveryFailed as error:
            outcome.failures[keeper] = str(error)
    asked: dict[str, str] = {one.name: one.bucket for one in destinations}
    alarms.watch_refusals(connection, outcome.failures, asked, all_tried=not outcome.unfinished)
    return outcome


def _is_beyond(connection: database.Connection, destination: Destination, outcome: Outcome) -> bool:
    """Whether a bucket has batches that this database knows nothing of: what it delivers could be there already.

    They are of another database, or of this one before it was recovered to an earlier state.
    """
    below = f"{destination.prefix}/manifests/"
    last = ledger.last_manifest(connection, destination.name, destination.bucket, below)
    # Whether it can be read at all, whoever writes finds out.
    with suppress(DeliveryFailed):
        keys = [key for folder in _folders_from(below, last) for key in objects.keys(destination, folder)]
        # What else somebody puts into these folders is no batch.
        held = [found[1] for key in keys if (found := MANIFEST.search(key))]
        unknown = ledger.unknown(connection, held)
        if unknown:
            # What ends before this database begins was left out when it was restored, and is in no batch to come.
            first = ledger.first_planned(connection, destination.name)
            unknown = [batch_id for batch_id in unknown if int(batch_id.partition("-")[2]) > first]
        if unknown:
            where = f"{destination.name} bucket {destination.bucket}"
            outcome.failures[destination.name] = (
                f"this database is older than what it delivered: {where} has {len(unknown)} batches that it knows nothing of; "
                "recover it to its last moment, or `evothesis restore` their events into an empty one"
                if last
                else f"{where} has {len(unknown)} batches of another database below {destination.prefix}/; "
                f"`evothesis restore {destination.name}` puts their events back into an empty one"
            ) + f", or set another {destination.name.upper()}_S3_PREFIX"
            return True
    return False


def _folders_from(below: str, last: str) -> list[str]:
    """The folders in which manifests after the *last* can be: those of its day and of each since; all where there is none.

    A listing that begins after a key would be one request, but LocalStack reads such a key in another way than S3.
    """
    if not last:
        return [below]
    today = dt.datetime.now(dt.UTC).date()
    last_day = dt.date.fromisoformat(last.removeprefix(f"{below}date=")[:10])
    # A clock that ran ahead wrote into a day to come.
    first = min(last_day, today)
    days = {first + dt.timedelta(more) for more in range((today - first).days + 1)} | {last_day}
    return [f"{below}date={day}/" for day in sorted(days)]


def _asked(
    connection: database.Connection,
    destinations: Sequence[Destination],
    has_time: Callable[[], bool],
    outcome: Outcome,
) -> Iterator[tuple[Batch, list[Destination]]]:
    """The batches that somebody lacks, and who of those that are set."""
    for batch in ledger.undelivered(connection):
        if not has_time():
            outcome.unfinished = True
            return
        if lacking := [one for one in destinations if one.name in batch.pending]:
            yield batch, lacking


def reopen_lost(settings: Settings) -> int:
    """Plan again what the ledger calls delivered but a destination no longer has; gives the number of batches.

    For buckets that forget, such as those of a LocalStack that was restarted.
    """

    def work(connection: database.Connection) -> int:
        lost = 0
        # Not while an eraser writes anew what would be delivered again.
        with ledger.claim(connection), database.held(connection, 6) as nobody_erases:
            if not nobody_erases:
                return 0
            for destination in settings.require_destinations():
                missing = [
                    batch_id
                    for batch_id, bucket, key in ledger.delivered_manifests(connection, destination.name)
                    if bucket == destination.bucket
                    and not objects.exists(destination, key)
                    # What the database has dropped it cannot deliver again.
                    and not erasures.dropped_of(connection, batch_id)
                ]
                ledger.reopen(connection, missing, destination.name)
                lost += len(missing)
            statements.reopen_lost(connection, settings.keeper())
        return lost

    return database.run(settings.require_database(), work)


def give_up(settings: Settings, name: str) -> int:
    """Let go of what a bucket that is not set any more still lacks, and say how many deliveries that was.

    Until then erasures and retention wait for it, as it may come back.

    Raises:
        SettingsInvalid: it is set.
        ExportRunning: an export or an erasure is under way.
    """
    if any(one.name == name for one in settings.destinations()):
        raise SettingsInvalid(f"the {name} bucket is set; only what a bucket lacks that is set no more can be given up")

    def work(connection: database.Connection) -> int:
        with ledger.claim(connection), database.held(connection, 6) as nobody_erases:
            if not nobody_erases:
                raise ExportRunning("an erasure is under way; ask again when it is completed")
            return ledger.give_up(connection, name)

    return database.run(settings.require_database(), work)


def reopen(settings: Settings, name: str, batch_ids: Sequence[str]) -> None:
    """Plan delivered batches again for the bucket of one side, such as `verify` names; the next run delivers them.

    All of them or, where one cannot be, none. What lies in the bucket stays: bytes that nobody of this product wrote are
    not written over, so the delivery says where they are.

    Raises:
        SettingsInvalid: that side has no bucket.
        RedeliveryRefused: a batch was never delivered there, or the database has dropped events of it.
        ExportRunning: an export or an erasure is under way.
    """
    destination = settings.require_destination(name)

    def work(connection: database.Connection) -> None:
        with ledger.claim(connection), database.held(connection, 6) as nobody_erases:
            if not nobody_erases:
                raise ExportRunning("an erasure is under way; ask again when it is completed")
            delivered = {
                batch_id
                for batch_id, bucket, _ in ledger.delivered_manifests(connection, destination.name)
                if bucket == destination.bucket
            }
            for batch_id in batch_ids:
                if batch_id not in delivered:
                    raise RedeliveryRefused(f"no batch {batch_id} was delivered to the {name} bucket")
                if erasures.dropped_of(connection, batch_id):
                    raise RedeliveryRefused(f"{batch_id} has events that the database has dropped because of their age")
            ledger.reopen(connection, batch_ids, destination.name)

    database.run(settings.require_database(), work)
