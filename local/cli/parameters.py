"""The template's parameters, from the settings: the way by which functions get theirs, here as on AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import SecretStr

from storage.naming import Site
from storage.policies import Policy
from storage.rules import Filters, Transforms
from storage.settings import Settings

_FIELDS = {
    "Bucket": "bucket",
    "Prefix": "prefix",
    "Region": "region",
    "EndpointUrl": "endpoint_url",
    "AccessKey": "access_key",
    "SecretKey": "secret_key",
    "RoleArn": "role_arn",
    "ExternalId": "external_id",
    "Encryption": "encryption",
    "KmsKey": "kms_key",
    "StorageClass": "storage_class",
}


def of(settings: Settings) -> dict[str, str]:
    """Every parameter of `sam-template.yaml` that is a setting; the others are AWS's own."""
    sides: dict[str, str] = {"Client": "client", "Backup": "backup"}
    by_name = {destination.name: destination for destination in settings.destinations()}
    buckets = {
        f"{side}{parameter}": _plain(getattr(by_name[name], field))
        for side, name in sides.items()
        if name in by_name
        for parameter, field in _FIELDS.items()
    }
    return {
        "DatabaseUrl": settings.database_url.get_secret_value(),
        "AdminToken": settings.evothesis_admin_token.get_secret_value(),
        "PrivacyKey": settings.privacy_key.get_secret_value(),
        "ExportFormat": ",".join(settings.export_format),
        "ExportSchedule": settings.schedule_expression,
        "ExportBatchRows": str(settings.export_batch_rows),
        "ExportCompression": settings.export_compression or "",
        "ExportObjectMib": str(settings.export_object_mib),
        "ExportPartitionBy": settings.export_partition_by or "",
        "ExportFilters": _rules(settings.export_filters),
        "ExportTransforms": _rules(settings.export_transforms),
        "ExportHashKey": _plain(settings.export_hash_key),
        "ExportSoonerEvents": str(settings.export_sooner_events or ""),
        "ExportLagMinutes": str(settings.export_lag_minutes or ""),
        "WebhookUrl": settings.webhook_url or "",
        "WebhookSecret": _plain(settings.webhook_secret),
        "WebhookAllowPrivate": "true" if settings.webhook_allow_private else "false",
        "Sites": _by_site(settings.sites),
        "SiteGroups": _groups(settings),
        "QuotaEvents": str(settings.quota_events or ""),
        "Discovery": settings.discovery,
        "DiscoverySessions": str(settings.discovery_sessions),
        "DiscoveryMinutes": str(settings.discovery_minutes),
        "BotNetworks": ",".join(map(str, settings.bot_networks)),
        "Policy": _rules(settings.policy),
        "SitePolicies": _by_site(settings.site_policies),
        "RetentionWaitsForBuckets": "true" if settings.retention_waits_for_buckets else "false",
        **_limits(settings),
        **buckets,
    }


def _limits(settings: Settings) -> dict[str, str]:
    names = [name for name in Settings.model_fields if name.startswith("collect_max_")]
    return {"".join(part.capitalize() for part in name.split("_")): str(getattr(settings, name)) for name in names}


def _by_site(members: Mapping[str, Policy | Site]) -> str:
    own = {name: member.model_dump(exclude_unset=True) for name, member in members.items()}
    return json.dumps(own) if own else ""


def _groups(settings: Settings) -> str:
    # Where their buckets are is settled here, as for the others: the functions have no endpoint for all.
    endpoints = {one.name: one.endpoint_url for one in settings.destinations()}
    own = {name: group.model_dump(exclude_unset=True) for name, group in settings.site_groups.items()}
    for name, group in own.items():
        if group.get("export"):
            group["export"]["endpoint_url"] = endpoints[name]
    return json.dumps(own, default=_plain) if own else ""


def _rules(rules: Filters | Transforms | Policy) -> str:
    text = rules.model_dump_json(exclude_defaults=True)
    return "" if text == "{}" else text


def _plain(value: str | SecretStr | None) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value or ""
