"""What is too old goes, in small bites; what a bucket lacks stays; and every account still adds up."""

import datetime as dt

import pytest

from storage import balance, database, deliveries, erasures, events, portability, refusals, retention, settings
from storage.errors import DeliveryFailed, RedeliveryRefused
from storage.export import erase, expire, held, run, verify
from storage.refusals import Refusal

KEY = b"demo-privacy-key"


def ago(days):
    return dt.datetime.now(dt.UTC).replace(minute=15, second=0, microsecond=0) - dt.timedelta(days=days, hours=1)


@pytest.fixture
def stored(connection):
    """How many events there are of each site and age in days."""

    def stored():
        return {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                "SELECT site_id, extract(day FROM now() - created_at)::int, count(*) FROM events GROUP BY 1, 2"
            )
        }

    return stored


@pytest.fixture
def balanced(connection):
    def balanced():
        lines = balance.balance(connection, ["client", "backup"], ago(1000), ago(-1))
        assert {one.difference for line in lines for one in line.destinations.values()} == {0}

    return balanced


@pytest.fixture
def clean(balanced):
    """Both buckets are as they should be, and the balance is at zero."""

    def clean():
        for side in ("client", "backup"):
            assert verify.run(settings.current(), side).findings == []
        balanced()

    return clean


def drop(connection):
    outcome, rests = retention.Outcome(), []
    retention.drop_rows(connection, settings.current(), outcome, rest=rests.append)
    return outcome, rests


def test_without_a_policy_everything_stays(connection, many, stored):
    many(300, ago(4000))
    assert retention.run(settings.current()) == retention.Outcome()
    assert sum(stored().values()) == 300


def test_events_go_once_they_are_older_than_their_sites_policy(connection, many, stored, policy):
    policy({"events_days": 30}, site1_example={"events_days": 90}, site2_example={"events_days": None})
    for days in (400, 60, 20):
        many(300, ago(days))

    outcome, _ = drop(connection)

    assert stored() == {
        ("site0.example", 20): 100,
        ("site1.example", 60): 100,
        ("site1.example", 20): 100,
        ("site2.example", 400): 100,
        ("site2.example", 60): 100,
        ("site2.example", 20): 100,
    }
    assert outcome.events == 300
    assert drop(connection)[0] == retention.Outcome()


def test_another_choice_of_sites_begins_anew(connection, many, stored, policy):
    many(300, ago(60))
    policy({"events_days": 30}, site1_example={"events_days": None})
    drop(connection)
    policy({"events_days": 30})
    drop(connection)
    assert stored() == {}


def test_events_whose_site_could_not_be_told_go_by_the_policy_of_all(connection, many, stored, policy):
    many(300, ago(60))
    connection.execute("UPDATE events SET site_id = NULL WHERE site_id = 'site0.example'")
    policy({"events_days": None}, site1_example={"events_days": 30})
    drop(connection)
    assert stored() == {(None, 60): 100, ("site2.example", 60): 100}
    policy({"events_days": 30})
    drop(connection)
    assert stored() == {}


def test_it_goes_in_bites_and_rests_longer_than_each_took(connection, many, policy):
    policy({"events_days": 30})
    many(3 * retention.BITE + 1, ago(60))
    many(10, ago(1))
    outcome, rests = drop(connection)
    assert outcome.events == 3 * retention.BITE + 1
    assert len(rests) == 3
    assert min(rests) > 0
    counted = connection.execute("SELECT site_id, events FROM erased_events WHERE expired ORDER BY 1").fetchall()
    assert counted == [
        ("site0.example", retention.BITE),
        ("site1.example", retention.BITE + 1),
        ("site2.example", retention.BITE),
    ]


def test_a_run_without_time_ends_between_bites_and_the_next_goes_on(connection, many, stored, policy):
    policy({"events_days": 30})
    many(2 * retention.BITE, ago(60))
    outcome, time = retention.Outcome(), iter([True, False])
    retention.drop_rows(connection, settings.current(), outcome, lambda: next(time), lambda _: None)
    assert (outcome.events, outcome.unfinished) == (retention.BITE, True)
    drop(connection)
    assert stored() == {}


