"""Real parts for every test: one PostgreSQL and one LocalStack a run, a database and two buckets a test."""

import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from emulator import http_event, template
from emulator.routes import RouteTable
from services.localstack import LocalStack
from services.postgres import Postgres
from storage import buckets as storage_buckets
from storage import database, migrations, settings

ROOT = Path(__file__).resolve().parents[1]
ADMIN_TOKEN = "demo-admin-token"
PRIVACY_KEY = "demo-privacy-key"

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server with a migrated database `template`, which each test's own is a copy of."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    base = server.url.rpartition("/")[0]
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE template")
    with database.connect(f"{base}/template") as connection:
        migrations.migrate(connection)
    yield SimpleNamespace(base=base, server=server)
    server.stop()


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory):
    """A LocalStack S3."""
    server = LocalStack(tmp_path_factory.mktemp("localstack"), ROOT / ".venv-localstack" / "bin" / "python")
    server.start()
    server.wait()
    yield server.url
    server.stop()


@pytest.fixture
def environ(monkeypatch):
    """The environment of a test, without settings of the machine; a change takes effect at once."""
    for name in [*os.environ]:
        if name.startswith(
            (
                "EVOTHESIS_",
                "CLIENT_S3_",
                "BACKUP_S3_",
                "EXPORT_",
                "COLLECT_",
                "PRIVACY_",
                "POLICY",
                "SITE_POLICIES",
                "SITES",
                "SITE_GROUPS",
                "QUOTA_EVENTS",
                "DISCOVERY",
                "WEBHOOK_",
                "DATABASE_URL",
                "AWS_",
            )
        ):
            monkeypatch.delenv(name)

    class Environ:
        def __setitem__(self, name, value):
            monkeypatch.setenv(name, str(value))
            settings.current.cache_clear()

    settings.current.cache_clear()
    yield Environ()
    settings.current.cache_clear()


@pytest.fixture
def policy(environ):
    """Set the policy of all sites, and what differs from it at some; in their names a dot is a line."""

    def policy(of_all=None, **sites):
        environ["POLICY"] = json.dumps(of_all or {})
        environ["SITE_POLICIES"] = json.dumps({name.replace("_", "."): own for name, own in sites.items()})

    return policy


@pytest.fixture
def database_url(postgres, environ):
    """An empty database with the schema."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres.base}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template")
        url = f"{postgres.base}/{name}"
        environ["DATABASE_URL"] = url
        environ["PRIVACY_KEY"] = PRIVACY_KEY
        yield url
        database.close()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def new_database(postgres, environ):
    """Make an empty database with the schema, and another with each call; they go with the test."""
    environ["PRIVACY_KEY"] = PRIVACY_KEY
    made = []
    with psycopg.connect(f"{postgres.base}/postgres", autocommit=True) as connection:

        def new_database():
            made.append(f"test_{next(_numbers)}")
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE template")
            return f"{postgres.base}/{made[-1]}"

        yield new_database
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connection(database_url):
    with database.connect(database_url) as connection:
        yield connection


@pytest.fixture
def buckets(s3_url, environ):
    """Two empty buckets, configured as the client's and the backup, and a client to look into them."""
    number = next(_numbers)
    environ["AWS_ENDPOINT_URL_S3"] = s3_url
    for side in ("CLIENT", "BACKUP"):
        environ[f"{side}_S3_BUCKET"] = f"{side.lower()}-{number}"
        environ[f"{side}_S3_ACCESS_KEY"] = "test"
        environ[f"{side}_S3_SECRET_KEY"] = "test"
    for destination in settings.current().destinations():
        storage_buckets.make(destination)
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    yield SimpleNamespace(names={"client": f"client-{number}", "backup": f"backup-{number}"}, s3=client)
    client.close()


@pytest.fixture(scope="session")
def sam_template():
    return template.load(ROOT / "sam-template.yaml", {"DatabaseUrl": "-", "AdminToken": ADMIN_TOKEN, "PrivacyKey": "-"})


@pytest.fixture
def call(environ, sam_template):
    """Call a function's handler with the event that the gateway would make of an HTTP request."""
    environ["EVOTHESIS_ADMIN_TOKEN"] = ADMIN_TOKEN
    routes = RouteTable(sam_template.routes)

    def call(handler, method, path, body=b"", headers=(), admin=True, source_ip="203.0.113.77"):
        path, _, query = path.partition("?")
        found = routes.find(method, path)
        assert found, f"the template has no route {method} {path}"
        sent = {"host": "localhost", **({"authorization": f"Bearer {ADMIN_TOKEN}"} if admin else {}), **dict(headers)}
        request = http_event.Request(
            method=method,
            path=path,
            raw_path=path,
            query=query,
            headers=tuple(sent.items()),
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            source_ip=source_ip,
            http_version="1.1",
            scheme="http",
        )
        answer = handler(http_event.build(request, *found), None)
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        return SimpleNamespace(
            status=answer["statusCode"],
            headers=headers,
            text=answer["body"],
            json=json.loads(answer["body"]) if "json" in headers.get("content-type", "") else None,
        )

    return call


@pytest.fixture
def aws(environ, monkeypatch):
    """AWS's services, as moto has them, for whoever asks them by what is in the environment."""
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        yield


