"""What the client reads is what PostgreSQL holds, row for row, with each of the readers that docs/export.md names."""

import csv
import datetime as dt
import gzip
import io
import json
import math
import uuid

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from storage import events, settings
from storage.events import Event
from storage.export import run
from storage.export.delimited import FORMULA
from storage.export.read import ROWS

TIMES = ("timestamp", "created_at")

# Whatever the door takes: no NUL, which no database stores, and no half of a character, which no UTF-8 writes.
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
HOSTILE = st.sampled_from(
    [
        "",
        "=cmd|'/c calc'!A0",
        "'=1+1",
        "@SUM(A1)",
        "\t-1",
        'a "quoted", field\r\nand a line\u2028and another',
        "👩‍👩‍👧‍👦 ﷽ \ufeff\u202e\ufffd\uffff\U0010ffff",
        "NULL",
        "NaN",
        "\\N",
        '{"json": 1}',
        "x" * 90,
    ]
)
TEXT = HOSTILE | st.text(ANY, max_size=40)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
# The bounds that the schema sets.
FIRST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
EVENT = st.builds(
    Event,
    event_id=st.uuids(version=4).map(str),
    event_type=st.sampled_from(["page_view", "click"]),
    session_id=st.none() | TEXT,
    visitor_id=st.none() | TEXT,
    site_id=st.none() | TEXT,
    timestamp=st.timedeltas(dt.timedelta(), dt.timedelta(days=365 * 199)).map(lambda span: FIRST + span),
    url=st.none() | TEXT,
    path=st.none() | TEXT,
    user_agent=st.none() | TEXT,
    ip_address=st.none() | st.ip_addresses().map(str),
    raw_event_data=st.dictionaries(TEXT, VALUE, max_size=4),
)
LONG = Event(
    str(uuid.UUID(int=1)),
    "custom",
    *[None] * 3,
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    *[None] * 4,
    {"long": "ä" * 10**6},
)


def in_postgresql(connection, batch):
    columns = (
        ", ".join(ROWS.names)
        .replace("ip_address", "host(ip_address)")
        .replace("raw_event_data", "raw_event_data::text")
    )
    rows = connection.execute(
        f"SELECT {columns} FROM events WHERE id > %s AND id <= %s ORDER BY id", (batch["after"], batch["to"])
    ).fetchall()
    return [
        dict(zip(ROWS.names, (str(v) if isinstance(v, uuid.UUID) else v for v in row), strict=True)) for row in rows
    ]


def by_duckdb(path):
    plain = ", ".join(f"epoch_us({name})" if name in TIMES else name for name in ROWS.names)
    return duckdb.sql(f"SELECT {plain} FROM read_parquet('{path}') ORDER BY id").fetchall()


def by_pandas(path):
    frame = pd.read_parquet(path).sort_values("id")
    for name in TIMES:
        frame[name] = frame[name].astype("datetime64[us, UTC]").astype("int64")
    rows = frame.astype(object).to_dict("records")
    return [
        tuple(None if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for name in ROWS.names)
        for row in rows
    ]


def by_polars(path):
    frame = pl.read_parquet(path).sort("id").with_columns(pl.col(*TIMES).dt.epoch("us"))
    return frame.select(ROWS.names).rows()


def microseconds(moment):
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def time_of(text):
    return microseconds(dt.datetime.fromisoformat(text))


@pytest.fixture
def delivered_rows(connection, buckets, environ, tmp_path):
    """Store events, deliver them, and give the rows of PostgreSQL and the files of each format."""
    environ["EXPORT_FORMAT"] = "parquet,json,csv"

    def deliver(given_events):
        assert len(events.append(connection, given_events).stored) == len({event.event_id for event in given_events})
        [batch_id] = run.run(settings.current()).delivered
        pages = buckets.s3.get_paginator("list_objects_v2").paginate(
            Bucket=buckets.names["client"], Prefix="analytics/"
        )
        [key] = [item["Key"] for page in pages for item in page["Contents"] if item["Key"].endswith(f"{batch_id}.json")]
        manifest = json.loads(buckets.s3.get_object(Bucket=buckets.names["client"], Key=key)["Body"].read())
        files = {}
        for item in manifest["objects"]:
            files[item["format"]] = tmp_path / uuid.uuid4().hex
            buckets.s3.download_file(buckets.names["client"], item["key"], str(files[item["format"]]))
        return in_postgresql(connection, manifest["id_range"]), files

    return deliver


# Each example is a batch of its own in the same database.
@hypothesis_settings(
    max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(st.lists(EVENT, min_size=1, max_size=8, unique_by=lambda event: event.event_id))
@example([LONG])
def test_every_row_is_read_back_as_it_is_stored(delivered_rows, given_events):
    for event in given_events:
        event.event_id = str(uuid.uuid4())
    stored, files = delivered_rows(given_events)
    plain = [tuple(microseconds(row[name]) if name in TIMES else row[name] for name in ROWS.names) for row in stored]

    for read in (by_duckdb, by_pandas, by_polars):
        assert [tuple(row) for row in read(files["parquet"])] == plain, read.__name__

    lines = [json.loads(line) for line in gzip.decompress(files["json"].read_bytes()).splitlines() if line]
    assert [{**line, **{name: time_of(line[name]) for name in TIMES}} for line in lines] == [
        {
            **row,
            "raw_event_data": json.loads(row["raw_event_data"]),
            **{name: microseconds(row[name]) for name in TIMES},
        }
        for row in stored
    ]

    csv.field_size_limit(2**24)
    for row, line in zip(
        stored,
        csv.DictReader(io.StringIO(gzip.decompress(files["csv"].read_bytes()).decode(), newline="")),
        strict=True,
    ):
        for name, value in line.items():
            if name in TIMES:
                assert time_of(value) == microseconds(row[name])
            else:
                # A quote before it keeps a spreadsheet from running it; of nothing and an empty text CSV says the same.
                unguarded = value[1:] if value[:1] == "'" and FORMULA.match(value[1:]) else value
                assert unguarded == ("" if row[name] is None else str(row[name]))
            assert value[:1] == "'" or not FORMULA.match(value)
