"""Lists of indicators (addresses, networks, domains, hashes, URLs, e-mail addresses, accounts) under the policy and key of the events."""

from __future__ import annotations

import csv
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tacit.errors import StorageError, UsageError
from tacit.logs.content.columns import Columns
from tacit.logs.content.sources import Source
from tacit.logs.content.translating import LOST, WORKS, Translator
from tacit.logs.formats import Event
from tacit.logs.policies import SourcePolicy
from tacit.logs.treatments import Identities, Key, Tools

KINDS = ("ip", "cidr", "domain", "hash", "url", "email", "user")
_LARGEST = 256 << 20
_LONGEST = 8_192
_SAID = {
    "ip": "ip", "ip-src": "ip", "ip-dst": "ip", "ipv4": "ip", "ipv6": "ip", "ipv4-addr": "ip", "ipv6-addr": "ip", "address": "ip", "cidr": "cidr",
    "network": "cidr", "domain": "domain", "hostname": "domain", "host": "domain", "fqdn": "domain", "domain-name": "domain", "hash": "hash",
    "md5": "hash", "sha1": "hash", "sha256": "hash", "sha512": "hash", "imphash": "hash", "url": "url", "uri": "url", "email": "email",
    "e-mail": "email", "email-addr": "email", "email-src": "email", "email-dst": "email", "user": "user", "account": "user", "username": "user",
}  # fmt: skip
_HOLDERS = {
    "ip": frozenset(("address", "host", "scrub", "keep")), "cidr": frozenset(("address", "host", "keep")),
    "domain": frozenset(("host", "principal", "url", "email", "scrub", "keep")), "hash": frozenset(("keep", "scrub")),
    "url": frozenset(("url", "scrub", "keep")), "email": frozenset(("email", "user", "principal", "scrub", "keep")),
    "user": frozenset(("user", "principal", "scrub", "keep")),
}  # fmt: skip
NOWHERE = "no field of the policy still holds it"
_TREATED: dict[str, Callable[[Tools, str], str]] = {
    "ip": lambda tools, text: tools.addresses.one(text) or text,
    "domain": lambda tools, text: tools.names.host(text),
    "url": lambda tools, text: tools.places.url(text),
    "email": lambda tools, text: tools.names.email(text),
    "user": lambda tools, text: tools.names.user(text),
}
_HASH = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.){1,126}[A-Za-z][A-Za-z0-9-]{1,62}\.?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s\"'<>]{1,8192}")
_TOKEN = re.compile(r"[^\s\"'<>()\[\]{},;|&=/\\]{2,}")
_DEFANGED = (("[.]", "."), ("(.)", "."), ("[:]", ":"), ("hxxp", "http"), ("[@]", "@"))


@dataclass(frozen=True)
class Indicator:
    """What is looked for.

    Args:
        kind: one of `KINDS`.
        values: any of these.
        line: where it stands in the list, from 1.
    """

    kind: str
    values: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Indicators:
    """A list of indicators.

    >>> found = Indicators.parse(["203.0.113.0/24", "evil.example", "# a comment"])
    >>> [indicator.kind for indicator in found.entries], found.match([{"a": "to 203.0.113.9"}, {"q": "cdn.evil.example"}])
    (['cidr', 'domain'], {1: [0], 2: [1]})

    Args:
        entries: in the order of the list.
        refused: lines that are none, with the reason.
        lost: lines whose indicators can no longer be found, with the reason.
    """

    entries: tuple[Indicator, ...]
    refused: tuple[tuple[int, str], ...] = ()
    lost: tuple[tuple[int, str], ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Indicators:
        """Read a list: one indicator per line, or CSV with the columns ``type`` and ``value``.

        Raises:
            StorageError: it cannot be read.
            UsageError: it is too large or no UTF-8 text.
        """
        try:
            if Path(path).stat().st_size > _LARGEST:
                raise UsageError(f"Expected a list of at most {_LARGEST >> 20} MiB; {path} is larger.")
            return cls.parse(Path(path).read_text(encoding="utf-8-sig").splitlines())
        except OSError as error:
            raise StorageError(f"Cannot read the indicators {path}: {error.strerror}. Check the name.") from error
        except UnicodeDecodeError:
            raise UsageError(f"Expected the indicators {path} as UTF-8 text.") from None

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Indicators:
        """Read a list from its lines; empty ones and comments (``#``) are left out, and ``hxxp`` and ``[.]`` are read as they are meant."""
        heads = [head.strip().lower() for head in lines[0].split(",")] if lines else []
        table = "value" in heads and len(heads) > 1
        rows = _table(lines, heads) if table else ((number, "", line) for number, line in enumerate(lines, 1))
        entries, refused = [], []
        for number, said, text in rows:
            value = _plain(text)
            if not value or value.startswith("#"):
                continue
            kind = _SAID.get(said.strip().lower().partition("|")[0]) if said.strip() else _kind(value)
            reason = _wrong(kind, value)
            if kind is None or reason:
                refused.append((number, reason or "its type is not known here"))
            else:
                entries.append(Indicator(kind, (value,), number))
        return cls(tuple(entries), tuple(refused))

    def translate(self, policy: SourcePolicy, key: Key, identities: Identities | None = None) -> Indicators:
        """The list for events that were treated under a policy and a key; see `Rules.translate` for the dictionary."""
        translator = Translator(policy, key, identities)
        there = {rule.treatment for rule in policy.fields.values()}
        translator.searched.learn(value for entry in self.entries for value in entry.values if "scrub" in there)
        left, lost = [], list(self.lost)
        for entry in self.entries:
            if not there & _HOLDERS[entry.kind]:
                lost.append((entry.line, NOWHERE))
                continue
            values = dict.fromkeys(new for value in entry.values for new in _translated(translator, entry.kind, value, there))
            left.append(Indicator(entry.kind, tuple(values), entry.line))
        return Indicators(tuple(left), self.refused, tuple(lost))

    def counts(self) -> dict[str, dict[str, int]]:
        """How many of each kind work, and how many lines were lost."""
        found = {kind: {WORKS: sum(entry.kind == kind for entry in self.entries)} for kind in KINDS}
        return {**{kind: count for kind, count in found.items() if count[WORKS]}, **({LOST: {LOST: len(self.lost)}} if self.lost else {})}

    def match(self, events: Sequence[Event]) -> dict[int, list[int]]:
        """Which events hold each indicator: places in ``events`` by line of the list, for those that are found."""
        column = Columns(events, Source("json")).of(None)
        by_text: dict[str, list[int]] = {}
        networks = [(ipaddress.ip_network(value), entry.line) for entry in self.entries if entry.kind == "cidr" for value in entry.values]
        for entry in self.entries:
            for value in entry.values if entry.kind != "cidr" else ():
                by_text.setdefault(value.lower().rstrip("."), []).append(entry.line)
        domains = {value.lower().rstrip(".") for entry in self.entries if entry.kind == "domain" for value in entry.values}
        lines = [_found(text, by_text, domains, networks) for text in column.lows]
        found: dict[int, set[int]] = {}
        for row, code in zip(column.rows.tolist(), column.codes.tolist(), strict=True):
            for line in lines[code]:
                found.setdefault(line, set()).add(row)
        return {line: sorted(rows) for line, rows in sorted(found.items())}


_Networks = Sequence[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, int]]


