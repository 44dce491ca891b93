"""From an envelope to events: what is missing is filled in, what cannot be stored is refused by name."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from collect import bots, hosts, moments
from collect.attribution import attribute
from collect.beacons import Beacon, Document, Unreadable
from collect.cleaning import Cleaner, Problem, cut
from collect.links import name_click
from collect.redaction import redact_text
from collect.site_policy import address, mask, user_agent
from storage import visitors
from storage.events import Event
from storage.settings import Settings

EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]{0,49}")
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{8,64}")
SITE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")
EVENT_ID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")

CANONICAL_EVENT_ID = re.compile(r"[^-]{8}-[^-]{4}-[^-]{4}-[^-]{4}-[^-]{12}")
# RFC 9562, 5.9 and 5.10: the nil and the max UUID stand for "none".
NO_EVENT_IDS = frozenset({"0" * 32, "f" * 32})

USER_AGENT_BYTES = 1024
# What an envelope says is stored with each of its events, so it has to be little.
ENVELOPE_BYTES = 4096

# Beside the members of an event, how many of its values are masked, by kind.
REDACTIONS = "_redactions"

# The last is what Google's consent mode calls it.
CONSENT_NAMES = ("analytics", "state", "granted", "analytics_storage")
CONSENT_GRANTED = frozenset({"true", "granted", "yes", "1"})


def members(envelope: dict[str, Any], max_events: int) -> list[Any]:
    """The events of an envelope, each as sent; an object without `events` is an event itself.

    Raises:
        Unreadable: `events` is no list, is empty, or has more than *max_events*.
    """
    if "events" not in envelope:
        return [envelope]
    events = envelope["events"]
    if not isinstance(events, list):
        raise Unreadable(400, "events_not_a_list", "`events` has to be a list of objects")
    if not events:
        raise Unreadable(400, "no_events", "`events` is empty; send at least one event")
    if len(events) > max_events:
        raise Unreadable(413, "too_many_events", f"`events` has more than {max_events}; send fewer at a time")
    return events


def consent_refused(said: dict[str, Any]) -> bool:
    """Whether an envelope or event says anything of consent to analytics but that it was granted."""
    consent = said.get("consent")
    stated = [consent.get(name) for name in CONSENT_NAMES] if isinstance(consent, dict) else [consent]
    return not all(value is None or _is_granted(value) for value in stated)


def consent_granted(said: dict[str, Any]) -> bool:
    """Whether an event says that consent to analytics was granted, and nothing else of it."""
    consent = said.get("consent")
    stated = [consent.get(name) for name in CONSENT_NAMES] if isinstance(consent, dict) else [consent]
    return any(value is not None for value in stated) and not consent_refused(said)


def _is_granted(value: Any) -> bool:
    return isinstance(value, bool | int | str) and str(value).strip().lower() in CONSENT_GRANTED


class Reader:
    """Reads the members of one beacon into events or refusals.

    Raises:
        Unreadable: what the envelope says beside its events is too much to be stored with each of them.
    """

    def __init__(self, settings: Settings, beacon: Beacon, document: Document, now: dt.datetime) -> None:
        self._cleaner = Cleaner(settings, document.harmless)
        envelope = document.envelope
        self._beacon = beacon
        self._now = now
        self._key = settings.require_privacy_key()
        # What the envelope says holds for each of its events that does not say otherwise; their ids are their own.
        said = {key: value for key, value in envelope.items() if key not in ("events", "event_id")}
        self._inherited = self._cleaner.clean(said) if "events" in envelope else {}
        self._envelope_problem = self._cleaner.problem
        self._envelope_redactions = self._cleaner.redactions
        if document.size > ENVELOPE_BYTES and len(orjson.dumps(self._inherited)) > ENVELOPE_BYTES:
            message = f"an envelope says at most {ENVELOPE_BYTES} bytes beside its events; move the rest into them"
            raise Unreadable(413, "envelope_too_large", message)
        self._settings = settings
        self._sender = sender_of(settings, beacon)
        header = beacon.header("user-agent")
        self._user_agent = _user_agent(header) if header else None

    def read(self, index: int, member: Any) -> tuple[Event | None, Problem | None, dict[str, Any] | None]:
        """An event, or the problem with it and what it is kept as; neither of one that its site's policy withholds."""
        if not isinstance(member, dict):
            return None, Problem("not_an_object", "an event has to be a JSON object"), None
        raw = {**self._inherited, **self._cleaner.clean(member)}
        url = _text(raw, "url")
        page_site, path = hosts.locate(url) if url else (None, None)
        site_id = self._settings.site_of(_named_site(raw) or page_site) or self._sender
        policy = self._settings.policy_of(site_id)
        if policy.consent == "required" and not consent_granted(raw):
            return None, None, None
        raw, found = mask(policy, raw)
        if found:
            url = _text(raw, "url")
            path = hosts.locate(url)[1] if url else None
        # How much was masked, and who is no visitor, is ours to say.
        raw.pop(REDACTIONS, None)
        raw.pop(bots.FLAG, None)
        if found or self._envelope_redactions or self._cleaner.redactions:
            raw[REDACTIONS] = dict(self._envelope_redactions + self._cleaner.redactions + found)
        if no_visitor := bots.reasons(self._settings, self._user_agent, self._beacon.source_ip, raw):
            raw[bots.FLAG] = no_visitor
        problem = self._envelope_problem or self._cleaner.problem or _problem(raw)
        if problem:
            return None, problem, raw
        event_type = raw["event_type"]
        if event_type == "page_view":
            attribute(raw, page_site)
        elif event_type == "link_click":
            event_type = name_click(raw)
        event = Event(
            _event_id(raw.get("event_id")) or self._beacon.id_of(index),
            event_type,
            raw.get("session_id"),
            raw.get("visitor_id"),
            site_id,
            moments.read(raw.get("timestamp"), self._now),
            url,
            path,
            user_agent(policy, self._user_agent),
            address(policy, self._beacon),
            raw,
            self.visitor_hash(raw),
            self._sender == site_id if self._sender else None,
        )
        return event, None, None

    def site_of(self, raw: dict[str, Any]) -> str | None:
        """The site that an event names itself, else that of its page, of the Origin, of the Referer."""
        return self._settings.site_of(_named_site(raw) or hosts.site_of(_text(raw, "url"))) or self._sender

    def visitor_hash(self, raw: dict[str, Any] | None) -> int | None:
        """By what an erased visitor is known again."""
        visitor_id = identifier(raw, "visitor_id")
        return visitors.hash_of(self._key, visitor_id) if visitor_id else None


