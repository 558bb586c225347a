"""One line of the ledger, and how it is sealed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, digest, from_canonical
from tacit.errors import LedgerCorrupted, SignatureInvalid, TacitError, UsageError
from tacit.guarantee import Scope

FORMAT = 1
NO_DIGEST = "0" * 64
LARGEST_BODY = 1 << 20
_DOMAIN = "tacit.ledger.entry@1"
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``digest`` covers everything before it, ``signature`` (Ed25519) covers the digest.

    Args:
        sequence: from 1, without gaps.
        time: UTC, ISO 8601, by the clock of the machine that wrote it.
        kind: «genesis», «charge», or what kind of evidence.
        dataset: the scope's data set; empty for what is about none.
        window: the scope's window.
        body: plain data: plans, costs, public results; never the content of a record.
        previous: digest of the entry before, hex.
        digest: of this entry, hex.
        signature: over the digest.
    """

    sequence: int
    time: str
    kind: str
    dataset: str
    window: str
    body: dict[str, Any]
    previous: str
    digest: str
    signature: bytes

    @property
    def scope(self) -> Scope:
        """What the entry is about."""
        return Scope(self.dataset, self.window)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as exported."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"signature": self.signature.hex()}


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as it is stored: the body as the very bytes that were sealed."""

    sequence: int
    time: str
    kind: str
    dataset: str
    window: str
    body: bytes
    previous: str
    digest: str = ""
    signature: bytes = b""

    def computed_digest(self) -> bytes:
        """SHA-256 over every other field, with its own domain."""
        sealed = {name: getattr(self, name) for name in ("sequence", "time", "kind", "dataset", "window", "previous")}
        return digest(sealed | {"format": FORMAT, "body": hashlib.sha256(self.body).hexdigest()}, domain=_DOMAIN)

    def seal(self, key: SigningKey) -> Row:
        """The same row with digest and signature."""
        value = self.computed_digest()
        return replace(self, digest=value.hex(), signature=key.sign(value, context=_DOMAIN))

    def peek(self) -> dict[str, Any]:
        """The body, unchecked; empty if it cannot be read."""
        try:
            body = from_canonical(self.body)
        except TacitError:
            return {}
        return body if isinstance(body, dict) else {}

    def open(self, key: VerifyKey) -> Entry:
        """The entry, once digest and signature are found to be right.

        Raises:
            LedgerCorrupted: if any byte of it was changed.
        """
        try:
            value = self.computed_digest()
            if value.hex() != self.digest:
                raise LedgerCorrupted(f"ledger entry {self.sequence}: the content does not match its digest.", sequence=self.sequence)
            key.verify(value, self.signature, context=_DOMAIN)
            body = from_canonical(self.body)
        except SignatureInvalid as error:
            raise LedgerCorrupted(f"ledger entry {self.sequence}: the signature does not belong to it.", sequence=self.sequence) from error
        except LedgerCorrupted:
            raise
        except (TacitError, TypeError, ValueError, AttributeError) as error:
            raise LedgerCorrupted(f"ledger entry {self.sequence}: not in the form Tacit writes.", sequence=self.sequence) from error
        return Entry(self.sequence, self.time, self.kind, self.dataset, self.window, body, self.previous, self.digest, self.signature)


def encode_body(kind: str, body: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a body.

    Raises:
        UsageError: for a kind that cannot be stored, or a body that is not plain data or larger than 1 MiB.
    """
    if not _KIND.match(kind):
        raise UsageError(f"Expected an entry kind of small letters such as «attack.result»; got {kind!r}.")
    encoded = canonical_bytes(dict(body))
    if len(encoded) > LARGEST_BODY:
        raise UsageError(f"Expected at most {LARGEST_BODY} bytes in a ledger entry; got {len(encoded)}. Store its digest instead.")
    return encoded
