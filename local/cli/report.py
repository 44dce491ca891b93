"""What the exporter finds out about a bucket when it is asked to, printed as the command line prints it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from cli.running import Running


def ask(source: str, detail: dict[str, Any]) -> dict[str, Any] | None:
    """The exporter's answer to an event of *source*, or None where it failed; the reason is printed then."""
    answer, problem = asked(source, detail)
    if answer is None:
        click.echo(f"failed: {problem}", err=True)
    return answer


def asked(source: str, detail: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The exporter's answer to an event of *source*, or None where it failed, and the reason."""
    event = {"source": source, "detail-type": "Question", "detail": detail}
    done = Running.find().invoke("ExportScheduled", json.dumps(event).encode())
    answer: dict[str, Any] = json.loads(done.payload)
    if done.failed:
        return None, answer.get("errorMessage", "see `evothesis logs ExportScheduled`")
    return answer, ""


def answered(answer: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """What a route of the runtime answered.

    Raises:
        click.ClickException: it refused; the text is its own.
    """
    code, body = answer
    if code >= 300:
        raise click.ClickException(body.get("error", {}).get("message") or f"HTTP {code}")
    return body


def report_on(side: str, source: str, as_json: bool, show: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Ask the exporter by an event of *source* about the bucket of *side*, and print its report: as JSON, or by *show*.

    Gives the report, or None where the exporter failed; the reason is printed then.
    """
    report = ask(source, {"destination": side})
    if report is not None and as_json:
        click.echo(json.dumps(report, indent=2))
    elif report is not None:
        show(report)
    return report
