"""The settings: from the environment, with a YAML file over it; a wrong one is named in one line."""

import pytest

from storage import settings
from storage.errors import SettingsInvalid


def test_the_customers_variables_are_read(environ):
    environ["CLIENT_S3_BUCKET"] = "client-bucket"
    environ["CLIENT_S3_ACCESS_KEY"] = "key"
    environ["CLIENT_S3_SECRET_KEY"] = "hush"
    environ["BACKUP_S3_BUCKET"] = "backup-bucket"
    environ["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:4566"

    client, backup = settings.current().destinations()

    assert (client.bucket, client.access_key.get_secret_value()) == ("client-bucket", "key")
    assert (backup.bucket, backup.access_key) == ("backup-bucket", None)
    assert client.endpoint_url == backup.endpoint_url == "http://127.0.0.1:4566"
    assert "hush" not in repr(settings.current())


def test_the_customers_yaml_stands_over_the_environment(environ, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("""
s3_export:
  client_bucket: "client-analytics-bucket"
  backup_bucket: "evothesis-backup-bucket"
  format: "json"
  schedule: "daily"
  prefix: "raw/web"
  credentials:
    access_key: "client-provided"
    secret_key: "client-provided"
    region: "eu-central-1"
""")
    environ["EVOTHESIS_CONFIG"] = file
    environ["CLIENT_S3_BUCKET"] = "from-the-environment"

    current = settings.current()
    client = current.destinations()[0]

    assert (client.bucket, client.region, client.prefix) == ("client-analytics-bucket", "eu-central-1", "raw/web")
    assert current.export_format == ("json",)
    assert current.schedule_expression == "cron(0 0 * * ? *)"


def test_several_formats_can_be_asked_for(environ):
    environ["EXPORT_FORMAT"] = "json, parquet,json"
    assert settings.current().export_format == ("json", "parquet")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXPORT_FORMAT", "jsn"),
        ("EXPORT_FORMAT", ","),
        ("EXPORT_SCHEDULE", "now and then"),
        ("CLIENT_S3_ENDPOINT_URL", "localhost:4566"),
        ("AWS_ENDPOINT_URL_S3", "ftp://s3.example.com"),
        ("EXPORT_BATCH_ROWS", "0"),
        ("EXPORT_BATCH_ROWS", "many"),
        ("CLIENT_S3_BUCKET", "No Bucket"),
        ("CLIENT_S3_PREFIX", "a//b c"),
        ("COLLECT_MAX_EVENTS", "-1"),
        ("CLIENT_S3_REGION", "us east 1"),
        ("CLIENT_S3_ROLE_ARN", "evothesis-export"),
        ("BACKUP_S3_EXTERNAL_ID", "a b"),
        ("CLIENT_S3_ENCRYPTION", "rot13"),
        ("CLIENT_S3_STORAGE_CLASS", "DEEP_ARCHIVE"),
        ("BACKUP_S3_ENDPOINT_URL", "http://ex!ample"),
        ("BACKUP_S3_ENDPOINT_URL", "http://x:99999"),
        ("DATABASE_URL", "mysql://user:password@host/x"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_that_does_not_repeat_it(environ, name, value):
    environ[name] = value
    with pytest.raises(SettingsInvalid) as raised:
        settings.current()
    message = str(raised.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message


def test_everything_that_a_bucket_wants_may_stand_under_its_side(environ, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("""
s3_export:
  client_bucket: events
  client: {endpoint: "https://s3.example.com", role_arn: "arn:aws:iam::123456789012:role/x", external_id: "shared-42"}
  backup: {bucket: copies, encryption: "aws:kms", kms_key: alias/events, storage_class: GLACIER_IR}
""")
    environ["EVOTHESIS_CONFIG"] = file
    client, backup = settings.current().destinations()
    assert (client.bucket, client.endpoint_url, client.external_id) == ("events", "https://s3.example.com", "shared-42")
    assert (backup.bucket, backup.kms_key, backup.storage_class) == ("copies", "alias/events", "GLACIER_IR")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3_export: {client_buckt: a}", "s3_export.client_buckt"),
        ("s3_export: {credentials: {acces_key: a}}", "s3_export.credentials.acces_key"),
        ("s3_export: {client: {buckt: a}}", "s3_export.client.buckt"),
        ("s3_export: {client: {name: a}}", "s3_export.client.name"),
        ("s3_export: {client: {external_id: ab}}", "CLIENT_S3_EXTERNAL_ID belongs to a role"),
        ("s3_export: {backup: {kms_key: a}}", "BACKUP_S3_KMS_KEY wants BACKUP_S3_ENCRYPTION=aws:kms"),
        ("s3_export: [1]", "not a mapping"),
        ("- 1", "holds no settings"),
        ("{", "is not YAML"),
        ("colour: blue", "colour is not a setting"),
        ("1: 2", "1 in .* is not a setting"),
        ("x: 2026-13-45", "is not YAML"),
        ("s3_export: {format: [{a: 1}]}", "EXPORT_FORMAT: give one or more of"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(environ, tmp_path, text, message):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    environ["EVOTHESIS_CONFIG"] = file
    with pytest.raises(SettingsInvalid, match=message):
        settings.current()


def test_half_a_pair_of_keys_and_two_buckets_that_are_one_are_refused(environ):
    environ["CLIENT_S3_BUCKET"] = "same-bucket"
    environ["CLIENT_S3_ACCESS_KEY"] = "key"
    with pytest.raises(SettingsInvalid, match="CLIENT_S3_ACCESS_KEY and _SECRET_KEY go together"):
        settings.current()
    environ["CLIENT_S3_SECRET_KEY"] = "secret"
    environ["BACKUP_S3_BUCKET"] = "same-bucket"
    with pytest.raises(SettingsInvalid, match="name another"):
        settings.current()
