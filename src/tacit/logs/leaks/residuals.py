"""Which identities are still readable in an output: a search for every one of them, as a whole word, in every encoding that logs use.

Words are compared by a polynomial hash over all bytes of a chunk at once, and what the hash finds is compared byte by byte, so that nothing is
reported that is not there. An identity is looked for with its neighbours: no letter or digit stands before or after it, and an address is not
part of a longer one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.errors import StorageError, UsageError
from tacit.logs.leaks.lexicon import Hits, Lexicon, lower
from tacit.logs.leaks.spelling import ambiguous, spellings
from tacit.logs.leaks.views import FORMS, Bytes, views

_CHUNK = 4 << 20
_OVERLAP = 1 << 13
_CUTS = (b"\n", b'"', b" ", b",", b"\t")
_EXACT, _CASE, _SPELT = (FORMS.index(form) for form in ("plain", "case", "spelling"))
_ROUNDS = 4  # in which an identity found in capitals is looked for in its own spelling, per chunk


@dataclass(frozen=True)
class Residuals:
    """What a search found; numbers only, unless ``names`` is asked.

    Attributes:
        searched: Bytes of output.
        known: Identities looked for, by kind.
        readable: Identities found that are not ambiguous, by kind.
        forms: Of those, how many were found in each form (``FORMS``): an identity may have several.
        ambiguous: Identities found that prove little (see ``ambiguous``), by kind.
        coincidental: Identities found that the anonymiser itself wrote as pseudonyms of others, by kind.
    """

    searched: int
    known: dict[str, int]
    readable: dict[str, int]
    forms: dict[str, dict[str, int]]
    ambiguous: dict[str, int]
    coincidental: dict[str, int]
    _names: dict[str, tuple[str, ...]] = field(repr=False, default_factory=dict)

    @property
    def total(self) -> int:
        """How many identities are readable."""
        return sum(self.readable.values())

    def share(self, kind: str) -> float:
        """Which part of the identities of a kind is readable; 0 if there are none."""
        return self.readable[kind] / self.known[kind] if self.known[kind] else 0.0

    def names(self, kind: str) -> tuple[str, ...]:
        """The readable identities themselves: for the owner's eyes, never for a log or a report that leaves."""
        return self._names[kind]


def residuals(
    source: str | Path | bytes | Iterable[bytes], identities: Mapping[str, Collection[str]], *, pseudonyms: Collection[str] = ()
) -> Residuals:
    """Search an output for identities.

    Args:
        source: a file, its bytes, or its bytes in pieces (which may end anywhere).
        identities: by kind, in the spelling of ``tacit.logs.telemetry.Identities``; kinds that are not known there are searched for as they are.
        pseudonyms: texts that the anonymiser wrote. A prefix-preserving pseudonym of one address can be the address of another: such finds are
            counted apart.

    Raises:
        StorageError: if the file cannot be read.
        UsageError: if there is nothing to search for.

    >>> found = residuals(b'{"user":"u-k7-00","path":"/srv/ADA.ABEL/x"}', {"user": ["ada.abel", "bea.bach"]})
    >>> found.readable, found.forms["user"]["case"], found.share("user")
    ({'user': 1}, 1, 0.5)
    """
    if not any(identities.values()):
        raise UsageError("Expected at least one identity to search for; pass those of the records that went in.")
    search, searched = _Search(identities), 0
    for chunk in _whole(_chunks(source)):
        searched += len(chunk)
        search.see(chunk)
    return search.result(searched, frozenset(text.casefold() for text in pseudonyms))


