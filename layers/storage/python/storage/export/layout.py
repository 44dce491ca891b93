"""How a batch becomes objects: formats, compression, sizes and partitions, decided when it is planned."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from storage.rules import Filters, Transforms
from storage.settings import Compression, Format, Settings

# The version of the columns; docs/export.md lists what changed with each.
SCHEMA_VERSION = 1

MEBIBYTE = 1024 * 1024


class Layout(BaseModel):
    """It is kept with the plan, so that a batch that is begun again ends in the same objects whatever was set since."""

    model_config = ConfigDict(frozen=True)

    formats: tuple[Format, ...]
    compression: Compression | None = None
    # An object ends when it has so many bytes; the next one begins.
    object_bytes: Annotated[int, Field(ge=1)] = 128 * MEBIBYTE
    partition_by: Literal["site_id"] | None = None
    # Of the client's bucket: the other one has all, for from it the database can be had again.
    filters: Filters = Filters()
    transforms: Transforms = Transforms()
    # Whose bucket gets the events of which sites alone.
    groups: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """What the settings ask for now."""
        return cls(
            formats=settings.export_format,
            compression=settings.export_compression,
            object_bytes=settings.export_object_mib * MEBIBYTE,
            partition_by=settings.export_partition_by,
            filters=settings.export_filters,
            transforms=settings.export_transforms,
            groups={
                name: settings.sites_of_group(name) for name, group in settings.site_groups.items() if group.export
            },
        )

    def of_destination(self, name: str) -> Layout:
        """How a batch becomes the objects of one side.

        The backup bucket gets all of everything, and that of a group all of its sites.
        """
        if name == "client":
            return self.model_copy(update={"groups": {}})
        filters = Filters() if name == "backup" else Filters(sites=self.groups[name])
        return self.model_copy(update={"filters": filters, "transforms": Transforms(), "groups": {}})

    def schema_name(self) -> str:
        """The name of the columns that this makes: their version, and a sign of the rules where there are any."""
        if self.is_complete():
            return f"v{SCHEMA_VERSION}"
        rules = orjson.dumps(self.model_dump(include={"filters", "transforms"}), option=orjson.OPT_SORT_KEYS)
        return f"v{SCHEMA_VERSION}-{hashlib.sha256(rules).hexdigest()[:8]}"

    def hides(self, column: str) -> bool:
        """Whether a column does not come out as it was stored, or not at all."""
        return column in (*self.transforms.hash, *self.transforms.drop) or self.filters.hides(column)

    def shows_site(self, site_id: str) -> bool:
        """Whether something may be told of a site by its name."""
        if self.hides("site_id"):
            return False
        return not self.filters.sites or site_id in self.filters.sites

    def is_complete(self) -> bool:
        """Whether nothing of any event is left out or altered."""
        return self.filters == Filters() and self.transforms == Transforms()

    def compression_of(self, name: Format) -> Compression:
        """What was asked for, or what every reader of the format takes and is small."""
        return self.compression or ("zstd" if name == "parquet" else "gzip")
