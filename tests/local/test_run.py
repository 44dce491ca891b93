"""`evothesis run`: starts everything, stops everything, survives being killed, and names what is wrong."""

import json
import re
import signal

import boto3
import httpx
import psutil
import pytest

from services.child import wait_for

EVENT = {"event_type": "page_view", "url": "https://run.example/"}


def gone(processes, seconds=30):
    """Whether every process ends; one that nobody has reaped yet has."""
    return wait_for(lambda: not any(_lives(process) for process in processes), seconds)


def _lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def count(running):
    return httpx.get(f"{running.url}/events/count", headers=running.admin).json()["count"]


def export(running):
    answer = httpx.post(f"{running.url}/export/run", headers=running.admin, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_killed_without_mercy_it_leaves_no_process_and_the_next_start_has_every_event(run):
    first = run()
    assert httpx.post(f"{first.url}/collect", json=EVENT).status_code == 202
    export(first)
    assert {"postgres", "python"} <= {re.sub(r"[\d.]+$", "", child.name()) for child in first.children}
    children = psutil.Process(first.process.pid).children(recursive=True)

    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert gone(children)

    second = run()
    assert count(second) == 1
    assert httpx.post(f"{second.url}/collect", json=EVENT).status_code == 202
    export(second)
    # LocalStack forgot its buckets; they were filled again, and both hold everything.
    endpoint = re.search(r"client bucket .* at (\S+)", second.output)[1]
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    for bucket in ("client-analytics", "backup-analytics"):
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="analytics/manifests/")["Contents"]]
        manifests = [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
        assert sum(manifest["rows"] for manifest in manifests) == 2
    s3.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_cleanly_with_all_its_children(run, how):
    running = run()
    httpx.post(f"{running.url}/collect", json=EVENT)
    children = psutil.Process(running.process.pid).children(recursive=True)

    running.process.send_signal(how)

    assert running.process.wait(30) == 0
    assert gone(children, 1)


@pytest.mark.parametrize(("part", "name"), [("postgres", "PostgreSQL"), ("localstack_main", "LocalStack")])
def test_when_a_part_ends_by_itself_the_whole_stops_and_names_it(run, part, name):
    running = run()
    children = psutil.Process(running.process.pid).children(recursive=True)
    next(child for child in children if part in " ".join(child.cmdline()[:3])).kill()

    assert running.process.wait(30) == 1
    assert f"evothesis: {name} ended with status -9" in running.log.read_text()
    assert gone(children, 5)


def test_a_second_runner_of_the_same_data_is_refused(run):
    run()
    second = run(ready=False)
    assert second.status == 1
    assert "another `evothesis run` uses" in second.output


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"EVOTHESIS_PORT": "x"}, "EVOTHESIS_PORT: 'x' is not a port"),
        ({"SITE_POLICY": "{}"}, "SITE_POLICY is not a setting; SITE_POLICIES is"),
        ({"EVOTHESIS_PORT": "70000"}, "EVOTHESIS_PORT: '70000' is not a port"),
        ({"EVOTHESIS_TRUSTED_PROXIES": "nginx"}, "EVOTHESIS_TRUSTED_PROXIES: 'nginx'"),
        ({"EVOTHESIS_ALIASES": "/in"}, "EVOTHESIS_ALIASES: '/in' is not ALIAS=PATH, such as /in=/collect"),
        ({"EVOTHESIS_ALIASES": "/in=/health"}, "EVOTHESIS_ALIASES: /health has no other names; these have: /collect"),
        ({"EVOTHESIS_ALIASES": "/in=/collect /in=/js/errors.js"}, "EVOTHESIS_ALIASES: /in is taken"),
        ({"EVOTHESIS_ALIASES": "/js/errors.js=/collect"}, "EVOTHESIS_ALIASES: /js/errors.js is taken"),
        ({"EVOTHESIS_ALIASES": "//in=/collect"}, "EVOTHESIS_ALIASES: '//in=/collect' is not ALIAS=PATH"),
        ({"EVOTHESIS_ALIASES": "/a/../in=/collect"}, "EVOTHESIS_ALIASES: '/a/../in=/collect' is not ALIAS=PATH"),
        ({"EVOTHESIS_ALIASES": "/health=/collect"}, "EVOTHESIS_ALIASES: /health is a route of its own"),
        ({"EXPORT_FORMAT": "xml"}, "EXPORT_FORMAT: give one or more of json, csv, parquet"),
        ({"BACKUP_S3_BUCKET": "backup"}, "CLIENT_S3_BUCKET is not set"),
        (
            {"CLIENT_S3_ACCESS_KEY": "key", "CLIENT_S3_SECRET_KEY": "secret"},
            "CLIENT_S3_ACCESS_KEY leads nowhere; set CLIENT_S3_BUCKET too, or none for the demo",
        ),
        ({"EXPORT_SCHEDULE": "rate(5 seconds)"}, "EXPORT_SCHEDULE: rate(5 seconds)"),
        ({"EXPORT_SCHEDULE": "cron(0 0 31 2 ? *)"}, "EXPORT_SCHEDULE: cron(0 0 31 2 ? *) never fires"),
        ({"EXPORT_SCHEDULE": "rate(99999999 days)"}, "EXPORT_SCHEDULE: rate(99999999 days) is longer"),
        ({"EVOTHESIS_PORT": "000001234567"}, "EVOTHESIS_PORT: '000001234567' is not a port"),
        ({"EVOTHESIS_HOST": "192.0.2.1"}, "EVOTHESIS_HOST: 192.0.2.1 is no address of this machine"),
        (
            {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x", "CLIENT_S3_BUCKET": "client"},
            "PostgreSQL does not answer at DATABASE_URL",
        ),
        ({"EVOTHESIS_LOCALSTACK_PYTHON": "/tmp"}, "EVOTHESIS_LOCALSTACK_PYTHON: LocalStack has no Python at /tmp"),
        ({"EVOTHESIS_DATA_DIR": "/proc/nowhere"}, "EVOTHESIS_DATA_DIR: cannot write /proc/nowhere"),
        ({"EVOTHESIS_CONFIG": "/nowhere.yaml"}, "EVOTHESIS_CONFIG: cannot read /nowhere.yaml"),
    ],
)
def test_what_is_wrong_stops_the_start_with_one_line_that_names_it(run, environ, message):
    stopped = run(ready=False, **environ)
    assert stopped.status == 1
    lines = stopped.output.strip().splitlines()
    assert len(lines) == 1, stopped.output
    assert lines[0].startswith("evothesis: ")
    assert message in lines[0]


def test_a_port_that_is_taken_is_named(run, tmp_path):
    running = run()
    port = running.url.rpartition(":")[2]
    stopped = run(ready=False, EVOTHESIS_PORT=port, EVOTHESIS_DATA_DIR=str(tmp_path / "other"))
    assert stopped.status == 1
    assert f"EVOTHESIS_PORT: cannot listen on 127.0.0.1:{port}" in stopped.output


def test_the_admin_token_is_readable_by_its_owner_alone(run, tmp_path):
    run()
    for name in ("admin-token", "database-url"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def test_a_secret_in_a_file_is_not_made_anew_and_the_commands_know_it(run, tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "EVOTHESIS_ADMIN_TOKEN").write_text("token-of-a-file another-one")
    running = run(EVOTHESIS_SECRETS_DIR=str(folder))
    assert not (tmp_path / "data" / "admin-token").exists()
    for token in ("token-of-a-file", "another-one"):
        answer = httpx.get(f"{running.url}/events/count", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
