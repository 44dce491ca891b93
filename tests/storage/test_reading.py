"""The reader's guide: each of its examples gives what was stored."""

import re

import duckdb
import pytest
import sqlglot

from cli.machine import ROOT
from storage import events, settings
from storage.export import run

GUIDE = (ROOT / "docs" / "reading.md").read_text()


def examples(heading, language):
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def formats():
    return "parquet"


@pytest.fixture
def stored(connection, event, buckets, environ, formats):
    """Deliver three page views and two clicks of the guide's day, and events of the next."""
    environ["EXPORT_FORMAT"] = formats
    kinds = [("page_view", "/a", "v1"), ("page_view", "/a", "v2"), ("page_view", "/b", "v1")]
    kinds += [("click", "/a", "v1"), ("click", "/a", "v2")]
    for day in (23, 24):
        made = [
            event(
                event_type=kind,
                path=path,
                visitor_id=visitor,
                raw_event_data={"event_type": kind, "data": {"text": "Buy"}},
            )
            for kind, path, visitor in kinds
        ]
        events.append(connection, made)
        connection.execute(
            "UPDATE events SET created_at = make_timestamptz(2026, 11, %s, 10, 15, 0, 'UTC') WHERE id > %s",
            (day, 5 * (day - 23)),
        )
    assert run.run(settings.current()).failures == {}
    return buckets


@pytest.fixture
def downloaded(stored, tmp_path):
    """DuckDB, and a statement of the guide to read a copy of the bucket instead of the bucket."""
    bucket = stored.names["client"]
    for item in stored.s3.list_objects_v2(Bucket=bucket, Prefix="analytics/events/")["Contents"]:
        (tmp_path / item["Key"]).parent.mkdir(parents=True, exist_ok=True)
        stored.s3.download_file(bucket, item["Key"], str(tmp_path / item["Key"]))

    def downloaded(statement):
        assert "s3://client-analytics" in statement
        return duckdb.sql(statement.replace("s3://client-analytics", str(tmp_path))).fetchall()

    return downloaded


@pytest.fixture
def execute(stored, monkeypatch):
    """Run an example of the guide on the test's bucket, and give what it named."""
    endpoint = settings.current().aws_endpoint_url_s3
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)

    def execute(example):
        named = {}
        exec(example.replace("client-analytics", stored.names["client"]), named)
        return named

    return execute


def test_duckdb_counts_views_and_reads_what_only_some_events_have(downloaded):
    _, views, clicks = examples("DuckDB", "sql")
    assert downloaded(views) == [("shop.example.com", "/a", 2, 2), ("shop.example.com", "/b", 1, 1)]
    assert downloaded(clicks) == [("Buy", 2)]


@pytest.mark.parametrize("formats", ["json,csv"])
def test_duckdb_reads_json_lines_and_csv_too(downloaded):
    for example in examples("JSON Lines and CSV", "sql"):
        assert downloaded(example) == [("Buy", 2)]


@pytest.mark.parametrize("heading", ["pandas", "Polars"])
def test_data_frames_read_one_day_from_the_bucket(execute, heading):
    [example] = examples(heading, "python")
    views = execute(example)["views"]
    assert sorted(views["path"]) == ["/a", "/a", "/b"]
    assert list(views.columns) == ["site_id", "visitor_id", "timestamp", "path"]


def test_a_loader_takes_each_batch_whole(execute):
    [example] = examples("Only what is new, each batch whole", "python")
    named = execute(example)
    assert (named["loaded"], named["rows"]) == (2, 10)


def test_the_statements_for_athena_are_athena_s():
    for example in examples("Athena", "sql"):
        assert sqlglot.parse_one(example, dialect="athena").find(sqlglot.exp.Table).name == "events"


def test_the_example_for_spark_is_python():
    [example] = examples("Spark", "python")
    compile(example, "docs/reading.md", "exec")
