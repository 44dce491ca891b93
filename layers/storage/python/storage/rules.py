"""Which events the client's bucket gets, and what of each: filters and transforms, declared and checked before they are used.

Expressions are JMESPath's (https://jmespath.org/specification.html): they can do nothing but read an event. What the
event is to them: what was sent, with the columns of text and `id` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

COLUMNS = (
    "id",
    "event_id",
    "event_type",
    "session_id",
    "visitor_id",
    "site_id",
    "timestamp",
    "url",
    "path",
    "user_agent",
    "ip_address",
    "raw_event_data",
    "created_at",
)
# Text: what can be hashed and cut. The raw event is no text to whoever reads it, but a structure.
TEXTS = ("event_id", "event_type", "session_id", "visitor_id", "site_id", "url", "path", "user_agent", "ip_address")

ColumnType = Literal["string", "integer", "number", "boolean"]

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# What a reader makes of the folders that an object lies in.
FOLDERS = ("date", "hour", "site")
LONGEST_EXPRESSION = 1000


class Filters(BaseModel):
    """The events and the columns that are exported; what is empty keeps all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sites: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    where: str | None = Field(default=None, description="a JMESPath expression that is true of what is kept")
    fields: tuple[str, ...] = ()

    @field_validator("where")
    @classmethod
    def _where(cls, value: str | None) -> str | None:
        if value is not None:
            _require_expression(value)
        return value

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _require_columns(value, COLUMNS)
        if value and "id" not in value:
            raise ValueError("`id` has to be among them: by it every event is proven to be there once")
        return value

    def keeps_all(self) -> bool:
        """Whether no event is left out."""
        return not (self.sites or self.event_types or self.where)

    def hides(self, column: str) -> bool:
        """Whether a column is not among those that were chosen."""
        return bool(self.fields) and column not in self.fields


class Flattened(BaseModel):
    """A column made of what an expression finds in an event; what does not fit its type is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    type: ColumnType = "string"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        _require_expression(value)
        return value


class Transforms(BaseModel):
    """What is done to the events that are kept, in this order: hash, truncate, drop, flatten, rename.

    What is hashed, cut or dropped by the name of a column is so in the raw event too, and a path such as `data.email`
    names a place in there alone. So no column that is made of the event tells what was to be hidden.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: tuple[str, ...] = ()
    truncate: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    drop: tuple[str, ...] = ()
    flatten: dict[str, Flattened] = {}
    rename: dict[str, str] = {}

    @model_validator(mode="after")
    def _fit(self) -> Self:
        for name in self.flatten:
            if not NAME.fullmatch(name) or name in (*COLUMNS, *FOLDERS):
                raise ValueError(f"flatten.{name}: give the column a name of its own, of a-z 0-9 _")
        for what, names in (("hash", self.hash), ("truncate", self.truncate), ("drop", self.drop)):
            for name in names:
                if what != "drop" and name in COLUMNS and name not in TEXTS:
                    raise ValueError(
                        f"{what}: {name} is no text; give one of {', '.join(TEXTS)}, or a path in the event"
                    )
                if not PATH.fullmatch(name):
                    raise ValueError(f"{what}: {name} is neither a column nor a path such as data.email")
                self._require_place(what, name)
        if "id" in self.drop:
            raise ValueError("drop: `id` has to stay: by it every event is proven to be there once")
        self._require_names()
        return self

    def _require_place(self, what: str, name: str) -> None:
        """A name that hides nothing would be taken for one that does."""
        first, _, rest = name.partition(".")
        if name in self.flatten or (name in self.rename.values() and name not in COLUMNS):
            raise ValueError(f"{what}: {name} is made later; name the column or the path that it is made of")
        if rest and first in COLUMNS:
            raise ValueError(f"{what}: {name}: a path begins in the event, such as data.email, and not in a column")

    def _require_names(self) -> None:
        left = [name for name in (*COLUMNS, *self.flatten) if name not in self.drop]
        for name, new in self.rename.items():
            if name == "id" or name not in left:
                raise ValueError(f"rename: {name} is no column that can be; give one of {', '.join(left[1:])}")
            if not NAME.fullmatch(new) or new in FOLDERS:
                raise ValueError(f"rename.{name}: {new} is no name of a column; give one of a-z 0-9 _")
        named = [self.rename.get(name, name) for name in left]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"rename: two columns would be called {twice[0]}")


def _require_expression(text: str) -> None:
    # Only whoever has rules loads it: the collector reads the same settings.
    import jmespath  # noqa: PLC0415
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    if len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"an expression has at most {LONGEST_EXPRESSION} characters")
    try:
        jmespath.compile(text)
    except RecursionError:
        raise ValueError("the expression is nested too deep") from None
    except JMESPathError as error:
        raise ValueError(f"{text!r} is not JMESPath: {' '.join(str(error).split())}") from None


def _require_columns(names: Iterable[str], allowed: tuple[str, ...]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{name} is no column; give some of {', '.join(allowed)}")
