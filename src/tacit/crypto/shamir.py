"""A secret in several hands: any ``threshold`` of them have it, fewer have nothing (Shamir 1979, over GF(256)).

Every byte of what is shared is the value at 0 of a polynomial of its own, of degree ``threshold - 1``, whose other coefficients are random; a share
is the values at its number. The field is that of AES (FIPS 197, 4.2). All bytes are computed at once, as lanes of one integer, by the same steps
whatever they are: only the numbers of the shares, which are public, decide what is done.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from tacit.crypto.digests import framed
from tacit.crypto.shares import SET_BYTES, Share
from tacit.errors import UsageError, VerificationError

LONGEST = 1 << 14
_KEY = _TAG = 16
_MOST = 255


def split_secret(secret: bytes, *, shares: int = 3, threshold: int = 2) -> list[Share]:
    """Share a secret: any ``threshold`` of the ``shares`` give it back.

    >>> one, two, three = split_secret(b"the key of the vault")
    >>> combine_shares([three, one])
    b'the key of the vault'

    Guarantees:
        Fewer than ``threshold`` shares are uniform bytes, whatever the secret is: they are independent of it, against unlimited computing power.
        What is shared is the secret behind a random key and an HMAC under that key, so that whoever changes a share without knowing the others is
        found with a chance of 1 - 2^-128 when they are put together. Holders of ``threshold`` shares together are bound by nothing.

    ==============================  ============================================================
    one share                       says how long the secret is, how many are needed, which set
    two runs on the same secret     two sets, which do not mix
    a copy of a share               is the same share; it does not count twice
    ==============================  ============================================================

    Args:
        secret: 1 to 16,384 bytes.
        shares: how many are made, up to 255.
        threshold: how many are needed, at least 2.

    Raises:
        UsageError: unless 2 <= threshold <= shares <= 255, or if the secret is empty or too long.
    """
    if not 2 <= threshold <= shares <= _MOST:
        raise UsageError(f"Expected 2 <= threshold={threshold} <= shares={shares} <= {_MOST}; one share alone must not be the secret")
    if not 1 <= len(secret) <= LONGEST:
        raise UsageError(f"Expected a secret of 1 to {LONGEST:,} bytes, got {len(secret):,}; share the key that encrypts it instead")
    set_id, key = secrets.token_bytes(SET_BYTES), secrets.token_bytes(_KEY)
    shared = key + _tag(key, set_id, threshold, secret) + secret
    coefficients = [shared, *(secrets.token_bytes(len(shared)) for _ in range(threshold - 1))]
    return [Share(set_id, threshold, index, evaluated(coefficients, index)) for index in range(1, shares + 1)]


def combine_shares(shares: Iterable[Share]) -> bytes:
    """Give back the secret. Shares beyond those that are needed must fit too.

    Raises:
        UsageError: there are too few, or one was given twice.
        VerificationError: they are not of one set, or at least one is not what was made.
    """
    given = sorted(shares, key=lambda share: share.index)
    first = _require_set(given)
    used = {share.index: share.value for share in given[: first.threshold]}
    shared = interpolated(used, 0)
    fits = all(hmac.compare_digest(interpolated(used, share.index), share.value) for share in given[first.threshold :])
    key, tag, secret = shared[:_KEY], shared[_KEY : _KEY + _TAG], shared[_KEY + _TAG :]
    if not (hmac.compare_digest(tag, _tag(key, first.set_id, first.threshold, secret)) and fits):
        numbers = ", ".join(str(share.index) for share in given)
        raise VerificationError(f"The shares {numbers} do not give the secret: at least one was changed. Fetch them again, or use another one")
    return secret


def _require_set(given: Sequence[Share]) -> Share:
    """The first share, if all belong together and are enough."""
    if not given:
        raise UsageError("Expected shares, got none; pass as many as the threshold says")
    first, numbers = given[0], [share.index for share in given]
    if any((share.set_id, share.threshold, len(share.value)) != (first.set_id, first.threshold, len(first.value)) for share in given):
        raise VerificationError("These shares were not made together. Expected shares of one set; compare the name of the set on each")
    for share, following in pairwise(given):
        if share.index == following.index and share.value != following.value:
            raise VerificationError(f"Two different shares say that they are number {share.index}; at least one was changed. Fetch both again")
        if share.index == following.index:
            raise UsageError(f"Share {share.index} was given twice. Expected {first.threshold} different shares")
    if len(numbers) < first.threshold:
        raise UsageError(f"Expected {first.threshold} different shares of set {first.set_id.hex()}, got {len(numbers)}; ask another holder")
    if len(first.value) <= _KEY + _TAG:
        raise VerificationError("These shares are too short to hold anything. Fetch them again")
    return first


def _tag(key: bytes, set_id: bytes, threshold: int, secret: bytes) -> bytes:
    """What tells that a secret was put together from the very shares that were made."""
    return hmac.digest(key, framed(b"shares", "tacit.shares") + set_id + bytes([threshold]) + secret, "sha256")[:_TAG]


def evaluated(coefficients: Sequence[bytes], place: int) -> bytes:
    """The values at ``place`` of one polynomial per byte; ``coefficients`` from the constant one up, all of one length (Horner's scheme)."""
    ones = int.from_bytes(b"\x01" * len(coefficients[0]), "big")
    total = 0
    for coefficient in reversed(coefficients):
        total = _times(total, place, ones) ^ int.from_bytes(coefficient, "big")
    return total.to_bytes(len(coefficients[0]), "big")


def interpolated(values: dict[int, bytes], place: int) -> bytes:
    """The values at ``place`` of the polynomials of lowest degree that have ``values`` at their places (Lagrange)."""
    length = len(next(iter(values.values())))
    ones = int.from_bytes(b"\x01" * length, "big")
    total = 0
    for value, weight in zip(values.values(), _weights(tuple(values), place), strict=True):
        total ^= _times(int.from_bytes(value, "big"), weight, ones)
    return total.to_bytes(length, "big")


@lru_cache(maxsize=256)
def _weights(indices: tuple[int, ...], place: int) -> tuple[int, ...]:
    """Lagrange's weights at ``place``; the numbers of shares are public, and many secrets have the same holders."""
    weights = []
    for index in indices:
        weight = 1
        for other in indices:
            if other != index:
                weight = _times(weight, _times(place ^ other, _inverse(index ^ other), 1), 1)
        weights.append(weight)
    return tuple(weights)


def _times(lanes: int, factor: int, ones: int) -> int:
    """Each byte of ``lanes`` times the public ``factor`` in GF(256); ``ones`` has a 1 in every lane."""
    product = 0
    for bit in range(8):
        product ^= lanes * ((factor >> bit) & 1)
        high = (lanes >> 7) & ones
        lanes = ((lanes ^ (high << 7)) << 1) ^ (high * 0x1B)
    return product


@lru_cache(maxsize=256)
def _inverse(value: int) -> int:
    """``value`` to the power of 254: its inverse."""
    result = 1
    for _ in range(7):
        value = _times(value, value, 1)
        result = _times(result, value, 1)
    return result
