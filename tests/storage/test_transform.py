"""Filters and transforms: what the client's bucket gets of the events, proven complete; the backup bucket gets all."""

import hashlib
import hmac
import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from storage import events, settings
from storage.errors import RestoreRefused, SettingsInvalid
from storage.export import contract, preview, restore, run, verify
from storage.export.read import ROWS
from storage.export.transform import Filter, Transform
from storage.rules import COLUMNS, Filters, Transforms

KEY = "k" * 32


@pytest.fixture
def export(connection, buckets, environ, delivered):
    """Deliver by rules, prove both buckets, and give what each got."""
    contract._there.clear()

    def export(filters=None, transforms=None, formats="json"):
        environ["EXPORT_FORMAT"] = formats
        environ["EXPORT_FILTERS"] = json.dumps(filters or {})
        environ["EXPORT_TRANSFORMS"] = json.dumps(transforms or {})
        environ["EXPORT_HASH_KEY"] = KEY
        assert run.run(settings.current()).failures == {}
        for side in ("client", "backup"):
            assert verify.run(settings.current(), side).findings == []
        return delivered("client"), delivered("backup")

    return export


@pytest.fixture
def store(connection, event):
    """Store events one after the other, so that their ids are in that order."""

    def store(*many):
        for fields in many:
            events.append(connection, [event(**fields)])

    return store


def test_rules_name_the_columns_of_the_export():
    assert list(COLUMNS) == ROWS.names


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, [1, 2, 3, 4]),
        ({"sites": ["a.example"]}, [1, 2]),
        ({"event_types": ["click"]}, [2, 4]),
        ({"sites": ["a.example"], "event_types": ["click"]}, [2]),
        ({"where": "data.price > `10`"}, [2, 3]),
        ({"where": "data.tags[?@ == 'new']"}, [1]),
        ({"where": "contains(data.name, 'x')"}, [3]),
        ({"where": "site_id == null"}, [4]),
        ({"where": "`false`"}, []),
        ({"sites": ["nowhere.example"]}, []),
    ],
)
def test_only_what_the_filters_keep_is_delivered(store, export, filters, kept):
    a = {"site_id": "a.example"}
    store(
        {**a, "raw_event_data": {"data": {"price": 5, "tags": ["new"]}}},
        {**a, "event_type": "click", "raw_event_data": {"data": {"price": 10.5}}},
        {"site_id": "b.example", "raw_event_data": {"data": {"price": 1e300, "name": "xyz"}}},
        {"site_id": None, "event_type": "click", "raw_event_data": {"data": {"name": 7}}},
    )

    client, backup = export(filters)

    assert [row["id"] for row in client.rows.get("json", [])] == kept
    assert [row["id"] for row in backup.rows["json"]] == [1, 2, 3, 4]
    if filters:
        assert client.manifests[0]["left_out"] == 4 - len(kept)
        assert client.manifests[0]["filters"] == filters
    assert "left_out" not in backup.manifests[0]


def test_what_is_not_kept_counts_as_handled(connection, store, export):
    store({})
    export({"where": "`false`"})
    assert connection.execute("SELECT count(*) FROM events_log WHERE exported_at IS NULL").fetchone() == (0,)


@pytest.mark.parametrize("formats", ["json", "csv", "parquet"])
def test_columns_are_hashed_cut_dropped_flattened_and_renamed(store, export, formats):
    raw = {"url": "https://a.example/long", "visitor_id": "visitor-1", "data": {"price": "9.50", "n": 7, "yes": True,
           "email": "x", "deep": {"er": [1, 2]}}}  # fmt: skip
    store({"url": "https://a.example/long", "raw_event_data": raw})

    client, _ = export(
        {},
        {
            "hash": ["visitor_id"],
            "truncate": {"url": 9},
            "drop": ["ip_address", "user_agent", "data.email"],
            "flatten": {
                "price": {"path": "data.price", "type": "number"},
                "n": {"path": "data.n", "type": "integer"},
                "yes": {"path": "data.yes", "type": "boolean"},
                "deep": "data.deep",
                "gone": "data.email",
            },
            "rename": {"site_id": "host"},
        },
        formats,
    )

    [row] = client.rows[formats]
    hashed = hmac.new(KEY.encode(), b"visitor-1", hashlib.sha256).hexdigest()[:32]
    assert list(row) == ["id", "event_id", "event_type", "session_id", "visitor_id", "host", "timestamp", "url", "path",
                         "raw_event_data", "created_at", "deep", "gone", "n", "price", "yes"]  # fmt: skip
    assert (row["visitor_id"], row["url"], row["host"]) == (hashed, "https://a", "shop.example.com")
    assert [str(row[name]).lower() for name in ("price", "n", "yes", "deep")] == ["9.5", "7", "true", '{"er":[1,2]}']
    assert row["gone"] in (None, "")
    inside = row["raw_event_data"] if formats == "json" else json.loads(row["raw_event_data"])
    assert (inside["visitor_id"], inside["url"]) == (hashed, "https://a")
    assert "email" not in inside["data"]