def _found(text: str, by_text: Mapping[str, Iterable[int]], domains: set[str], networks: _Networks) -> set[int]:
    """The lines whose indicators a value holds: as a whole, or as one of its words."""
    found: set[int] = set()
    for word in {text, *_words(text)}:
        found.update(by_text.get(word, ()))
        host = word.rpartition("@")[2]
        labels = host.split(".")
        for place in range(len(labels) - 1) if len(labels) < 128 else ():
            parent = ".".join(labels[place:])
            if parent in domains:
                found.update(by_text[parent])
        address = _address(word) if networks else None
        if address is not None:
            found.update(line for network, line in networks if network.version == address.version and address in network)
    return found


def _words(text: str) -> Iterator[str]:
    for url in _URL.findall(text):
        yield url.rstrip(".,;)")
    for token in _TOKEN.findall(text):
        token = token.strip(".:!?*#`")
        yield token
        head, colon, tail = token.rpartition(":")
        if colon and tail.isdecimal() and ":" not in head:
            yield head


def _address(word: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if not (word[:1].isdigit() or ":" in word) or len(word) > 45:
        return None
    try:
        return ipaddress.ip_address(word)
    except ValueError:
        return None


def _translated(translator: Translator, kind: str, value: str, there: set[str]) -> Iterator[str]:
    if kind == "cidr":
        yield from translator.tools.addresses.networks(value)
    elif kind == "hash":
        yield value
    else:
        yield _TREATED[kind](translator.tools, value)
        if "scrub" in there:
            # A text keeps a name that no structured field has named: what the search makes of it there.
            yield translator.searched.of(value)


def _table(lines: Sequence[str], heads: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    csv.field_size_limit(1 << 20)
    try:
        for number, row in enumerate(csv.DictReader(lines[1:], fieldnames=list(heads)), 2):
            yield number, row.get("type") or "", row.get("value") or ""
    except csv.Error:
        raise UsageError("Expected the indicators as CSV with the columns type and value; a row cannot be read.") from None


def _plain(text: str) -> str:
    text = text.strip()
    for written, meant in _DEFANGED if len(text) <= _LONGEST else ():
        text = text.replace(written, meant)
    return text


def _kind(value: str) -> str | None:
    if _HASH.fullmatch(value):
        return "hash"
    if "://" in value:
        return "url"
    if "@" in value:
        return "email"
    if _network(value) is not None:
        return "cidr" if "/" in value else "ip"
    return "url" if "/" in value else "domain" if _DOMAIN.fullmatch(value) else "user"


def _network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


def _wrong(kind: str | None, value: str) -> str:
    if len(value) > _LONGEST or "\0" in value:
        return f"it is longer than {_LONGEST:,} characters, or holds a NUL"
    if kind in ("ip", "cidr") and _network(value) is None:
        return "it is no address or network"
    return "it is no hash" if kind == "hash" and not _HASH.fullmatch(value) else ""
