"""What becomes of a pattern in a field whose names are pseudonyms, for each structure that pseudonyms keep.

The pseudonyms themselves come from the treatments that events go through. A name that stands whole in the pattern, between signs that divide names or
at an end that the pattern fixes, is exchanged for its pseudonym. Of a name that the pattern cuts, only what stays readable in events can be found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tacit.logs.content.tree import Network, Parts, Text, Value, Wild
from tacit.logs.treatments import PROTOCOLS, SERVICES, Tools

PART = "a part of a name, where pseudonyms stand for whole names: only names that stay readable, or are exactly this, are found"
HIDDEN = "a part of an identifier, of which nothing stays readable"
INSIDE = "a part of an address that does not begin it: only addresses that stay readable are found"
MANY = "more ways to write it than are looked for"
_MOST_NETWORKS, _MOST_WAYS = 256, 64
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)([^/?#]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(:?//)([^/?#]+)(/.*)", re.DOTALL)
_PSEUDONYM = re.compile(r"[0-9a-f-]*|[a-z]-[2-9a-z]{0,2}(-[0-9a-f]*)?|[2-9a-z]{1,2}-[0-9a-f]*|[a-z]?")


@dataclass(frozen=True)
class Became:
    """What a value is in treated events.

    Args:
        values: any of these; none if nothing can be found.
        reasons: what is lost by that; empty if nothing is.
    """

    values: tuple[Value, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Whole:
    """A stretch of a pattern between two places that any text may take.

    Args:
        text: what is written there.
        begins: whether it stands at the beginning of the field.
        ends: whether it stands at its end.
    """

    text: str
    begins: bool
    ends: bool
    losses: list[str] = field(default_factory=list, compare=False)


Stretch = Callable[[_Whole], Sequence[str]]
"""From a stretch to all texts that may stand for it."""


def literal(value: Text) -> Text:
    """A pattern of URLs in which ``?`` stands for itself: hardly anybody escapes it there, and a query begins with it."""
    made: list[str | Wild] = []
    for part in ("?" if part is Wild.ONE else part for part in value.parts):
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] += part
        else:
            made.append(part)
    return Text(tuple(made), value.cased)


def structured(value: Text, whole: Callable[[str], str], stretch: Stretch) -> Became:
    """A pattern of names that signs divide.

    Args:
        value: the pattern.
        whole: the treatment of a complete value.
        stretch: that of a stretch of an incomplete one.
    """
    parts = value.parts
    if not parts or parts == (Wild.ANY,):
        return Became((value,))
    if all(isinstance(part, str) for part in parts):
        return Became((Text((whole("".join(map(str, parts))),)),))
    made: list[Parts] = [()]
    reasons: list[str] = []
    for place, part in enumerate(parts):
        if isinstance(part, Wild):
            made = [(*one, part) for one in made]
            continue
        piece = _Whole(part, place == 0, place == len(parts) - 1)
        options = list(dict.fromkeys(stretch(piece)))
        reasons += piece.losses
        made = [(*one, option) for one in made for option in options]
        if len(made) > _MOST_WAYS:
            made, reasons = made[:_MOST_WAYS], [*reasons, MANY]
    if Wild.ONE in parts:
        reasons.append(PART)
    return Became(tuple(Text(one) for one in made if one), tuple(dict.fromkeys(reasons)))


def safe(text: str) -> bool:
    """Whether a text cannot be a stretch of a pseudonym, so that finding it means what it meant before.

    >>> safe("admin"), safe("fade")
    (True, False)
    """
    return _PSEUDONYM.fullmatch(text.lower()) is None


def cut(piece: _Whole, text: str, hidden: str) -> list[str]:
    """A name that the pattern cuts: as it is, if that cannot be found by chance, and its pseudonym, in case it is whole in events."""
    piece.losses.append(PART)
    return [*([text] if safe(text) else []), hidden]


def user(tools: Tools) -> Stretch:
    r"""Of accounts: ``DOMAIN\name``, ``name@domain``, ``NAME$``."""
    names = tools.names

    def stretch(piece: _Whole) -> list[str]:
        text = piece.text
        if text in ("\\", "$", "@"):
            return [text]
        domain, slash, name = text.rpartition("\\")
        left = [""]
        if slash:
            left = [domain + slash] if not domain else _domain(piece, domain, slash)
        if not name:
            return left
        local, at, host = name.partition("@")
        if at:
            first = [local] if not local else [names.user(local)] if piece.begins or slash else cut(piece, local, names.user(local))
            return [f"{one}{two}@{three}" for one in left for two in first for three in _host_of_mail(tools, piece, host)]
        complete = (piece.begins or bool(slash)) and piece.ends
        return [one + two for one in left for two in ([names.user(name)] if complete else cut(piece, name, names.user(name)))]

    def _domain(piece: _Whole, domain: str, slash: str) -> list[str]:
        hidden = names.user(f"{domain}\\x").rpartition("\\")[0]
        return [hidden + slash] if piece.begins or domain[:1] in "\\" else [one + slash for one in cut(piece, domain, hidden)]

    return stretch


def principal(tools: Tools) -> Stretch:
    """Of Kerberos' names: ``class/host``, of which well-known classes stay, or an account."""
    account, machine = user(tools), host(tools)

    def stretch(piece: _Whole) -> list[str]:
        text = piece.text
        if text.lower() in PROTOCOLS:
            return [text]
        first, *rest = text.split("/")
        if not rest and not piece.begins:  # what the pattern leaves open may be a class
            return list(dict.fromkeys([*account(piece), *machine(piece)]))
        found = [first] if not first or (rest and first.lower() in SERVICES) else account(replace(piece, text=first, ends=piece.ends and not rest))
        for place, part in enumerate(rest):
            last = place == len(rest) - 1
            options = machine(replace(piece, text=part, begins=True, ends=piece.ends or not last)) if part else [""]
            found = [f"{one}/{two}" for one in found for two in options][:_MOST_WAYS]
        return list(found)

    return stretch


