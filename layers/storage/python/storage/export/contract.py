"""What the data means, beside the data: columns, ready statements for DuckDB and Athena, and a sample, in the bucket."""

from __future__ import annotations

import datetime as dt

import orjson
import pyarrow as pa

from storage import objects
from storage.destination import Destination
from storage.export.jsonl import json_lines
from storage.export.layout import SCHEMA_VERSION, Layout
from storage.export.read import ROWS
from storage.export.transform import Transform
from storage.objects import Body
from storage.settings import Format

MEANINGS = {
    "id": "the order of arrival",
    "event_id": "the event's UUID, made in the browser",
    "event_type": "`page_view`, `click`, …",
    "session_id": "random; ends after 30 minutes without an event",
    "visitor_id": "random",
    "site_id": "the host that the event was seen on",
    "timestamp": "when it happened, by the browser's clock where that can be true",
    "url": "the page",
    "path": "its path, at most 500 characters",
    "user_agent": "as the browser sent it, or its families and major versions, or nothing: as the site's policy says",
    "ip_address": "the network (/24 of IPv4, /48 of IPv6), unless the site's policy says to drop it or to keep the whole address",
    "raw_event_data": "the whole event as it was sent, redacted",
    "created_at": "when it was stored",
}
SAMPLE_TYPES = ("page_view", "click", "scroll_depth", "form_submit", "page_leave")
HIVE_TYPES = {
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
    pa.timestamp("us", tz="UTC"): "timestamp",
}
SERDES: dict[Format, str] = {
    "parquet": "STORED AS PARQUET",
    "json": "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'",
    "csv": "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'",
}

# Where this process has put it.
_there: set[tuple[Destination, str]] = set()


def put(destination: Destination, layout: Layout, fence: int) -> None:
    """Write the contract into a bucket, once in the life of this process; what is there already is not sent again.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    if (destination, layout.model_dump_json()) not in _there:
        write(destination, layout, fence)


def put_where_none_is(destination: Destination, layout: Layout, fence: int) -> None:
    """Write the contract of columns that a batch was planned with, where the bucket has none of them; see `put`.

    That of complete events is every run's own to write.
    """
    if layout.is_complete() or (destination, layout.model_dump_json()) in _there:
        return
    if not objects.exists(destination, f"{destination.prefix}/schema/{layout.schema_name()}/columns.json"):
        write(destination, layout, fence)


def write(destination: Destination, layout: Layout, fence: int) -> None:
    """Write the contract into a bucket, whatever is known of it; see `put`."""
    for name, text in documents(destination, layout).items():
        key = f"{destination.prefix}/schema/{layout.schema_name()}/{name}"
        kind = "application/json" if name.endswith("json") else "text/plain; charset=utf-8"
        objects.put(destination, key, Body.of(text.encode(), kind), fence)
    _there.add((destination, layout.model_dump_json()))


def documents(destination: Destination, layout: Layout) -> dict[str, str]:
    """The contract's documents by their names, for what lies in *destination* by *layout*."""
    first = layout.formats[0]
    transform = Transform(layout.filters, layout.transforms, destination.hashing_key())
    return {
        "columns.json": _columns(layout, transform),
        "duckdb.sql": _duckdb(destination, first),
        "athena.sql": _athena(destination, layout, first, transform.schema),
        "sample.jsonl": _sample(transform),
    }


def _columns(layout: Layout, transform: Transform) -> str:
    columns = [
        {
            "name": field.name,
            "type": str(field.type),
            "nullable": field.nullable,
            "meaning": _meaning(layout, transform.origins[field.name]),
        }
        for field in transform.schema
    ]
    document = {"schema_version": SCHEMA_VERSION, "formats": layout.formats, "columns": columns}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _meaning(layout: Layout, name: str) -> str:
    rules = layout.transforms
    if name in rules.flatten:
        return f"`{rules.flatten[name].path}` of the event"
    hashed = ["as the first 128 bits of its keyed hash (HMAC-SHA-256)"] if name in rules.hash else []
    cut = [f"cut after {rules.truncate[name]} characters"] if name in rules.truncate else []
    return ", ".join([MEANINGS[name], *hashed, *cut])


def _duckdb(destination: Destination, name: Format) -> str:
    where = f"s3://{destination.bucket}/{destination.prefix}/events/**/*.{_ending(name)}"
    reader = {"parquet": "read_parquet", "json": "read_json", "csv": "read_csv"}[name]
    return (
        "-- Every event of the bucket. A filter on date and hour, in which events arrived, reads those folders alone.\n"
        f"CREATE OR REPLACE VIEW events AS\nSELECT * FROM {reader}('{where}', hive_partitioning = true, union_by_name = true);\n"
    )


def _ending(name: Format) -> str:
    return "parquet" if name == "parquet" else f"{'jsonl' if name == 'json' else name}*"


def _athena(destination: Destination, layout: Layout, name: Format, schema: pa.Schema) -> str:
    # An OpenCSVSerde has strings only.
    columns = ",\n".join(
        f"  `{field.name}` {'string' if name == 'csv' else HIVE_TYPES[field.type]}" for field in schema
    )
    root = f"s3://{destination.bucket}/{destination.prefix}/events/"
    folders = [*(["site"] if layout.partition_by else []), "date", "hour"]
    # A folder cannot be called as a column is.
    template = "/".join(f"{'site_id' if folder == 'site' else folder}=${{{folder}}}" for folder in folders)
    properties = {
        "projection.enabled": "true",
        **({"projection.site.type": "injected"} if layout.partition_by else {}),
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": "2025-01-01,NOW",
        "projection.hour.type": "integer",
        "projection.hour.range": "0,23",
        "projection.hour.digits": "2",
        "storage.location.template": f"{root}{template}/",
        **({"skip.header.line.count": "1"} if name == "csv" else {}),
    }
    return (
        f"CREATE EXTERNAL TABLE events (\n{columns}\n)\n"
        f"PARTITIONED BY ({', '.join(f'`{folder}` string' for folder in folders)})\n"
        f"{SERDES[name]}\nLOCATION '{root}'\nTBLPROPERTIES (\n"
        + ",\n".join(f"  '{key}' = '{value}'" for key, value in properties.items())
        + "\n);\n"
    )


def _sample(transform: Transform) -> str:
    """Made up, so that whoever writes a reader has rows before the first visitor comes."""
    rows = []
    for number, event_type in enumerate(SAMPLE_TYPES, 1):
        moment = dt.datetime(2026, 1, 1, 12, 0, number, tzinfo=dt.UTC)
        raw = {"event_type": event_type, "url": "https://shop.example/products/1", "data": {}}
        row = {
            "id": number,
            "event_id": f"019b7999-0000-7000-8000-{number:012}",
            "event_type": event_type,
            "session_id": "5e55105e55105e55105e55105e55105e",
            "visitor_id": "f15170f15170f15170f15170f15170f1",
            "site_id": "shop.example",
            "timestamp": moment,
            "url": "https://shop.example/products/1",
            "path": "/products/1",
            "user_agent": "Mozilla/5.0",
            "ip_address": "203.0.113.0",
            "raw_event_data": orjson.dumps(raw).decode(),
            "created_at": moment,
        }
        rows.append(row)
    return json_lines(transform.apply(pa.RecordBatch.from_pylist(rows, ROWS)), transform.schema).decode()
