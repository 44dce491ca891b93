"""How a visitor came: by which channel, from which source."""

import pytest

from collect.attribution import attribute, campaign, classify

PAGE = "shop.example.co.uk"


@pytest.mark.parametrize(
    ("referrer", "channel", "source"),
    [
        ("", "direct", None),
        ("https://www.google.co.uk/", "search", "google"),
        ("https://www.bing.com/search?q=x", "search", "bing"),
        ("https://search.brave.com/", "search", "search.brave"),
        ("https://t.co/abc", "social", "t.co"),
        ("https://l.facebook.com/l.php", "social", "facebook"),
        ("https://x.com/", "social", "x.com"),
        ("https://chatgpt.com/", "ai-assistant", "chatgpt"),
        ("https://gemini.google.com/app", "ai-assistant", "gemini.google"),
        ("https://mail.google.com/mail/u/0/", "email", "mail.google"),
        ("https://blog.example.co.uk/", "internal", None),
        ("https://SHOP.example.co.uk:8443/", "internal", None),
        ("android-app://com.google.android.gm/", "app", None),
        ("https://partner.example/", "referral", "partner.example"),
        ("https://www.other.co.uk/", "referral", "other.co.uk"),
        ("https://notgoogle.example/", "referral", "notgoogle.example"),
        ("https://tx.com.example/", "referral", "tx.com.example"),
        ("nonsense", "direct", None),
        ("https://[broken/", "direct", None),
    ],
)
def test_a_referrer_is_a_channel_and_a_source(referrer, channel, source):
    assert classify(referrer, PAGE) == (channel, source)


@pytest.mark.parametrize(("host", "channel"), [("10.0.0.1", "internal"), ("10.0.0.2", "referral"), ("", "referral")])
def test_an_address_is_nobodys_sub_domain(host, channel):
    assert classify("http://10.0.0.1/", host)[0] == channel


def seen(data, referrer=None, host=PAGE):
    raw = {"event_type": "page_view", "referrer": referrer, "data": data}
    attribute(raw, host)
    return raw["data"]


@pytest.mark.parametrize(
    ("data", "referrer", "channel", "source"),
    [
        ({"utm": {"medium": "cpc"}}, "https://www.google.com/", "paid", "google"),
        ({"utm": {"medium": "Email", "source": "autumn"}}, "https://www.google.com/", "email", "autumn"),
        ({"utm": {"medium": "newsletter"}}, None, "email", None),
        ({"utm": {"medium": "social"}}, None, "social", None),
        ({"utm": {"source": "flyer"}}, None, "campaign", "flyer"),
        ({"utm": {"source": "flyer"}}, "https://partner.example/", "referral", "flyer"),
        ({"click_ids": {"gclid": "abc"}}, "https://www.google.com/", "paid", "google"),
        ({"click_ids": {"fbclid": "abc"}}, "https://l.facebook.com/", "social", "facebook"),
        ({}, "https://www.google.com/", "search", "google"),
        (None, None, "direct", None),
    ],
)
def test_what_was_paid_for_comes_first_then_the_medium_then_the_referrer(data, referrer, channel, source):
    told = seen(data, referrer)
    assert (told["channel"], told.get("source")) == (channel, source)


def test_the_touches_of_a_session_are_told_too():
    first = {"referrer": "https://www.google.com", "click_id": "gclid"}
    told = seen({"first_touch": first, "last_touch": {"source": "autumn", "medium": "email", "campaign": "sale"}})
    assert told["first_touch"] == {**first, "channel": "paid", "source": "google"}
    assert told["last_touch"] == {"source": "autumn", "medium": "email", "campaign": "sale", "channel": "email"}


def test_what_a_sender_says_himself_stands():
    assert seen({"channel": "kiosk"}, "https://www.google.com/") == {"channel": "kiosk"}


def test_nothing_is_said_of_a_page_view_that_does_not_say_how_its_visitor_came():
    raw = {"event_type": "page_view", "data": {"noscript": True}}
    attribute(raw, PAGE)
    assert raw["data"] == {"noscript": True}


@pytest.mark.parametrize("data", ["text", 7, ["a"], {"utm": "x", "click_ids": [1], "first_touch": "y"}])
def test_data_of_any_shape_is_left_in_its_shape(data):
    told = seen(data)
    assert type(told) is type(data)


def test_the_data_that_a_whole_beacon_shares_is_not_written_to():
    shared = {"plan": "pro"}
    assert seen(shared) == {"plan": "pro", "channel": "direct"}
    assert shared == {"plan": "pro"}


def test_of_several_values_the_first_counts_and_none_is_nothing():
    url = "https://a.example/?utm_source=news&utm_campaign=x%20y+z&utm_source=second&utm_medium=&utm_id=7&q=1#?utm_term=no"
    assert campaign(url) == {"utm": {"source": "news", "campaign": "x y z", "id": "7"}}
    for nothing in ("https://a.example/?utm_source=", "https://a.example/", "", None, 7):
        assert campaign(nothing) == {}


@pytest.mark.parametrize(
    "name",
    ["gclid", "dclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "epik", "rdt_cid"],
)
def test_a_click_id_is_known_by_the_network_that_gave_it(name):
    assert campaign(f"https://a.example/?{name}=abc&{name}=second") == {"click_ids": {name: "abc"}}


def test_a_campaign_is_read_from_the_address_unless_the_sender_says_it():
    raw = {
        "referrer": "",
        "url": f"https://{PAGE}/?utm_source=address&gclid=abc",
        "data": {"utm": {"source": "sender"}},
    }
    attribute(raw, PAGE)
    assert raw["data"] == {
        "utm": {"source": "sender"},
        "click_ids": {"gclid": "abc"},
        "channel": "paid",
        "source": "sender",
    }


def test_a_touch_is_noted_as_a_referrer_and_a_query_and_stored_by_its_parts():
    touch = {"referrer": "https://mail.example", "query": "?utm_source=news&utm_medium=email&gclid=abc"}
    assert seen({"first_touch": touch}, "")["first_touch"] == {
        "source": "news",
        "medium": "email",
        "click_id": "gclid",
        "referrer": "https://mail.example",
        "channel": "paid",
    }