def _host_of_mail(tools: Tools, piece: _Whole, host: str) -> list[str]:
    return host_texts(tools, _Whole(host, True, piece.ends, piece.losses)) if host else [""]


def host(tools: Tools) -> Stretch:
    """Of host names: label by label, the last one as it is."""
    return lambda piece: host_texts(tools, piece)


def host_texts(tools: Tools, piece: _Whole) -> list[str]:
    """All texts that may stand for a stretch of a host name."""
    labels = piece.text.split(".")
    found = [""]
    kept = piece.text if any(name in piece.text.lower() or piece.text.lower() in name for name in ("localhost", "localdomain")) else None
    for place, label in enumerate(labels):
        first, last = place == 0, place == len(labels) - 1
        options = [""] if not label else _label(tools, piece, label, (first, last, len(labels) == 1))
        found = [one + ("" if first else ".") + two for one in found for two in options][:_MOST_WAYS]
    return [*found, *([kept] if kept else [])]


def _label(tools: Tools, piece: _Whole, label: str, position: tuple[bool, bool, bool]) -> list[str]:
    first, last, only = position
    hidden = tools.names.host(label)
    fixed_left, fixed_right = not first or piece.begins, not last or piece.ends
    if last and piece.ends and not (only and piece.begins):
        # The last label of a full name stays; that of a name without dots does not, and the pattern may mean either.
        return [label] if not first else cut(piece, label, hidden)
    if fixed_left and fixed_right:
        return [hidden]
    if last and fixed_left:
        piece.losses.append(PART)
        return [label, hidden]
    return cut(piece, label, hidden)


def place(tools: Tools) -> Stretch:
    """Of paths and of what follows the host in URLs: segment by segment, extensions as they are."""

    def stretch(piece: _Whole) -> list[str]:
        parts = re.split(r"([/\\]+)", piece.text)
        found, home = [""], False
        for number in range(0, len(parts), 2):
            text, sign = parts[number], parts[number - 1] if number else ""
            whole = (number > 0 or piece.begins) and (number < len(parts) - 1 or piece.ends)
            unknown = number == 2 and not parts[0] and not piece.begins
            options = _segment(tools, piece, text, (whole, home, unknown)) if text else [""]
            found = [one + sign + two for one in found for two in options]
            home = text.lower() in ("users", "home", "profiles", "documents and settings")
            if len(found) > _MOST_WAYS:
                piece.losses.append(MANY)
                found = found[:_MOST_WAYS]
        return found

    return stretch


def url(tools: Tools) -> Stretch:
    """Of URLs: scheme, port and the names of parameters stay; the host goes label by label, the path segment by segment."""

    def stretch(piece: _Whole) -> list[str]:
        whole = _SCHEME.fullmatch(piece.text) if piece.begins else None
        if whole is not None:
            return _from_scheme(tools, piece, whole)
        host = _AUTHORITY.fullmatch(piece.text)
        if host is not None:
            rest = _path_and_query(tools, _Whole(host.group(3), True, piece.ends, piece.losses))
            return [host.group(1) + tools.names.host(host.group(2)) + one for one in rest]
        if "/" not in piece.text and not set("?&=") & set(piece.text):
            return [*host_texts(tools, piece), *place(tools)(piece)]
        return _path_and_query(tools, piece)

    return stretch


def _from_scheme(tools: Tools, piece: _Whole, found: re.Match[str]) -> list[str]:
    scheme, host, rest = found.groups()
    if not host:
        return [piece.text]
    if not rest:
        return [scheme + one for one in host_texts(tools, _Whole(host, True, False, piece.losses))]
    complete = max(map(rest.rfind, "/?&=")) + 1
    done, tail = tools.places.url(scheme + host + rest[:complete]), rest[complete:]
    return [done + one for one in (cut(piece, tail, tools.places.segment(tail)) if tail else [""])]


