"""The settings of the whole product: one model, read from the environment and a YAML file."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from base64 import b64decode
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from storage import vault
from storage.destination import (
    PORT,
    Bucket,
    BucketName,
    Destination,
    Encryption,
    Endpoint,
    ExternalId,
    KeyPrefix,
    Region,
    RoleArn,
    StorageClass,
)
from storage.errors import SettingsInvalid
from storage.hosts import canonical
from storage.naming import Group, Site, by_alias
from storage.policies import EXEMPT_DAYS, Policy
from storage.rules import Filters, Transforms

Format = Literal["json", "csv", "parquet"]
Compression = Literal["gzip", "zstd", "none"]
SIDES = ("client", "backup")
GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
FORMATS: tuple[Format, ...] = ("json", "csv", "parquet")

LEAST_KEY = 16
WEBHOOK = re.compile(
    rf"(?:https://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(?:localhost|127(?:\.\d{{1,3}}){{3}}|\[::1\]))(?:{PORT})?(?:[/?]\S*)?"
)
# 24 to 64 bytes, as the specification has it.
SECRET_BYTES = range(24, 65)
DATABASE = re.compile(r"postgres(?:ql)?://")

HOURLY, DAILY, REAL_TIME = "cron(0 * * * ? *)", "cron(0 0 * * ? *)", "rate(1 minute)"
NAMED_SCHEDULES = {"hourly": HOURLY, "daily": DAILY, "real-time": REAL_TIME}
SCHEDULE_NAMES = {expression: name for name, expression in NAMED_SCHEDULES.items()}
# Twice the time between two runs and a little more; of any other schedule that of a day.
LAG_MINUTES = {HOURLY: 130, REAL_TIME: 15}
LAG_MINUTES_OTHERWISE = 2 * 24 * 60 + 10

_YAML_CREDENTIALS = ("access_key", "secret_key", "region", "role_arn", "external_id")


_SIDE_FIELDS = tuple(Bucket.model_fields)


class Settings(BaseSettings):
    """Everything that can be set; field `client_s3_bucket` is the variable `CLIENT_S3_BUCKET`, and so on."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: SecretStr = Field(default=SecretStr(""), description="PostgreSQL, as a libpq URL")
    evothesis_admin_token: SecretStr = Field(
        default=SecretStr(""),
        description="bearer token of the admin routes; two with a space between while one replaces the other",
    )
    privacy_key: SecretStr = Field(default=SecretStr(""), description="the key of the hashes of visitors' ids")

    client_s3_bucket: BucketName | None = None
    client_s3_prefix: KeyPrefix = "analytics"
    client_s3_region: Region = "us-east-1"
    client_s3_endpoint_url: Endpoint | None = None
    client_s3_access_key: SecretStr | None = None
    client_s3_secret_key: SecretStr | None = None
    client_s3_role_arn: RoleArn | None = None
    client_s3_external_id: ExternalId | None = None
    client_s3_encryption: Encryption | None = None
    client_s3_kms_key: str | None = None
    client_s3_storage_class: StorageClass | None = None

    backup_s3_bucket: BucketName | None = None
    backup_s3_prefix: KeyPrefix = "analytics"
    backup_s3_region: Region = "us-east-1"
    backup_s3_endpoint_url: Endpoint | None = None
    backup_s3_access_key: SecretStr | None = None
    backup_s3_secret_key: SecretStr | None = None
    backup_s3_role_arn: RoleArn | None = None
    backup_s3_external_id: ExternalId | None = None
    backup_s3_encryption: Encryption | None = None
    backup_s3_kms_key: str | None = None
    backup_s3_storage_class: StorageClass | None = None

    aws_endpoint_url_s3: Endpoint | None = Field(
        default=None, description="endpoint of a bucket that names none itself"
    )

    export_format: Annotated[tuple[Format, ...], NoDecode, Field(min_length=1)] = ("parquet",)
    export_schedule: str = "hourly"
    export_compression: Compression | None = Field(default=None, description="gzip; of Parquet zstd")
    export_object_mib: Annotated[int, Field(ge=1, le=4096)] = 128
    export_partition_by: Literal["site_id"] | None = None
    export_filters: Annotated[Filters, NoDecode] = Filters()
    export_transforms: Annotated[Transforms, NoDecode] = Transforms()
    export_hash_key: SecretStr | None = Field(default=None, description="the key of `hash`, at least 16 characters")
    export_batch_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000

    export_sooner_events: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="so many events that wait begin a real-time export before its minute"
    )
    export_lag_minutes: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="how long a bucket may lack an event before it is told; by the schedule"
    )

    policy: Annotated[Policy, NoDecode] = Policy()
    site_policies: Annotated[dict[str, Policy], NoDecode] = Field(
        default={}, description="what differs from POLICY, by site"
    )
    retention_waits_for_buckets: bool = Field(
        default=True, description="whether what a bucket lacks is kept, however old"
    )

    sites: Annotated[dict[str, Site], NoDecode] = Field(
        default={}, description="what sites are called, their aliases and their groups, by site"
    )
    site_groups: Annotated[dict[str, Group], NoDecode] = Field(
        default={}, description="the clients of an agency: their names, quotas and buckets, by group"
    )
    quota_events: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="so many events of billed sites a month are agreed on; beyond it nothing is dropped"
    )

    discovery: Literal["auto", "allowlist", "closed"] = Field(
        default="auto", description="which sites are let in: all; those that were confirmed, others apart; those alone"
    )
    discovery_sessions: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="so many sessions, seen from pages of its own, confirm a site"
    )
    discovery_minutes: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=10, description="over so many minutes at least"
    )

    bot_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="networks whose traffic is no visitor's, such as a data centre's"
    )

    webhook_url: str | None = None
    webhook_secret: SecretStr | None = Field(
        default=None, description="whsec_…; several, with spaces, while they change"
    )
    webhook_allow_private: bool = False

    collect_queue_url: str | None = Field(
        default=None, description="an SQS queue in which beacons wait for the database"
    )
    collect_max_body_bytes: Annotated[int, Field(ge=1024, le=2_097_152)] = 1_048_576
    collect_max_events: Annotated[int, Field(ge=1, le=10_000)] = 500
    collect_max_depth: Annotated[int, Field(ge=2, le=100)] = 16
    collect_max_values: Annotated[int, Field(ge=1, le=10_000)] = 250
    collect_max_keys: Annotated[int, Field(ge=1, le=10_000)] = 64
    collect_max_key_chars: Annotated[int, Field(ge=1, le=1024)] = 128
    collect_max_string_bytes: Annotated[int, Field(ge=64, le=1_048_576)] = 8192
    collect_max_url_bytes: Annotated[int, Field(ge=64, le=65_536)] = 4096

    @field_validator("export_format", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"give one or more of {', '.join(FORMATS)}")
        return tuple(dict.fromkeys(value))

    @field_validator("export_filters", "export_transforms", "policy", "sites", "site_groups", mode="before")
    @classmethod
    def _rules(cls, value: object) -> object:
        try:
            return json.loads(value, object_pairs_hook=_once) if isinstance(value, str) else value
        except json.JSONDecodeError as error:
            raise ValueError(f"is not JSON: {error}") from None

    @field_validator("site_policies", mode="before")
    @classmethod
    def _site_policies(cls, value: object, known: ValidationInfo) -> object:
        given = cls._rules(value)
        if not isinstance(given, dict):
            raise ValueError("has to be an object of policies by site")  # noqa: TRY004 - pydantic adds the setting's name
        policy = known.data.get("policy")
        whole = {}
        for site_id, differing in given.items():
            if policy is None:
                return {}
            if not isinstance(differing, dict):
                raise ValueError(f"{site_id}: has to be an object of what differs from POLICY")  # noqa: TRY004
            if canonical(str(site_id)) != site_id:
                raise ValueError(f"{site_id!r} is not a site; write its host as shop.example.com, without www.")
            if "objects_days" in differing:
                raise ValueError(f"{site_id}: objects hold events of many sites; set objects_days in POLICY")
            whole[site_id] = policy.of_site(differing)
        return whole

    @field_validator("bot_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("sites")
    @classmethod
    def _sites(cls, value: dict[str, Site]) -> dict[str, Site]:
        by_alias(value)
        return value

    @field_validator("site_groups")
    @classmethod
    def _groups(cls, value: dict[str, Group], known: ValidationInfo) -> dict[str, Group]:
        sites: dict[str, Site] = known.data.get("sites", {})
        for name, group in value.items():
            if not GROUP.fullmatch(name) or name in ("client", "backup"):
                raise ValueError(f"{name!r} is not a name of a group; take one such as acme")
            if group.export and not any(site.group == name for site in sites.values()):
                raise ValueError(f"{name} has a bucket, and SITES names no site of it; give one `group`: {name!r}")
        return value

    @field_validator("export_hash_key", "privacy_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value() and len(value.get_secret_value()) < LEAST_KEY:
            raise ValueError(f"is too short to keep a secret; give at least {LEAST_KEY} characters")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _webhook(cls, value: str | None) -> str | None:
        if value is not None and not (WEBHOOK.fullmatch(value) and _has_host(value)):
            raise ValueError("is not a URL such as https://ops.example.com/hooks (http:// is for this machine alone)")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        given = value.get_secret_value().split() if value else None
        if given is not None and not (given and all(map(is_secret, given))):
            raise ValueError('is no secret of Standard Webhooks; echo "whsec_$(openssl rand -base64 32)" makes one')
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr) -> SecretStr:
        # The value is not echoed: it has a password in it.
        if value.get_secret_value() and not DATABASE.match(value.get_secret_value()):
            raise ValueError("is not a libpq URL such as postgresql://user@host/database")
        return value

    @field_validator("export_schedule")
    @classmethod
    def _schedule(cls, value: str) -> str:
        if value not in NAMED_SCHEDULES and not re.fullmatch(r"(rate|cron)\([^()]+\)", value):
            raise ValueError("is not hourly, daily, real-time, rate(…) or cron(…)")
        return value

    @model_validator(mode="after")
    def _ways_into_buckets(self) -> Self:
        for side in ("client", "backup"):
            if bool(getattr(self, f"{side}_s3_access_key")) != bool(getattr(self, f"{side}_s3_secret_key")):
                raise ValueError(f"{side.upper()}_S3_ACCESS_KEY and _SECRET_KEY go together; set both or neither")
            if getattr(self, f"{side}_s3_external_id") and not getattr(self, f"{side}_s3_role_arn"):
                raise ValueError(f"{side.upper()}_S3_EXTERNAL_ID belongs to a role; set {side.upper()}_S3_ROLE_ARN too")
            if getattr(self, f"{side}_s3_kms_key") and getattr(self, f"{side}_s3_encryption") in (None, "AES256"):
                raise ValueError(f"{side.upper()}_S3_KMS_KEY wants {side.upper()}_S3_ENCRYPTION=aws:kms")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        places: dict[tuple[str, str], str] = {}
        for one in self.destinations():
            for (bucket, prefix), before in places.items():
                if bucket == one.bucket and (
                    f"{prefix}/".startswith(f"{one.prefix}/") or f"{one.prefix}/".startswith(f"{prefix}/")
                ):
                    raise ValueError(
                        f"the {one.name} bucket is within the {before} bucket; name another, or a prefix of its own"
                        if prefix != one.prefix
                        else f"the {one.name} bucket is the {before} bucket; name another, or another prefix"
                    )
            places[one.bucket, one.prefix] = one.name
        return self

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.export_transforms.hash and not self.export_hash_key:
            raise ValueError(
                "EXPORT_TRANSFORMS hashes, so EXPORT_HASH_KEY has to be set; `openssl rand -hex 32` makes one"
            )
        rules = self.export_transforms
        hidden = "site_id" in (*rules.hash, *rules.drop) or self.export_filters.hides("site_id")
        if self.export_partition_by and hidden:
            raise ValueError(
                "EXPORT_PARTITION_BY names sites in folders, and EXPORT_TRANSFORMS hides them; take one of both"
            )
        kept = self.policy.objects_days
        exempt = [one for one in (self.policy, *self.site_policies.values()) if one.consent == "exempt"]
        if exempt and self.destinations() and not (kept and kept <= EXEMPT_DAYS):
            raise ValueError(f"consent: exempt wants POLICY to have objects_days of at most {EXEMPT_DAYS}")
        if self.webhook_url and not self.webhook_secret:
            raise ValueError('WEBHOOK_URL wants WEBHOOK_SECRET; echo "whsec_$(openssl rand -base64 32)" makes one')
        return self

    @property
    def schedule_expression(self) -> str:
        """The export's schedule as EventBridge writes it."""
        return NAMED_SCHEDULES.get(self.export_schedule, self.export_schedule)

    @property
    def is_real_time(self) -> bool:
        """Whether exports are made every minute."""
        return self.schedule_expression == REAL_TIME

    @property
    def lag_limit(self) -> dt.timedelta:
        """How long a bucket may lack an event before it is told."""
        minutes = self.export_lag_minutes or LAG_MINUTES.get(self.schedule_expression, LAG_MINUTES_OTHERWISE)
        return dt.timedelta(minutes=minutes)

    @cached_property
    def sites_by_alias(self) -> dict[str, str]:
        """The site of each host that is an alias."""
        return by_alias(self.sites)

    def site_of(self, host: str | None) -> str | None:
        """The site that pages of *host* are counted to: itself, or the one that it is an alias of."""
        return self.sites_by_alias.get(host, host) if host else None

    def policy_of(self, site_id: str | None) -> Policy:
        """The policy of a site; of an event whose site could not be told, that of all."""
        return self.site_policies.get(site_id or "", self.policy)

    def destinations(self) -> tuple[Destination, ...]:
        """The buckets that every batch goes to, the client's first and the backup last; what has no bucket is left out."""
        client, backup = ([self._destination(side)] if getattr(self, f"{side}_s3_bucket") else [] for side in SIDES)
        groups = [
            Destination(name=name, **self._reached(dict(group.export)))
            for name, group in sorted(self.site_groups.items())
            if group.export
        ]
        return (*client, *groups, *backup)

    def sites_of_group(self, name: str) -> tuple[str, ...]:
        """The sites that are of a group."""
        return tuple(sorted(site_id for site_id, site in self.sites.items() if site.group == name))

    def _reached(self, own: dict[str, Any]) -> dict[str, Any]:
        return {**own, "endpoint_url": own["endpoint_url"] or self.aws_endpoint_url_s3}

    def _destination(self, side: str) -> Destination:
        own = {name: getattr(self, f"{side}_s3_{name}") for name in _SIDE_FIELDS}
        hash_key = self.export_hash_key if side == "client" else None
        return Destination(name=side, hash_key=hash_key, **self._reached(own))

    def require_database(self) -> str:
        """The database's URL.

        Raises:
            SettingsInvalid: it is not set.
        """
        url = self.database_url.get_secret_value()
        if not url:
            raise SettingsInvalid("DATABASE_URL is not set; give a libpq URL such as postgresql://user@host/database")
        return url

    def require_privacy_key(self) -> bytes:
        """What the hashes of visitors are keyed with.

        Raises:
            SettingsInvalid: it is not set.
        """
        key = self.privacy_key.get_secret_value()
        if not key:
            raise SettingsInvalid(f"PRIVACY_KEY is not set; give {LEAST_KEY} random characters or more, and keep them")
        return key.encode()

    def require_destinations(self) -> tuple[Destination, ...]:
        """The client's bucket, those of groups and, where the operator has one, the backup bucket.

        Raises:
            SettingsInvalid: the client's is not set.
        """
        self.require_destination("client")
        return self.destinations()

    def keeper(self) -> Destination:
        """The operator's own bucket, which keeps what is of the whole installation: the backup, or else the client's.

        Raises:
            SettingsInvalid: neither is set.
        """
        return self.require_destination("backup" if self.backup_s3_bucket else "client")

    def require_destination(self, name: str) -> Destination:
        """The bucket of one side: `client`, `backup`, or a group.

        Raises:
            SettingsInvalid: that side has none.
        """
        for destination in self.destinations():
            if destination.name == name:
                return destination
        if name in SIDES:
            raise SettingsInvalid(f"{name.upper()}_S3_BUCKET is not set; name the bucket that events are delivered to")
        known = ", ".join(one.name for one in self.destinations()) or "none is set"
        raise SettingsInvalid(f"{name!r} is no bucket of this installation ({known})")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object of JSON, each of which is there once: of two the first would be lost without a word."""
    found = dict(members)
    if len(found) < len(members):
        twice = next(name for name, _ in members if sum(name == one for one, _ in members) > 1)
        raise ValueError(f"has {twice!r} twice")
    return found


def is_secret(text: str) -> bool:
    """Whether that is a secret as Standard Webhooks has them."""
    try:
        return text.startswith("whsec_") and len(b64decode(text[len("whsec_") :], validate=True)) in SECRET_BYTES
    except ValueError:
        return False


def _has_host(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return bool(ip_address(host) if ":" in host else host)
    except ValueError:
        return False


def load() -> Settings:
    """Read the settings: over the environment the YAML file that `EVOTHESIS_CONFIG` names, and what neither says from secrets.

    Secrets are files named as settings are, in the folder `EVOTHESIS_SECRETS_DIR`, or objects of JSON in AWS Secrets
    Manager whose ARNs are in `EVOTHESIS_SECRETS_ARN`.

    Raises:
        SettingsInvalid: with one line that names the setting and says how to mend it.
    """
    file = os.environ.get("EVOTHESIS_CONFIG")
    folder = os.environ.get("EVOTHESIS_SECRETS_DIR")
    given = from_yaml(Path(file)) if file else {}
    kept = vault.secrets_of(os.environ.get("EVOTHESIS_SECRETS_ARN", ""))
    if wrong := sorted(kept.keys() - Settings.model_fields.keys()):
        raise SettingsInvalid(
            f"EVOTHESIS_SECRETS_ARN: {wrong[0].upper()} is not a setting; `docs/settings.md` lists them"
        )
    # What is said in the environment goes before what is kept.
    kept = {name: value for name, value in kept.items() if not os.environ.get(name.upper())}
    try:
        source: dict[str, Any] = {"_secrets_dir": vault.folder(folder)}
        return Settings(**source, **(kept | given))
    except ValidationError as error:
        raise SettingsInvalid(one_line(error)) from None


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once from its environment."""
    return load()


def from_yaml(path: Path) -> dict[str, Any]:
    """The customer's YAML shape, as the names of `Settings`.

    Raises:
        SettingsInvalid: the file cannot be read, or names what is no setting.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8")) or {}
    except OSError as error:
        raise SettingsInvalid(f"EVOTHESIS_CONFIG: cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsInvalid(f"EVOTHESIS_CONFIG: {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise SettingsInvalid(f"EVOTHESIS_CONFIG: {path} holds no settings; start it with `s3_export:`")
    if wrong := [name for name in document if not isinstance(name, str)]:
        raise SettingsInvalid(f"EVOTHESIS_CONFIG: {wrong[0]!r} in {path} is not a setting")
    values = {name: value for name, value in document.items() if name != "s3_export"}
    export = document.get("s3_export") or {}
    if not isinstance(export, dict):
        raise SettingsInvalid(f"EVOTHESIS_CONFIG: s3_export in {path} is not a mapping")
    for name, value in export.items():
        values |= _from_yaml_export(name, value, path)
    return values


def _from_yaml_export(name: str, value: Any, path: Path) -> dict[str, Any]:
    match name:
        case "client_bucket" | "backup_bucket":
            return {f"{name.removesuffix('_bucket')}_s3_bucket": value}
        case "format" | "schedule" | "batch_rows" | "compression" | "object_mib" | "partition_by" | "hash_key":
            return {f"export_{name}": value}
        case "filters" | "transforms" if isinstance(value, dict):
            return {f"export_{name}": value}
        case "endpoint" | "prefix":
            key = "endpoint_url" if name == "endpoint" else name
            return {f"client_s3_{key}": value, f"backup_s3_{key}": value}
        case "credentials" | "backup_credentials" if isinstance(value, dict):
            side = "client" if name == "credentials" else "backup"
            if wrong := set(value) - set(_YAML_CREDENTIALS):
                raise SettingsInvalid(f"EVOTHESIS_CONFIG: s3_export.{name}.{wrong.pop()} in {path} is not a setting")
            return {f"{side}_s3_{key}": item for key, item in value.items()}
        case "client" | "backup" if isinstance(value, dict):
            named = {"endpoint_url" if key == "endpoint" else key: item for key, item in value.items()}
            if unknown := [key for key in named if key not in _SIDE_FIELDS]:
                raise SettingsInvalid(f"EVOTHESIS_CONFIG: s3_export.{name}.{unknown[0]} in {path} is not a setting")
            return {f"{name}_s3_{key}": item for key, item in named.items()}
    raise SettingsInvalid(f"EVOTHESIS_CONFIG: s3_export.{name} in {path} is not a setting, or has the wrong shape")


# Where it is said what may stand within a setting.
PAGES = {
    "EXPORT_FILTERS": "export.md lists what filters and transforms there are",
    "POLICY": "settings.md lists what a policy says",
    "SITE_POLICIES": "settings.md lists what a policy says",
    "SITES": "sites.md lists what is said of a site",
    "SITE_GROUPS": "sites.md lists what is said of a group",
}


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong with settings, by its name."""
    first = error.errors(include_input=False, include_url=False)[0]
    name = (
        ".".join([str(first["loc"][0]).upper(), *(part for part in first["loc"][1:] if isinstance(part, str))])
        if first["loc"]
        else ""
    )
    if first["type"] == "extra_forbidden" and len(first["loc"]) > 1:
        return f"{name} is not a setting; docs/{PAGES.get(name.partition('.')[0], PAGES['EXPORT_FILTERS'])}"
    if first["type"] == "extra_forbidden":
        return f"{name.lower()} is not a setting; `docs/settings.md` lists them"
    if first["type"] == "literal_error":
        many = "or more " if name == "EXPORT_FORMAT" else ""
        return f"{name}: give one {many}of {first['ctx']['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
