"""How a batch becomes objects: formats, compression, sizes and partitions, decided when it is planned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.settings import Compression, Format, Settings

MEBIBYTE = 1024 * 1024


class Layout(BaseModel):
    """It is kept with the plan, so that a batch that is begun again ends in the same objects whatever was set since."""

    model_config = ConfigDict(frozen=True)

    formats: tuple[Format, ...]
    compression: Compression | None = None
    # An object ends when it has so many bytes; the next one begins.
    object_bytes: Annotated[int, Field(ge=1)] = 128 * MEBIBYTE
    partition_by: Literal["site_id"] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """What the settings ask for now."""
        return cls(
            formats=settings.export_format,
            compression=settings.export_compression,
            object_bytes=settings.export_object_mib * MEBIBYTE,
            partition_by=settings.export_partition_by,
        )

    def compression_of(self, name: Format) -> Compression:
        """What was asked for, or what every reader of the format takes and is small."""
        return self.compression or ("zstd" if name == "parquet" else "gzip")
