"""The usage statement of a month: what was used and delivered, by day and site; signed, as JSON and as CSV, in a bucket."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from storage import database, objects, usage, webhooks
from storage.database import Connection
from storage.destination import Destination
from storage.errors import StatementMissing
from storage.export.delimited import FORMULA
from storage.export.receipts import sign, verify
from storage.objects import Body
from storage.settings import Settings

MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)
KEY = re.compile(r"/usage/(\d{4}-\d\d)\.json$")
COLUMNS = (
    "day", "site_id", "group", "billed", "events", "bytes", "bot_events", "duplicates", "refused", "withheld",
    "visitors", "sessions",
)  # fmt: skip


def put_due(connection: Connection, settings: Settings, fence: int) -> None:
    """Write the statement of every month that is over, wholly metered and wholly delivered, and that has none; oldest first.

    It lies in the backup bucket, in the client's where there is none, below `usage/`. The operator is told by
    `usage.reported`, in the transaction in which it is recorded. What is written stays as it is.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    keeper = settings.keeper()
    for (month,) in connection.execute(DUE, {"destinations": [one.name for one in settings.destinations()]}).fetchall():
        _put(connection, settings, keeper, month, fence)


def _put(connection: Connection, settings: Settings, keeper: Destination, month: dt.date, fence: int) -> None:
    statement, table = make(connection, settings, month)
    place = f"{keeper.prefix}/usage/{month:%Y-%m}"
    objects.put(keeper, f"{place}.csv", Body.of(table, "text/csv"), fence)
    text = orjson.dumps(statement, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    objects.put(keeper, f"{place}.json", Body.of(text, "application/json"), fence)
    with connection.transaction():
        sha256 = hashlib.sha256(text).hexdigest()
        connection.execute(
            "/* statements.made */ INSERT INTO usage_statements (month, bucket, key, sha256) VALUES (%s, %s, %s, %s)",
            (month, keeper.bucket, f"{place}.json", sha256),
        )
        about = {"bucket": keeper.bucket, "key": f"{place}.json", "sha256": sha256}
        told = {"month": f"{month:%Y-%m}", "totals": statement["totals"], "billed": statement["billed"], **about}
        webhooks.tell(connection, "usage.reported", told, "usage")


def make(connection: Connection, settings: Settings, month: dt.date) -> tuple[dict[str, Any], bytes]:
    """The statement of a month, which begins with *month*: signed, with its lines, and these as CSV."""
    end = (month + dt.timedelta(days=32)).replace(day=1)
    known = usage.sites_of(connection, settings)
    rows = usage.lines(connection, month, end)
    lines = [_line(row, known) for row in rows]
    table = _table(lines)
    held, held_by = usage.storage_held(connection)
    statement = {
        "statement": f"{month:%Y-%m}",
        "made_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "from": str(month),
        "to": str(end),
        "totals": usage.total(rows),
        "billed": usage.total(row for row, line in zip(rows, lines, strict=True) if line["billed"]),
        "sites": _sites(connection, month, rows, known, held_by),
        "storage": held,
        "manifests": {
            row[0]: dict(zip(("manifests", "first_sequence", "last_sequence", "last_sha256"), row[1:], strict=True))
            for row in connection.execute(MANIFESTS, {"start": month, "end": end})
        },
        "csv_sha256": hashlib.sha256(table).hexdigest(),
        "lines": lines,
    }
    return {**statement, "signature": sign(settings.require_privacy_key(), statement)}, table


def fetch(settings: Settings, month: str) -> dict[str, Any]:
    """The statement of a month such as `2026-11`, as it lies in the bucket.

    Raises:
        StatementMissing: there is none, or it is not as it was signed.
        DeliveryFailed: the bucket cannot be read.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - large, and no export needs it

    if not MONTH.fullmatch(month):
        raise StatementMissing(f"{month[:20]!r} is no month such as 2026-10")
    row = database.run(
        settings.require_database(),
        lambda connection: connection.execute(
            "/* statements.find */ SELECT bucket, key FROM usage_statements WHERE to_char(month, 'YYYY-MM') = %s",
            (month,),
        ).fetchone(),
    )
    if row is None:
        raise StatementMissing(
            f"there is no statement of {month[:20]!r}; it is made once the month is over and all of it is delivered"
        )
    keeper = next((one for one in settings.destinations() if one.bucket == row[0]), None)
    if keeper is None:
        raise StatementMissing(f"the statement of {month} lies in bucket {row[0]}, which is not set any more")
    try:
        statement: dict[str, Any] = orjson.loads(objects.fetch(keeper, row[1])[0])
        verify(statement, sign(settings.require_privacy_key(), {})["public_key"])
    except (ValueError, KeyError, TypeError, InvalidSignature):
        raise StatementMissing(
            f"{row[1]} of the {keeper.name} bucket is not as this installation signed it; put back what was there"
        ) from None
    return statement


def reopen_lost(connection: Connection, keeper: Destination) -> None:
    """Forget the statements that a bucket has forgotten, such as that of a LocalStack that was restarted; they are made anew."""
    for month, key in connection.execute(
        "/* statements.kept */ SELECT month, key FROM usage_statements WHERE bucket = %s", (keeper.bucket,)
    ).fetchall():
        if not objects.exists(keeper, key):
            connection.execute("/* statements.lost */ DELETE FROM usage_statements WHERE month = %s", (month,))


def take_over(connection: Connection, destination: Destination) -> None:
    """Record the statements that a bucket has: they stay as they are, and no others are made.

    Raises:
        DeliveryFailed: the bucket cannot be read.
    """
    for key in objects.keys(destination, f"{destination.prefix}/usage/"):
        if found := KEY.search(key):
            sha256 = hashlib.sha256(objects.fetch(destination, key)[0]).hexdigest()
            connection.execute(TAKE_OVER, (f"{found[1]}-01", destination.bucket, key, sha256))


def _line(row: dict[str, Any], known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    site = known.get(row["site_id"], usage.UNNAMED)
    return {**row, "day": str(row["day"]), "group": site["group"], "billed": site["billed"]}


def _sites(
    connection: Connection,
    month: dt.date,
    rows: Sequence[dict[str, Any]],
    known: Mapping[str, dict[str, Any]],
    held: Mapping[str, dict[str, int]],
) -> list[dict[str, Any]]:
    """Of each site that has any use what it is, its totals, who came in the month, and what is held of it."""
    audiences = {row[0]: (row[1], row[2]) for row in connection.execute(AUDIENCES, (month,))}
    return [
        {
            **known.get(name, {**usage.UNNAMED, "site_id": name}),
            **totals,
            **dict(zip(("visitors", "sessions"), audiences.get(name, (None, None)), strict=True)),
            "held": held.get(name, {}),
        }
        for name, totals in sorted(usage.totals_by(rows, lambda row: row["site_id"]).items())
    ]


def _table(lines: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    destinations = sorted({name for line in lines for name in line["delivered"]})
    brought = [(name, what) for name in destinations for what in ("events", "bytes")]
    written = csv.writer(text)
    written.writerow([*COLUMNS, *(f"{name}_{what}" for name, what in brought)])
    for line in lines:
        cells = [str(line[name]).lower() if name == "billed" else line[name] for name in COLUMNS]
        # Names are senders' words.
        cells[1] = f"'{cells[1]}" if FORMULA.match(cells[1]) else cells[1]
        written.writerow([*cells, *(line["delivered"].get(name, {}).get(what, 0) for name, what in brought)])
    return text.getvalue().encode()


TAKE_OVER = """
    /* statements.take_over */
    INSERT INTO usage_statements (month, bucket, key, sha256) VALUES (%s, %s, %s, %s)
        ON CONFLICT ON CONSTRAINT usage_statements_pkey DO NOTHING
"""
# A batch is of one hour of UTC, so its month is that of its window.
DUE = """
    /* statements.due */
    SELECT month
      FROM (SELECT date_trunc('month', b.window_start AT TIME ZONE 'UTC')::date AS month, max(b.to_id) AS to_id,
                   bool_and(d.delivered_at IS NOT NULL) AS is_delivered
              FROM export_batches b JOIN export_deliveries d USING (batch_id)
             WHERE d.destination = ANY (%(destinations)s)
             GROUP BY 1) months
     WHERE is_delivered AND month >= (SELECT stated_from FROM discovery_mark) AND to_id <= (SELECT discovered_to_id FROM discovery_mark)
       -- A transaction that was open over the end of the month has ended, and its events are planned.
       AND month < date_trunc('month', least(
               now() - interval '5 minutes',
               (SELECT created_at FROM events WHERE id > (SELECT coalesce(max(to_id), 0) FROM export_batches)
                 ORDER BY id LIMIT 1)) AT TIME ZONE 'UTC')
       AND NOT EXISTS (SELECT 1 FROM usage_statements s WHERE s.month = months.month)
     ORDER BY month
"""
MANIFESTS = """
    /* statements.manifests */
    SELECT d.destination, count(*), min(d.sequence), max(d.sequence),
           (array_agg(d.manifest_sha256 ORDER BY d.sequence DESC))[1]
      FROM export_batches b JOIN export_deliveries d USING (batch_id)
     WHERE d.delivered_at IS NOT NULL
       AND b.window_start >= %(start)s::date::timestamp AT TIME ZONE 'UTC'
       AND b.window_start < %(end)s::date::timestamp AT TIME ZONE 'UTC'
     GROUP BY 1
"""
AUDIENCES = """
    /* statements.audiences */
    SELECT site_id, visitor_count, session_count FROM usage_audiences WHERE period = 'month' AND since = %s
"""
