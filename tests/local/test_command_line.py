"""`evothesis` beside `run`: what the other commands print, and the exit status that scripts go by."""

import csv
import datetime as dt
import io
import json
import os
import re
import signal
import subprocess
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BEACON = {"visitor_id": "visitor-4711", "event_type": "page_view", "url": "https://shop.example.com/"}


@pytest.fixture
def evothesis(tmp_path):
    """Run a command on the data directory of the test; status, standard output and standard error."""

    def evothesis(*arguments, stdin=None, **environ):
        base = {"PATH": os.environ["PATH"], "EVOTHESIS_DATA_DIR": str(tmp_path / "data"), **environ}
        done = subprocess.run(
            [ROOT / ".venv/bin/evothesis", *arguments],
            env=base,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return SimpleNamespace(status=done.returncode, out=done.stdout, err=done.stderr)

    return evothesis


def receipt_is_checked(evothesis, file):
    """A receipt is as it was signed by this installation, and nothing else is."""
    told = json.loads(evothesis("erase", "visitor-4711", "--json").out)["receipt"]
    file.write_text(evothesis("receipt", told["erasure_id"]).out)
    assert json.loads(file.read_text()) == told
    assert evothesis("receipt", "00000000-0000-0000-0000-000000000000").status == 1
    missing = evothesis("receipt", "no-such-file")
    assert (missing.status, "No such file" in missing.err) == (2, True)
    valid = evothesis("receipt", str(file))
    assert (valid.status, valid.out.startswith(f"valid: erasure {told['erasure_id']}")) == (0, True)
    assert evothesis("receipt").out.strip() == told["signature"]["public_key"]
    another = evothesis("receipt", str(file), "--public-key", "A" * 43 + "=")
    assert (another.status, "it is signed by" in another.err) == (1, True)
    file.write_text(json.dumps({**told, "events_erased": 7}))
    altered = evothesis("receipt", str(file))
    assert (altered.status, altered.err) == (1, "not valid: it was altered\n")
    assert evothesis("receipt", "-", stdin="{}").status == 2


def copy_is_whole(evothesis, archive):
    """A copy of what is held of the visitor is made once, for whoever asks alone."""
    copied = evothesis("visitor", "export", "visitor-4711", "-o", str(archive))
    assert (copied.status, copied.out) == (0, f"{archive}: 3 events and 0 refused ones\n")
    assert archive.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(archive) as held:
        lines = held.read("events.jsonl").decode().splitlines()
        rows = list(csv.DictReader(io.StringIO(held.read("events.csv").decode())))
    assert {json.loads(line)["visitor_id"] for line in lines} == {"visitor-4711"}
    assert [row["event_type"] for row in rows] == [json.loads(line)["event_type"] for line in lines]
    again = evothesis("visitor", "export", "visitor-4711", "-o", str(archive))
    assert (again.status, "name another with --output" in again.err) == (2, True)
    assert evothesis("visitor", "export", "no id", "-o", str(archive.with_name("none.zip"))).status == 1


def test_a_day_with_it(run, evothesis, tmp_path):
    running = run()
    for _ in range(3):
        assert httpx.post(f"{running.url}/collect", json=BEACON).status_code == 202

    before = evothesis("status")
    assert before.status == 0
    assert "database   connected" in before.out
    assert "events     3, 3 not yet in a batch" in before.out
    assert "\x1b[" not in before.out, "colours are for terminals"

    delivered = evothesis("export")
    assert (delivered.status, delivered.out.splitlines()[0]) == (0, "planned 1 new batches, delivered 1")
    after = json.loads(evothesis("status", "--json").out)
    assert after["events"] == 3
    assert [item["rows"] for item in after["export"]["destinations"]] == [3, 3]
    assert json.loads(evothesis("export", "--json").out)["planned"] == 0
    proof = evothesis("verify", "backup")
    assert (proof.status, proof.out.splitlines()[-1]) == (0, "every event is there once")
    assert json.loads(evothesis("verify", "--json").out)["rows"] == 3
    batch_id = delivered.out.split()[-1]
    assert evothesis("export", "--again", batch_id).out.splitlines()[-1].strip() == batch_id
    assert (
        evothesis("export", "--again", "2026").status,
        evothesis("export", "--again", "2026", "--dry-run").status,
    ) == (1, 2)
    usable = evothesis("check", "client")
    assert (usable.status, usable.out.splitlines()[-1]) == (0, "  ✓ s3:DeleteObjectVersion")

    restored = evothesis("restore", "backup")
    assert (restored.status, restored.out) == (0, "backup bucket: 0 batches put back, 0 events\n"), "nothing was lost"

    copy_is_whole(evothesis, tmp_path / "copy.zip")

    would = evothesis("erase", "visitor-4711", "--dry-run")
    assert (would.status, would.out.splitlines()[0]) == (
        0,
        "in the database 3 events (100.0% of all there), 0 refused ones",
    )
    erased = evothesis("erase", "visitor-4711")
    assert erased.status == 0
    assert "completed" in erased.out
    assert erased.out.count(": 3 rows, 1 objects") == 2
    assert "visitor-4711" not in erased.out
    receipt_is_checked(evothesis, tmp_path / "receipt.json")
    assert evothesis("verify").status == 0
    assert evothesis("erase", "no id").status == 1

    sample = evothesis("invoke", "collect", "-e", str(ROOT / "events/collect/single.json"), "--log")
    assert (sample.status, json.loads(sample.out)["statusCode"]) == (0, 202)
    assert re.search(r"^REPORT RequestId: \S+\tDuration: ", sample.err, re.MULTILINE)
    queued = evothesis(
        "invoke", "Collect", "--async", "-e", "-", stdin=(ROOT / "events/collect/queue.json").read_text()
    )
    assert (queued.status, queued.out) == (0, "accepted\n")

    failed = evothesis("invoke", "collect", "-e", "-", stdin='{"neither": "nor"}')
    assert (failed.status, json.loads(failed.out)["errorType"]) == (1, "ValueError")
    unknown = evothesis("invoke", "nobody")
    assert (unknown.status, "no function nobody; there are Collect," in unknown.err) == (2, True)

    logged = evothesis("logs", "ExportScheduled", "-n", "500")
    assert logged.status == 0
    assert '"message":"export_run"' in logged.out
    everything = evothesis("logs")
    assert {line.split(" ")[0] for line in everything.out.splitlines()} >= {"Collect", "ExportScheduled"}

    metrics = httpx.get(json.loads((running.process_data / "runtime.json").read_text())["invoke_url"] + "/metrics").text
    for line in (
        r'^http_responses_total\{method="POST",route="/collect",status="202"\} 3',
        r'^evothesis_events_accepted_total\{service="collect"\} [4-9]',
        r'^evothesis_batches_delivered_total\{service="export-scheduled"\} 2',
        r'^evothesis_export_waiting_since_seconds\{service="export-scheduled"\} 1',
        r'^lambda_environments\{function="Collect"\} [1-9]',
        r'^lambda_batch_requests_count\{function="Collect"\} [1-9]',
        r'^lambda_queued_requests\{function="Collect"\} 0',
    ):
        assert re.search(line, metrics, re.MULTILINE), line


def test_the_operator_decides_which_sites_are_billed(run, evothesis):
    running = run()
    assert httpx.post(f"{running.url}/collect", json=BEACON).status_code == 202
    confirmed = evothesis("site", "confirm", "www.shop.example.com")
    assert (confirmed.status, confirmed.out) == (0, "shop.example.com is confirmed\n")
    [line] = evothesis("site", "list").out.splitlines()
    assert line.split()[:3] == ["confirmed", "shop.example.com", "example.com"]
    [shop] = [json.loads(line) for line in evothesis("site", "list", "--state", "confirmed", "--json").out.splitlines()]
    assert (shop["confirmed_by"], shop["bot_events"]) == ("operator", shop["events"])
    assert evothesis("site", "list", "--state", "refused").out == ""
    unknown = evothesis("site", "refuse", "nobody.example.com")
    assert (unknown.status, "no event of 'nobody.example.com' was seen" in unknown.err) == (1, True)
    told = evothesis("webhooks", "list")
    assert (told.status, [line.split()[2] for line in told.out.splitlines()]) == (
        0,
        ["site.confirmed", "site.discovered"],
    )
    message_id = told.out.splitlines()[0].split()[-1]
    assert evothesis("webhooks", "replay", message_id).out == "1 will be sent again within a minute\n"
    assert evothesis("webhooks", "replay").out == "0 will be sent again within a minute\n"
    assert evothesis("webhooks", "replay", "msg_0").status == 1


def test_usage_is_shown_and_counted_again(run, evothesis):
    running = run(SITES='{"shop.example.com": {"name": "The shop", "group": "acme"}}')
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
    for _ in range(2):
        assert httpx.post(f"{running.url}/collect", json=BEACON, headers=browser).status_code == 202
    shown = evothesis("usage").out.splitlines()
    assert "2 events; 2 billed" in shown[0]
    assert shown[1].startswith("1 visitors, 0 sessions, ")
    assert shown[-1].split() == ["The", "shop", "2", "events", "1", "visitors"]
    assert json.loads(evothesis("usage", "--group", "acme", "--json").out)["totals"]["events"] == 2
    nobody = evothesis("usage", "--site", "nobody.example.com")
    assert (nobody.status, "no event of 'nobody.example.com' was seen" in nobody.err) == (1, True)
    wrong = evothesis("usage", "--from", "yesterday")
    assert (wrong.status, wrong.err) == (1, "Error: `from` has to be a day of UTC such as 2026-11-01\n")
    again = evothesis("usage", "recount")
    assert (again.status, again.out) == (0, "what is metered is what came\n")


def test_what_is_told_can_be_received_on_this_machine(run, evothesis, tmp_path):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    command = [ROOT / ".venv/bin/evothesis", "webhooks", "receive", "--port", "0"]
    receiver = subprocess.Popen(
        command, env={"PATH": os.environ["PATH"], "WEBHOOK_SECRET": secret}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = receiver.stderr.readline().split()[-1]
        running = run(WEBHOOK_URL=url, WEBHOOK_SECRET=secret)
        assert httpx.post(f"{running.url}/collect", json=BEACON).status_code == 202
        assert evothesis("site", "confirm", "shop.example.com").status == 0
        scheduled = str(ROOT / "events/domain_discovery/schedule.json")
        assert evothesis("invoke", "domain_discovery", "-e", scheduled).status == 0
        told = [json.loads(receiver.stdout.readline()) for _ in range(2)]
        assert [one["type"] for one in told] == ["site.discovered", "site.confirmed"]
        assert {one["data"]["site_id"] for one in told} == {"shop.example.com"}
        assert evothesis("webhooks", "test").out == "taken\n"
        assert json.loads(receiver.stdout.readline())["type"] == "evothesis.test"
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.communicate(timeout=10)
    assert receiver.returncode == 0
    nobody = evothesis("webhooks", "test")
    assert (nobody.status, "cannot be reached" in nobody.err) == (1, True)
    wrong = evothesis("webhooks", "receive", "--secret", "guess")
    assert (wrong.status, "whsec_$(openssl rand" in wrong.err) == (2, True)


def test_the_doctor_tries_everything_out_and_says_what_mends_it(run, evothesis):
    run()
    well = evothesis("doctor")
    assert well.status == 0, well.out + well.err
    names = [line[2:].split("  ")[0].strip() for line in well.out.splitlines()]
    assert names == ["database", "data directory", "temporary disk", "client bucket", "backup bucket", "clock", "webhook",
                     "deliveries", "erasures", "messages"]  # fmt: skip
    assert all(one["is_well"] and one["seconds"] >= 0 for one in json.loads(evothesis("doctor", "--json").out))


def test_the_doctor_names_what_is_wrong(run, evothesis, tmp_path):
    run(
        CLIENT_S3_BUCKET="no-such-bucket", CLIENT_S3_ENDPOINT_URL="http://127.0.0.1:9", CLIENT_S3_ACCESS_KEY="x",
        CLIENT_S3_SECRET_KEY="y", WEBHOOK_URL="http://127.0.0.1:9/", WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )  # fmt: skip
    ill = evothesis("doctor", "--json")
    assert ill.status == 1
    wrong = {one["name"]: one for one in json.loads(ill.out) if not one["is_well"]}
    assert set(wrong) == {"client bucket", "webhook"}
    assert "127.0.0.1" in wrong["webhook"]["said"]
    assert all(one["mend"] for one in wrong.values())
    # No right is missing where nobody listens.
    assert wrong["client bucket"]["mend"] == "mend that in the settings; evothesis check client tries again"


def test_a_group_has_a_place_of_its_own_in_the_demo_too(run, evothesis, tmp_path):
    export = {"bucket": "client-analytics", "prefix": "groups/acme", "access_key": "demo", "secret_key": "demo"}
    running = run(SITES='{"shop.example.com": {"group": "acme"}}', SITE_GROUPS=json.dumps({"acme": {"export": export}}))
    for host in ("shop.example.com", "other.example.org"):
        assert httpx.post(f"{running.url}/collect", json={**BEACON, "url": f"https://{host}/"}).status_code == 202
    assert evothesis("check", "acme").status == 0
    assert evothesis("export").status == 0
    verified = evothesis("verify", "acme")
    assert (verified.status, " 1 rows" in verified.out) == (0, True)
    assert evothesis("verify", "nobody").status == 1
    given_up = evothesis("export", "--give-up", "acme")
    assert (given_up.status, "the acme bucket is set" in given_up.err) == (1, True)


def test_a_sites_history_is_given_to_its_owner(run, evothesis, tmp_path):
    running = run()
    for _ in range(2):
        assert httpx.post(f"{running.url}/collect", json=BEACON).status_code == 202
    evothesis("site", "list")
    token = (tmp_path / "data" / "admin-token").read_text().strip()
    told = httpx.get(f"{running.url}/export/config", headers={"Authorization": f"Bearer {token}"}).json()
    config = told["destinations"][0]
    to = ("--to", f"s3://{config['bucket']}/given", "--endpoint-url", config["endpoint_url"])
    keys = {"HANDOFF_S3_ACCESS_KEY": "test", "HANDOFF_S3_SECRET_KEY": "test"}
    given = evothesis("site", "handoff", "www.shop.example.com", *to, **keys)
    assert (given.status, given.out.split(",")[0]) == (0, "2 events in 1 objects")
    again = evothesis("site", "handoff", "shop.example.com", *to, **keys)
    assert (again.status, "name an empty place" in again.err) == (1, True)
    assert evothesis("site", "handoff", "shop.example.com", "--to", "their-bucket").status == 2
    [shop] = [json.loads(line) for line in evothesis("site", "list", "--json").out.splitlines()]
    assert shop["handed_off_to"] == f"s3://{config['bucket']}/given"


def test_what_a_change_would_do_and_a_part_of_what_there_is(run, evothesis, tmp_path):
    running = run()
    for _ in range(3):
        assert httpx.post(f"{running.url}/collect", json=BEACON).status_code == 202

    changed = tmp_path / "changed.yaml"
    changed.write_text("s3_export: {filters: {event_types: [click]}, transforms: {drop: [raw_event_data]}}")
    preview = evothesis("export", "--dry-run", "--config", str(changed), "--sample", "2")
    assert preview.status == 0
    assert f"by {changed}: 0 events in 12 columns" in preview.out
    assert "  - raw_event_data string" in preview.out
    now = json.loads(evothesis("export", "--dry-run", "--sample", "2", "--json").out)["now"]
    assert (now["looked_at"], len(now["sample"])) == (3, 2)

    moment = dt.datetime.now(dt.UTC).replace(microsecond=0)
    handed = evothesis(
        "export", "--from", "2026-11-01", "--to", moment.isoformat(), "--site", "shop.example.com", "--format", "csv"
    )
    assert (handed.status, handed.out.split(" in the ")[0].split(",")[0]) == (0, "3 events in 1 objects")
    assert re.search(r"client bucket below analytics/handoffs/\S+-shop\.example\.com/$", handed.out)
    nothing = evothesis("export", "--from", "2026-11-01", "--to", moment.isoformat(), "--site", "Shopp.example.com")
    assert nothing.err == "no event of shopp.example.com arrived in that range; nothing was written\n"
    assert evothesis("export", "--from", "2026-11-01").status == 2
    assert evothesis("export", "--sample", "2").status == 2
    never = evothesis("export", "--from", "2026-11-02", "--to", "2026-11-01")
    assert (never.status, never.err) == (1, "failed: the range has to begin before it ends\n")


@pytest.mark.parametrize("command", ["status", "export", ("invoke", "collect")])
def test_without_a_runtime_it_says_how_to_start_one(evothesis, command):
    done = evothesis(*([command] if isinstance(command, str) else command))
    assert done.status == 3
    assert re.fullmatch(r"evothesis: no runtime is running on \S+; start it with `evothesis run`.*\n", done.err)


def test_a_log_that_is_not_there_is_named(evothesis):
    done = evothesis("logs", "Collect")
    assert done.status == 1
    assert "no log of Collect in" in done.err


@pytest.mark.parametrize("arguments", [["nonsense"], ["invoke"], ["logs", "-n", "-1"]])
def test_wrong_usage_is_status_2(evothesis, arguments):
    assert evothesis(*arguments).status == 2


@pytest.mark.parametrize("command", ["run", "status", "export", "invoke", "logs"])
def test_every_command_explains_itself(evothesis, command):
    assert command in evothesis("--help").out
    assert evothesis(command, "--help").status == 0


def test_logs_can_be_followed_through_the_turn_of_a_file(tmp_path):
    directory = tmp_path / "data" / "logs"
    directory.mkdir(parents=True)
    file = directory / "Collect.log"
    file.write_text("old\n")
    environ = {"PATH": os.environ["PATH"], "EVOTHESIS_DATA_DIR": str(tmp_path / "data"), "PYTHONUNBUFFERED": "1"}
    command = [ROOT / ".venv/bin/evothesis", "logs", "collect", "-f"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "old\n"
    with file.open("a") as stream:
        stream.write("new\n")
    assert process.stdout.readline() == "new\n"
    file.rename(directory / "Collect.log.1")
    file.write_text("z\n")
    assert process.stdout.readline() == "z\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


def test_while_it_stops_what_was_taken_is_answered_and_what_comes_is_told_to_come_again(run, database_lock):
    running = run()
    connection, hold = database_lock(running)
    with httpx.Client(base_url=running.url, timeout=30) as client:
        assert client.get("/health").status_code == 200
        hold()
        waiting = SimpleNamespace()

        def beacon():
            waiting.answer = httpx.post(f"{running.url}/collect", json=BEACON, timeout=30)

        thread = threading.Thread(target=beacon)
        thread.start()
        deadline = time.monotonic() + 10
        while not connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        refused = client.get("/health")
        while refused.status_code == 200:
            refused = client.get("/health")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        connection.execute("SELECT pg_advisory_unlock_all()")
        thread.join(20)
    assert waiting.answer.status_code == 202
    assert running.process.wait(30) == 0
    connection.close()
