"""Erasure in the buckets: every object that holds a visitor who is to be erased is written anew without that visitor's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from botocore.exceptions import BotoCoreError

from storage import database, erasures, handoffs, ledger, visitors
from storage.database import Connection
from storage.erasures import Affected, Erasure
from storage.errors import DeliveryFailed, StorageError, WritersBusy
from storage.export import receipts
from storage.export.batch_rewrite import Blocked, of_batch
from storage.export.handoff_rewrite import rewrite
from storage.settings import Settings


@dataclass(slots=True)
class Outcome:
    """What a run did: how many erasures it completed, how many wait, and the objects that it wrote anew."""

    completed: int = 0
    waiting: int = 0
    objects: int = 0


def run(settings: Settings, has_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Go on with every erasure that is not completed; stop between batches once *has_time* says no.

    A batch in a bucket is gone through once for all that wait for it. Whoever is killed in the middle of it leaves what
    the next run completes: what is about to be put in the place of an object is recorded before. A bucket that refuses
    leaves its erasures blocked, with the reason, and the next run tries again. Exports go on meanwhile.

    Raises:
        SettingsInvalid: there is no privacy key, or another one than the database's.
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """
    key = settings.require_privacy_key()

    def work(connection: Connection) -> Outcome:
        visitors.require_key(connection, key)
        with database.held(connection, 6) as is_ours:
            return _Run(connection, settings, key).go(has_time) if is_ours else Outcome()

    return database.run(settings.require_database(), work)


class _Run:
    """One turn through all erasures that are not completed."""

    def __init__(self, connection: Connection, settings: Settings, key: bytes) -> None:
        self._connection, self._settings, self._key = connection, settings, key
        self._waiting = {one.erasure_id: one for one in erasures.unfinished(connection)}
        # Why an erasure cannot be completed in this turn.
        self._held: dict[UUID, tuple[str, str]] = {}
        self._silent: dict[str, str] = {}
        self._fence = ledger.next_fence(connection)
        self._outcome = Outcome()

    def go(self, has_time: Callable[[], bool]) -> Outcome:
        names = [one.name for one in self._settings.destinations()]
        for erasure_id, (batch_id, name) in erasures.under_way(self._connection, names).items():
            self._held[erasure_id] = (
                ("pending", f"batch {batch_id} is under way")
                if name in names
                else (
                    "blocked",
                    f"the {name} bucket is not set any more and may have a part of batch {batch_id}; set it until this is done",
                )
            )
        for affected in erasures.affected(self._connection):
            for_whom = [self._waiting[one] for one in affected.erasure_ids if one in self._waiting]
            if not for_whom:
                continue
            if affected.destination in self._silent:
                self._hold(for_whom, "blocked", self._silent[affected.destination])
            elif has_time():
                self._go_through(affected, for_whom)
            else:
                self._hold(for_whom, "pending", "the next run goes on")
        self._go_through_handoffs(has_time)
        self._end()
        return self._outcome

    def _go_through(self, affected: Affected, for_whom: Sequence[Erasure]) -> None:
        where = f"batch {affected.batch_id} of the {affected.destination} bucket"
        with self._held_by_what_fails(where, affected.destination, for_whom):
            work = of_batch(self._connection, self._settings, affected, for_whom, self._key, self._fence)
            self._outcome.objects += work.run()

    def _go_through_handoffs(self, has_time: Callable[[], bool]) -> None:
        # One that is under way keeps who is in it before a byte is sent, and is gone through once it is not.
        with database.held(self._connection, 4) as nobody_hands_off:
            if not nobody_hands_off:
                # What it has read, and has not said whose it is, may be anybody's.
                self._hold(list(self._waiting.values()), "pending", "a hand-off is under way; the next run goes on")
                return
            for handoff in handoffs.affected(self._connection):
                for_whom = [self._waiting[one] for one in handoff.erasure_ids if one in self._waiting]
                if handoff.destination in self._silent:
                    self._hold(for_whom, "blocked", self._silent[handoff.destination])
                elif not has_time():
                    self._hold(for_whom, "pending", "the next run goes on")
                else:
                    with self._held_by_what_fails(f"hand-off {handoff.prefix}", handoff.destination, for_whom):
                        work = self._connection, self._settings, handoff, for_whom, self._key, self._fence
                        self._outcome.objects += rewrite(*work)

    @contextmanager
    def _held_by_what_fails(self, where: str, destination: str, for_whom: Sequence[Erasure]) -> Iterator[None]:
        """Hold the erasures that what is done within cannot be done for, and go on with the others."""
        try:
            yield
        except (StorageError, Blocked) as error:
            self._hold(for_whom, "blocked", str(error))
            if isinstance(error.__cause__, BotoCoreError):
                # Nobody answers there; each batch would wait for it anew.
                self._silent[destination] = str(error)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody foresaw holds up no other batch
            self._hold(for_whom, "blocked", f"{where}: {type(error).__name__}: {' '.join(str(error).split())}")

    def _hold(self, whom: Sequence[Erasure], state: str, reason: str) -> None:
        # What somebody has to act on is said before what goes on by itself.
        self._held |= {
            one.erasure_id: (state, reason)
            for one in whom
            if state == "blocked" or self._held.get(one.erasure_id, ("", ""))[0] != "blocked"
        }

    def _end(self) -> None:
        """Complete what nothing holds."""
        completed = []
        if free := [one for one in self._waiting.values() if one.erasure_id not in self._held]:
            try:
                erasures.forget_samples(self._connection)
            except WritersBusy as error:
                self._hold(free, "pending", str(error))
        for erasure in self._waiting.values():
            try:
                if erasure.erasure_id not in self._held:
                    receipts.issue(self._connection, self._settings, erasure, self._key, self._fence)
                    completed.append(erasure.visitor_hash)
                    continue
            except DeliveryFailed as error:
                self._hold([erasure], "blocked", str(error))
            erasures.hold(self._connection, erasure.erasure_id, *self._held[erasure.erasure_id])
        erasures.forget(self._connection, completed)
        handoffs.forget(self._connection, completed)
        self._outcome.completed, self._outcome.waiting = len(completed), len(self._waiting) - len(completed)
