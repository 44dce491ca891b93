"""What is kept of visitors, and for how long: a policy for all sites, and what differs from it at one of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# What a browser could not deliver it keeps for a week: an event that is dropped before could come again as a new one.
LEAST_DAYS = 8
MOST_DAYS = 36_500
# The most that the French authority lets measuring without consent keep: 25 months (CNIL, audience measurement exemption).
EXEMPT_DAYS = 760

Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]


class Policy(BaseModel):
    """The policy of a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # `required` keeps only what says that consent was granted; `exempt` is for those whom the law lets measure without, and
    # holds them to its bounds; `off` leaves it to the site. Who refuses is never kept.
    consent: Literal["required", "exempt", "off"] = "off"
    ip_address: Literal["drop", "truncate", "keep"] = "truncate"
    user_agent: Literal["drop", "parse", "keep"] = "keep"
    # Beside the rules that hold everywhere: names of fields that are masked whole, and RE2 expressions of what is masked.
    sensitive_fields: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = ()
    sensitive_patterns: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = ()
    # For ever where they are not set.
    events_days: Annotated[int, Field(ge=LEAST_DAYS, le=MOST_DAYS)] | None = None
    refused_days: Days | None = None
    objects_days: Days | None = None

    @field_validator("sensitive_fields", "sensitive_patterns", mode="before")
    @classmethod
    def _many(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError("has to be a list")  # noqa: TRY004 - what pydantic turns into an error with the field's name
        return tuple(value)

    @field_validator("consent", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        # As YAML 1.1 reads the word.
        return "off" if value is False else value

    @field_validator("sensitive_patterns")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Only those who have any wait until it is loaded.
        import re2  # noqa: PLC0415

        options = re2.Options()
        options.log_errors = False
        for pattern in value:
            try:
                compiled = re2.compile(pattern, options)
            except re2.error as error:
                reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                raise ValueError(f"{pattern!r} is no expression of RE2: {reason}") from None
            if any(not match.group() for text in ("", "a b-1") for match in compiled.finditer(text)):
                raise ValueError(f"{pattern!r} matches nothing at all too, and so everywhere")
        return value

    @model_validator(mode="after")
    def _within_the_exemption(self) -> Self:
        if self.consent == "exempt" and self.ip_address == "keep":
            raise ValueError("consent: exempt wants ip_address: truncate or drop")
        for days in (self.events_days, self.refused_days):
            if self.consent == "exempt" and not (days and days <= EXEMPT_DAYS):
                raise ValueError(f"consent: exempt wants events_days and refused_days of at most {EXEMPT_DAYS}")
        return self

    def of_site(self, differing: dict[str, object]) -> dict[str, object]:
        """The members of a site's policy, which differs from this one in *differing*; objects are of many sites."""
        return {**self.model_dump(exclude_unset=True, exclude={"objects_days"}), **differing}