def test_whoever_collects_does_not_wait_for_a_bite(connection, many, policy, event, database_url):
    policy({"events_days": 30})
    many(300, ago(60))
    with database.connect(database_url) as other, connection.transaction():
        connection.execute(
            retention.BITE_OF_EVENTS,
            {
                "rule": "[]",
                "sites": [],
                "others": True,
                "before": ago(30),
                "began": ago(0),
                "limit": 10**9,
                "bite": 100,
                "waits": True,
                "after": None,
                "all_old": True,
            },
        )
        other.execute("SET lock_timeout = '1s'")
        assert len(events.append(other, [event()]).stored) == 1


def test_refusals_go_by_an_age_of_their_own(connection, policy):
    policy({"refused_days": 30}, shop_example={"refused_days": 90})
    kept = [
        Refusal(f"00000000-0000-4000-8000-00000000000{n}", "r", "m", site, None, 1, None)
        for n, site in enumerate(["shop.example", "b.example", None])
    ]
    refusals.keep(connection, kept)
    connection.execute("UPDATE rejected_events SET received_at = %s", (ago(60),))
    outcome, _ = drop(connection)
    assert outcome.refused == 2
    assert connection.execute("SELECT site_id FROM rejected_events").fetchall() == [("shop.example",)]


def test_what_a_bucket_lacks_stays_however_old(connection, buckets, many, stored, policy, fault, clean):
    policy({"events_days": 30})
    many(300, ago(60))
    run.run(settings.current())
    many(300, ago(50))
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    many(300, ago(40))

    outcome, _ = drop(connection)

    assert (outcome.events, outcome.waits_for_bucket) == (300, True)
    assert {days for _, days in stored()} == {50, 40}


def test_what_a_bucket_lacks_goes_too_where_that_is_asked_for(
    connection, buckets, many, stored, policy, environ, clean
):
    policy({"events_days": 30})
    many(300, ago(60))
    environ["RETENTION_WAITS_FOR_BUCKETS"] = "false"
    outcome, _ = drop(connection)
    assert (outcome.events, stored()) == (300, {})
    many(300, ago(1))
    run.run(settings.current())
    clean()


def test_where_there_is_no_bucket_nobody_waits_for_one(connection, many, stored, policy):
    policy({"events_days": 30})
    many(300, ago(60))
    assert (drop(connection)[0].events, stored()) == (300, {})


def test_buckets_keep_what_the_database_drops_and_every_account_adds_up(
    connection, buckets, many, policy, environ, clean, delivered
):
    environ["EXPORT_FORMAT"] = "json,parquet"
    many(300, ago(60))
    many(300, ago(2))
    run.run(settings.current())
    policy({"events_days": 30})
    assert drop(connection)[0].events == 300
    clean()
    assert len(next(iter(delivered("client").rows.values()))) == 600


def test_a_visitor_whose_rows_were_dropped_is_erased_from_the_buckets_all_the_same(
    connection, buckets, many, policy, clean, delivered
):
    many(300, ago(60))
    many(300, ago(2))
    run.run(settings.current())
    policy({"events_days": 30})
    drop(connection)

    begun = erasures.erase(connection, KEY, "visitor-42")
    erase.run(settings.current())

    assert erasures.progress(connection, begun["erasure_id"])["state"] == "completed"
    for side in ("client", "backup"):
        rows = next(iter(delivered(side).rows.values()))
        assert len(rows) == 594
        assert "visitor-42" not in {row["visitor_id"] for row in rows}
    clean()


def test_objects_go_with_all_their_versions_and_their_manifests_say_so(connection, buckets, many, policy, clean):
    for name in buckets.names.values():
        buckets.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    many(300, ago(60))
    run.run(settings.current())
    many(300, ago(2))
    run.run(settings.current())

    assert expire.run(settings.current(), 30) == (2, [])

    for name in buckets.names.values():
        listed = buckets.s3.list_object_versions(Bucket=name, Prefix="analytics/events/")
        assert "DeleteMarkers" not in listed
        assert len(listed["Versions"]) == 1
    clean()
    assert connection.execute("SELECT count(*) FROM object_visitors").fetchone() == (1,)
    assert expire.run(settings.current(), 30) == (0, [])


