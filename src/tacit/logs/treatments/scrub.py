"""Free text: every token that is, or holds, an identity is replaced; everything else stays, so that detections on commands still fire.

What is found: every name in the dictionary of identities, as a whole or as part of a token; addresses, e-mail addresses, hardware addresses and
security identifiers of any form; home directories and accounts where the text itself says that a name follows; passwords and tokens; and all of
that inside percent-encoding, base64 and hexadecimal, which is decoded, treated and encoded again.

A name that no field has ever held and that no such context announces stays readable: this is a search for what is known, not for meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tacit.logs.treatments.addresses import Addresses
from tacit.logs.treatments.encoded import ENCODED, decoded
from tacit.logs.treatments.identities import COMMON, WORD
from tacit.logs.treatments.names import Names
from tacit.logs.treatments.numbers import Numbers
from tacit.logs.treatments.pseudonyms import WRITTEN
from tacit.logs.wordlist import words

SECRET = "[secret]"  # noqa: S105 - what stands where a secret was
CARD = "[card]"

_DIVIDERS = r"""\s"'<>()\[\]{},;|&=/\\^`!?*#"""
_TOKENS = rf"[^{_DIVIDERS}]+|[{_DIVIDERS}]+"
_SECRETS = (
    r"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|api[_-]?key|access[_-]?key|client[_-]?secret|auth[_-]?token|token)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)"
    r"[^\s\"'&;,]{2,}",
    r"(?i)((?:--?|/)(?:pass(?:word|wd)?|pwd|secret|api-?key|token)\s{1,3}[\"']?)[^\s\"'&;,]{2,}",
    r"(?i)((?:authorization:\s{0,3})?\b(?:bearer|basic)\s{1,3})[A-Za-z0-9._~+/=-]{8,}",
    r"((?:[a-z][a-z0-9+.-]{1,20})://)[^\s/@:]{1,64}:[^\s/@]{1,128}@",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}",
    r"()\bAKIA[0-9A-Z]{16}\b",
)
_SIGNS_OF_SECRETS = ["pass", "pwd", "secret", "api", "access", "token", "bearer", "basic", "://", "eyj", "akia"]
_HOMES = r"(?i)(?:[\\/](?:users|home|profiles|documents and settings)[\\/]{1,2}[^\\/\"'<>|:*?;,&=()\s]{1,64})"
_SPACED_HOMES = r"(?i)(?:[\\/](?:users|documents and settings)[\\/]{1,2}[^\\/\"'<>|:*?;,&=()\t\r\n]{1,64}[\\/])"
_SAID = (
    r"(?i)(?:\b(?:user|username|user_name|acct|account|login|ruser|logname|for invalid user|invalid user|session opened for user|"
    r"session closed for user)[\"']?(?:\s{0,2}[=:]\s{0,2}|\s)[\"']?[^\s\"',;&|<>()=:]{2,64})"
)
_LOGON = r"(?i)(?:\b(?:accepted|failed) \S{1,30} for (?:invalid user )?\S{1,64} from )"
_SHARE = r"\\\\[A-Za-z0-9._-]{2,255}\\"
_REMOTE = r"(?i)(?:(?:/node|/v|/s|/server|-computername|--host|--hostname|--server)[:=\s]\s{0,2}[\"']?[A-Za-z][A-Za-z0-9._-]{2,255})"
_ACCOUNT = r"[A-Za-z0-9.-]{2,63}\\[A-Za-z0-9._$-]{2,64}"
_SLASHED = [slash + folder for slash in "/\\" for folder in ("users", "home", "profiles", "documents and settings")]
_Announced = tuple[tuple[str, list[str], Callable[[str], str]], ...]
"""Where texts say that a name follows: pattern, signs that it may match, and how the name is read."""
_PEOPLE: _Announced = (
    (_HOMES, _SLASHED, lambda found: re.split(r"[\\/]+", found)[-1]),
    (_SPACED_HOMES, _SLASHED, lambda found: re.split(r"[\\/]+", found.rstrip("\\/"))[-1]),
    (_SAID, ["user", "acct", "account", "login", "logname"], lambda found: re.split(r"[\s=:\"']+", found)[-1]),
    (_LOGON, ["accepted ", "failed "], lambda found: found.split()[-2]),
)
_MACHINES: _Announced = (
    (_SHARE, ["\\\\"], lambda found: found.strip("\\")),
    (_REMOTE, ["/node", "/v", "/s", "computername", "host", "server"], lambda found: re.split(r"[:=\s\"']+", found)[-1]),
)
_SPOKEN = frozenset(
    words("for, from, is, was, has, not, the, and, with, logged, authentication, unknown, name, to, in, on, of, session, by, at, id, opened, closed")
)

