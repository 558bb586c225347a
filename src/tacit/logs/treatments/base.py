"""What a treatment is, and the tools that all treatments of one policy and key share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tacit.logs.treatments.addresses import Addresses
from tacit.logs.treatments.identities import Identities
from tacit.logs.treatments.names import Names
from tacit.logs.treatments.numbers import Numbers
from tacit.logs.treatments.places import Places
from tacit.logs.treatments.pseudonyms import Key, Note
from tacit.logs.treatments.scrub import Scrubber

Scalar = str | int | float | bool | None

FIRST, SECOND, TEXTS = 0, 1, 2
"""Fields that name somebody are treated first and texts last, all of them in one call, so that a text is searched for every name of its batch."""


@dataclass(frozen=True)
class Rows:
    """What a treatment may need to know about the events whose values it gets; one entry per value."""

    time: Sequence[Scalar]
    entity: Sequence[Scalar]
    unit: Sequence[Scalar]


class Treatment(Protocol):
    """What happens to the values of a field."""

    stage: int
    stable: bool
    """Whether a value's outcome never changes, so that it can be remembered."""
    alone: bool
    """Whether it depends on the value alone, so that equal values are treated once; else `many` gets every value with its rows."""

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """The values after treatment, in the same order. ``None`` is never among them."""


class Tools:
    """Everything that is made of a key, for one policy.

    Args:
        key: of the epoch.
        identities: the dictionary to use and to extend.
        accounts: accounts that stay, beyond the built-in ones.
        domains: domains whose hosts stay.
        networks: networks whose addresses stay.
        note: told of each pseudonym of an account, machine, address or identifier.
    """

    def __init__(
        self, key: Key, identities: Identities | None = None, *, accounts: Iterable[str] = (), domains: Iterable[str] = (),
        networks: Iterable[str] = (), note: Note | None = None,
    ) -> None:
        self.key = key
        self.identities = Identities() if identities is None else identities
        self.addresses = Addresses(key, kept=tuple(networks), note=note)
        self.names = Names(key, self.identities, addresses=self.addresses, accounts=accounts, domains=domains, note=note)
        self.numbers = Numbers(key, note=note)
        self.places = Places(key, self.names)
        self.scrubber = Scrubber(self.names, self.addresses, self.numbers)


@dataclass
class Each:
    """A treatment that is a function of one value."""

    function: Callable[[Any], Scalar]
    stage: int = SECOND
    stable: bool = True
    alone: bool = field(default=True, init=False)
    typed: bool = False
    """Whether the function tells numbers from texts; if not, it gets a number as what it looks like."""

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """See `Treatment`."""
        return list(map(self.function, values if self.typed else map(str, values)))


@dataclass
class Text:
    """Free text. All such columns of a batch are searched together, since each may announce a name that another holds."""

    search: Callable[[list[str]], Sequence[str]]
    after: Callable[[str], str] | None = None
    """What is done to each text when it has been searched."""
    stage: int = field(default=TEXTS, init=False)
    stable: bool = field(default=False, init=False)
    alone: bool = field(default=True, init=False)

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """See `Treatment`; numbers and truth values cannot hold a name and stay."""
        texts = [value for value in values if isinstance(value, str)]
        treated = iter(self.search(texts))
        return [self.finished(next(treated)) if isinstance(value, str) else value for value in values]

    def finished(self, text: str) -> str:
        """A text that has been searched, as it goes out."""
        return text if self.after is None else self.after(text)


@dataclass
class All:
    """A treatment of many texts at once."""

    function: Callable[[list[str]], Sequence[Scalar]]
    stage: int = SECOND
    stable: bool = False
    alone: bool = field(default=True, init=False)
    number: Callable[[int | float], Scalar] = field(default=lambda value: value, kw_only=True)
    """What becomes of a number; a truth value stays."""

    def many(self, values: Sequence[Scalar], rows: Rows | None = None) -> Sequence[Scalar]:
        """See `Treatment`."""
        texts = [value for value in values if isinstance(value, str)]
        treated = iter(self.function(texts))
        return [
            next(treated) if isinstance(value, str) else value if value is None or isinstance(value, bool) else self.number(value) for value in values
        ]
