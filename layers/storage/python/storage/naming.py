"""The sites that the operator names, by what other hosts they are known, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from storage.destination import Bucket
from storage.hosts import canonical

Name = Annotated[str, Field(min_length=1, max_length=200)]
GroupName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Site(BaseModel):
    """What is known of a site beside its events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = None
    # Hosts whose pages are counted to this site.
    aliases: tuple[str, ...] = ()
    # The client of an agency that it belongs to.
    group: GroupName | None = None
    # So many events a month are agreed on.
    quota_events: Annotated[int, Field(ge=1)] | None = None

    @field_validator("aliases", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError("has to be a list of hosts")  # noqa: TRY004 - pydantic adds the field's name
        for host in value:
            if not isinstance(host, str) or canonical(host) != host:
                raise ValueError(f"{host!r} is not a host; write it as shop.example.com, without www.")
        return tuple(value)


class Group(BaseModel):
    """A client of an agency: what it is called, what it may use, and a bucket that gets the events of its sites alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = None
    quota_events: Annotated[int, Field(ge=1)] | None = None
    export: Bucket | None = None


def by_alias(sites: Mapping[str, Site]) -> dict[str, str]:
    """The site of each alias.

    Raises:
        ValueError: a host is an alias of two, or a site itself.
    """
    found: dict[str, str] = {}
    for site_id, site in sites.items():
        if canonical(site_id) != site_id:
            raise ValueError(f"{site_id!r} is not a site; write its host as shop.example.com, without www.")
        for alias in site.aliases:
            if alias in sites:
                raise ValueError(f"{alias} is an alias of {site_id} and a site itself; take one of both")
            if found.setdefault(alias, site_id) != site_id:
                raise ValueError(f"{alias} is an alias of {found[alias]} and of {site_id}; take one of both")
    return found