_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_FORMS = re.compile(
    r"(?P<email>[A-Za-z0-9._%+\-\u0080-\U0010ffff]{1,64}@[A-Za-z0-9.\-\u0080-\U0010ffff]{1,253})"
    r"|(?P<four>(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d))"
    r"|(?P<mac>(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}"
    r"(?![0-9A-Fa-f:-]))"
    r"|(?P<cisco>(?<![0-9A-Za-z.])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![0-9A-Za-z.]))"
    r"|(?P<sid>[Ss]-1-(?:5-21|12-1)(?:-\d{1,10}){3,5})"
    r"|(?P<six>::ffff:\d{1,3}(?:\.\d{1,3}){3}|(?<![0-9A-Za-z])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,64}:[0-9A-Fa-f]{0,4}(?![0-9A-Za-z]))"
    r"|(?P<card>(?<![0-9A-Za-z-])\d{4}-?\d{4}-?\d{4}-?\d{1,7}(?![0-9A-Za-z-]))"
    r"|(?P<host>(?<![A-Za-z0-9_.-])[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+)"
)
"""Everything that is recognised by how it is written, in one pass."""
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_RUN = re.compile(ENCODED)
_FORM = re.compile(
    r"[@%]|[A-Za-z0-9]\.[A-Za-z]|[0-9A-Fa-f][:-][0-9A-Fa-f]{2}[:-]|:.*:|\d\.\d|[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}|[sS]-1-|\d{12}|\d{4}-\d{4}-"
)
"""What a token must hold to be recognised by how it is written."""
_LONGEST_NAME = 14
_MOST_TOKENS = 400_000
_DEEPEST = 2
_ROUNDS = 3


