"""One secret for each purpose, derived from one that is kept: HKDF-SHA256 (RFC 5869)."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacit.crypto.digests import framed
from tacit.errors import UsageError

_LEAST = 16


def derive(secret: bytes, *, purpose: str, bound_to: Iterable[bytes | str] = (), length: int = 32) -> bytes:
    """Derive ``length`` bytes for ``purpose``, bound to whatever else must be the same for whoever derives them again.

    The «info» of RFC 5869 is the framed purpose, then each part of ``bound_to`` behind its length: no two lists of parts run into each other.

    >>> derive(bytes(32), purpose="a", bound_to=("x", "yz")) == derive(bytes(32), purpose="a", bound_to=("xy", "z"))
    False

    Args:
        secret: at least 16 bytes with the entropy of a key; a passphrase needs scrypt first.
        purpose: what the result is for; never empty.
        bound_to: context, such as names and public keys.
        length: 1 to 8,160 bytes.

    Raises:
        UsageError: the secret is too short to be a key, the purpose is empty, or the length impossible.
    """
    if len(secret) < _LEAST:
        raise UsageError(f"Expected a secret of at least {_LEAST} bytes, got {len(secret)}; derive from a key, not from a passphrase")
    if not 1 <= length <= 255 * 32:
        raise UsageError(f"Expected length={length} from 1 to {255 * 32:,}")
    return HKDF(SHA256(), length, salt=None, info=framed(b"derive", purpose) + b"".join(map(_behind_its_length, bound_to))).derive(secret)


def _behind_its_length(part: bytes | str) -> bytes:
    data = part.encode("utf-8") if isinstance(part, str) else part
    return len(data).to_bytes(8, "big") + data
