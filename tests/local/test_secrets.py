"""No secret is in a log, an answer or a metric, whatever goes wrong; and no page of another origin may read anything."""

import httpx
import pytest

SECRETS = {
    "EVOTHESIS_ADMIN_TOKEN": "token-that-nobody-may-read",
    "PRIVACY_KEY": "privacy-key-that-nobody-may-read",
    "CLIENT_S3_SECRET_KEY": "client-key-that-nobody-may-read",
    "BACKUP_S3_SECRET_KEY": "backup-key-that-nobody-may-read",
    "EXPORT_HASH_KEY": "hash-key-that-nobody-may-read",
    "WEBHOOK_SECRET": "whsec_bm9ib2R5LW1heS1yZWFkLXRoaXMtc2VjcmV0LWF0LWFsbA==",
}
# Nothing listens there, so that every delivery and every message fails.
BROKEN = {
    "CLIENT_S3_BUCKET": "client-bucket",
    "CLIENT_S3_ACCESS_KEY": "client",
    "CLIENT_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "BACKUP_S3_BUCKET": "backup-bucket",
    "BACKUP_S3_ACCESS_KEY": "backup",
    "BACKUP_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    "WEBHOOK_URL": "http://127.0.0.1:9/hook",
    "WEBHOOK_ALLOW_PRIVATE": "true",
}
ADMIN = {"Authorization": f"Bearer {SECRETS['EVOTHESIS_ADMIN_TOKEN']}"}


@pytest.fixture
def running(run):
    return run(**SECRETS, **BROKEN)


def test_no_secret_is_in_a_log_an_answer_or_a_metric(running):
    event = {"event_type": "page_view", "url": "https://shop.example.com/"}
    told = [httpx.post(f"{running.url}/collect", json=event)]
    for path in ("/export/config", "/export/status", "/webhooks", "/usage", "/sites", "/erasures", "/events/recent"):
        told.append(httpx.get(f"{running.url}{path}", headers=ADMIN))
        told.append(httpx.get(f"{running.url}{path}", headers={"Authorization": "Bearer wrong-token-of-somebody"}))
    told.append(httpx.post(f"{running.url}/export/run", headers=ADMIN, timeout=120))
    told.append(httpx.post(f"{running.url}/webhooks/test", headers=ADMIN, timeout=120))
    told.append(httpx.delete(f"{running.url}/visitors/somebody-1", headers=ADMIN, timeout=60))
    assert [answer.status_code for answer in told].count(401) == 7
    assert told[-3].json()["failures"]

    logs = [file for file in running.process_data.rglob("*") if file.is_file() and "log" in file.name]
    assert len(logs) > 3
    written = "".join(file.read_text(errors="replace") for file in [running.log, *logs])
    written += "".join(answer.text for answer in told)
    database = (running.process_data / "database-url").read_text().strip()
    password = database.partition("//postgres:")[2].partition("@")[0]
    assert len(password) > 20
    for secret in (*SECRETS.values(), password, "wrong-token-of-somebody"):
        assert secret not in written


@pytest.mark.parametrize("path", ["/events/recent", "/export/run", "/visitors/somebody-1"])
def test_no_page_of_another_origin_may_ask_an_admin_route(running, path):
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = httpx.options(f"{running.url}{path}", headers=asked)
    assert "authorization" not in preflight.headers.get("access-control-allow-headers", "").lower()
    assert "access-control-allow-credentials" not in preflight.headers