def test_chosen_fields_are_all_that_is_delivered(store, export):
    store({"raw_event_data": {"data": {"a": 1}}})
    client, _ = export({"fields": ["id", "url"]}, {"flatten": {"a": {"path": "data.a", "type": "integer"}}})
    assert client.rows["json"] == [{"id": 1, "url": "https://shop.example.com/p", "a": 1}]


def test_the_contract_tells_of_the_columns_that_there_are(store, buckets, export):
    store({})
    client, backup = export({}, {"drop": ["raw_event_data"], "flatten": {"price": "data.price"}}, "parquet")
    name = client.manifests[0]["schema"]
    text = buckets.s3.get_object(Bucket=buckets.names["client"], Key=f"analytics/schema/{name}/columns.json")
    columns = {column["name"]: column for column in json.loads(text["Body"].read())["columns"]}
    assert list(columns) == list(client.rows["parquet"][0])
    assert columns["price"]["meaning"] == "`data.price` of the event"
    assert f"analytics/schema/{name}/athena.sql" in client.keys
    assert "analytics/schema/v1/columns.json" in backup.keys


def test_a_batch_keeps_the_rules_that_it_was_planned_with(store, environ, export, fault, delivered):
    store({}, {"event_type": "click"})
    environ["EXPORT_FORMAT"] = "json"
    environ["EXPORT_FILTERS"] = '{"event_types": ["click"]}'
    fault("client", "PutObject", (403, "AccessDenied"))
    assert set(run.run(settings.current()).failures) == {"client"}
    fault.lift()
    client, _ = export({"event_types": ["page_view"]})
    assert [row["id"] for row in client.rows["json"]] == [2]


def test_a_row_that_is_missing_although_the_filter_keeps_it_is_found(connection, store, export):
    store({}, {"event_type": "click"})
    export({"event_types": ["click"]})
    connection.execute("UPDATE events SET event_type = 'click' WHERE id = 1")
    [finding] = verify.run(settings.current(), "client").findings
    assert "the database has 2" in finding.problem


def test_no_database_is_made_of_what_filters_left(store, export):
    store({})
    export({"event_types": ["click"]})
    with pytest.raises(RestoreRefused, match="restore from the backup bucket"):
        restore.run(settings.current(), "client")


def test_each_site_keeps_its_partition(store, environ, export):
    environ["EXPORT_PARTITION_BY"] = "site_id"
    store(*({"site_id": site} for site in ("a.example", "b.example", "a.example")))
    client, _ = export({"sites": ["a.example"]}, {"drop": ["url"]}, "parquet")
    assert [item["key"].split("/")[2] for item in client.manifests[0]["objects"]] == ["site_id=a.example"]
    assert sorted(row["id"] for row in client.rows["parquet"]) == [1, 3]


def test_a_preview_tells_what_a_change_would_do_and_delivers_nothing(store, buckets, environ):
    store({}, {"event_type": "click"}, {"event_type": "click"})
    proposed = {"export_filters": {"event_types": ["click"]}, "export_transforms": {"drop": ["raw_event_data"]}}
    seen = preview.run(settings.current(), proposed, 1)
    assert (seen["now"]["looked_at"], seen["now"]["events"], seen["then"]["events"]) == (3, 3, 2)
    assert set(seen["now"]["columns"]) - set(seen["then"]["columns"]) == {"raw_event_data"}
    assert seen["then"]["bytes"]["parquet"] < seen["now"]["bytes"]["parquet"]
    assert [row["id"] for row in seen["then"]["sample"]] == [3]
    assert buckets.s3.list_objects_v2(Bucket=buckets.names["client"])["KeyCount"] == 0


