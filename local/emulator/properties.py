"""Checks of what a template says, each refusal with the place and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from emulator.errors import TemplateInvalid


def check(where: str, given: Iterable[str], supported: str, elsewhere: str = "") -> None:
    """Refuse a property that is neither *supported* here nor known to matter *elsewhere* only.

    Raises:
        TemplateInvalid: there is one; the text names it.
    """
    known = {*supported.split(), *elsewhere.split()}
    for name in given:
        if name not in known:
            raise TemplateInvalid(f"{where}: {name} is not supported here")


def number(where: str, name: str, value: Any, least: int, most: int) -> int:
    """*value* as a whole number from *least* to *most*.

    Raises:
        TemplateInvalid: it is none.
    """
    try:
        found = int(str(value))
    except ValueError:
        found = least - 1
    if isinstance(value, bool) or not least <= found <= most:
        raise TemplateInvalid(f"{where}: {name} has to be a number from {least} to {most}")
    return found
