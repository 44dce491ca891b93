"""Secrets that are in no environment: files of a folder, and AWS Secrets Manager."""

import json
import os

import boto3
import pytest

from storage import access, settings, vault
from storage.errors import SettingsInvalid


@pytest.fixture
def folder(tmp_path, environ):
    environ["EVOTHESIS_SECRETS_DIR"] = str(tmp_path)
    environ["CLIENT_S3_ACCESS_KEY"] = "its-name"
    return tmp_path


def test_a_file_named_as_a_setting_is_its_value(folder):
    (folder / "CLIENT_S3_SECRET_KEY").write_text("from-a-file\n")
    (folder / "privacy_key").write_text("sixteen-characters")
    loaded = settings.load()
    assert loaded.client_s3_secret_key.get_secret_value() == "from-a-file"
    assert loaded.privacy_key.get_secret_value() == "sixteen-characters"


def test_the_environment_goes_before_a_file_unless_it_is_empty(folder, environ):
    (folder / "CLIENT_S3_SECRET_KEY").write_text("from-a-file")
    environ["CLIENT_S3_SECRET_KEY"] = ""
    assert settings.load().client_s3_secret_key.get_secret_value() == "from-a-file"
    environ["CLIENT_S3_SECRET_KEY"] = "from-the-environment"
    assert settings.load().client_s3_secret_key.get_secret_value() == "from-the-environment"


def test_a_file_that_is_wrong_is_named_without_what_is_in_it(folder):
    (folder / "PRIVACY_KEY").write_text("short-secret")
    with pytest.raises(SettingsInvalid, match="PRIVACY_KEY: is too short") as raised:
        settings.load()
    assert "short-secret" not in str(raised.value)


def test_a_folder_that_is_not_there_is_named(environ):
    environ["EVOTHESIS_SECRETS_DIR"] = "/nowhere"
    with pytest.raises(SettingsInvalid, match="EVOTHESIS_SECRETS_DIR: there is no folder /nowhere"):
        settings.load()


def test_a_folder_that_may_not_be_listed_is_named(folder, monkeypatch):
    # Root may list everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SettingsInvalid, match="cannot be read; let the user of this process list it"):
        settings.load()


@pytest.fixture
def manager(aws, monkeypatch, environ):
    """Keep texts as secrets, and name their ARNs."""
    # So that it is set back.
    monkeypatch.setenv("PGPASSWORD", "")
    client = boto3.client("secretsmanager")

    def keep(*texts):
        arns = [client.create_secret(Name=f"s{number}", SecretString=text)["ARN"] for number, text in enumerate(texts)]
        environ["EVOTHESIS_SECRETS_ARN"] = ",".join(arns)
        vault.secrets_of.cache_clear()

    yield keep
    vault.secrets_of.cache_clear()


def test_an_object_of_secrets_manager_has_settings_by_name(manager, environ):
    manager(json.dumps({"PRIVACY_KEY": "sixteen-characters", "EVOTHESIS_ADMIN_TOKEN": "kept"}))
    environ["EVOTHESIS_ADMIN_TOKEN"] = "from-the-environment"
    loaded = settings.load()
    assert loaded.privacy_key.get_secret_value() == "sixteen-characters"
    assert loaded.evothesis_admin_token.get_secret_value() == "from-the-environment"


def test_the_password_of_a_database_that_was_made_reaches_libpq(manager):
    manager(json.dumps({"username": "evothesis", "password": "generated"}))
    settings.load()
    assert os.environ["PGPASSWORD"] == "generated"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no object"),
        ("no JSON", "holds no object"),
        ('{"PRIVACY_KEYS": "x"}', "PRIVACY_KEYS is not a setting"),
    ],
)
def test_a_secret_that_says_nothing_is_named(manager, text, message):
    manager(text)
    with pytest.raises(SettingsInvalid, match=message):
        settings.load()


def test_a_secret_that_may_not_be_read_is_named(manager, environ):
    manager()
    environ["EVOTHESIS_SECRETS_ARN"] = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none"
    with pytest.raises(SettingsInvalid, match="secret:none cannot be read"):
        settings.load()


def test_while_one_token_takes_the_place_of_another_both_are_taken(environ):
    environ["EVOTHESIS_ADMIN_TOKEN"] = "old-token new-token"
    loaded = settings.load()
    assert access.is_admin(loaded, "old-token")
    assert access.is_admin(loaded, "new-token")
    for wrong in ("", "old-token new-token", "old", "new-token "):
        assert not access.is_admin(loaded, wrong)
