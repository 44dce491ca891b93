"""What the operator is told: each thing once, signed, until it arrives; and no address that leads elsewhere is asked."""

import datetime as dt
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from storage import alarms, post, settings, webhooks
from storage.errors import SettingsInvalid
from storage.export import run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
def receiver(environ):
    """An endpoint of the operator: what it got, and how it answers."""

    class Receiver(BaseHTTPRequestHandler):
        status, got, headers_of = 204, [], {}

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            Receiver.got.append((self.path, dict(self.headers), body))
            self.send_response(Receiver.status)
            for name, value in Receiver.headers_of.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ["WEBHOOK_URL"] = f"http://localhost:{server.server_address[1]}/hooks?a=b"
    environ["WEBHOOK_SECRET"] = SECRET
    yield Receiver
    server.shutdown()
    server.server_close()


def send(connection):
    return webhooks.send_due(connection, settings.current())


def told(connection):
    rows = connection.execute(
        "SELECT type, body::jsonb -> 'data' FROM webhook_messages ORDER BY created_at, type"
    ).fetchall()
    return [(kind, data) for kind, data in rows]


def test_a_message_arrives_once_and_is_signed(connection, receiver):
    message_id = webhooks.tell(connection, "export.delayed", {"destination": "client"})
    assert send(connection) == {"sent": 1, "failed": 0}
    assert send(connection) == {"sent": 0, "failed": 0}
    [(path, headers, body)] = receiver.got
    assert (path, headers["webhook-id"]) == ("/hooks?a=b", message_id)
    assert headers["Host"].startswith("localhost:")
    said = Webhook(SECRET).verify(body, headers)
    assert (said["type"], said["data"]) == ("export.delayed", {"destination": "client"})
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace("client", "backup"), headers)


def test_while_secrets_change_both_are_good(connection, receiver, environ):
    environ["WEBHOOK_SECRET"] = f"{SECRET} {NEXT}"
    webhooks.tell(connection, "a", {})
    send(connection)
    [(_, headers, body)] = receiver.got
    assert Webhook(SECRET).verify(body, headers) == Webhook(NEXT).verify(body, headers)


def test_what_does_not_arrive_is_sent_again_under_the_same_id_and_given_up_after_days(connection, receiver):
    receiver.status = 500
    webhooks.tell(connection, "a", {})
    for attempt in range(1, 10):
        assert send(connection)["failed"] == 1
        assert send(connection)["failed"] == 0, "it waits"
        connection.execute("UPDATE webhook_messages SET next_at = now()")
        [row] = connection.execute("SELECT attempts, last_error, given_up_at IS NULL FROM webhook_messages").fetchall()
        assert row == (attempt, "localhost answered 500", attempt < 9)
    assert send(connection) == {"sent": 0, "failed": 0}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    receiver.got.clear()


def types(receiver):
    return [Webhook(SECRET).verify(body, headers)["type"] for _, headers, body in receiver.got]


def test_what_is_told_of_one_thing_arrives_in_order_and_holds_up_no_other(connection, receiver):
    receiver.status = 500
    webhooks.tell(connection, "first", {}, "a.example.com")
    assert send(connection)["failed"] == 1
    webhooks.tell(connection, "second", {}, "a.example.com")
    webhooks.tell(connection, "other", {}, "b.example.com")
    receiver.status, receiver.got[:] = 204, []
    assert send(connection)["sent"] == 1
    assert types(receiver) == ["other"]
    connection.execute("UPDATE webhook_messages SET next_at = now()")
    assert send(connection)["sent"] == 2
    assert types(receiver) == ["other", "first", "second"]


