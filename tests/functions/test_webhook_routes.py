"""What the operator was told is listed, and sent again on request."""

import pytest

import domain_discovery.app
from services.receiver import Receiver
from storage import webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def ask(call, database_url):
    def ask(method, path):
        answer = call(domain_discovery.app.handler, method, path)
        return answer.status, answer.json

    return ask


def test_messages_are_listed_newest_first_in_pages_and_by_state(ask, connection, monkeypatch):
    monkeypatch.setattr(domain_discovery.app, "PAGE", 2)
    for name in ("a", "b", "c"):
        webhooks.tell(connection, name, {"site_id": "shop.example.com"}, "shop.example.com")
    connection.execute("UPDATE webhook_messages SET delivered_at = now() WHERE type = 'a'")
    _, first = ask("GET", "/webhooks")
    _, second = ask("GET", f"/webhooks?after={first['next']}")
    assert [message["type"] for message in first["messages"]] == ["c", "b"]
    assert [(message["type"], message["state"]) for message in second["messages"]] == [("a", "delivered")]
    assert second["next"] is None
    assert first["messages"][0]["body"]["data"] == {"site_id": "shop.example.com"}
    _, waiting = ask("GET", "/webhooks?state=waiting")
    assert [message["type"] for message in waiting["messages"]] == ["c", "b"]


@pytest.mark.parametrize(("query", "code"), [("state=lost", "state_invalid"), ("after=x", "after_invalid")])
def test_a_wrong_question_is_named(ask, query, code):
    status, answer = ask("GET", f"/webhooks?{query}")
    assert (status, answer["error"]["code"]) == (400, code)


def test_one_or_all_that_were_given_up_are_sent_again(ask, connection):
    message_id = webhooks.tell(connection, "a", {})
    webhooks.tell(connection, "b", {})
    connection.execute("UPDATE webhook_messages SET given_up_at = now() WHERE type = 'b'")
    assert ask("POST", f"/webhooks/{message_id}/replay") == (202, {"replayed": 1})
    assert ask("POST", "/webhooks/replay") == (202, {"replayed": 1})
    assert {message["state"] for message in webhooks.listing(connection, None, 0, 10)} == {"waiting"}


@pytest.mark.parametrize("message_id", ["msg_" + "0" * 32, "nothing"])
def test_a_message_that_is_not_there_is_named(ask, message_id):
    status, answer = ask("POST", f"/webhooks/{message_id}/replay")
    assert (status, answer["error"]["code"]) == (404, "message_unknown")


def test_the_endpoint_can_be_tried_out(call, connection, environ):
    def try_out():
        answer = call(domain_discovery.app.handler, "POST", "/webhooks/test")
        return answer.status, answer.json.get("error", {}).get("code")

    assert try_out() == (409, "webhook_not_set")
    with Receiver(SECRET) as receiver:
        environ["WEBHOOK_URL"], environ["WEBHOOK_SECRET"] = receiver.url, SECRET
        assert try_out() == (200, None)
        assert [one.type for one in receiver.messages] == ["evothesis.test"]
    assert try_out() == (502, "webhook_not_taken")
    assert connection.execute("SELECT count(*) FROM webhook_messages").fetchone() == (0,)
