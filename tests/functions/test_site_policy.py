"""What the policy of a site leaves of those who visit it."""

import json

import pytest

from storage.errors import SettingsInvalid
from storage.settings import current

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)


def event(site="shop.example", **fields):
    return {"event_type": "page_view", "url": f"https://{site}/p", **fields}


@pytest.mark.parametrize(
    ("of_all", "address", "stored"),
    [
        ("truncate", "203.0.113.7", "203.0.113.0"),
        ("truncate", "2001:db8:1:2::3", "2001:db8:1::"),
        ("keep", "203.0.113.7", "203.0.113.7"),
        ("keep", "::ffff:203.0.113.7", "203.0.113.7"),
        ("keep", "nobody", None),
        ("drop", "203.0.113.7", None),
    ],
)
def test_an_address_is_stored_as_far_as_the_policy_lets_it_be(post, rows, policy, of_all, address, stored):
    policy({"ip_address": of_all})
    post(event(), source_ip=address)
    assert rows("SELECT host(ip_address) AS ip FROM events") == [{"ip": stored}]


@pytest.mark.parametrize(
    ("of_all", "header", "stored"),
    [
        ("keep", SAFARI, SAFARI),
        ("parse", SAFARI, "Mobile Safari 17, iOS 17"),
        ("parse", "curl/8.1.2", "curl 8"),
        ("parse", "something of my own", "Other"),
        ("drop", SAFARI, None),
    ],
)
def test_a_browser_is_stored_as_far_as_the_policy_lets_it_be(post, rows, policy, of_all, header, stored):
    policy({"user_agent": of_all})
    post(event(), headers={"user-agent": header})
    assert rows("SELECT user_agent FROM events") == [{"user_agent": stored}]


def test_where_consent_is_required_only_what_says_that_it_was_granted_is_stored(post, rows, policy):
    policy(shop_example={"consent": "required"})
    for consent in ({}, {"consent": "unknown"}, {"consent": {"analytics": None}}, {"consent": {"state": "denied"}}):
        post(event(**consent))
    post({"events": [event(), event(consent="granted"), {**event(), "event_type": "No Type"}]})
    post({"consent": {"analytics": True}, "events": [event()]})
    post(event("other.example"))

    assert rows("SELECT site_id, count(*) FROM events GROUP BY 1 ORDER BY 1") == [
        {"site_id": "other.example", "count": 1},
        {"site_id": "shop.example", "count": 2},
    ]
    assert rows("SELECT count(*) FROM rejected_events") == [{"count": 0}]
    assert rows("SELECT signal, sum(beacons)::int AS n FROM withheld_beacons GROUP BY 1") == [
        {"signal": "consent", "n": 6}
    ]


def test_a_site_masks_what_it_calls_personal_itself_and_no_other_site_does(post, rows, policy):
    policy(shop_example={"sensitive_fields": ["Customer_No"], "sensitive_patterns": [r"KD-\d{4,}"]})
    data = {"customer_no": 4711, "list": [{"text": "of KD-12345 and KD-9"}], "KD-77777": True}
    post(event(data=data, url="https://shop.example/account/KD-12345"))
    post(event("other.example", data=data))

    masked, plain = rows(
        "SELECT url, path, raw_event_data->'data' AS data, raw_event_data->'_redactions' AS n FROM events ORDER BY id"
    )
    assert masked == {
        "url": "https://shop.example/account/[redacted:pattern]",
        "path": "/account/[redacted:pattern]",
        "data": {
            "customer_no": "[redacted:field]",
            "list": [{"text": "of [redacted:pattern] and KD-9"}],
            "[redacted:pattern]": True,
        },
        "n": {"field": 1, "pattern": 3},
    }
    assert (plain["data"], plain["n"]) == (data, None)


def test_what_a_site_calls_personal_is_masked_in_addresses_too(post, rows, policy):
    policy({"sensitive_fields": ["customer"], "sensitive_patterns": [r"KD-\d{6}"]})
    post({"event_type": "custom", "url": "https://shop.example/?customer=12345&x=KD%2D123456&y=1"})
    kept = "https://shop.example/?customer=[redacted:field]&x=[redacted:pattern]&y=1"
    assert rows("SELECT url FROM events") == [{"url": kept}]


def test_a_mask_leaves_what_an_event_is_known_by(post, rows, policy):
    policy({"sensitive_fields": ["event_type", "session_id"], "sensitive_patterns": ["page"]})
    post({"event_type": "page_view", "session_id": "page-session", "title": "page 1"})
    [kept] = rows("SELECT event_type, session_id, raw_event_data->>'title' AS title FROM events")
    assert kept == {"event_type": "page_view", "session_id": "page-session", "title": "[redacted:pattern] 1"}


def test_the_exemption_bounds_what_buckets_keep_too(environ):
    environ["CLIENT_S3_BUCKET"] = "a-bucket"
    environ["POLICY"] = '{"consent": "exempt", "events_days": 700, "refused_days": 30}'
    with pytest.raises(SettingsInvalid, match="objects_days of at most 760"):
        current()


def test_a_site_that_is_named_twice_is_refused(environ):
    environ["SITE_POLICIES"] = '{"a.example": {"consent": "required"}, "a.example": {}}'
    with pytest.raises(SettingsInvalid, match=r"SITE_POLICIES: has 'a.example' twice"):
        current()


def test_what_holds_for_all_sites_holds_for_one_that_says_nothing_of_it(policy):
    policy({"ip_address": "drop", "events_days": 30}, shop_example={"events_days": 60})
    assert current().policy_of("shop.example").ip_address == "drop"
    assert (current().policy_of("shop.example").events_days, current().policy_of("b.example").events_days) == (60, 30)


def test_yaml_reads_off_as_no_and_means_off(environ, tmp_path):
    (tmp_path / "settings.yaml").write_text("policy: {consent: required}\nsite_policies: {a.example: {consent: off}}\n")
    environ["EVOTHESIS_CONFIG"] = tmp_path / "settings.yaml"
    assert current().policy_of("a.example").consent == "off"


@pytest.mark.parametrize(
    ("of_all", "sites", "says"),
    [
        ({"consent": "exempt"}, {}, "POLICY: consent: exempt wants events_days and refused_days of at most 760"),
        (
            {"consent": "exempt", "events_days": 90, "refused_days": 90},
            {"a.example": {"ip_address": "keep"}},
            "a.example: consent: exempt wants ip",
        ),
        ({"sensitive_patterns": ["(a"]}, {}, "is no expression of RE2"),
        ({"sensitive_patterns": ["a*"]}, {}, "matches nothing at all too"),
        ({"sensitive_patterns": [r"\b"]}, {}, "matches nothing at all too"),
        ({"ip": "drop"}, {}, "POLICY.ip is not a setting; docs/settings.md"),
        ({"events_days": 7}, {}, "POLICY.events_days"),
        ({}, {"www.a.example": {}}, "write its host as shop.example.com"),
        ({}, {"a.example": {"objects_days": 30}}, "set objects_days in POLICY"),
        ({}, {"a.example": "drop"}, "a.example: has to be an object"),
        ({}, ["a.example"], "has to be an object of policies by site"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused_by_name(environ, of_all, sites, says):
    environ["POLICY"], environ["SITE_POLICIES"] = json.dumps(of_all), json.dumps(sites)
    with pytest.raises(SettingsInvalid) as refused:
        current()
    assert says in str(refused.value)
