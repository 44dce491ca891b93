"""Events and refusals that are older than the policy of their site lets them be: dropped in small bites, so that nobody waits."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage import database
from storage.database import Connection
from storage.policies import Policy
from storage.settings import Settings

BITE = 500
# After each bite the disk is left to others for so many times as long as it took.
REST = 15.0


@dataclass(frozen=True, slots=True)
class Rule:
    """How old what may be: of the named sites, or of all others than those that are named."""

    sites: tuple[str, ...]
    others: bool
    days: int

    @property
    def name(self) -> str:
        """By which its mark is kept: another choice of sites begins anew, another age goes on."""
        return json.dumps(["all but" if self.others else "only", *self.sites])


@dataclass(slots=True)
class Outcome:
    """What a run dropped; whether older events wait for a bucket that lacks them, and whether it had the time for all."""

    events: int = 0
    refused: int = 0
    objects: int = 0
    waits_for_bucket: bool = False
    unfinished: bool = False


def rules(settings: Settings, days_of: Callable[[Policy], int | None]) -> Iterator[Rule]:
    """The rules that the policies make: one for each site that has an age of its own, and one for all others."""
    own = {site: days_of(policy) for site, policy in settings.site_policies.items()}
    usual = days_of(settings.policy)
    differing = tuple(sorted(site for site, days in own.items() if days != usual))
    if usual:
        yield Rule(differing, True, usual)
    for site in differing:
        if days := own[site]:
            yield Rule((site,), False, days)


def drop_rows(
    connection: Connection,
    settings: Settings,
    outcome: Outcome,
    has_time: Callable[[], bool] = lambda: True,
    rest: Callable[[float], None] = time.sleep,
) -> None:
    """Drop the events and refusals that are too old; adds to *outcome* what was dropped.

    An event that a bucket still lacks stays, unless `RETENTION_WAITS_FOR_BUCKETS` is false. Each bite is a transaction of
    its own, so whoever is killed loses nothing; what is left goes on in the next run.
    """
    # A bite that a crash of the machine undoes is done again, so nobody has to wait for the disk.
    connection.execute("SET synchronous_commit = off")
    try:
        event_rules = list(rules(settings, lambda policy: policy.events_days))
        forget_marks(connection, [rule.name for rule in event_rules])
        for rule in event_rules:
            _drop_events(connection, settings, rule, outcome, has_time, rest)
        for rule in rules(settings, lambda policy: policy.refused_days):
            _drop_refused(connection, rule, outcome, has_time, rest)
    finally:
        connection.execute("RESET synchronous_commit")


def _drop_events(
    connection: Connection,
    settings: Settings,
    rule: Rule,
    outcome: Outcome,
    has_time: Callable[[], bool],
    rest: Callable[[float], None],
) -> None:
    limit = _delivered_to(connection, settings)
    bounds: dict[str, Any] = {
        "rule": rule.name,
        "sites": list(rule.sites),
        "others": rule.others,
        "before": _before(connection, rule.days),
        "began": _moment(connection),
        "limit": limit,
        "bite": BITE,
        "waits": settings.retention_waits_for_buckets,
        "after": None,
        # Whether all events until here were old.
        "all_old": True,
    }

    def bite() -> bool:
        with connection.transaction():
            if not settings.retention_waits_for_buckets:
                # Not while an exporter begins to read what is dropped: it is in what it read, or is not, and that is known.
                connection.execute("/* retention.turn */ SELECT pg_advisory_xact_lock(1163284308, 5)")
            row = connection.execute(BITE_OF_EVENTS, bounds).fetchone()
        assert row is not None, "an aggregate gives one row"
        looked_at, dropped, has_young, has_old, bounds["after"] = row
        outcome.events += dropped
        bounds["all_old"] = bounds["all_old"] and not has_young
        if looked_at < BITE and not has_young:
            outcome.waits_for_bucket = outcome.waits_for_bucket or _older_beyond(connection, limit, bounds["before"])
        return bool(looked_at == BITE and has_old)

    _in_bites(bite, outcome, has_time, rest)


def _in_bites(
    bite: Callable[[], bool], outcome: Outcome, has_time: Callable[[], bool], rest: Callable[[float], None]
) -> None:
    """Take one bite after the other, with a rest between them, until *bite* says that there is no more, or time is over."""
    while has_time():
        began = time.monotonic()
        if not bite():
            return
        rest(REST * (time.monotonic() - began))
    outcome.unfinished = True


# Ids follow the time of arrival but for transactions that overlap and clocks that stepped, so the first bite that holds no
# old event is the last one; the mark stays before the first younger event, and the next run looks at that again.
BITE_OF_EVENTS = """
    /* retention.events */
    WITH bite AS MATERIALIZED (
        SELECT id, created_at, site_id FROM events
         WHERE id > coalesce(%(after)s, (SELECT to_id FROM retention_marks WHERE rule = %(rule)s), 0) AND id <= %(limit)s
         ORDER BY id LIMIT %(bite)s),
    dropped AS (
        DELETE FROM events USING bite
         WHERE events.id = bite.id AND bite.created_at < %(before)s
           AND (coalesce(bite.site_id, '') = ANY (%(sites)s)) <> %(others)s
        RETURNING bite.id, bite.created_at, bite.site_id),
    placed AS MATERIALIZED (
        SELECT date_trunc('hour', created_at, 'UTC') AS hour, coalesce(site_id, '') AS site_id,
               (SELECT b.batch_id FROM export_batches b
                 WHERE b.to_id >= dropped.id AND b.from_id < dropped.id ORDER BY b.to_id LIMIT 1) AS batch_id,
               count(*) AS events
          FROM dropped GROUP BY 1, 2, 3),
    -- What every bucket has was read before; of what one still lacks the moment tells whether it was.
    moment AS MATERIALIZED (
        SELECT CASE WHEN %(waits)s THEN %(began)s ELSE next_moment() END AS now),
    counted AS (
        INSERT INTO erased_events (erased_at, hour, site_id, batch_id, events, expired)
        SELECT coalesce((SELECT greatest(%(began)s, max(d.read_at) + interval '1 microsecond')
                           FROM export_batches b JOIN export_deliveries d USING (batch_id)
                          WHERE b.batch_id = placed.batch_id AND b.delivered_at IS NOT NULL), moment.now),
               hour, site_id, batch_id, events, true
          FROM placed CROSS JOIN moment
            ON CONFLICT (batch_id, hour, site_id, erased_at) WHERE expired
            DO UPDATE SET events = erased_events.events + excluded.events),
    ages AS MATERIALIZED (
        SELECT count(*) AS events, max(id) AS last, coalesce(bool_or(created_at >= %(before)s), false) AS has_young,
               coalesce(bool_or(created_at < %(before)s), false) AS has_old
          FROM bite),
    marked AS (
        INSERT INTO retention_marks (rule, to_id)
        SELECT %(rule)s, last FROM ages WHERE %(all_old)s AND NOT has_young AND events > 0
            ON CONFLICT ON CONSTRAINT retention_marks_pkey DO UPDATE SET to_id = excluded.to_id)
    SELECT events, (SELECT count(*) FROM dropped), has_young, has_old, last FROM ages
