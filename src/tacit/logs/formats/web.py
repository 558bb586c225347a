r"""Access logs of Apache and nginx (common, combined, with the virtual host before), and their error logs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from tacit.logs.formats.base import LONGEST, Event, TextLines, Unreadable, find_bare, plain, whole
from tacit.logs.formats.escapes import quoted, unquoted

_CLOCK = r"[0-9]{1,2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})? [+-][0-9]{4}"
_TIME = re.compile(rf' \[({_CLOCK})\] "', re.ASCII)
_VHOST = re.compile(r"([^\s:]+):([0-9]{1,5})", re.ASCII)
_NUMBERS = re.compile(r" ([0-9]{3}|-) ([0-9]{1,19}|-)(?: |\Z)", re.ASCII)
_APACHE_TIME = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]?[0-9] [0-9:.]{8,18} [0-9]{4}"
_NGINX_CLOCK = r"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
_ERROR = re.compile(
    rf"\[({_APACHE_TIME})\] \[(?:([^:\]\s]{{0,64}}):)?([a-z0-9]{{1,16}})\]"
    r"(?: \[pid ([0-9]{1,10})(?::tid ([0-9]{1,20}))?\])?(?: \[client ([^\]]{1,255})\])?(?: (.*))?\Z",
    re.ASCII,
)
_PORT = re.compile(r"([^:\s]+):([0-9]{1,5})", re.ASCII)
_NGINX = re.compile(rf"({_NGINX_CLOCK}) \[([a-z]{{1,16}})\] ([0-9]{{1,10}})#([0-9]{{1,10}}): (?:\*([0-9]{{1,20}}) )?(.*)\Z", re.ASCII)
_NGINX_TIME = re.compile(rf"{_NGINX_CLOCK} \[", re.ASCII)
_CONTEXT = re.compile(r', (client|server|request|subrequest|upstream|host|referrer): ("[^"]*"|[^",]*)')
_NOT_MODULE = re.compile(r"[:\]\s\0]")
_QUOTED = frozenset(("request", "subrequest", "upstream", "host", "referrer"))


class AccessLog(TextLines):
    r"""The common and the combined log format.

    >>> line = b'10.0.0.1 - anna [10/Oct/2026:13:55:36 +0200] "GET /a?q=1 HTTP/1.1" 200 2326 "-" "curl/8.5"'
    >>> event = AccessLog("apache").parse([line]).events[0]
    >>> event["user"], event["request"], event["status"], event["bytes"], event["agent"]
    ('anna', {'method': 'GET', 'target': '/a?q=1', 'protocol': 'HTTP/1.1'}, 200, 2326, 'curl/8.5')

    Fields: vhost and vhost_port (where the line begins with them), host, ident, user, time, request (method, target, protocol; or line, if it has not
    these three), status and bytes (integers), referer, agent, and rest for what a server was told to write behind them. What is ``-`` is absent.
    Escapes are read where they give UTF-8 (``\xc3\xbc`` is ü), and written as Apache writes them.
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _TIME.search(text)
        if found is None:
            raise Unreadable("no time of an access log")
        event = _who(text[: found.start()]) | {"time": found[1]}
        end = find_bare(text, '"', found.end())
        if end < 0:
            raise Unreadable("a request that never ends")
        request = _request(text[found.end() : end])
        if request != {"line": "-"}:
            event["request"] = request
        numbers = _NUMBERS.match(text, end + 1)
        if numbers is None:
            raise Unreadable("no status and size")
        for name, value in (("status", numbers[1]), ("bytes", numbers[2])):
            if value != "-":
                event[name] = whole(value)
        return event if numbers[0][-1] != " " else event | _end(text, numbers.end())

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        vhost, port = event.get("vhost"), event.get("vhost_port")
        line = "" if vhost is None else f"{_word(vhost)}:{_word(0 if port is None else port)} "
        line += f"{_word(event.get('host'))} {_word(event.get('ident'))} {_word(event.get('user'))} "
        line += f"[{_time(event.get('time'), _CLOCK, '%d/%b/%Y:%H:%M:%S %z')}] "
        line += f'"{_request_text(event.get("request"))}" {_status(event.get("status"))} {_digits(event.get("bytes"))}'
        if "referer" in event or "agent" in event or event.get("combined") is True:
            line += f' "{_optional(event.get("referer"))}" "{_optional(event.get("agent"))}"'
        rest = event.get("rest")
        return line if rest is None else f"{line} {_one_line(rest)}"


