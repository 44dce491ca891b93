"""What the data means lies beside the data, and is true of it."""

import json
import re

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from cli.machine import ROOT
from storage import settings
from storage.export import contract, run
from storage.export.layout import Layout
from storage.export.read import ROWS


@pytest.fixture
def exported(buckets, many, environ):
    """Deliver some events, and give what lies in the client's bucket below the contract's folder."""
    contract._there.clear()

    def exported(**set_to):
        for name, value in set_to.items():
            environ[name] = value
        many(30)
        outcome = run.run(settings.current())
        assert outcome.failures == {}
        found = {}
        for side in ("client", "backup"):
            listed = buckets.s3.list_objects_v2(Bucket=buckets.names[side], Prefix="analytics/schema/v1/")["Contents"]
            for item in listed:
                found[side, item["Key"].rpartition("/")[2]] = (
                    buckets.s3.get_object(Bucket=buckets.names[side], Key=item["Key"])["Body"].read().decode()
                )
        return found

    return exported


def test_it_lies_in_both_buckets_and_says_what_each_column_is(connection, exported):
    found = exported()
    assert {name for _, name in found} == {"columns.json", "duckdb.sql", "athena.sql", "sample.jsonl"}
    for side in ("client", "backup"):
        columns = json.loads(found[side, "columns.json"])["columns"]
        assert [column["name"] for column in columns] == ROWS.names
        assert all(column["meaning"] for column in columns)


def test_another_layout_has_another_contract_in_the_same_place(connection, exported):
    assert "parquet" in exported()["client", "duckdb.sql"]
    assert "read_csv" in exported(EXPORT_FORMAT="csv")["client", "duckdb.sql"]


def test_what_is_there_is_not_sent_again(connection, buckets, exported, monkeypatch):
    exported()
    monkeypatch.setattr(contract.objects, "put", None)
    run.run(settings.current())


@pytest.mark.parametrize("name", ["parquet", "json", "csv"])
@pytest.mark.parametrize("partition_by", ["", "site_id"])
def test_the_statement_for_duckdb_reads_every_event(connection, buckets, exported, tmp_path, name, partition_by):
    statement = exported(EXPORT_FORMAT=name, EXPORT_PARTITION_BY=partition_by)["client", "duckdb.sql"]
    bucket = buckets.names["client"]
    for item in buckets.s3.list_objects_v2(Bucket=bucket, Prefix="analytics/events/")["Contents"]:
        (tmp_path / item["Key"]).parent.mkdir(parents=True, exist_ok=True)
        buckets.s3.download_file(bucket, item["Key"], str(tmp_path / item["Key"]))
    with duckdb.connect() as engine:
        engine.execute(statement.replace(f"s3://{bucket}", str(tmp_path)))
        read = engine.execute("SELECT count(*), count(DISTINCT id), min(hour), min(event_type) FROM events").fetchone()
        assert read == (30, 30, 10, "page_view")


@pytest.mark.parametrize("name", ["parquet", "json", "csv"])
@pytest.mark.parametrize("partition_by", [None, "site_id"])
def test_the_statement_for_athena_declares_every_column_with_its_type(buckets, name, partition_by):
    [client, _] = settings.current().destinations()
    text = contract.documents(client, Layout(formats=(name,), partition_by=partition_by))["athena.sql"]
    parsed = sqlglot.parse_one(text, dialect="athena")
    declared = {
        column.name: column.args["kind"].sql("hive").lower()
        for column in parsed.this.expressions
        if column.args.get("kind")
    }
    kinds = {pa.int64(): "bigint", pa.string(): "string", pa.timestamp("us", tz="UTC"): "timestamp"}
    expected = {field.name: "string" if name == "csv" else kinds[field.type] for field in ROWS}
    assert {column: declared[column] for column in ROWS.names} == expected
    assert re.search(
        r"storage\.location\.template' = 's3://[^']*/analytics/events/.*date=\$\{date\}/hour=\$\{hour\}/'", text
    )


def test_a_sample_row_has_the_columns(buckets):
    [client, _] = settings.current().destinations()
    lines = contract.documents(client, Layout(formats=("json",)))["sample.jsonl"].splitlines()
    assert all(list(json.loads(line)) == ROWS.names for line in lines)


def test_the_documentation_says_the_same():
    table = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", (ROOT / "docs" / "export.md").read_text(), re.MULTILINE)
    assert dict(table) == contract.MEANINGS
