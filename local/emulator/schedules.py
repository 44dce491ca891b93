"""Schedule expressions as EventBridge reads them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from aws_croniter import AwsCroniter

from emulator.errors import TemplateInvalid

# Given an instant (UTC), the next one at which to fire.
Expression = Callable[[dt.datetime], dt.datetime]

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rate-expressions.html: one takes the singular unit.
RATE = re.compile(r"rate\((?:(?P<one>1) (?P<unit>minute|hour|day)|(?P<many>[1-9]\d*) (?P<units>minute|hour|day)s)\)")


def parse(text: str, where: str) -> Expression:
    """The schedule that *text* writes.

    Raises:
        TemplateInvalid: EventBridge would refuse it; the text names *where*.
    """
    if match := RATE.fullmatch(text):
        count = int(match["one"] or match["many"])
        if count == 1 and match["many"]:
            raise TemplateInvalid(f"{where}: {text} has to name one unit in the singular")
        period = dt.timedelta(**{f"{match['unit'] or match['units']}s": count})
        return lambda after: after + period
    if text.startswith("cron(") and text.endswith(")"):
        try:
            cron = AwsCroniter(text[len("cron(") : -1])
        except ValueError as error:
            raise TemplateInvalid(f"{where}: {text} is not a schedule: {error}") from None
        return lambda after: _next(cron, after, where)
    raise TemplateInvalid(f"{where}: {text} is neither rate(…) nor cron(…)")


def _next(cron: AwsCroniter, after: dt.datetime, where: str) -> dt.datetime:
    found = cron.get_next(after)
    if not found:
        raise TemplateInvalid(f"{where}: the schedule never fires again")
    moment: dt.datetime = found[0]
    return moment