class ErrorLog(TextLines):
    """Apache's error log, of version 2.0 to 2.4.

    >>> ErrorLog("apache-error").parse([b"[Sun Dec 04 04:47:44 2005] [error] [client 10.0.0.1] denied"]).events[0]["client"]
    '10.0.0.1'

    Fields: time, module, level, pid, tid, client, client_port (integers: pid, tid, client_port), message.
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _ERROR.match(text)
        if found is None:
            raise Unreadable("no header of an error log")
        event = {"time": found[1], "module": found[2], "level": found[3], "pid": _number(found[4]), "tid": _number(found[5]), "client": found[6]}
        port = _PORT.fullmatch(found[6]) if found[6] else None
        if port is not None and whole(port[2]) != port[2]:
            event |= {"client": port[1], "client_port": int(port[2])}
        return {name: value for name, value in (event | {"message": found[7]}).items() if value is not None}

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        module, process, thread, client = (event.get(name) for name in ("module", "pid", "tid", "client"))
        line = f"[{_time(event.get('time'), _APACHE_TIME, '%a %b %d %H:%M:%S %Y')}] "
        line += f"[{'' if module is None else _NOT_MODULE.sub('_', plain(module))[:64] + ':'}{_level(event.get('level'))}]"
        if process is not None:
            line += f" [pid {_digits(process, '0', 10)}{'' if thread is None else ':tid ' + _digits(thread, '0')}]"
        if client is not None:
            port = event.get("client_port")
            line += f" [client {_between(client)}{'' if port is None else ':' + _digits(port, '0', 5)}]"
        message = event.get("message")
        return line if message is None else f"{line} {_one_line(message)}"


class NginxErrorLog(TextLines):
    """The error log of nginx.

    >>> line = b'2026/10/11 12:00:00 [error] 7#7: *9 open() failed, client: 10.0.0.1, server: _, request: "GET /x HTTP/1.1", host: "a.example"'
    >>> NginxErrorLog("nginx-error").parse([line]).events[0]["context"]["client"]
    '10.0.0.1'

    Fields: time, level, pid, tid and connection (integers), message, and context (client, server, request, subrequest, upstream, host, referrer).
    """

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        found = _NGINX.match(text)
        if found is None:
            raise Unreadable("no header of an error log")
        event: Event = {"time": found[1], "level": found[2], "pid": whole(found[3]), "tid": whole(found[4])}
        if found[5] is not None:
            event["connection"] = whole(found[5])
        message = found[6]
        context, begin = _context(message)
        return event | {"message": message[:begin]} | ({"context": context} if context else {})

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        connection, context = event.get("connection"), event.get("context")
        process = f"{_digits(event.get('pid'), '0', 10)}#{_digits(event.get('tid'), '0', 10)}"
        level = re.sub("[0-9]", "", _level(event.get("level"))) or "error"
        line = f"{_time(event.get('time'), _NGINX_CLOCK, '%Y/%m/%d %H:%M:%S')} [{level}] {process}: "
        line += "" if connection is None else f"*{_digits(connection, '0')} "
        line += _one_line(event.get("message"))
        if type(context) is not dict:
            return line
        return line + "".join(f", {name}: {_context_text(name, value)}" for name, value in context.items() if value is not None)


class WebServer(TextLines):
    """Lines each of which is of an access log or of an error log, of Apache or nginx. What begins as an error log is never read as the other."""

    def __init__(self, name: str, *, longest: int = LONGEST) -> None:
        super().__init__(name, longest=longest)
        self._access, self._apache, self._nginx = AccessLog(name), ErrorLog(name), NginxErrorLog(name)

    def event_of(self, text: str) -> Event:
        """See `TextLines`."""
        if text.startswith("["):
            return self._apache.event_of(text)
        return (self._nginx if _NGINX_TIME.match(text) else self._access).event_of(text)

    def line_of(self, event: Event) -> str:
        """See `TextLines`."""
        if "level" not in event:
            return self._access.line_of(event)
        nginx = "connection" in event or "context" in event or plain(event.get("time"))[:1].isdigit()
        return (self._nginx if nginx else self._apache).line_of(event)


def _who(text: str) -> Event:
    words = text.split(" ")
    event: Event = {}
    vhost = _VHOST.fullmatch(words[0]) if len(words) == 4 else None
    if vhost is not None:
        event = {"vhost": unquoted(vhost[1]), "vhost_port": whole(vhost[2])}
        words = words[1:]
    if len(words) < 3 or not all(words):
        raise Unreadable("no host, identity and user")
    values = (words[0], words[1], " ".join(words[2:]))
    return event | {name: unquoted(value) for name, value in zip(("host", "ident", "user"), values, strict=True) if value != "-"}


def _request(written: str) -> Event:
    words = written.split(" ")
    if _has_three(words):
        return {name: unquoted(word) for name, word in zip(("method", "target", "protocol"), words, strict=True)}
    return {"line": unquoted(written)}


def _has_three(words: list[str]) -> bool:
    return len(words) == 3 and all(words) and words[2].startswith("HTTP/")


def _end(text: str, begin: int) -> Event:
    """What stands behind the size: two texts, or whatever else."""
    values: list[str] = []
    place = begin
    while len(values) < 2:
        end = find_bare(text, '"', place + 1) if text.startswith('"', place) else -1
        if end < 0 or text[end + 1 : end + 2] not in (("", " ") if values else (" ",)):
            return {"rest": text[begin:]}
        values.append(text[place + 1 : end])
        place = end + 2
    event: Event = {name: unquoted(value) for name, value in zip(("referer", "agent"), values, strict=True) if value != "-"}
    if not event:
        event["combined"] = True
    return event | {"rest": text[place:]} if place <= len(text) else event


def _context(message: str) -> tuple[Event, int]:
    """The last texts of a message that say in which request it was written, and where they begin."""
    begin = message.find(", client: ")
    if begin < 0:
        return {}, len(message)
    context: Event = {}
    place = begin
    while (found := _CONTEXT.match(message, place)) is not None:
        value = found[2]
        if found[1] in context or (value[:1] == '"') != (found[1] in _QUOTED):
            return {}, len(message)
        context[found[1]] = value.strip('"')
        place = found.end()
    return (context, begin) if place == len(message) else ({}, len(message))


def _context_text(name: str, value: Any) -> str:
    text = _one_line(value).replace('"', "'")
    return f'"{text}"' if name in _QUOTED else text.replace(",", ";")


def _request_text(request: Any) -> str:
    if type(request) is not dict:
        return _optional(request)
    line = request.get("line")
    if line is not None:
        text = quoted(plain(line))
        return text.replace(" ", "\\x20") if _has_three(text.split(" ")) else text
    parts = [request.get(name) for name in ("method", "target", "protocol")]
    if parts == [None, None, None]:
        return "-"
    return " ".join("-" if part is None else quoted(plain(part)).replace(" ", "\\x20") or "-" for part in parts)


def _optional(value: Any) -> str:
    text = "-" if value is None else quoted(plain(value))
    return "\\x2d" if text == "-" and value is not None else text


def _word(value: Any) -> str:
    text = _optional(value).replace(" ", "\\x20").replace("[", "\\x5b")
    return '""' if text in ("", '\\"\\"') else text


def _between(value: Any, nothing: str = "-") -> str:
    return nothing if value is None else re.sub(r"[\]\n\r\0]", "_", plain(value))


def _time(value: Any, shape: str, written: str) -> str:
    """A time as this log writes it; the beginning of 1970 for what is none."""
    text = plain(value)
    if re.fullmatch(shape, text, re.ASCII):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime(1970, 1, 1, tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).strftime(written)


def _level(value: Any) -> str:
    """A level of Apache's, such as trace1; nginx has letters only."""
    return re.sub(r"[^a-z0-9]", "", plain(value))[:16] or "error"


def _one_line(value: Any) -> str:
    return plain(value).translate({0: " ", 10: " ", 13: " "})


def _digits(value: Any, nothing: str = "-", most: int = 19) -> str:
    return nothing if value is None else re.sub(r"[^0-9]", "", plain(value))[:most] or nothing


def _status(value: Any) -> str:
    text = _digits(value)
    return text if len(text) == 3 else "-"


def _number(text: str | None) -> int | str | None:
    return None if text is None else whole(text)
