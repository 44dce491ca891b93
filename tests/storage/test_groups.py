"""A group of an agency's sites has a bucket of its own: its sites' events alone, whole, and all promises hold there too."""

import json
import os

import pytest
from pydantic import SecretStr

from storage import balance, erasures, events, retention, settings, usage
from storage import buckets as storage_buckets
from storage.errors import SettingsInvalid
from storage.export import check, erase, handoff, restore, run, verify

KEY = b"demo-privacy-key"
SITES = {
    "shop.example.com": {"group": "acme"},
    "blog.example.com": {"group": "acme"},
    "other.example.org": {"group": "solo"},
}


@pytest.fixture
def groups(connection, buckets, environ, event):
    """A group in a bucket of its own and one in a folder of the client's, and events of their sites and of others."""
    environ["EXPORT_FORMAT"] = "parquet"
    client = settings.current().require_destination("client")
    reached = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in client.model_dump(exclude_none=True).items()
        if name in ("endpoint_url", "access_key", "secret_key")
    }
    own = {"bucket": f"acme-{client.bucket}"[:60], **reached}
    environ["SITES"] = json.dumps(SITES)
    environ["SITE_GROUPS"] = json.dumps(
        {"acme": {"export": own}, "solo": {"export": {"bucket": client.bucket, "prefix": "solo", **reached}}}
    )
    storage_buckets.make(settings.current().require_destination("acme"))
    sites = ["shop.example.com", "blog.example.com", "other.example.org", "third.example.net", None]
    events.append(connection, [event(site_id=site, visitor_id=f"visitor-{n % 3}") for n in range(4) for site in sites])
    return settings.current()


@pytest.fixture
def held(buckets, read_bucket):
    """The sites of the rows that lie in a bucket."""

    def held(name):
        one = settings.current().require_destination(name)
        found = read_bucket(buckets.s3, one.bucket, one.prefix)
        return sorted(str(row["site_id"]) for row in found.rows.get("parquet", []))

    return held


def test_it_gets_the_events_of_its_sites_alone(groups, held, connection):
    assert run.run(groups).failures == {}
    assert held("acme") == ["blog.example.com"] * 4 + ["shop.example.com"] * 4
    assert held("solo") == ["other.example.org"] * 4
    assert len(held("client")) == len(held("backup")) == 20
    for name in ("client", "acme", "solo", "backup"):
        report = verify.run(groups, name)
        assert report.findings == []
        assert check.run(groups, name)["usable"]
    hour = connection.execute("SELECT date_trunc('hour', created_at, 'UTC') FROM events LIMIT 1").fetchone()[0]
    lines = balance.balance(connection, ["client", "acme", "solo", "backup"], hour, hour + 2 * balance.HOUR)
    assert {one.difference for line in lines for one in line.destinations.values()} == {0}
    assert sum(line.destinations["acme"].exported for line in lines) == 8


def test_what_the_client_leaves_out_is_no_matter_there(groups, held, environ):
    environ["EXPORT_FILTERS"] = '{"sites": ["third.example.net"]}'
    assert run.run(settings.current()).failures == {}
    assert held("client") == ["third.example.net"] * 4
    assert len(held("acme")) == 8


def test_a_bucket_that_refuses_holds_up_no_other(groups, held, fault):
    fault("acme", "PutObject", (403, "AccessDenied"))
    assert set(run.run(groups).failures) == {"acme"}
    assert (len(held("client")), len(held("solo")), len(held("backup"))) == (20, 4, 20)
    fault.lift()
    assert run.run(groups).failures == {}
    assert len(held("acme")) == 8


def test_which_sites_it_gets_is_decided_when_a_batch_is_planned(groups, held, environ, fault):
    fault("acme", "PutObject", (403, "AccessDenied"))
    run.run(groups)
    fault.lift()
    environ["SITES"] = json.dumps({**SITES, "shop.example.com": {"group": "solo"}})
    assert run.run(settings.current()).failures == {}
    assert held("acme") == ["blog.example.com"] * 4 + ["shop.example.com"] * 4


def test_a_visitor_goes_there_too(groups, held, connection):
    assert run.run(groups).failures == {}
    erasures.erase(connection, KEY, "visitor-0")
    assert erase.run(groups).completed == 1
    assert len(held("acme")) == 4
    for name in ("acme", "solo"):
        assert verify.run(groups, name).findings == []