def sender_of(settings: Settings, beacon: Beacon) -> str | None:
    """The site of the page that sent *beacon*, as its Origin says, else its Referer."""
    return settings.site_of(hosts.site_of(beacon.header("origin"), beacon.header("referer")))


@lru_cache(maxsize=2000)
def _user_agent(header: str) -> str:
    # Those of robots name whom to write to.
    return cut(redact_text(cut(header.replace("\0", ""), 2 * USER_AGENT_BYTES)), USER_AGENT_BYTES)


def identifier(raw: dict[str, Any] | None, name: str) -> str | None:
    """The visitor or session id in *raw* if it is fit to be one."""
    value = raw.get(name) if raw else None
    return value if isinstance(value, str) and IDENTIFIER.fullmatch(value) else None


def _problem(raw: dict[str, Any]) -> Problem | None:
    """The first thing that makes *raw* unfit to be an event."""
    event_type, event_id = raw.get("event_type"), raw.get("event_id")
    if not isinstance(event_type, str) or not EVENT_TYPE.fullmatch(event_type):
        message = "`event_type` has to be a lower-case word such as page_view, at most 50 long"
        return Problem("event_type_invalid", message)
    if event_id is not None and not _is_event_id(event_id):
        return Problem("event_id_invalid", "`event_id` has to be a UUID; leave it out and one is made")
    for name in ("visitor_id", "session_id"):
        if raw.get(name) is not None and identifier(raw, name) is None:
            message = f"`{name}` has to be 8 to 64 of A-Z a-z 0-9 _ -, random, not personal"
            return Problem(f"{name}_invalid", message)
    if raw.get("url") is not None and not isinstance(raw["url"], str):
        return Problem("url_invalid", "`url` has to be a string")
    if raw.get("site_id") is not None and not _named_site(raw):
        message = "`site_id` has to be a host name; leave it out and it is told from the page"
        return Problem("site_id_invalid", message)
    return None


def _is_event_id(value: Any) -> bool:
    return (
        isinstance(value, str)
        and EVENT_ID.fullmatch(value) is not None
        and value.replace("-", "").lower() not in NO_EVENT_IDS
    )


def _event_id(value: str | None) -> str | None:
    """*value* in the one way in which PostgreSQL writes it too."""
    if not value:
        return None
    return value.lower() if CANONICAL_EVENT_ID.fullmatch(value) else str(UUID(value))


def _named_site(raw: dict[str, Any]) -> str | None:
    """The site that an event names, in the one way in which a site is written."""
    value = raw.get("site_id")
    return hosts.site_of(f"//{value}") if isinstance(value, str) and SITE_ID.fullmatch(value) else None


def _text(raw: dict[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) and value else None
