"""Less than there was: times and numbers rounded down, addresses cut to their network, texts reduced to their template."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

from tacit.errors import ConfigError
from tacit.logs.treatments.base import SECOND, Rows, Scalar
from tacit.logs.treatments.pseudonyms import WRITTEN

SPANS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_PART = re.compile(r"\"[^\"]*\"|'[^']*'|\[secret\]|[^\s\"'<>()\[\]{},;|=]+")
_DIGIT = re.compile(r"\d")
_BLANK = "<*>"
_LATEST = 1e11  # seconds: what is further off is no time


class Generalise:
    """Rounds down.

    Args:
        to: «second», «minute», «hour» or «day» for times (texts of ISO 8601, or numbers of seconds or milliseconds).
        width: for numbers: the width of the bins.
        prefix: for addresses: how many leading bits stay, of IPv4 and of IPv6.

    Raises:
        ConfigError: unless exactly one is given.
    """

    stage, stable, alone = SECOND, True, True

    def __init__(self, *, to: str | None = None, width: float | None = None, prefix: Sequence[int] | None = None) -> None:
        if sum(option is not None for option in (to, width, prefix)) != 1:
            raise ConfigError("Expected exactly one of «to», «width» and «prefix» for the treatment «generalise».")
        if width is not None and not (width > 0 and math.isfinite(width)):
            raise ConfigError(f"Expected a positive width of the bins; got {width}.")
        self._seconds = SPANS[to] if to else 0
        self._width, self._prefix = width, tuple(prefix or ())

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """What cannot be read becomes nothing."""
        treat: Any = self._time if self._seconds else self._number if self._width else self._network
        return [treat(value) for value in values]

    def _time(self, value: Scalar) -> Scalar:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            unit = 1_000 if abs(value) > 1e11 else 1
            down = math.floor(value / (self._seconds * unit)) * self._seconds * unit
            return down if isinstance(value, int) else float(down)
        moment = moment_of(value)
        if moment is None:
            return None
        down = math.floor(moment.timestamp() / self._seconds) * self._seconds
        return datetime.fromtimestamp(down, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _number(self, value: Scalar) -> Scalar:
        width = self._width or 1
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        if not math.isfinite(number):
            return None
        down = math.floor(number / width) * width
        return int(down) if isinstance(value, int) and float(width).is_integer() else str(down) if isinstance(value, str) else down

    def _network(self, value: Scalar) -> Scalar:
        try:
            address = ip_address(str(value).partition("%")[0])
        except ValueError:
            return None
        bits = self._prefix[0] if address.version == 4 else self._prefix[-1]
        return str(ip_network((int(address), bits) if address.version == 4 else (address.packed, bits), strict=False))


def moment_of(text: str) -> datetime | None:
    """The time that a text says, in UTC where it names no zone."""
    text = text.strip()
    digits = re.fullmatch(r"(.*\.\d{6})\d+(.*)", text)
    if digits:
        text = digits.group(1) + digits.group(2)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seconds(value: Any) -> float:
    """A time in seconds: a text of ISO 8601, or a number of seconds or milliseconds; NaN for anything else.

    >>> seconds("1970-01-01T00:01:00Z"), seconds(1_700_000_000_000), seconds(17.5)
    (60.0, 1700000000.0, 17.5)
    """
    if isinstance(value, bool) or value is None:
        return float("nan")
    if isinstance(value, int | float):
        found = value / 1_000 if abs(value) > 1e11 else float(value)
        return found if abs(found) <= _LATEST else float("nan")
    moment = moment_of(str(value))
    return float("nan") if moment is None else moment.timestamp()


def template(text: str) -> str:
    """What all messages of a kind have in common: everything with a digit, everything in quotes and every pseudonym becomes ``<*>``.

    >>> template("job 17 of 'nightly' took 3.2s")
    'job <*> of <*> took <*>'
    """
    return _PART.sub(_blanked, WRITTEN.sub(_BLANK, text))


def _blanked(found: re.Match[str]) -> str:
    part = found.group()
    return _BLANK if part[0] in "\"'[" or _DIGIT.search(part) else part