def test_usage_tells_what_was_delivered_to_it(groups, connection):
    assert run.run(groups).failures == {}
    day = connection.execute("SELECT (created_at AT TIME ZONE 'UTC')::date FROM events LIMIT 1").fetchone()[0]
    brought = usage.total(usage.lines(connection, day, day.replace(year=day.year + 1)))["delivered"]
    assert {name: one["events"] for name, one in brought.items()} == {"client": 20, "acme": 8, "solo": 4, "backup": 20}


def test_what_was_before_is_brought_there_by_a_hand_off(groups, connection):
    day = connection.execute("SELECT (created_at AT TIME ZONE 'UTC')::date FROM events LIMIT 1").fetchone()[0]
    now = connection.execute("SELECT date_trunc('second', now())").fetchone()[0]
    wanted = {"destination": "acme", "from_time": f"{day}T00:00:00Z", "to_time": now.isoformat()}
    connection.execute("UPDATE events SET created_at = created_at - interval '2 seconds'")
    assert handoff.run(groups, wanted)["rows"] == 8


def test_what_a_group_lacks_that_is_set_no_more_is_given_up_by_hand(groups, environ, fault, connection, policy):
    fault("acme", "PutObject", (403, "AccessDenied"))
    run.run(groups)
    fault.lift()
    with pytest.raises(SettingsInvalid, match="the acme bucket is set"):
        run.give_up(groups, "acme")
    environ["SITE_GROUPS"] = "{}"
    policy({"events_days": 8})
    connection.execute("UPDATE events SET created_at = created_at - interval '30 days'")
    assert retention.run(settings.current()).waits_for_bucket
    assert run.give_up(settings.current(), "acme") == 1
    assert retention.run(settings.current()).events == 20


def test_added_later_it_is_verified_from_its_first_batch_on(groups, environ, event, connection):
    set_now = os.environ["SITE_GROUPS"]
    environ["SITE_GROUPS"] = "{}"
    assert run.run(settings.current()).failures == {}
    environ["SITE_GROUPS"] = set_now
    events.append(connection, [event(site_id="shop.example.com")])
    assert run.run(settings.current()).failures == {}
    report = verify.run(settings.current(), "acme")
    assert (report.findings, report.rows) == ([], 1)


def test_after_a_restore_it_has_what_it_had_whoevers_the_sites_are_then(groups, environ, new_database, held):
    assert run.run(groups).failures == {}
    environ["SITES"] = json.dumps({"shop.example.com": {"group": "solo"}, "third.example.net": {"group": "acme"}})
    environ["DATABASE_URL"] = new_database()
    restore.run(settings.current(), "backup")
    assert run.run(settings.current()).failures == {}
    assert held("acme") == ["blog.example.com"] * 4 + ["shop.example.com"] * 4
    assert held("solo") == ["other.example.org"] * 4
    for name in ("client", "acme", "solo", "backup"):
        assert verify.run(settings.current(), name).findings == []


@pytest.mark.parametrize(
    ("groups_", "said"),
    [
        ({"acme": {"export": {"bucket": "No"}}}, "SITE_GROUPS.acme.export.bucket: is not a bucket name"),
        ({"acme": {"export": {"bucket": "a-bucket", "access_key": "x"}}}, "access_key and secret_key go together"),
        ({"acme": {"export": {"bucket": "a-bucket", "external_id": "xyz"}}}, "external_id belongs to a role"),
        ({"nobody": {"export": {"bucket": "a-bucket"}}}, "nobody has a bucket, and SITES names no site of it"),
        ({"client": {"name": "x"}}, "'client' is not a name of a group"),
        ({"Acme": {}}, "'Acme' is not a name of a group"),
        (
            {"acme": {"export": {"bucket": "client-bucket", "prefix": "analytics"}}},
            "the acme bucket is the client bucket",
        ),
        (
            {"acme": {"export": {"bucket": "client-bucket", "prefix": "analytics/events"}}},
            "is within the client bucket",
        ),
        ({"acme": {"quota_events": 0}}, "SITE_GROUPS.acme.quota_events"),
        ({"acme": {"colour": "red"}}, "SITE_GROUPS.acme.colour is not a setting"),
    ],
)
def test_a_group_that_cannot_be_is_named(environ, groups_, said):
    environ["CLIENT_S3_BUCKET"] = "client-bucket"
    environ["SITES"] = json.dumps({"shop.example.com": {"group": "acme"}})
    environ["SITE_GROUPS"] = json.dumps(groups_)
    with pytest.raises(SettingsInvalid) as refused:
        settings.current()
    assert said in str(refused.value)


def test_its_keys_are_shown_to_nobody(groups):
    assert "secret" not in repr(groups.destinations()).replace("secret_key", "")
