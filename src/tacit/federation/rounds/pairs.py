"""What two sites have in common in one round: a mask, and boxes that only the other can open.

Both come from X25519 (RFC 7748) between keys that were made for this round and signed by their sites, through HKDF-SHA256 bound to the round.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tacit.crypto import derive
from tacit.errors import ProtocolViolation

_NONCE = bytes(12)  # each key encrypts one message


def public_of(private: X25519PrivateKey) -> bytes:
    """The 32 bytes of its public key."""
    return private.public_key().public_bytes_raw()


def pair_mask(private: X25519PrivateKey, public: bytes, *, bound_to: bytes) -> bytes:
    """The key of the mask of two sites, 32 bytes, the same for both."""
    parties = sorted((public_of(private), public))
    return derive(_agreed(private, public), purpose="tacit.round.pair", bound_to=(bound_to, *parties))


def self_mask(seed: bytes, *, bound_to: bytes) -> bytes:
    """The key of the mask that a site adds for itself alone, 32 bytes."""
    return derive(seed, purpose="tacit.round.self", bound_to=(bound_to,))


def seal(private: X25519PrivateKey, public: bytes, message: bytes, *, bound_to: bytes) -> bytes:
    """A box from the holder of ``private`` for the holder of ``public``; one per pair, direction and round."""
    return _box(private, public, from_to=(public_of(private), public), bound_to=bound_to).encrypt(_NONCE, message, None)


def unseal(private: X25519PrivateKey, public: bytes, box: bytes, *, bound_to: bytes) -> bytes:
    """What `seal` sealed, from the holder of ``public``.

    Raises:
        ProtocolViolation: if it was not sealed by that site for this one in this round.
    """
    try:
        return _box(private, public, from_to=(public, public_of(private)), bound_to=bound_to).decrypt(_NONCE, box, None)
    except InvalidTag:
        raise ProtocolViolation("A box with another site's shares does not open: it was changed, or is of another round.") from None


def _box(private: X25519PrivateKey, public: bytes, *, from_to: tuple[bytes, bytes], bound_to: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(_agreed(private, public), purpose="tacit.round.box", bound_to=(bound_to, *from_to)))


def _agreed(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ProtocolViolation("Expected another site's public key of 32 bytes; this is none. Nothing was given away.") from None
