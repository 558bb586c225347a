"""Every treatment by the name a policy calls it, what it leaves of a value, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from tacit.errors import ConfigError
from tacit.logs.treatments.base import FIRST, All, Each, Scalar, Text, Tools, Treatment
from tacit.logs.treatments.coarse import Generalise, template
from tacit.logs.treatments.rowwise import Jitter, Randomise, Suppress

PSEUDONYM = "pseudonym: whoever holds the key can test guesses; not anonymous"
KEPT = "as it was"
DROPPED = "left out"
COARSE = "coarser than it was; not anonymous"
SCRUBBED = "searched for identities; what no field has named may stay"
LOCAL = "differentially private"

_Build = Callable[[Tools, Mapping[str, Any]], "Treatment | None"]


@dataclass(frozen=True)
class Kind:
    """One treatment: what it promises, which options it takes, how it is made."""

    promise: str
    options: frozenset[str]
    build: _Build


def _address_number(tools: Tools) -> Callable[[int | float], Scalar]:
    """An IPv4 address written as a number stays one; any other number is no address, and is hidden like an identifier."""

    def treat(value: int | float) -> Scalar:
        if isinstance(value, int) and 0 <= value < 1 << 32:
            new = tools.addresses.one(str(IPv4Address(value)))
            return int(IPv4Address(new)) if new is not None else None
        return tools.numbers.identifier(value)

    return treat


def _kind(promise: str, build: _Build, *options: str) -> Kind:
    return Kind(promise, frozenset(options), build)


def _address(tools: Tools) -> Callable[[list[str]], list[str]]:
    def treat(texts: list[str]) -> list[str]:
        found = tools.addresses.texts(texts)
        return [tools.names.host(text) if new is None else new for text, new in zip(texts, found, strict=True)]

    return treat


TREATMENTS: dict[str, Kind] = {
    "keep": _kind(KEPT, lambda tools, options: None),
    "drop": _kind(DROPPED, lambda tools, options: None),
    "user": _kind(PSEUDONYM, lambda tools, options: Each(tools.names.user, FIRST)),
    "host": _kind(PSEUDONYM, lambda tools, options: Each(tools.names.host, FIRST)),
    "principal": _kind(PSEUDONYM, lambda tools, options: Each(tools.names.principal, FIRST)),
    "email": _kind(PSEUDONYM, lambda tools, options: Each(tools.names.email, FIRST)),
    "address": _kind(PSEUDONYM, lambda tools, options: All(_address(tools), FIRST, stable=True, number=_address_number(tools))),
    "url": _kind(PSEUDONYM, lambda tools, options: Each(tools.places.url)),
    "path": _kind(PSEUDONYM, lambda tools, options: Each(tools.places.path)),
    "mac": _kind(PSEUDONYM, lambda tools, options: Each(tools.numbers.mac)),
    "sid": _kind(PSEUDONYM, lambda tools, options: Each(tools.numbers.sid)),
    "id": _kind(PSEUDONYM, lambda tools, options: Each(tools.numbers.identifier, typed=True)),
    "scrub": _kind(SCRUBBED, lambda tools, options: Text(tools.scrubber.texts)),
    "template": _kind(COARSE, lambda tools, options: Text(tools.scrubber.texts, template)),
    "generalise": _kind(COARSE, lambda tools, options: Generalise(**options), "to", "width", "prefix"),
    "jitter": _kind(COARSE, lambda tools, options: Jitter(tools.key, **options), "seconds"),
    "suppress": _kind(COARSE, lambda tools, options: Suppress(**options), "units"),
    "randomise": _kind(LOCAL, lambda tools, options: Randomise(**options), "epsilon", "categories", "low", "high", "events_per_day"),
}


def build(name: str, tools: Tools, options: Mapping[str, Any]) -> Treatment | None:
    """The treatment of a name; ``None`` for «keep» and «drop», which do nothing to a value.

    Raises:
        ConfigError: for options that the treatment does not take, or that do not fit together.
    """
    kind = TREATMENTS[name]
    strange = sorted(set(options) - kind.options)
    if strange:
        raise ConfigError(f"Expected options of the treatment «{name}» out of {', '.join(sorted(kind.options)) or 'none'}; got «{strange[0]}».")
    try:
        return kind.build(tools, options)
    except TypeError:
        raise ConfigError(f"Expected all of the options that the treatment «{name}» needs; it takes {', '.join(sorted(kind.options))}.") from None