def _chunks(source: str | Path | bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[begin : begin + _CHUNK] for begin in range(0, len(source), _CHUNK))
    elif isinstance(source, str | Path):
        try:
            with Path(source).open("rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except OSError as error:
            raise StorageError(f"Cannot read {source} ({error.strerror}); name a file that exists and may be read.") from error
    else:
        yield from source


def _whole(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut where no word is cut; a text without such a place is cut anywhere, and what stands around the cut comes twice."""
    held = b""
    for piece in pieces:
        held += piece
        if len(held) < _CHUNK:
            continue
        place = next((place + 1 for mark in _CUTS if (place := held.rfind(mark)) >= len(held) // 2), 0)
        if place:
            yield held[:place]
            held = held[place:]
        elif len(held) >= 4 * _CHUNK:
            yield held
            held = held[-_OVERLAP:]
    if held:
        yield held


class _Search:
    """The identities, and in which forms each has been found."""

    def __init__(self, identities: Mapping[str, Collection[str]]) -> None:
        self._known = {kind: sorted(set(texts)) for kind, texts in identities.items()}
        self._all = [(kind, text) for kind, texts in self._known.items() for text in texts]
        self._found = np.zeros((len(FORMS), len(self._all)), bool)
        self._bytes = [text.encode() for _, text in self._all]
        owners: dict[bytes, list[int]] = {}
        for number, (kind, text) in enumerate(self._all):
            for spelt in {text, text.upper(), *spellings(kind, text)}:
                owners.setdefault(lower(spelt.encode()), []).append(number)
        self._shared = [numbers for numbers in owners.values() if len(numbers) > 1]
        self._lexicon = Lexicon(list(owners), addresses=[self._all[numbers[0]][0] == "ip" for numbers in owners.values()])
        self._owner = np.array([numbers[0] for numbers in owners.values()], np.intp)

    def see(self, chunk: bytes) -> None:
        """Look through a chunk in every form."""
        for form, text in views(chunk):
            hits = self._lexicon.hits(text)
            if len(hits.words):
                self._note(FORMS.index(form), text, hits)

    def _note(self, form: int, text: Bytes, hits: Hits) -> None:
        """Confirm one hit of each identity that is not known yet in this form, until none is left."""
        rounds = 0
        while True:
            owners = self._owner[hits.words]
            late = self._found[_CASE] | self._found[_SPELT] if form == _EXACT and rounds >= _ROUNDS else False
            hits = hits.only(~(self._found[form] | late)[owners])
            if not len(hits.words):
                return
            _, once = np.unique(self._owner[hits.words], return_index=True)
            self._confirm(form, text, hits.only(once))
            hits, rounds = hits.without(once), rounds + 1

    def _confirm(self, form: int, text: Bytes, hits: Hits) -> None:
        for word, start, end in zip(hits.words.tolist(), hits.starts.tolist(), hits.ends.tolist(), strict=True):
            found, owner = text[start:end].tobytes(), self._owner[word]
            if lower(found) == self._lexicon.words[word]:
                self._found[self._form(form, found, self._bytes[owner]), owner] = True

    @staticmethod
    def _form(form: int, found: bytes, own: bytes) -> int:
        if form != _EXACT or found in own:
            return form
        return _CASE if lower(found) in lower(own) else _SPELT

    def result(self, searched: int, written: frozenset[str]) -> Residuals:
        """What was found, sorted by what it proves."""
        for numbers in self._shared:
            self._found[:, numbers] = np.asarray(self._found[:, numbers].any(axis=1))[:, None]
        anywhere: NDArray[np.bool_] = np.asarray(self._found.any(axis=0))
        weak = np.zeros(len(self._all), bool)
        weak[anywhere] = [ambiguous(*self._all[number]) for number in np.flatnonzero(anywhere)]
        own = np.array([text.casefold() in written for _, text in self._all], bool)
        kinds = np.array([kind for kind, _ in self._all])
        clear = anywhere & ~weak & ~own
        return Residuals(
            searched=searched,
            known={kind: len(texts) for kind, texts in self._known.items()},
            readable={kind: int((clear & (kinds == kind)).sum()) for kind in self._known},
            forms={
                kind: {form: int((self._found[i] & clear & (kinds == kind)).sum()) for i, form in enumerate(FORMS)} for kind in self._known
            },
            ambiguous={kind: int((anywhere & weak & ~own & (kinds == kind)).sum()) for kind in self._known},
            coincidental={kind: int((anywhere & own & (kinds == kind)).sum()) for kind in self._known},
            _names={kind: tuple(self._all[i][1] for i in np.flatnonzero(clear & (kinds == kind))) for kind in self._known},
        )
