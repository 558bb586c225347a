r"""Syslog as it was before its standard (RFC 3164), with and without priority, in the spellings of times that senders and files really have.

``<34>Oct 11 22:14:15 host sshd[4721]: text``, the same without ``<34>``, with a year before or behind the time of day, with an ISO 8601 time, without
host, without tag; Cisco's ``: %ASA-6-302013:``. A line with a priority and no time is all message, as RFC 3164, section 4.3.3 says.
"""

from __future__ import annotations

import re
from typing import Any

from tacit.logs.formats.base import Event, TextLines, Unreadable, plain

ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_BSD = r"[A-Z][a-z]{2} [ 0-9]?[0-9](?: [0-9]{4})? [0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?: (?:19|20)[0-9]{2}(?= ))?"
_WHOLE_TIME, _NO_TIME = re.compile(f"{_BSD}|{ISO}", re.ASCII), "Jan  1 00:00:00"
_PRIORITY = re.compile(r"<([0-9]{1,3})>", re.ASCII)
_TIME = re.compile(rf"({_BSD}|{ISO})(?::(?= %))?(?: |\Z)", re.ASCII)
_HOST = re.compile(r"[\w.:%+\-]{1,255}")
_ALNUM = re.compile(r"[^\W_]")
_TAG = re.compile(r"([^\s:\[\]]{1,128})(?:\[([^\s\[\]]{0,64})\])?:(?: |\Z)")
_NOT_TAG, _NOT_PROCESS, _SPACE = re.compile(r"[\s\0:\[\]]"), re.compile(r"[\s\0\[\]]"), re.compile(r"\s", re.ASCII)
HIGHEST = 191
_BREAKS = {ord("\n"): "#012", 0: "#000"}


class BsdSyslog(TextLines):
    """Syslog of RFC 3164 and what is called so.

    >>> BsdSyslog("rfc3164").parse([b"<38>Jun  9 06:06:01 combo su[7]: opened for root"]).events[0]["appname"]
    'su'

    Fields: priority, facility, severity (integers), timestamp (as written), hostname, appname, procid, message. A first word that may be a host's
    name is taken as one. Line breaks inside a message are written as ``#012``, as rsyslog does.
    """

    breaks = True

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        event, rest = priority_of(text)
        found = _TIME.match(rest)
        if found is None:
            if not event:
                raise Unreadable("neither a priority nor a time")
            return event | {"message": rest}
        event["timestamp"] = found[1]
        rest = rest[found.end() :]
        return event | content_of(rest) if rest or found[0][-1] == " " else event

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        return head_of(event) + body_of(event)


def priority_of(text: str) -> tuple[Event, str]:
    """The priority with its parts, if there is one, and the rest of the line.

    Raises:
        Unreadable: there is no such priority.
    """
    found = _PRIORITY.match(text)
    return ({}, text) if found is None else (parts_of(int(found[1])), text[found.end() :])


def parts_of(priority: int) -> Event:
    """A priority with facility and severity."""
    if priority > HIGHEST:
        raise Unreadable(f"a priority above {HIGHEST}")
    return {"priority": priority, "facility": priority >> 3, "severity": priority & 7}


def content_of(text: str) -> Event:
    """Host, tag and message of what follows the time."""
    event: Event = {}
    word, space, rest = text.partition(" ")
    if space and word[-1:] != ":" and _HOST.fullmatch(word) and _ALNUM.search(word):
        event["hostname"] = word
    else:
        rest = text
    found = _TAG.match(rest)
    if found is None:
        return event | {"message": rest}
    event["appname"] = found[1]
    if found[2] is not None:
        event["procid"] = found[2]
    if found[0][-1] == " ":
        event["message"] = rest[found.end() :]
    return event


def priority_text(event: Event, default: str) -> str:
    """The priority as a line begins with it; from facility and severity where it was left out."""
    number, facility, severity = (event.get(name) for name in ("priority", "facility", "severity"))
    if type(number) is not int and type(facility) is int and type(severity) is int:
        number = facility * 8 + severity
    return f"<{number}>" if type(number) is int and 0 <= number <= HIGHEST else default


def head_of(event: Event) -> str:
    """Priority, time and host, each with what separates it from what follows."""
    line, time, host = priority_text(event, ""), event.get("timestamp"), event.get("hostname")
    app, message = event.get("appname"), event.get("message")
    if time is not None or not line:
        colon = ":" if host is None and plain(app)[:1] == "%" else ""
        shown = time if type(time) is str and _WHOLE_TIME.fullmatch(time) else _NO_TIME
        line += shown + colon + ("" if host is None and app is None and message is None else " ")
    return line if host is None else f"{line}{word_of(host)} "


def body_of(event: Event) -> str:
    """Tag and message."""
    app, process, message = event.get("appname"), event.get("procid"), event.get("message")
    text = "" if message is None else message_text(message)
    if app is None:
        return text
    tag = _NOT_TAG.sub("_", plain(app))[:128] + ("" if process is None else f"[{_NOT_PROCESS.sub('_', plain(process))[:64]}]")
    return f"{tag}:" if message is None else f"{tag}: {text}"


def message_text(value: Any) -> str:
    """A text that cannot end its line."""
    return plain(value).translate(_BREAKS)


def word_of(value: Any, nothing: str = "-") -> str:
    """A value as one word."""
    return _SPACE.sub("_", plain(value).translate(_BREAKS)) or nothing
