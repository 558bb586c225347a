"""Requests as people write them: ``by=host.name,hour where=event.outcome=failure``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tacit.domain import Category, Domain
from tacit.errors import DataError, UsageError
from tacit.learn.counting import span
from tacit.logs.stats.requests import (
    AUTO,
    METRICS,
    Amount,
    Bounds,
    FoundKeys,
    Key,
    PublicKeys,
    Request,
    TimeBins,
    even_edges,
    log_edges,
)  # fmt: skip
from tacit.questions import Condition

WORDS_APART = "\x1f"
"""Stands between words that a shell has taken apart already; otherwise spaces do, but within double quotes."""

MOST_VALUES = 1 << 20
_LARGEST_FILE = 64 << 20
_TIMES = {"hour": 3_600, "day": 86_400, "week": 604_800}
_WIDTH = re.compile(r"[1-9][0-9]{0,6}(s|min|m|h|d|w)\Z")
_CONDITION = re.compile(r"(?P<column>[^!=<>\"]+)(?P<test>!=|>=|<=|=|>|<)(?P<values>.+)\Z", re.DOTALL)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?\Z")
_KNOWN = {
    "count": (), "units": (), "distinct": ("of",), "histogram": ("of", "range", "bins", "scale", "edges"),
    "quantiles": ("of", "at", "range", "bins", "scale", "edges"), "top": ("of", "k"),
}
_COMMON = ("by", "where", "cells", "each", "rows", "share", "bias", "name")
_BINS = {"histogram": 20, "quantiles": 128}
_WIDE = 100.0


@dataclass(frozen=True)
class Reader:
    """Reads requests.

    Args:
        domain: what is publicly known of columns: keys that it declares as categories need no selection.
        folder: where files of values are looked for.
    """

    domain: Domain | None = None
    folder: Path = Path()

    def read(self, metric: str, text: str, *, name: str | None = None) -> Request:
        """The request that ``text`` describes.

        >>> Reader().read("count", "by=hour where=event.outcome=failure|unknown cells=10 each=2").where[0].values
        ('failure', 'unknown')

        Raises:
            UsageError: if it cannot be understood; names the word.
            DataError: if a file of values cannot be read.
        """
        if metric not in METRICS:
            raise UsageError(f"Expected one of {', '.join(METRICS)}; got {metric!r}.")
        words = dict(_words(text, (*_COMMON, *_KNOWN[metric]), metric))
        numeric = metric in _BINS
        return Request(
            words.get("name", name or metric), metric, tuple(self._key(item) for item in _split(words.get("by", ""), ",") if item),
            tuple(_condition(item) for item in _split(words.get("where", ""), ",") if item),
            tuple(_plain(item) for item in _split(words.get("of", ""), ",") if item),
            _edges(words, _BINS[metric]) if numeric else (), _quantiles(words.get("at", "0.5,0.95")) if metric == "quantiles" else (),
            _whole(words.get("k", "10"), "k"), Bounds(**{key: _amount(words[key], key) for key in ("cells", "each", "rows") if key in words}),
            _number(words.get("share", "1"), "share"), _switch(words.get("bias", "yes"), "bias"),
        )

    def _key(self, item: str) -> Key:
        if item in _TIMES:
            return TimeBins(_TIMES[item])
        if _WIDTH.match(item):
            return TimeBins(span(item))
        column, sign, values = _cut(item.removeprefix("column:"), "=")
        if not column:
            raise UsageError(f"Expected a column, a column=values or a width of time in by=; got {item!r}.")
        if sign:
            return PublicKeys(column, self._values(column, values))
        declared = dict(self.domain.columns).get(column) if self.domain is not None else None
        return PublicKeys(column, declared.values) if isinstance(declared, Category) else FoundKeys(column)

    def _values(self, column: str, text: str) -> tuple[str, ...]:
        if text.startswith("@"):
            return _lines(self.folder / _plain(text[1:]))
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        found = tuple(_plain(value) for value in _split(inner, "|"))
        if not all(value.strip() for value in found):
            raise UsageError(f"Expected values between «|» for «{column}» in by=, such as {column}=[a|b], or a file: {column}=@values.txt.")
        return found


def _words(text: str, known: Sequence[str], metric: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for word in text.split(WORDS_APART) if WORDS_APART in text else _split(text, None):
        key, sign, value = word.partition("=")
        if not sign or key not in known:
            raise UsageError(f"Expected words such as by=host.name,hour in a request for {metric}: {', '.join(known)}; got {_shown(word)}.")
        if key in seen:
            raise UsageError(f"Expected {key}= once in a request for {metric}; several parts are separated by commas.")
        if not value.strip():
            raise UsageError(f"Expected something after {key}= in a request for {metric}.")
        seen.add(key)
        yield key, value.strip()


def _condition(item: str) -> Condition:
    found = _CONDITION.match(item)
    if found is None or not found["column"].strip():
        raise UsageError(f"Expected conditions such as event.outcome=failure, port!=443 or bytes>=1000 in where=; got {_shown(item)}.")
    column, test, values = found["column"].strip(), found["test"], found["values"]
    if test in ("=", "!="):
        texts = tuple(_plain(value).strip() for value in _split(values, "|"))
        if not all(texts):
            raise UsageError(f"Expected values between «|» in the condition on «{column}».")
        return Condition(column, "in" if test == "=" else "not in", texts)
    return Condition(column, test, limit=_number(values, column))


def _edges(words: dict[str, str], usual: int) -> tuple[float, ...]:
    if "edges" in words:
        if {"range", "bins", "scale"} & set(words):
            raise UsageError("Expected edges= alone, or range= with bins= and scale=.")
        return tuple(_number(part, "edges") for part in _split(words["edges"], ","))
    lower, sign, upper = words.get("range", "").partition("..")
    if not sign:
        raise UsageError("Expected public bounds of the number, such as range=0..1e9: they are never read off the records.")
    low, high = _number(lower, "range"), _number(upper, "range")
    bins, wide = _whole(words.get("bins", str(usual)), "bins"), low >= 0 and high >= _WIDE * max(low, 1.0)
    scale = words.get("scale", "log" if wide else "even")
    if scale not in ("log", "even"):
        raise UsageError(f"Expected scale=log or scale=even; got scale={_shown(scale)}.")
    return (log_edges if scale == "log" else even_edges)(low, high, bins)


def _quantiles(text: str) -> tuple[float, ...]:
    return tuple(_number(part[1:], "at") / 100 if part[:1] == "p" else _number(part, "at") for part in _split(text, ","))


def _number(text: str, what: str) -> float:
    value = float(text) if _NUMBER.match(text.strip()) else math.nan
    if not math.isfinite(value):
        raise UsageError(f"Expected a number for {what}; got {_shown(text)}.")
    return value


def _whole(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"Expected a whole number for {what}; got {_shown(text)}.")
    return int(text)


def _amount(text: str, what: str) -> Amount:
    return AUTO if text == AUTO else _whole(text, what)


def _switch(text: str, what: str) -> bool:
    if text not in ("yes", "no"):
        raise UsageError(f"Expected {what}=yes or {what}=no; got {_shown(text)}.")
    return text == "yes"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _split(text: str, sign: str | None) -> list[str]:
    """The parts between ``sign`` (between spaces for `None`), outside double quotes and square brackets.

    >>> _split('a,"b,c",[d,e]', ",")
    ['a', '"b,c"', '[d,e]']
    """
    parts, part = [], ""
    for char, protected in _protected(text):
        if not protected and (char.isspace() if sign is None else char == sign):
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part)
    return [part for part in parts if part] if sign is None else parts


def _cut(text: str, sign: str) -> tuple[str, str, str]:
    before, found, after = text.partition(sign)
    return _plain(before.strip()), found, after.strip()


def _protected(text: str) -> Iterator[tuple[str, bool]]:
    quoted, deep = False, 0
    for place, char in enumerate(text):
        if char == '"' and text[place - 1 : place] != "\\":
            quoted = not quoted
        elif not quoted:
            deep += (char == "[") - (char == "]" and deep > 0)
        yield char, quoted or deep > 0 or char == '"'
    if quoted or deep:
        raise UsageError(f"Expected every quote and bracket to be closed; got {_shown(text)}.")


def _plain(text: str) -> str:
    """Without the quotes around it."""
    inner = text.strip()
    return inner[1:-1].replace('\\"', '"') if len(inner) >= 2 and inner[0] == inner[-1] == '"' else inner


def _lines(path: Path) -> tuple[str, ...]:
    """The values in a file, one a line; blank lines are none."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"Expected a file of values of at most {_LARGEST_FILE >> 20} MiB; {path} is larger.")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"Expected a file of values in UTF-8; {path} is not.") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no such name"
        raise DataError(f"Expected a file of values, one a line; {path} cannot be read: {reason}.") from None
    values = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not 1 <= len(values) <= MOST_VALUES:
        raise DataError(f"Expected between 1 and {MOST_VALUES:,} values in {path}; got {len(values):,}.")
    return values


