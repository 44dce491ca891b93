"""Where secrets are kept that nobody puts into an environment: a folder of files, or AWS Secrets Manager."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from storage.errors import SettingsInvalid


def folder(path: str | None) -> Path | None:
    """The folder of secrets, each a file; None where none is named.

    Raises:
        SettingsInvalid: there is no such folder, or a file in it cannot be read.
    """
    if not path:
        return None
    if not Path(path).is_dir():
        raise SettingsInvalid(f"EVOTHESIS_SECRETS_DIR: there is no folder {path}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise SettingsInvalid(f"EVOTHESIS_SECRETS_DIR: {path} cannot be read; let the user of this process list it")
    for file in Path(path).iterdir():
        if file.is_file() and not os.access(file, os.R_OK):
            raise SettingsInvalid(f"EVOTHESIS_SECRETS_DIR: {file} cannot be read; let the user of this process read it")
    return Path(path)


@lru_cache(maxsize=1)
def secrets_of(arns: str) -> dict[str, Any]:
    """Settings, by the names of the model, in secrets of AWS Secrets Manager; *arns* has commas between them.

    Each is an object of JSON. The password of a database that RDS made is handed to libpq by the environment
    (`PGPASSWORD`), for the URL that the template gives has none. Asked once a process.

    Raises:
        SettingsInvalid: one cannot be read, or is no object.
    """
    found: dict[str, Any] = {}
    for arn in filter(None, (part.strip() for part in arns.split(","))):
        document = _fetched(arn)
        # As RDS and `GenerateSecretString` have it.
        if {"username", "password"} <= document.keys():
            os.environ["PGPASSWORD"] = document["password"]
        else:
            found |= {name.lower(): value for name, value in document.items()}
    return found


def _fetched(arn: str) -> dict[str, Any]:
    # It takes a third of a second to load, and is loaded where a secret is kept there alone.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        text = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        document = json.loads(text)
    except (BotoCoreError, ClientError) as error:
        raise SettingsInvalid(f"EVOTHESIS_SECRETS_ARN: {arn} cannot be read: {error}") from None
    except (KeyError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise SettingsInvalid(f"EVOTHESIS_SECRETS_ARN: {arn} holds no object of JSON with settings by name")
    return document