"""


def _drop_refused(
    connection: Connection,
    rule: Rule,
    outcome: Outcome,
    has_time: Callable[[], bool],
    rest: Callable[[float], None],
) -> None:
    bounds = {
        "sites": list(rule.sites),
        "others": rule.others,
        "before": _before(connection, rule.days),
        "bite": BITE,
    }

    def bite() -> bool:
        dropped = [connection.execute(query, bounds).rowcount for query in (BITE_OF_REFUSALS, BITE_OF_QUARANTINED)]
        outcome.refused += sum(dropped)
        return BITE in dropped

    _in_bites(bite, outcome, has_time, rest)


BITE_OF_REFUSALS = """
    /* retention.refused */
    DELETE FROM rejected_events WHERE id IN (
        SELECT id FROM rejected_events
         WHERE received_at < %(before)s AND (coalesce(site_id, '') = ANY (%(sites)s)) <> %(others)s
         ORDER BY id LIMIT %(bite)s)
"""
BITE_OF_QUARANTINED = """
    /* retention.quarantined */
    DELETE FROM quarantined_events WHERE id IN (
        SELECT id FROM quarantined_events
         WHERE received_at < %(before)s AND (site_id = ANY (%(sites)s)) <> %(others)s
         ORDER BY id LIMIT %(bite)s)
"""


def _before(connection: Connection, days: int) -> dt.datetime:
    # By the database's clock, which is what wrote when an event came.
    row = connection.execute("/* retention.before */ SELECT now() - make_interval(days => %s)", (days,)).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    return row[0]  # type: ignore[no-any-return]


def _moment(connection: Connection) -> dt.datetime:
    row = connection.execute("/* retention.moment */ SELECT next_moment()").fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    return row[0]  # type: ignore[no-any-return]


def _delivered_to(connection: Connection, settings: Settings) -> int:
    """The id up to which no bucket lacks an event; that of the last one where no bucket is set, or none is waited for."""
    row = connection.execute(
        """
        /* retention.delivered_to */
        SELECT (SELECT max(id) FROM events),
               (SELECT coalesce(min(from_id) FILTER (WHERE delivered_at IS NULL), max(to_id)) FROM export_batches)
        """
    ).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    last, delivered = row
    if not settings.retention_waits_for_buckets or not settings.destinations():
        return last or 0
    return delivered or 0


def _older_beyond(connection: Connection, limit: int, before: dt.datetime) -> bool:
    row = connection.execute(
        "/* retention.older_beyond */ SELECT created_at < %s FROM events WHERE id > %s ORDER BY id LIMIT 1",
        (before, limit),
    ).fetchone()
    return row is not None and bool(row[0])


def forget_marks(connection: Connection, but: Sequence[str] = ()) -> None:
    """Look at every event anew, as after old ones came back; the rules named by *but* go on where they were."""
    connection.execute("/* retention.forget_marks */ DELETE FROM retention_marks WHERE rule <> ALL (%s)", (list(but),))


def run(settings: Settings, has_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Drop all that is too old, rows and then, where the policy says so, the objects of buckets.

    Raises:
        DatabaseUnavailable: PostgreSQL went away; the next run goes on.
    """

    def work(connection: Connection) -> Outcome:
        outcome = Outcome()
        with database.held(connection, 7) as is_ours:
            if is_ours:
                drop_rows(connection, settings, outcome, has_time)
        return outcome

    return database.run(settings.require_database(), work)
