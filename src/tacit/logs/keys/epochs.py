"""One epoch of a tenant's pseudonyms: its name, its time, its key, and how likely two names share a pseudonym."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from tacit.crypto import derive
from tacit.errors import UsageError

ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""What an epoch's two characters are made of: none that looks like another."""

MASTER_BYTES = 32
BITS = 80
"""How many bits of HMAC-SHA256 a pseudonym in text form keeps."""


class EpochKey:
    """The key of one epoch. It never shows itself: not in ``repr``, not through pickle.

    >>> key = EpochKey.for_tests()
    >>> key, len(key.secret("address")), key.secret("address") == key.secret("pseudonym/user")
    (EpochKey(k7), 32, False)

    Guarantees:
        Tenant, epoch and purpose are bound into every secret: two of them that differ in any of these have nothing in common for whoever does not
        hold the master, so pseudonyms of two tenants or two epochs never match.
    """

    __slots__ = ("_master", "_tenant", "id")

    def __init__(self, identifier: str, master: bytes, *, tenant: str) -> None:
        self.id = identifier
        self._master, self._tenant = master, tenant

    @classmethod
    def for_tests(cls) -> EpochKey:
        """A key that everybody knows, for tests and examples; it protects nothing."""
        return cls("k7", bytes(range(MASTER_BYTES)), tenant="tests")

    @classmethod
    def kept_nowhere(cls) -> EpochKey:
        """A fresh key for a look at what a policy does: its pseudonyms match no others, and nothing reveals them."""
        return cls("zz", secrets.token_bytes(MASTER_BYTES), tenant="nobody")

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose: HKDF-SHA256 of the master, bound to tenant, epoch and purpose."""
        return derive(self._master, purpose="tacit.logs.epoch", bound_to=(self._tenant, self.id, purpose))

    def __reduce__(self) -> NoReturn:
        raise UsageError("A key was to be copied or pickled. Expected it to stay where it is; pass the path of its keyring instead")

    def __repr__(self) -> str:
        return f"EpochKey({self.id})"


@dataclass(frozen=True)
class Epoch:
    """When a key came into use; ``destroyed`` keys cannot be used again."""

    id: str
    begun: datetime
    overlap: timedelta
    """How long after its beginning the key before it is still attached."""
    destroyed: bool = False


def collision_chance(distinct: int, *, bits: int = BITS) -> float:
    """How likely any two of so many different names of one namespace and epoch share a pseudonym (birthday bound: 1 - e^(-n(n-1)/2^(bits+1))).

    >>> f"{collision_chance(10**9):.0e}", f"{collision_chance(10_000, bits=24):.2f}"
    ('4e-07', '0.95')

    What happens then: the two names look like one in the output, and nothing notices. The vault keeps both, and a reveal shows both. With 80 bits
    this is not worth handling otherwise: a hundred million names collide with a chance of 4e-9. Treatments that keep the form of a short identifier
    have fewer bits: the second half of a hardware address 24 (a thousand cards of one vendor collide with a chance of .03), the relative part of a
    Windows SID 31, a whole number 53. Addresses never collide: Crypto-PAn is one-to-one.

    Args:
        distinct: how many different names.
        bits: how many bits the pseudonym has.
    """
    if distinct < 0 or not 1 <= bits <= 256:
        raise UsageError(f"Expected distinct={distinct} of no less than 0 and bits={bits} from 1 to 256.")
    return max(0.0, -math.expm1(-distinct * (distinct - 1) / 2 / 2**bits))