def test_what_was_given_up_holds_up_nothing_and_can_be_sent_again_under_its_id(connection, receiver):
    first = webhooks.tell(connection, "first", {}, "a.example.com")
    webhooks.tell(connection, "second", {}, "a.example.com")
    connection.execute("UPDATE webhook_messages SET attempts = 9, given_up_at = now() WHERE type = 'first'")
    assert send(connection)["sent"] == 1
    [given_up] = webhooks.listing(connection, "given_up", 0, 10)
    assert (given_up["message_id"], given_up["about"], given_up["body"]["type"]) == (first, "a.example.com", "first")
    assert webhooks.replay(connection) == 1
    assert send(connection)["sent"] == 1
    assert [message["state"] for message in webhooks.listing(connection, None, 0, 10)] == ["delivered", "delivered"]
    assert webhooks.replay(connection) == 0
    assert webhooks.replay(connection, first) == 1
    assert send(connection)["sent"] == 1
    assert [headers["webhook-id"] for _, headers, _ in receiver.got].count(first) == 2


def test_an_endpoint_that_takes_nothing_is_left_alone_after_three_tries(connection, receiver):
    receiver.status = 500
    for n in range(5):
        webhooks.tell(connection, f"t{n}", {})
    assert send(connection) == {"sent": 0, "failed": 3}
    assert send(connection) == {"sent": 0, "failed": 2}


def test_whoever_has_no_time_left_sends_nothing_more(connection, receiver):
    webhooks.tell(connection, "a", {})
    assert webhooks.send_due(connection, settings.current(), lambda: False) == {"sent": 0, "failed": 0}


def test_messages_are_forgotten_after_ninety_days(connection, receiver):
    webhooks.tell(connection, "old", {})
    connection.execute("UPDATE webhook_messages SET created_at = now() - interval '91 days'")
    webhooks.tell(connection, "new", {})
    send(connection)
    assert types(receiver) == ["new"]
    assert [message["type"] for message in webhooks.listing(connection, None, 0, 10)] == ["new"]


def test_no_redirect_is_followed(connection, receiver):
    receiver.status, receiver.headers_of = 302, {"Location": "http://127.0.0.1:1/"}
    webhooks.tell(connection, "a", {})
    assert send(connection) == {"sent": 0, "failed": 1}
    assert len(receiver.got) == 1


def test_a_message_goes_with_the_transaction_that_it_tells_of(connection, receiver):
    with connection.transaction(force_rollback=True):
        webhooks.tell(connection, "a", {})
    assert send(connection)["sent"] == 0


@pytest.mark.parametrize(
    ("host", "addresses", "allowed"),
    [
        ("public.example", ["93.184.216.34"], True),
        ("metadata.example", ["169.254.169.254"], False),
        ("inside.example", ["10.0.0.5"], False),
        ("both.example", ["93.184.216.34", "10.0.0.5"], False),
        ("mapped.example", ["::ffff:10.0.0.5"], False),
        ("unique.example", ["fd00::1"], False),
        ("this.example", ["127.0.0.1"], True),
        ("nat64.example", ["64:ff9b::a9fe:a9fe"], False),
        ("six-to-four.example", ["2002:a9fe:a9fe::1"], False),
        ("compatible.example", ["::10.0.0.5"], False),
        ("translated.example", ["::ffff:0:a00:5"], False),
        ("multicast.example", ["224.0.0.1"], False),
        ("azure.example", ["168.63.129.16"], False),
        ("public6.example", ["2606:2800:220:1::1"], True),
    ],
)
def test_only_public_addresses_and_this_machine_are_asked(monkeypatch, host, addresses, allowed):
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443)) for address in addresses]
    )
    parts = post.urlsplit(f"https://{host}/")
    if allowed:
        assert post._address(parts, False) == addresses[0]
    else:
        with pytest.raises(post.NotTaken, match="not a public address"):
            post._address(parts, False)


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.1", "fd00::1", "100.64.0.1"])
def test_private_addresses_are_asked_where_they_are_meant(monkeypatch, address):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443))])
    assert post._address(post.urlsplit("https://inside.example/"), True) == address


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::"])
def test_what_tells_a_machine_its_secrets_is_never_asked(monkeypatch, address):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443))])
    with pytest.raises(post.NotTaken):
        post._address(post.urlsplit("https://inside.example/"), True)