@pytest.mark.parametrize("point", ["before the objects", "before the record"])
def test_whoever_is_killed_while_objects_go_leaves_what_the_next_run_does_again(
    connection, buckets, many, policy, clean, monkeypatch, point
):
    many(300, ago(60))
    run.run(settings.current())
    with monkeypatch.context() as patch:

        def die(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(*((expire.objects, "purge") if point == "before the objects" else (deliveries, "expired")), die)
        with pytest.raises(KeyboardInterrupt):
            expire.run(settings.current(), 30)

    assert expire.run(settings.current(), 30)[0] > 0
    clean()


def test_a_bucket_that_refuses_keeps_its_objects_and_the_other_does_not(connection, buckets, many, fault):
    many(300, ago(60))
    run.run(settings.current())
    fault("client", "DeleteObject", (403, "AccessDenied"))
    removed, refused = expire.run(settings.current(), 30)
    assert removed == 1
    assert len(refused) == 1
    assert refused[0].startswith("client bucket")


def test_objects_that_a_bucket_still_lacks_stay_in_the_other(connection, buckets, many, fault):
    many(300, ago(60))
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    assert expire.run(settings.current(), 30) == (0, [])


def test_an_erasure_does_not_look_for_objects_that_are_gone(connection, buckets, many, clean):
    many(300, ago(60))
    run.run(settings.current())
    expire.run(settings.current(), 30)
    begun = erasures.erase(connection, KEY, "visitor-42")
    erase.run(settings.current())
    assert erasures.progress(connection, begun["erasure_id"])["state"] == "completed"
    clean()


@pytest.mark.parametrize("formats", ["parquet", "json", "csv"])
def test_a_copy_has_what_only_buckets_have(connection, buckets, many, policy, environ, formats, monkeypatch):
    environ["EXPORT_FORMAT"] = formats
    many(300, ago(60))
    run.run(settings.current())
    many(300, ago(2))
    run.run(settings.current())
    before = portability.held(connection, "visitor-42")["events"]
    policy({"events_days": 30}, site0_example={"events_days": None})
    drop(connection)
    monkeypatch.setattr(portability, "MOST_ROWS", 2)

    there, after = [], "0"
    while after:
        page = (
            held.held(connection, settings.current(), "visitor-42", int(after.removeprefix("bucket-")))
            if after.startswith("bucket-")
            else portability.held(connection, "visitor-42", int(after))
        )
        there += page["events"]
        after = page["next"] or ("" if after.startswith("bucket-") else "bucket-0")

    assert {row["id"] for row in there} == {row["id"] for row in before}
    assert len(there) == len(before) == 6


def test_a_copy_that_would_not_be_whole_is_refused_and_a_bucket_that_has_all_is_enough(
    connection, buckets, many, policy
):
    many(300, ago(60))
    run.run(settings.current())
    before = portability.held(connection, "visitor-42")["events"]
    policy({"events_days": 30})
    drop(connection)

    def forget(side):
        for item in buckets.s3.list_objects_v2(Bucket=buckets.names[side], Prefix="analytics/events/")["Contents"]:
            buckets.s3.delete_object(Bucket=buckets.names[side], Key=item["Key"])

    forget("backup")
    there = held.held(connection, settings.current(), "visitor-42", 0)["events"]
    assert {row["id"] for row in there} == {row["id"] for row in before}
    forget("client")
    with pytest.raises(DeliveryFailed, match=r"would not be whole: backup bucket .* is missing.*; client bucket"):
        held.held(connection, settings.current(), "visitor-42", 0)


def test_nobody_is_looked_for_in_buckets_when_nothing_was_dropped(connection, buckets, many):
    many(300, ago(60))
    run.run(settings.current())
    assert not erasures.any_dropped(connection)
    assert held.held(connection, settings.current(), "visitor-42", 0)["events"] == []


def test_a_batch_that_is_not_as_it_should_be_keeps_no_other_from_going(connection, buckets, many):
    for days in (90, 60):
        many(300, ago(days))
        run.run(settings.current())
    for item in buckets.s3.list_objects_v2(Bucket=buckets.names["client"], Prefix="analytics/manifests/")["Contents"][
        :1
    ]:
        buckets.s3.delete_object(Bucket=buckets.names["client"], Key=item["Key"])
    removed, refused = expire.run(settings.current(), 30)
    assert (removed, len(refused)) == (3, 1)


def test_what_is_exported_while_it_is_dropped_is_counted_once(connection, buckets, many, policy, environ, balanced):
    policy({"events_days": 30})
    environ["RETENTION_WAITS_FOR_BUCKETS"] = "false"
    many(1200, ago(60))
    outcome, exports = retention.Outcome(), []

    def export_once(seconds):
        if not exports:
            exports.append(run.run(settings.current()))

    retention.drop_rows(connection, settings.current(), outcome, rest=export_once)
    assert (outcome.events, exports[0].failures) == (1200, {})
    balanced()


def test_an_event_of_a_clock_that_was_ahead_keeps_no_older_one(connection, many, policy, stored):
    policy({"events_days": 30}, site0_example={"events_days": 3000})
    many(3, ago(-300))
    many(3000, ago(60))
    outcome, _ = drop(connection)
    assert outcome.events == 2000
    assert {(site, days) for site, days in stored() if days > 30} == {("site0.example", 60)}


def test_rows_that_a_bucket_hides_and_only_it_has_block_the_erasure_whatever_its_prefix_is_now(
    connection, buckets, many, policy, environ
):
    environ["EXPORT_TRANSFORMS"] = '{"drop": ["visitor_id"]}'
    environ["BACKUP_S3_BUCKET"] = ""
    many(300, ago(60))
    run.run(settings.current())
    policy({"events_days": 30})
    drop(connection)
    environ["CLIENT_S3_PREFIX"] = "renamed"
    erasure_id = erasures.erase(connection, KEY, "visitor-42")["erasure_id"]
    erase.run(settings.current())
    found = erasures.progress(connection, erasure_id)
    assert (found["state"], "hides whose rows it holds" in found["reason"]) == ("blocked", True)


def test_what_is_delivered_again_to_a_bucket_that_forgot_goes_again(connection, buckets, many, delivered):
    many(300, ago(60))
    run.run(settings.current())
    expire.run(settings.current(), 30)
    listed = buckets.s3.list_objects_v2(Bucket=buckets.names["client"])["Contents"]
    buckets.s3.delete_objects(
        Bucket=buckets.names["client"], Delete={"Objects": [{"Key": one["Key"]} for one in listed]}
    )
    assert run.reopen_lost(settings.current()) == 1
    run.run(settings.current())
    begun = erasures.erase(connection, KEY, "visitor-42")
    erase.run(settings.current())
    assert erasures.progress(connection, begun["erasure_id"])["state"] == "completed"
    assert len(next(iter(delivered("client").rows.values()))) == 297
    assert expire.run(settings.current(), 30)[0] == 1


def test_what_the_database_has_dropped_is_not_delivered_again(connection, buckets, many, policy):
    many(300, ago(60))
    run.run(settings.current())
    policy({"events_days": 30})
    drop(connection)
    for item in buckets.s3.list_objects_v2(Bucket=buckets.names["client"], Prefix="analytics/manifests/")["Contents"]:
        buckets.s3.delete_object(Bucket=buckets.names["client"], Key=item["Key"])
    assert run.reopen_lost(settings.current()) == 0
    batches = [row[0] for row in connection.execute("SELECT batch_id FROM export_batches").fetchall()]
    with pytest.raises(RedeliveryRefused, match="has events that the database has dropped because of their age"):
        run.reopen(settings.current(), "client", batches)


def test_once_no_bucket_is_set_any_more_nobody_waits_for_one(connection, buckets, many, policy, stored, environ):
    many(300, ago(60))
    run.run(settings.current())
    many(300, ago(50))
    for side in ("CLIENT", "BACKUP"):
        environ[f"{side}_S3_BUCKET"] = ""
    policy({"events_days": 30})
    assert drop(connection)[0].events == 600
