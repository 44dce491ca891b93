"""Sites by the routes: what is counted to which, and what the operator decides."""

import pytest

import domain_discovery.app
from storage import settings
from storage.errors import SettingsInvalid

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
PAGE = {"event_type": "page_view", "url": "https://shop.example.com/"}


@pytest.fixture
def sites(call):
    """The sites by their ids."""

    def sites():
        return {one["site_id"]: one for one in call(domain_discovery.app.handler, "GET", "/sites").json["sites"]}

    return sites


@pytest.mark.parametrize(
    ("headers", "agrees"),
    [
        ({"origin": "https://shop.example.com"}, True),
        ({"origin": "https://www.SHOP.example.com:8443"}, True),
        ({"referer": "https://shop.example.com/a/b"}, True),
        ({"origin": "https://evil.example.net"}, False),
        ({"origin": "https://evil.example.net", "referer": "https://shop.example.com/"}, False),
        ({"origin": "null"}, None),
        ({}, None),
    ],
)
def test_whether_the_senders_page_is_of_the_site_is_kept(post, rows, headers, agrees):
    post(PAGE, headers=headers)
    assert rows("SELECT site_id, sender_agrees FROM events") == [
        {"site_id": "shop.example.com", "sender_agrees": agrees}
    ]


def test_pages_of_an_alias_are_counted_to_its_site(post, rows, environ):
    environ["SITES"] = '{"shop.example.com": {"aliases": ["shop.example.net", "xn--bcher-kva.example"]}}'
    origin = {"origin": "https://shop.example.net"}
    post({**PAGE, "url": "https://www.shop.example.net/a"}, headers=origin)
    post({**PAGE, "url": "https://bücher.example/b"}, headers=origin)
    post({**PAGE, "site_id": "shop.example.net"})
    post({"event_type": "custom"}, headers=origin)
    found = rows("SELECT site_id, sender_agrees, url FROM events ORDER BY id")
    assert {row["site_id"] for row in found} == {"shop.example.com"}
    assert [row["sender_agrees"] for row in found] == [True, True, None, True]
    assert found[0]["url"] == "https://www.shop.example.net/a"


def test_a_listed_site_tells_what_it_is_and_whose(post, sites, environ):
    environ["SITES"] = '{"shop.example.com": {"name": "The shop", "group": "acme"}}'
    post(PAGE, headers={"origin": "https://shop.example.com"})
    shop = sites()["shop.example.com"]
    assert {name: shop[name] for name in ("kind", "registrable_domain", "name", "group", "aliases")} == {
        "kind": "public",
        "registrable_domain": "example.com",
        "name": "The shop",
        "group": "acme",
        "aliases": [],
    }
    assert (shop["state"], shop["confirmed_by"], shop["agreeing_events"]) == ("confirmed", "settings", 1)


def test_the_operator_confirms_and_refuses(post, call, sites, rows):
    post(PAGE)
    sites()

    def decide(site_id, what):
        answer = call(domain_discovery.app.handler, "POST", f"/sites/{site_id}/{what}")
        return answer.status, answer.json.get("state") or answer.json["error"]["code"]

    assert decide("shop.example.com", "refuse") == (200, "refused")
    assert decide("WWW.shop.example.com", "confirm") == (200, "confirmed")
    assert decide("shop.example.com", "confirm") == (200, "confirmed")
    assert sites()["shop.example.com"]["confirmed_by"] == "operator"
    told = rows("SELECT type FROM webhook_messages ORDER BY sequence")
    assert [row["type"] for row in told] == ["site.discovered", "site.confirmed"]
    assert decide("other.example.com", "confirm") == (404, "site_unknown")
    assert decide("other.example.com", "refuse") == (404, "site_unknown")
    post({**PAGE, "url": "http://localhost:3000/"})
    sites()
    assert decide("localhost", "confirm") == (409, "site_not_public")


def test_a_refused_site_is_confirmed_by_no_evidence(post, call, sites, rows, connection):
    post(PAGE)
    sites()
    call(domain_discovery.app.handler, "POST", "/sites/shop.example.com/refuse")
    for number in range(4):
        post({**PAGE, "session_id": f"session-{number}"}, headers={"origin": "https://shop.example.com"})
        connection.execute("UPDATE events SET created_at = created_at - interval '10 minutes'")
    domain_discovery.app.handler(SCHEDULED, None)
    assert sites()["shop.example.com"]["state"] == "refused"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"www.example.com": {}}', "is not a site"),
        ('{"a.example.com": {"aliases": ["b.example.com"]}, "b.example.com": {}}', "alias of a.example.com and a site"),
        ('{"a.example.com": {"aliases": ["c.example.com"]}, "b.example.com": {"aliases": ["c.example.com"]}}', "take one"),
        ('{"a.example.com": {"aliases": ["https://c.example.com"]}}', "is not a host"),
        ('{"a.example.com": {"aliases": "c.example.com"}}', "list of hosts"),
        ('{"a.example.com": {"group": "Acme Ltd"}}', "group"),
        ('{"a.example.com": {"nmae": "x"}}', "nmae"),
        ("[]", "dictionary"),
        ("{", "is not JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_named_sites_is_said(environ, value, message):
    environ["SITES"] = value
    with pytest.raises(SettingsInvalid, match=message) as error:
        settings.current()
    assert str(error.value).startswith("SITES")