@pytest.fixture
def run(tmp_path):
    """Start `evothesis run` with nothing but a data directory; what is still running at the end is killed."""
    started = []

    def run(*, ready=True, **environ):
        base = {name: os.environ[name] for name in ("PATH", "HOME")}
        settings = {"EVOTHESIS_PORT": "0", "EVOTHESIS_DATA_DIR": str(tmp_path / "data"), **environ}
        log = tmp_path / f"run-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [ROOT / ".venv/bin/evothesis", "run"], env=base | settings, stdout=output, stderr=subprocess.STDOUT
            )
        started.append(process)
        if not ready:
            return SimpleNamespace(status=process.wait(30), output=log.read_text())
        found = _wait_until_ready(process, log)
        made = tmp_path / "data" / "admin-token"
        token = made.read_text().strip() if made.exists() else ""
        return SimpleNamespace(
            process=process,
            url=found[1],
            output=log.read_text(),
            log=log,
            process_data=tmp_path / "data",
            admin={"Authorization": f"Bearer {token}"},
            children=psutil.Process(process.pid).children(recursive=True),
        )

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def platform(postgres, s3_url, tmp_path_factory):
    """The whole product as `evothesis run` starts it, on a database and buckets of its own."""
    data_dir = tmp_path_factory.mktemp("platform")
    with psycopg.connect(f"{postgres.base}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE platform")
    log = data_dir / "run.log"
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME")},
        "EVOTHESIS_PORT": "0",
        "EVOTHESIS_DATA_DIR": str(data_dir),
        "DATABASE_URL": f"{postgres.base}/platform",
        "EXPORT_FORMAT": "json,csv,parquet",
        "EVOTHESIS_ALIASES": "/assets/a.js=/js/tracking.js /in=/collect",
    }
    for side in ("client", "backup"):
        environ |= {
            f"{side.upper()}_S3_BUCKET": f"platform-{side}",
            f"{side.upper()}_S3_ENDPOINT_URL": s3_url,
            f"{side.upper()}_S3_ACCESS_KEY": "test",
            f"{side.upper()}_S3_SECRET_KEY": "test",
        }
    s3 = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    for side in ("client", "backup"):
        s3.create_bucket(Bucket=f"platform-{side}")
    with log.open("wb") as output:
        process = subprocess.Popen([ROOT / ".venv/bin/evothesis", "run"], env=environ, stdout=output, stderr=output)
    try:
        url = _wait_until_ready(process, log)[1]
        yield SimpleNamespace(
            url=url,
            port=int(url.rpartition(":")[2]),
            admin={"Authorization": f"Bearer {(data_dir / 'admin-token').read_text().strip()}"},
            database_url=environ["DATABASE_URL"],
            buckets={side: f"platform-{side}" for side in ("client", "backup")},
            s3=s3,
            log=log,
        )
    finally:
        process.terminate()
        assert process.wait(30) == 0
        s3.close()


def _wait_until_ready(process, log, seconds=90):
    deadline = time.monotonic() + seconds
    while not (found := re.search(r"^ready: (\S+)$", log.read_text(), re.MULTILINE)):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found


@pytest.fixture
def delivered(buckets, read_bucket):
    """Read one of the test's buckets back."""

    def delivered(side):
        return read_bucket(buckets.s3, buckets.names[side])

    return delivered


@pytest.fixture(scope="session")
def read_bucket():
    """Read a bucket back as a client would: by its manifests, each checked against what lies there."""
    return _read_bucket


def _read_bucket(s3, bucket, prefix="analytics"):
    """Rows by format, the manifests, and every key, after checking sizes, checksums and strays."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    manifests, rows, named, hashes = [], {}, set(), {}
    for key in keys:
        if not key.startswith(f"{prefix}/manifests/"):
            continue
        text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        manifest = json.loads(text)
        manifests.append(manifest)
        revised = [one["sha256"] for one in manifest.get("revisions", ())]
        hashes[manifest["sequence"]] = ({hashlib.sha256(text).hexdigest(), *revised}, manifest["previous_sha256"])
        for item in manifest["objects"]:
            data = s3.get_object(Bucket=bucket, Key=item["key"])["Body"].read()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (item["bytes"], item["sha256"])
            read = READERS[item["format"]](_plain(data, item["key"]))
            assert len(read) == item["rows"]
            rows.setdefault(item["format"], []).extend(read)
            named.add(item["key"])
    assert sorted(hashes) == list(range(1, len(manifests) + 1)), "each manifest has a place of its own"
    assert all(hashes[place][1] in hashes.get(place - 1, ({None},))[0] for place in hashes), "and names the one before"
    assert named == {key for key in keys if key.startswith(f"{prefix}/events/")}
    return SimpleNamespace(rows=rows, manifests=sorted(manifests, key=lambda item: item["batch_id"]), keys=keys)


def _plain(data, key):
    if key.endswith(".zst"):
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return gzip.decompress(data) if key.endswith(".gz") else data


READERS = {
    "json": lambda data: [json.loads(line) for line in data.splitlines()],
    "csv": lambda data: list(csv.DictReader(io.StringIO(data.decode(), newline=""))),
    "parquet": lambda data: pq.read_table(io.BytesIO(data)).to_pylist(),
}