def test_a_preview_of_what_is_no_rule_says_why(connection, buckets):
    with pytest.raises(SettingsInvalid, match=r"EXPORT_FILTERS\.where"):
        preview.run(settings.current(), {"export_filters": {"where": "data."}}, 0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FILTERS", "{", "EXPORT_FILTERS: is not JSON"),
        ("FILTERS", '{"site": ["a"]}', "EXPORT_FILTERS.site is not a setting"),
        ("FILTERS", '{"where": "a ="}', "EXPORT_FILTERS.where: 'a =' is not JMESPath"),
        ("FILTERS", '{"fields": ["url"]}', "EXPORT_FILTERS.fields: `id` has to be among them"),
        ("FILTERS", '{"fields": ["id", "nope"]}', "nope is no column"),
        ("TRANSFORMS", '{"hash": ["timestamp"]}', "hash: timestamp is no text"),
        ("TRANSFORMS", '{"hash": ["visitor_id"]}', "EXPORT_HASH_KEY has to be set"),
        ("TRANSFORMS", '{"drop": ["id"]}', "`id` has to stay"),
        ("TRANSFORMS", '{"drop": ["a b"]}', "drop: a b is neither a column nor a path"),
        ("TRANSFORMS", '{"truncate": {"url": 0}}', "EXPORT_TRANSFORMS.truncate.url"),
        ("TRANSFORMS", '{"rename": {"url": "path"}}', "two columns would be called path"),
        ("TRANSFORMS", '{"rename": {"nope": "x"}}', "rename: nope is no column"),
        ("TRANSFORMS", '{"flatten": {"url": "data.a"}}', "flatten.url: give the column a name of its own"),
        ("TRANSFORMS", '{"flatten": {"a": "data["}}', "is not JMESPath"),
        ("FILTERS", json.dumps({"where": "!" * 900 + "a"}), "EXPORT_FILTERS.where: the expression is nested too deep"),
        ("FILTERS", json.dumps({"where": "a" * 1001}), "at most 1000 characters"),
        (
            "TRANSFORMS",
            '{"flatten": {"email": "data.email"}, "truncate": {"email": 1}}',
            "truncate: email is made later",
        ),
        ("TRANSFORMS", '{"rename": {"visitor_id": "visitor"}, "drop": ["visitor"]}', "drop: visitor is made later"),
        ("TRANSFORMS", '{"drop": ["raw_event_data.data.email"]}', "a path begins in the event"),
        ("TRANSFORMS", '{"flatten": {"site": "data.a"}}', "flatten.site: give the column a name of its own"),
        ("HASH_KEY", "short", "EXPORT_HASH_KEY: is too short"),
    ],
)
def test_a_wrong_rule_is_named(environ, name, value, said):
    environ[f"EXPORT_{name}"] = value
    with pytest.raises(SettingsInvalid) as wrong:
        settings.current()
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_rules_can_stand_in_the_yaml(environ, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("""
s3_export:
  hash_key: "a key of some length"
  filters: {sites: [shop.example.com]}
  transforms:
    hash: [visitor_id]
    flatten: {price: {path: data.price, type: number}}
""")
    environ["EVOTHESIS_CONFIG"] = file
    assert settings.current().export_filters.sites == ("shop.example.com",)
    assert settings.current().export_transforms.flatten["price"].type == "number"


@pytest.mark.parametrize(
    "rule",
    [
        {"filters": {"where": "contains(data.tags, `7`)"}},
        {"filters": {"where": "merge(data, data.tags)"}},
        {"transforms": {"flatten": {"f": "sum(data.large)"}}},
        {"transforms": {"flatten": {"f": "to_number(data.digits)"}}},
        {"transforms": {"flatten": {"f": "&data"}}},
        {"transforms": {"flatten": {"f": {"path": "to_number(data.digits)", "type": "number"}}}},
        {"transforms": {"flatten": {"f": {"path": "to_number(data.digits)", "type": "integer"}}}},
        {"filters": {"where": "data.tags[::0]"}},
    ],
)
def test_no_event_that_an_expression_trips_over_holds_anything_up(store, export, rule):
    data = {"tags": "seven", "large": [2**63 - 1] * 3, "digits": "1" + "0" * 400}
    store({"raw_event_data": {"data": data}})
    client, backup = export(**rule)
    assert len(backup.rows["json"]) == 1
    if "transforms" in rule:
        assert len(client.rows["json"]) == 1


def test_a_batch_that_was_planned_to_be_hashed_is_not_delivered_without_the_key(store, environ, fault, export, buckets):
    store({})
    environ["EXPORT_TRANSFORMS"] = '{"hash": ["visitor_id"]}'
    environ["EXPORT_HASH_KEY"] = KEY
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    fault.lift()
    environ["EXPORT_TRANSFORMS"] = "{}"
    environ["EXPORT_HASH_KEY"] = ""
    assert "EXPORT_HASH_KEY is not set" in run.run(settings.current()).failures["client"]
    assert "Contents" not in buckets.s3.list_objects_v2(Bucket=buckets.names["client"], Prefix="analytics/events/")


def test_sites_and_times_that_are_hidden_are_in_no_manifest_and_no_balance(store, connection, export, buckets):
    store({"site_id": "secret.example"})
    connection.execute("UPDATE events SET created_at = created_at - interval '3 hours'")
    client, _ = export({}, {"drop": ["site_id", "timestamp"]}, "parquet")
    [manifest] = client.manifests
    assert manifest["sites"] == {"": 1}
    assert (manifest["first_timestamp"], manifest["objects"][0]["last_timestamp"]) == (None, None)
    for key in client.keys:
        if "/events/" not in key:
            assert (
                b"secret.example" not in buckets.s3.get_object(Bucket=buckets.names["client"], Key=key)["Body"].read()
            )


def test_other_sites_are_told_of_neither_by_manifest_nor_by_balance(store, connection, export, buckets):
    store({"site_id": "mine.example"}, {"site_id": "secret.example"})
    connection.execute("UPDATE events SET created_at = created_at - interval '3 hours'")
    client, _ = export({"sites": ["mine.example"]})
    assert any("/balance/" in key for key in client.keys)
    for key in client.keys:
        body = buckets.s3.get_object(Bucket=buckets.names["client"], Key=key)["Body"].read()
        assert b"secret.example" not in body


def test_a_manifest_that_claims_a_filter_excuses_nothing(store, export, buckets):
    store({}, {})
    export()
    bucket = buckets.names["backup"]
    for item in buckets.s3.list_objects_v2(Bucket=bucket, Prefix="analytics/events/")["Contents"]:
        buckets.s3.delete_object(Bucket=bucket, Key=item["Key"])
    [listed] = buckets.s3.list_objects_v2(Bucket=bucket, Prefix="analytics/manifests/")["Contents"]
    manifest = json.loads(buckets.s3.get_object(Bucket=bucket, Key=listed["Key"])["Body"].read())
    manifest |= {"rows": 0, "objects": [], "sites": {}, "filters": {"where": "`false`"}, "left_out": 2}
    buckets.s3.put_object(Bucket=bucket, Key=listed["Key"], Body=json.dumps(manifest))
    problems = [finding.problem for finding in verify.run(settings.current(), "backup").findings]
    assert "is not the manifest that was delivered" in problems
    assert "holds nothing, and the database has 2 rows" in problems


def test_a_key_with_dots_and_a_list_hide_nothing(store, export):
    store({"raw_event_data": {"data": {"a.b": "x", "list": ["long text", {"c": "long text"}]}, "data.d": "x"}})
    client, _ = export({}, {"drop": ["data.a.b", "data.d"], "truncate": {"data.list": 4, "data.list.c": 2}})
    [row] = client.rows["json"]
    assert row["raw_event_data"] == {"data": {"list": ["long", {"c": "lo"}]}}


def test_batches_of_several_plans_are_delivered_in_one_run_with_what_is_set_as_the_contract(
    store, environ, fault, export, buckets, connection
):
    rules = {"drop": ["user_agent"]}
    environ["EXPORT_TRANSFORMS"] = json.dumps(rules)
    fault("client", "PutObject", (403, "AccessDenied"))
    for formats in ("json", "csv"):
        environ["EXPORT_FORMAT"] = formats
        store({})
        run.run(settings.current())
    fault.lift()
    client, _ = export({}, rules, "parquet")
    assert set(client.rows) == {"json", "csv"}
    name = client.manifests[0]["schema"]
    body = buckets.s3.get_object(Bucket=buckets.names["client"], Key=f"analytics/schema/{name}/columns.json")[
        "Body"
    ].read()
    assert json.loads(body)["formats"] == ["parquet"]


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    raw=st.dictionaries(st.sampled_from(["data", "email", "url", "x"]), JSONS, max_size=4),
    kind=st.sampled_from(["string", "integer", "number", "boolean"]),
)
def test_whatever_an_event_holds_it_fits_the_columns_and_hides_what_it_should(raw, kind):
    text = json.dumps(raw)
    batch = pa.RecordBatch.from_pylist(
        [{**dict.fromkeys(ROWS.names), "id": 1, "event_id": "e", "event_type": "x", "raw_event_data": text,
          "timestamp": 0, "created_at": 0}], ROWS)  # fmt: skip
    rules = Transforms(hash=("data.a",), truncate={"x": 2}, drop=("email",), flatten={"f": {"path": "x", "type": kind}})
    assert Filter(Filters(where="email || x == `1`")).keep(batch).num_rows in (0, 1)

    [row] = Transform(Filters(), rules, b"key").apply(batch).to_pylist()

    after = json.loads(row["raw_event_data"])
    assert "email" not in after
    assert set(after) == set(raw) - {"email"}
    untouched = {name: value for name, value in raw.items() if name == "url"}
    assert {name: value for name, value in after.items() if name == "url"} == untouched


def test_numbers_that_fit_none_of_ours_pass_as_they_are():
    text = '{"a": 12345678901234567890.123456789, "b": 1' + "0" * 400 + ', "email": "x"}'
    transform = Transform(Filters(), Transforms(drop=("email",)), b"")
    assert transform._edited(text) == text.replace(', "email": "x"', "").replace(" ", "")