class Scrubber:
    r"""Searches texts and replaces what it finds.

    >>> from tacit.logs.treatments import Tools
    >>> from tacit.logs.keys import EpochKey
    >>> tools = Tools(EpochKey.for_tests())
    >>> _ = tools.names.user("anna.keller")
    >>> tools.scrubber.texts(["type C:\\\\Users\\\\Anna.Keller\\\\a.txt"])[0].startswith("type C:\\\\Users\\\\u-k7-")
    True
    """

    def __init__(self, names: Names, addresses: Addresses, numbers: Numbers) -> None:
        self._names, self._addresses, self._numbers = names, addresses, numbers
        self._identities = names.identities
        self._tokens: dict[str, str] = {}
        self._holding: dict[str, list[str]] = {}
        self._seen = 0

    def texts(self, texts: Sequence[str], *, depth: int = 0) -> list[str]:
        """The texts with everything found replaced, in the same order."""
        column = pl.Series("text", texts, pl.String)
        self._learn(column)
        column = self._without_secrets(column)
        column = self._reencoded(column, depth)
        return self._replaced(column, depth)

    def _learn(self, column: Any) -> None:
        """Names that the texts themselves announce go into the dictionary first."""
        for name in _announced(column, _PEOPLE):
            self._name(name)
        for name in _announced(column, _MACHINES):
            if _free(name.lower()) and not any(part in COMMON for part in name.lower().split(".")):
                self._names.host(name)
        slashed = column.filter(column.str.contains("\\", literal=True))
        for found in _extracted(slashed, _ACCOUNT) if len(slashed) else ():
            domain, _, name = found.partition("\\")
            if domain.lower() in self._identities:
                self._name(name)

    def _name(self, name: str) -> None:
        name = name.strip(".-_")
        if len(name) > 2 and name.lower() not in self._identities and _free(name.lower()):
            self._names.user(name)

    def _without_secrets(self, column: Any) -> Any:
        suspect = column.str.contains_any(_SIGNS_OF_SECRETS, ascii_case_insensitive=True)
        if not suspect.any():
            return column
        some = column.filter(suspect)
        for pattern in _SECRETS:
            some = some.str.replace_all(pattern, "${1}" + SECRET)
        return column.scatter(suspect.arg_true(), some)

    def _reencoded(self, column: Any, depth: int) -> Any:
        """Base64 and hexadecimal that hides a text with something to replace in it."""
        if depth >= _DEEPEST:
            return column
        suspect = column.str.contains(ENCODED)
        if not suspect.any():
            return column
        some = column.filter(suspect)
        hidden = {run: text for run in set(_extracted(some, ENCODED)) if (text := decoded(run)) is not None}
        if not hidden:
            return column
        treated = self.texts([text.text for text in hidden.values()], depth=depth + 1)
        changed = {run: text.encoded(new) for (run, text), new in zip(hidden.items(), treated, strict=True) if new != text.text}
        if not changed:
            return column
        replaced = [_RUN.sub(lambda found: changed.get(found.group(), found.group()), text) for text in some.to_list()]
        return column.scatter(suspect.arg_true(), pl.Series(replaced, dtype=pl.String))

    def _replaced(self, column: Any, depth: int) -> list[str]:
        """Token by token: each different token that may hold something is looked at once."""
        lists = column.str.extract_all(_TOKENS).rechunk().to_arrow()
        coded = pc.list_flatten(lists).dictionary_encode()
        tokens = pl.Series("token", coded.dictionary)
        places, new = self._looked_up(tokens, depth)
        if not places:
            return list(column.to_list())
        taken = tokens.scatter(places, pl.Series(new, dtype=pl.String)).to_arrow().take(coded.indices)
        offsets = lists.offsets.to_numpy() - lists.offsets[0].as_py()
        joined = pc.binary_join(
            pa.LargeListArray.from_arrays(pa.array(offsets.astype(np.int64)), taken.cast(pa.large_string())), pa.scalar("", pa.large_string())
        )
        return [text or "" for text in joined.to_pylist()]

    def _looked_up(self, tokens: Any, depth: int) -> tuple[list[int], list[str]]:
        """Which tokens change, and into what. A name that is found on the way may stand in another token, so that all are looked at again."""
        formed, words = tokens.str.contains(_FORM.pattern), tokens.str.to_lowercase().str.extract_all(WORD.pattern)
        for _ in range(_ROUNDS):
            version = self._identities.version
            suspect = (formed | self._named(words)).arg_true()
            new = self._treated(tokens.gather(suspect).to_list(), depth)
            if self._identities.version == version:
                break
        return suspect.to_list(), new

    def _named(self, words: Any) -> Any:
        """Which tokens hold a word of some name."""
        counts = words.list.len()
        flat = words.explode(empty_as_null=False)
        hits = self._identities.parts.intersection(flat.unique().to_list())
        if not hits:
            return pl.Series(np.zeros(len(words), bool))
        found = flat.is_in(pl.Series(list(hits), dtype=pl.String)).to_numpy()
        named = np.zeros(len(words), bool)
        named[np.repeat(np.arange(len(words)), counts.to_numpy())[found]] = True
        return pl.Series(named)

    def _treated(self, tokens: list[str], depth: int) -> list[str]:
        # All addresses in one call: one alone costs as much as a thousand.
        self._addresses.texts(sorted(set(_IPV4.findall("\n".join(tokens)))))
        if depth:  # Further in, less is decoded: what is found there holds there only.
            return [self._token(token, depth) for token in tokens]
        self._forget()
        found = []
        for token in tokens:
            new = self._tokens.get(token)
            if new is None:
                new = self._tokens[token] = self._token(token, depth)
                for word in WORD.findall(token.lower()):
                    self._holding.setdefault(word, []).append(token)
            found.append(new)
        return found

    def _forget(self) -> None:
        """What was found to be nobody's may be somebody's since: tokens that hold a word of a new name are looked at again."""
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.clear()
            self._holding.clear()
        for word in self._identities.news(self._seen):
            for token in self._holding.pop(word, ()):
                self._tokens.pop(token, None)
        self._seen = self._identities.version

    def _token(self, token: str, depth: int) -> str:
        low = token.lower()
        return self._plain(token, low, depth) if WRITTEN.search(low) is None else self._around(token, depth)

    def _around(self, token: str, depth: int) -> str:
        """A token that holds a pseudonym already: only what stands around it is searched."""
        pieces, end = [], 0
        for found in WRITTEN.finditer(token.lower()):
            pieces += [self._plain(token[end : found.start()], token[end : found.start()].lower(), depth), token[found.start() : found.end()]]
            end = found.end()
        return "".join([*pieces, self._plain(token[end:], token[end:].lower(), depth)])

    def _plain(self, token: str, low: str, depth: int) -> str:
        hit = self._identities.get(low)
        if hit is not None:
            return hit
        if "%" in token and _PERCENT.search(token) and depth < _DEEPEST:
            plain = unquote(token)
            if "\ufffd" not in plain and "\0" not in plain:
                treated = self.texts([plain], depth=depth + 1)[0]
                if treated != plain:
                    return quote(treated, safe="-_.~$+:@")
        return self._parts(self._forms(token))

    def _forms(self, token: str) -> str:
        """Everything that is recognised by how it is written."""
        return _FORMS.sub(self._form, token) if _FORM.search(token) else token

    def _form(self, found: re.Match[str]) -> str:
        text, kind = found.group(), found.lastgroup
        if kind == "host":
            return self._host(found)
        if kind == "email":
            return self._names.email(text)
        if kind == "four":
            return self._addresses.one(text) or text
        if kind == "six":
            return self._six(text)
        if kind in ("mac", "cisco"):
            return self._numbers.mac(text)
        if kind == "sid":
            return self._numbers.sid(text)
        return CARD if _luhn(text) else text

    def _six(self, text: str) -> str:
        """The longest address among groups that colons divide; a port or a label may stand beside it."""
        groups = text.split(":")
        for length in range(len(groups), 2, -1):
            for begin in range(len(groups) - length + 1):
                new = self._addresses.one(":".join(groups[begin : begin + length]))
                if new is not None:
                    return ":".join([*groups[:begin], new, *groups[begin + length :]])
        return text

    def _host(self, found: re.Match[str]) -> str:
        """A host of a domain that is known, even if no event has named this host yet."""
        text = found.group()
        if WRITTEN.search(text) or self._names.stays(text.lower()):
            return text
        labels = text.lower().split(".")
        for place in range(1, len(labels) - 1):
            if (self._identities.get(".".join(labels[place:])) or "").startswith("h-"):
                return self._names.host(text)
        return text

    def _parts(self, token: str) -> str:
        """Names inside a token, the longest first, at the borders of words."""
        low = token.lower()
        if len(low) != len(token):
            return self._identities.get(low) or token
        words = list(WORD.finditer(low))
        signs = [place for place, word in enumerate(words) if word.group() in self._identities.parts]
        pieces, end, place = [], 0, 0
        while signs and place <= signs[-1]:
            sign = next(sign for sign in signs if sign >= place)
            last, hit = self._longest(low, words, place, sign) if sign < place + _LONGEST_NAME else (place, None)
            if hit is not None:
                pieces += [token[end : words[place].start()], hit]
                end, place = words[last].end(), last
            place += 1
        return "".join([*pieces, token[end:]]) if end else token

    def _longest(self, low: str, words: Sequence[re.Match[str]], place: int, sign: int) -> tuple[int, str | None]:
        """The longest name that begins at a word; it ends no earlier than the first word that is part of any name."""
        for last in range(min(len(words), place + _LONGEST_NAME) - 1, sign - 1, -1):
            hit = self._identities.get(low[words[place].start() : words[last].end()])
            if hit is not None:
                return last, hit
        return place, None


def _extracted(column: Any, pattern: str) -> Iterable[str]:
    """All different matches of a pattern."""
    found: list[str] = column.str.extract_all(pattern).explode().drop_nulls().unique(maintain_order=True).to_list()
    return found


def _announced(column: Any, announced: _Announced) -> Iterator[str]:
    for pattern, signs, read in announced:
        some = column.filter(column.str.contains_any(signs, ascii_case_insensitive=True))
        yield from map(read, _extracted(some, pattern) if len(some) else ())


def _free(low: str) -> bool:
    """Whether a word that stands where a name is expected may be one."""
    if low in COMMON or low in _SPOKEN or low.isdigit() or "%" in low or "*" in low:
        return False
    return WRITTEN.match(low) is None and _IPV4.fullmatch(low) is None


def _luhn(text: str) -> bool:
    """Whether the check digit fits (ISO/IEC 7812-1, annex B)."""
    digits = [int(sign) for sign in text if sign.isdigit()][::-1]
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0
