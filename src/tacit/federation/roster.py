"""Who takes part: the names and keys of all sites and of the coordinator, signed by every one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, digest, from_canonical
from tacit.errors import UsageError, VerificationError
from tacit.federation.table import Parties

_CONTEXT = "tacit.roster"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
LONGEST = 1 << 20
COORDINATOR = "coordinator"


def require_name(name: str) -> str:
    """The name of a site, if it is one that can stand in files, certificates and messages.

    Raises:
        UsageError: unless it has 1 to 64 small letters, digits, dots, dashes or underscores, begins with a letter or digit, and is not «coordinator».
    """
    if not _NAME.match(name) or name == COORDINATOR:
        raise UsageError(f"Expected a site's name of 1 to 64 small letters, digits, «.», «-» or «_», other than «{COORDINATOR}»; got {name[:80]!r}.")
    return name


@dataclass(frozen=True)
class Roster:
    """The members of a federation. Two rosters are one federation only if their `id` is the same.

    Guarantees:
        After `require_signed`, every site has put its own key's signature under the whole list: nobody was added, left out or given another key
        without all others' knowledge.

    Args:
        federation: a public name.
        coordinator: the coordinator's key.
        sites: the key of each site, by name.
        signatures: by name; not part of `id`.

    Raises:
        UsageError: for fewer than 3 sites or more than 64, a name that cannot be used, or a key that two members have.
    """

    federation: str
    coordinator: VerifyKey
    sites: Mapping[str, VerifyKey]
    signatures: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Parties.of(len(self.sites))
        for name in self.sites:
            require_name(name)
        if not self.federation.strip() or len(self.federation) > 200:
            raise UsageError("Expected a name of 1 to 200 characters for the federation.")
        if len({key.raw for key in self.sites.values()} | {self.coordinator.raw}) != len(self.sites) + 1:
            raise UsageError("Expected a key of its own for each site and the coordinator; two are the same. Make a new key at one of them.")

    @property
    def names(self) -> tuple[str, ...]:
        """The sites' names, in order."""
        return tuple(sorted(self.sites))

    @property
    def parties(self) -> Parties:
        """How many are needed, may be missing and may collude."""
        return Parties.of(len(self.sites))

    @cached_property
    def id(self) -> bytes:
        """SHA-256 over names and keys, 32 bytes: what every message of the federation is bound to."""
        return digest(self._content(), domain=_CONTEXT)

    def _content(self) -> dict[str, Any]:
        return {
            "version": 1, "federation": self.federation, "coordinator": self.coordinator.raw,
            "sites": {name: self.sites[name].raw for name in self.names},
        }

    def key(self, name: str) -> VerifyKey:
        """The key of a site, or of the coordinator by that name.

        Raises:
            VerificationError: if there is no such member.
        """
        found = self.coordinator if name == COORDINATOR else self.sites.get(name)
        if found is None:
            raise VerificationError("A message names a sender that the roster does not. Compare the rosters of both sides.")
        return found

    def signed_by(self, name: str, key: SigningKey) -> Roster:
        """The roster with one more signature."""
        if self.key(name) != key.public:
            raise UsageError(f"The roster has another key for «{name}» than the one to sign with. Ask the coordinator which key it was given.")
        return replace(self, signatures={**self.signatures, name: key.sign(self.id, context=_CONTEXT)})

    def with_signature(self, name: str, signature: bytes) -> Roster:
        """The roster with a signature that somebody else made.

        Raises:
            VerificationError: if it is not that member's signature under this roster.
        """
        self.key(name).verify(self.id, signature, context=_CONTEXT)
        return replace(self, signatures={**self.signatures, name: signature})

    def require_signed(self) -> None:
        """Return if every site and the coordinator have signed.

        Raises:
            VerificationError: if a signature is missing or wrong.
        """
        for name in (COORDINATOR, *self.names):
            signature = self.signatures.get(name)
            if signature is None:
                raise VerificationError(f"The roster lacks the signature of «{name}». Wait until it has joined, then fetch the roster again.")
            self.key(name).verify(self.id, signature, context=_CONTEXT)

    def to_bytes(self) -> bytes:
        """Canonical text; `from_bytes` reverses it."""
        return canonical_bytes({**self._content(), "signatures": dict(self.signatures)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Roster:
        """Read what `to_bytes` wrote; signatures are not verified.

        Raises:
            VerificationError: if it is something else.
        """
        if len(data) > LONGEST:
            raise VerificationError(f"Expected a roster of at most {LONGEST:,} bytes; got {len(data):,}.")
        fields = from_canonical(data)
        try:
            if fields.keys() != {"version", "federation", "coordinator", "sites", "signatures"} or fields["version"] != 1:
                raise ValueError("other fields")
            sites = {str(name): VerifyKey.from_bytes(raw) for name, raw in fields["sites"].items()}
            signatures = {str(name): bytes(raw) for name, raw in fields["signatures"].items()}
            return cls(str(fields["federation"]), VerifyKey.from_bytes(fields["coordinator"]), sites, signatures)
        except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
            raise VerificationError(f"Expected a roster; {type(error).__name__} while reading it. Fetch it again.") from error
