"""Free text: every token that is, or holds, an identity is replaced; everything else stays, so that detections on commands still fire.

What is found: every name in the dictionary of identities, as a whole or as part of a token; addresses, e-mail addresses, hardware addresses and
security identifiers of any form; home directories and accounts where the text itself says that a name follows; passwords and tokens; and all of
that inside percent-encoding, base64 and hexadecimal, which is decoded, treated and encoded again.

A name that no field has ever held and that no such context announces stays readable: this is a search for what is known, not for meaning.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tacit.logs.treatments.addresses import Addresses
from tacit.logs.treatments.encoded import ENCODED, Hidden, decoded
from tacit.logs.treatments.identities import COMMON, WORD
from tacit.logs.treatments.names import LONGEST_HOST, Names
from tacit.logs.treatments.numbers import Numbers
from tacit.logs.treatments.patterns import (
    ACCOUNT,
    FILES,
    FORM,
    FORMS,
    IPV4,
    MACHINES,
    PEERS,
    PEOPLE,
    SECRETS,
    SIGNS_OF_SECRETS,
    TOKENS,
    announced,
    announced_in,
    compiled,
    extracted,
    free,
)
from tacit.logs.treatments.pseudonyms import LENGTH, WRITTEN

SECRET = "[secret]"  # noqa: S105 - what stands where a secret was
CARD = "[card]"

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_RUN, _ACCOUNT, _TOKEN = re.compile(ENCODED), re.compile(ACCOUNT), re.compile(TOKENS)
_LONGEST_NAME = 14
_LONGEST_REMEMBERED = 1_000
_MOST_GROUPS = 9  # of an IPv6 address, the empty ones of «::» at an end included
_MOST_TOKENS = 400_000
_DEEPEST = 2
ROUNDS = 3
"""A name that is found in one token may stand in another: so often all are looked at again."""
_FEW = 500
_ANNOUNCED = (*PEOPLE, *MACHINES, *PEERS)
_SECRETS_GROUP = len(_ANNOUNCED)
SIGNS = [(sign, group) for group, signs in enumerate([*(signs for _, signs, _ in _ANNOUNCED), SIGNS_OF_SECRETS]) for sign in signs]
"""Signs in lower case that a text must hold, each with the number of its group: the kinds of announced names in their order, then secrets."""
ENCODED_SIGN = 1 << 31


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
        self.identities = self._identities = names.identities
        self._tokens: dict[str, str] = {}
        self._holding: dict[str, list[str]] = {}
        self._seen = 0
        self._told: set[str] = set()
        """Names that were announced before: as long as none is forgotten, to look at one again changes nothing."""

    def texts(self, texts: Sequence[str], *, depth: int = 0) -> list[str]:
        """The texts with everything found replaced, in the same order."""
        if len(texts) < _FEW:
            return self._few(texts, depth) if texts else []
        column = pl.Series("text", texts, pl.String)
        slashed = column.filter(column.str.contains("\\", literal=True))
        self._learn(announced(column, PEOPLE), announced(column, MACHINES), extracted(slashed, ACCOUNT) if len(slashed) else ())
        self._learn_peers(announced(column, PEERS))
        column = self._without_secrets(column)
        column = self._reencoded(column, depth)
        return self._replaced(column, depth)

    def prepared(self, texts: Sequence[str], signs: Sequence[int], accounts: Callable[[], Iterable[str]]) -> tuple[list[str], list[bool]]:
        """What `texts` does to whole texts before it looks at their tokens, for a caller that has looked for signs already.

        Args:
            texts: with some sign.
            signs: of each: the groups of `SIGNS` that are there, and `ENCODED_SIGN` for what may be encoded.
            accounts: gives what stands around backslashes in all texts of the batch; asked when announced names are in the dictionary.

        Returns:
            The texts, and of each whether this holds for good: what an encoded text becomes depends on names learned later.
        """
        groups = np.array(signs, np.uint32)
        places = [np.flatnonzero(groups >> group & 1).tolist() for group in range(_SECRETS_GROUP + 1)]
        matches = _matching(texts, places)
        announced = [list(map(read, matches(group, pattern))) for group, (pattern, _, read) in enumerate(_ANNOUNCED)]
        people, machines = (list(chain.from_iterable(part)) for part in (announced[: len(PEOPLE)], announced[len(PEOPLE) : -len(PEERS)]))
        self._learn(people, machines, ())
        self._learn((), (), accounts())
        self._learn_peers(chain.from_iterable(announced[-len(PEERS) :]))
        found = self._each_without_secrets(texts, places[-1])
        lasting = [True] * len(found)
        maybe = np.flatnonzero(groups & (ENCODED_SIGN | 1 << _SECRETS_GROUP)).tolist()
        runs = {place: some for place in maybe if (some := _RUN.findall(found[place]))}
        hidden = {run: text for run in dict.fromkeys(chain.from_iterable(runs.values())) if (text := decoded(run)) is not None}
        changed = self._changed(hidden, 0)
        for place, some in runs.items():
            if not hidden.keys().isdisjoint(some):
                lasting[place] = False
                found[place] = _RUN.sub(lambda run: changed.get(run.group(), run.group()), found[place])
        return found, lasting

    def _each_without_secrets(self, texts: Sequence[str], places: list[int]) -> list[str]:
        found, some = list(texts), [texts[place] for place in places]
        changed = list(map(_without_secrets, some)) if len(some) < _FEW else self._without_secrets(pl.Series("text", some, pl.String)).to_list()
        for place, text in zip(places, changed, strict=True):
            found[place] = text
        return found

    def tokens(self, tokens: list[str]) -> list[str]:
        """What becomes of tokens that nobody remembers."""
        self._addresses.texts(sorted(set(IPV4.findall("\n".join([token for token in tokens if token.count(".") > 2])))))
        return [
            self._address(token) if token[:1].isdigit() and IPV4.fullmatch(token)
            else self._token(token, 0) if token.isascii() or self._suspect(token, WORD.findall(token.lower()))
            else token for token in tokens
        ]

    def _address(self, token: str) -> str:
        """What `_token` makes of an IPv4 address."""
        return self._identities.get(token) or self._parts(self._addresses.one(token) or token)

    def _few(self, texts: Sequence[str], depth: int) -> list[str]:
        """The same for a few texts, where calls on whole columns would cost more than they save."""
        lowered = [text.lower() for text in texts]
        accounts = (found for text in texts for found in _ACCOUNT.findall(text))
        self._learn(announced_in(texts, lowered, PEOPLE), announced_in(texts, lowered, MACHINES), accounts)
        self._learn_peers(announced_in(texts, lowered, PEERS))
        suspect = [any(map(low.__contains__, SIGNS_OF_SECRETS)) for low in lowered]
        plain = [_without_secrets(text) if may else text for text, may in zip(texts, suspect, strict=True)]
        if depth < _DEEPEST:
            changed = self._hidden(dict.fromkeys(run for text in plain for run in _RUN.findall(text)), depth)
            if changed:
                plain = [_RUN.sub(lambda found: changed.get(found.group(), found.group()), text) for text in plain]
        cut = [_TOKEN.findall(text) for text in plain]
        for _ in range(ROUNDS):
            version = self._identities.version
            self._forget()
            found = ["".join([self._remembered(token, depth) for token in tokens]) for tokens in cut]
            if self._identities.version == version:
                break
        return found

    def _learn(self, people: Iterable[str], machines: Iterable[str], accounts: Iterable[str]) -> None:
        """Names that the texts themselves announce go into the dictionary first."""
        if len(self._told) > _MOST_TOKENS or not self._identities.whole:
            self._told.clear()
        for name in people:
            if name not in self._told:
                self._told.add(name)
                self._name(name)
        for name in machines:
            low = name.lower()
            labels = low.split(".")
            if free(low) and not low.endswith(FILES) and not any(label in COMMON for label in labels[:-1] or labels):
                self._names.host(name)
        for found in accounts:
            domain, _, name = found.partition("\\")
            if name not in self._told and domain.lower() in self._identities:
                self._told.add(name)
                self._name(name)

    def _learn_peers(self, machines: Iterable[str]) -> None:
        for name in machines:
            name = name.strip(".-_")
            if len(name) > 2 and free(name.lower()):
                self._names.host(name)

    def _name(self, name: str) -> None:
        name = name.strip(".-_")
        if len(name) > 2 and name.lower() not in self._identities and free(name.lower()):
            self._names.user(name)

    def _without_secrets(self, column: Any) -> Any:
        suspect = column.str.contains_any(SIGNS_OF_SECRETS, ascii_case_insensitive=True)
        if not suspect.any():
            return column
        some = column.filter(suspect)
        for pattern in SECRETS:
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
        changed = self._hidden(extracted(some, ENCODED), depth)
        if not changed:
            return column
        replaced = [_RUN.sub(lambda found: changed.get(found.group(), found.group()), text) for text in some.to_list()]
        return column.scatter(suspect.arg_true(), pl.Series(replaced, dtype=pl.String))

    def _hidden(self, runs: Iterable[str], depth: int) -> dict[str, str]:
        """What may be encoded, and hides something to replace: what it becomes."""
        return self._changed({run: text for run in runs if (text := decoded(run)) is not None}, depth)

    def _changed(self, hidden: Mapping[str, Hidden], depth: int) -> dict[str, str]:
        treated = self.texts([text.text for text in hidden.values()], depth=depth + 1) if hidden else []
        return {run: text.encoded(new) for (run, text), new in zip(hidden.items(), treated, strict=True) if new != text.text}

    def _replaced(self, column: Any, depth: int) -> list[str]:
        """Token by token: each different token that may hold something is looked at once."""
        lists = column.str.extract_all(TOKENS).rechunk().to_arrow()
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
        formed = tokens.str.contains(FORM.pattern) | (tokens.str.len_bytes() != tokens.str.len_chars())
        words = tokens.str.to_lowercase().str.extract_all(WORD.pattern)
        for _ in range(ROUNDS):
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
        found = flat.is_in(list(hits)).to_numpy()
        named = np.zeros(len(words), bool)
        named[np.repeat(np.arange(len(words)), counts.to_numpy())[found]] = True
        return pl.Series(named)

    def _treated(self, tokens: list[str], depth: int) -> list[str]:
        # All addresses in one call: one alone costs as much as a thousand.
        self._addresses.texts(sorted(set(IPV4.findall("\n".join(tokens)))))
        self._forget()
        return [self._remembered(token, depth) for token in tokens]

    def _remembered(self, token: str, depth: int) -> str:
        """What a token becomes. Further in, less is decoded: what is found there holds there only."""
        if depth or len(token) > _LONGEST_REMEMBERED:
            return self._token(token, depth)
        new = self._tokens.get(token)
        if new is None:
            words = WORD.findall(token.lower())
            new = self._tokens[token] = self._token(token, depth) if self._suspect(token, words) else token
            for word in words:
                if len(word) > 2:
                    self._holding.setdefault(word, []).append(token)
        return new

    def _suspect(self, token: str, words: Iterable[str]) -> bool:
        """Whether a token may be something: by how it is written, or because a word of it belongs to a name."""
        return FORM.search(token) is not None or not self._identities.parts.isdisjoint(words)

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
        written = len(low) >= LENGTH and low.count("-") > 1 and WRITTEN.search(low) is not None
        return self._around(token, depth) if written else self._plain(token, low, depth)

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
        return FORMS.sub(self._form, token) if FORM.search(token) else token

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
        for length in range(min(len(groups), _MOST_GROUPS), 2, -1):
            for begin in range(len(groups) - length + 1):
                new = self._addresses.one(":".join(groups[begin : begin + length]))
                if new is not None:
                    return ":".join([*groups[:begin], new, *groups[begin + length :]])
        return text

    def _host(self, found: re.Match[str]) -> str:
        """A host of a domain that is known, even if no event has named this host yet."""
        text = found.group()
        if len(text) > LONGEST_HOST or WRITTEN.search(text) or self._names.stays(text.lower()):
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
        found = WORD.findall(low)
        if self._identities.starts.isdisjoint(found) or self._identities.parts.isdisjoint(found):
            return token
        words = list(WORD.finditer(low))
        signs = [place for place, word in enumerate(words) if word.group() in self._identities.parts]
        starts, pieces, end, place = self._identities.starts, [], 0, 0
        while signs and place <= signs[-1]:
            sign = signs[bisect_left(signs, place)]
            near = sign < place + _LONGEST_NAME and words[place].group() in starts
            last, hit = self._longest(low, words, place, sign) if near else (place, None)
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


def _matching(texts: Sequence[str], places: list[list[int]]) -> Callable[[int, str], Sequence[str]]:
    """A function that gives all different matches of a pattern in the texts of a group: by whole columns, or text by text where they are few."""
    column = pl.Series("text", texts, pl.String) if max(map(len, places)) >= _FEW else None

    def matches(group: int, pattern: str) -> Sequence[str]:
        if column is not None and len(places[group]) >= _FEW:
            return extracted(column.gather(places[group]), pattern)
        form = compiled(pattern)
        return list(dict.fromkeys(chain.from_iterable(form.findall(texts[place]) for place in places[group])))

    return matches


_SECRET_FORMS = tuple(map(compiled, SECRETS))


def _without_secrets(text: str) -> str:
    for form in _SECRET_FORMS:
        text = form.sub(rf"\g<1>{SECRET}", text)
    return text


def _luhn(text: str) -> bool:
    """Whether the check digit fits (ISO/IEC 7812-1, annex B)."""
    digits = [int(sign) for sign in text if sign.isdigit()][::-1]
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0