def _path_and_query(tools: Tools, piece: _Whole) -> list[str]:
    path, mark, query = piece.text.partition("?")
    if not mark and set("&=") & set(path):
        path, query = "", piece.text
    found = place(tools)(_Whole(path, piece.begins, piece.ends or bool(mark), piece.losses)) if path else [""]
    complete = len(query) if piece.ends else max(query.rfind("&"), query.rfind("=")) + 1
    done = tools.places.url(f"x.example/?{query[:complete]}").partition("?")[2] if complete else ""
    tail = query[complete:]
    if tail and query[:complete].endswith("="):
        piece.losses.append(PART)
    return [one + mark + done + tail for one in found]


def _segment(tools: Tools, piece: _Whole, text: str, known: tuple[bool, bool, bool]) -> list[str]:
    whole, home, unknown = known
    as_segment, as_user = tools.places.segment(text), tools.names.user(text)
    if whole:
        return [as_user] if home and as_segment != text else [as_segment, *([as_user] if unknown and as_segment != text else [])]
    name, dot, ending = text.rpartition(".")
    if dot and not name and piece.ends and tools.places.segment(f"x.{ending}").endswith(f".{ending.lower()}"):
        return [text]
    if dot and not name and not piece.ends:
        piece.losses.append(PART)
        return [text]
    return cut(piece, text, as_segment)


def sid(tools: Tools) -> Stretch:
    """Of security identifiers: the well-known ones and the last number of built-in accounts stay."""

    def stretch(piece: _Whole) -> list[str]:
        text = piece.text.upper()
        built_in = re.fullmatch(r"-(\d{1,3})", text)
        if (piece.begins and "S-1-5-21-".startswith(text)) or (piece.ends and built_in):
            return [piece.text]
        authority = re.fullmatch(r"(S-1-5-21-\d{1,10}-\d{1,10}-\d{1,10})-?", text)
        if authority and (piece.begins or text.startswith("S-1")):
            hidden = tools.numbers.sid(authority.group(1))
            return [hidden + text[len(authority.group(1)) :]]
        piece.losses.append(PART)
        return [piece.text, tools.numbers.sid(piece.text)] if text.startswith("S-1-") else [piece.text] if safe(piece.text) else []

    return stretch


def mac(tools: Tools) -> Stretch:
    """Of hardware addresses: the first half stays."""

    def stretch(piece: _Whole) -> list[str]:
        digits = re.sub(r"[^0-9a-fA-F]", "", piece.text)
        if piece.begins and len(digits) <= 6:
            return [piece.text]
        piece.losses.append(HIDDEN)
        return []

    return stretch


def opaque(piece: _Whole) -> list[str]:
    """Of identifiers without structure: nothing."""
    piece.losses.append(HIDDEN)
    return []


def address(value: Text, tools: Tools) -> Became:
    """A pattern of an address: a beginning is a network, and networks stay networks."""
    parts = value.parts
    if not parts or parts == (Wild.ANY,):
        return Became((value,))
    text = "".join(str(part) for part in parts if isinstance(part, str))
    if all(isinstance(part, str) for part in parts):
        found = tools.addresses.texts([text])[0]
        return Became((Text((tools.names.host(text) if found is None else found,)),))
    begins = isinstance(parts[0], str) and parts[1:] == (Wild.ANY,)
    networks = list(_begun(text)) if begins else []
    if networks:
        images = [image for network in networks for image in tools.addresses.networks(network)]
        if len(images) <= _MOST_NETWORKS:
            loose = (PART,) if ":" in text else ()
            return Became(tuple(Network(image) for image in images), loose)
    whole = tools.addresses.one(text)
    kept = (value,) if not re.fullmatch(r"[\d.]{0,3}|[0-9a-fA-F:]{0,4}", text) or text in ("::1", "127") else ()
    exact = () if whole is None else (Text(tuple(whole if isinstance(part, str) else part for part in parts)),)
    return Became((*kept, *exact), (INSIDE,))


def _begun(text: str) -> Iterator[str]:
    """The networks of all addresses that begin with a text."""
    four = re.fullmatch(r"((?:\d{1,3}\.){0,3})(\d{0,3})", text)
    if four is not None:
        octets, rest = four.group(1).split(".")[:-1], four.group(2)
        if all(int(octet) < 256 for octet in octets) and len(octets) < 4:
            numbers = [str(number) for number in range(256) if str(number).startswith(rest)] if rest else [None]
            for number in numbers:
                filled = [*octets, *([number] if number is not None else [])]
                yield f"{'.'.join([*filled, *['0'] * (4 - len(filled))])}/{8 * len(filled)}"
        return
    groups = text.removesuffix("::").rstrip(":").split(":")
    if text.endswith(":") and 0 < len(groups) <= 7 and all(re.fullmatch(r"[0-9a-fA-F]{1,4}", group) for group in groups):
        yield str(ipaddress.ip_network(f"{':'.join(groups)}::/{16 * len(groups)}", strict=False))
