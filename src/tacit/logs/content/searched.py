"""What becomes of a pattern in free text, which is searched for names: the pattern is searched too, with the same dictionary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from tacit.logs.content.structures import Became
from tacit.logs.content.tree import Parts, Text, Wild
from tacit.logs.treatments import COMMON, Identities, Tools

WITHIN = "a word of it is part of a name that is known: where that name stands, it is hidden"
BEGUN = "the beginning of an address: addresses in texts are pseudonyms, and only private networks keep their beginning"
_ADDRESS = re.compile(r"(?<![\d.A-Za-z])((?:\d{1,3}\.){1,3})(\d{0,3})$")
_STAYING = re.compile(r"(?:127|10|192\.168|169\.254)\.(?:\d{0,3}$)?")
_EDGE = re.compile(r"^[^\W_]{4,}|[^\W_]{4,}$")


class Searched:
    """Patterns of free text.

    Args:
        make: new tools, with a dictionary of identities that is a copy: a rule must teach nothing that another rule, or events, would see.
        identities: the dictionary.
    """

    def __init__(self, make: Callable[[], Tools], identities: Identities) -> None:
        self._make = make
        self._names = "\n".join(identities)
        self._known: dict[str, str] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Search many texts at once, which is much faster than one by one; what one of them announces counts for itself only."""
        waiting: list[list[str]] = [sorted(set(texts).difference(self._known))]
        while waiting:
            some = waiting.pop()
            if not some:
                continue
            tools = self._make()
            before = tools.identities.version
            found = tools.scrubber.texts(some)
            if tools.identities.version == before or len(some) == 1:
                self._known.update(zip(some, found, strict=True))
            else:
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]

    def of(self, text: str) -> str:
        """One text after the search."""
        self.learn([text])
        return self._known[text]

    def became(self, value: Text) -> Became:
        """A pattern."""
        made: list[str | Wild] = []
        reasons: list[str] = []
        for place, part in enumerate(value.parts):
            if isinstance(part, Wild):
                made.append(part)
                continue
            made.append(self.of(part))
            ends = (place > 0, place < len(value.parts) - 1)
            reasons += self._losses(part, ends)
        same: Parts = tuple(made)
        return Became((Text(same, value.cased and same == value.parts),), tuple(dict.fromkeys(reasons)))

    def _losses(self, text: str, cut: Sequence[bool]) -> list[str]:
        found = []
        if cut[1] and (begun := _ADDRESS.search(text)) and not _STAYING.match(begun.group()):
            found.append(BEGUN)
        words = [word.group().lower() for word in _EDGE.finditer(text) if (cut[0] and word.start() == 0) or (cut[1] and word.end() == len(text))]
        if any(word not in COMMON and word in self._names for word in words):
            found.append(WITHIN)
        return found