def test_an_endpoint_that_never_ends_is_left_and_the_try_counts(connection, receiver, monkeypatch):
    monkeypatch.setattr(post, "SECONDS", 0.2)
    release = threading.Event()
    monkeypatch.setattr(receiver, "do_POST", lambda _: release.wait(30))
    webhooks.tell(connection, "a", {})
    assert send(connection) == {"sent": 0, "failed": 1}
    release.set()
    assert connection.execute("SELECT attempts, last_error FROM webhook_messages").fetchone() == (
        1,
        "localhost took longer than 0.2 s",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("URL", "http://ops.example.com/"),
        ("URL", "https://user@ops.example.com/"),
        ("URL", "file:///etc/passwd"),
        ("URL", "https://ops.example.com:99999/"),
        ("URL", "https://[1:2]/"),
        ("SECRET", " "),
        ("SECRET", "whsec_" + "A" * 33),
        ("SECRET", "hush"),
        ("SECRET", "whsec_short"),
    ],
)
def test_a_wrong_endpoint_is_named(environ, name, value):
    environ["WEBHOOK_SECRET"] = SECRET
    environ[f"WEBHOOK_{name}"] = value
    with pytest.raises(SettingsInvalid, match=f"WEBHOOK_{name}"):
        settings.current()


def test_an_endpoint_without_a_secret_is_named(environ):
    environ["WEBHOOK_URL"] = "https://ops.example.com/"
    with pytest.raises(SettingsInvalid, match="WEBHOOK_SECRET"):
        settings.current()


def test_a_destination_that_refuses_and_recovers_is_told_of_once_each(connection, buckets, many, fault):
    many(30)
    fault("client", "PutObject", (403, "AccessDenied"))
    for _ in range(2):
        run.run(settings.current())
    [(kind, data)] = told(connection)
    assert (kind, data["destination"], data["bucket"]) == ("export.refused", "client", buckets.names["client"])
    assert "AccessDenied" in data["reason"]
    fault.lift()
    for _ in range(2):
        run.run(settings.current())
    assert [kind for kind, _ in told(connection)] == ["export.refused", "export.recovered"]
    assert told(connection)[1][1]["was"] == "refused"


def test_a_destination_that_lags_and_catches_up_is_told_of_once_each(connection, buckets, many, fault):
    limit = dt.timedelta(hours=1)
    many(30)
    alarms.watch_lag(connection, limit)
    assert [data["destination"] for _, data in told(connection)] == ["client"], "it never worked"
    connection.execute("TRUNCATE webhook_messages, export_alarms")
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    for _ in range(2):
        alarms.watch_lag(connection, limit)
    delayed = [data for kind, data in told(connection) if kind == "export.delayed"]
    assert [(data["destination"], data["limit_seconds"]) for data in delayed] == [("client", 3600)]
    assert delayed[0]["lag_seconds"] > 3600
    fault.lift()
    run.run(settings.current())
    for _ in range(2):
        alarms.watch_lag(connection, limit)
    assert [data["was"] for kind, data in told(connection) if kind == "export.recovered"] == ["refused", "delayed"]


def test_events_that_nobody_plans_lag_too(connection, buckets, many):
    many(3, "2026-11-22 10:00:00+00")
    run.run(settings.current())
    many(3, "2026-11-23 10:00:00+00")
    alarms.watch_lag(connection, dt.timedelta(hours=1))
    assert sorted(data["destination"] for _, data in told(connection)) == ["backup", "client"]


@pytest.mark.parametrize(
    ("schedule", "minutes"), [("hourly", 130), ("real-time", 15), ("daily", 2890), ("rate(3 hours)", 2890)]
)
def test_the_limit_follows_the_schedule(environ, schedule, minutes):
    environ["EXPORT_SCHEDULE"] = schedule
    assert settings.current().lag_limit == dt.timedelta(minutes=minutes)
    environ["EXPORT_LAG_MINUTES"] = 7
    assert settings.current().lag_limit == dt.timedelta(minutes=7)
