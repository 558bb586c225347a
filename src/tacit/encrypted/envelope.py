"""What binds a message to its key, its model and its request.

A request carries a fresh secret, sealed to the scorer (`tacit.crypto.SealedTo`). From it, bound to every byte before the body, comes the key of a
GMAC (NIST SP 800-38D) over the body: used once, so that no nonce repeats. The sender's Ed25519 key signs the beginning and the GMAC. The answer
has a GMAC under a key from the same secret: only the scorer that opened it can have made it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from tacit.crypto import SealedTo, SealingKey, SigningKey, VerifyKey, canonical_bytes, derive
from tacit.encrypted.wire import Kind, Message, field, prefix_of
from tacit.errors import MessageDamaged, SignatureInvalid, VerificationError, WrongModel

CONTEXT = "tacit.encrypted.request@1"
_TAG, _SIGNATURE = 16, 64


def sealed_request(header: dict[str, Any], body: Sequence[bytes], *, scorer: SealedTo, signing: SigningKey) -> tuple[bytes, bytes]:
    """A request, and the secret that opens its answer; the body comes in pieces, so that it is copied once."""
    secret = secrets.token_bytes(32)
    box = scorer.seal(secret, context=CONTEXT, bound=canonical_bytes(header))
    prefix = prefix_of(Kind.REQUEST, {**header, "session": box}, sum(map(len, body)))
    tag = _tag(secret, prefix, body)
    return b"".join([prefix, *body, tag, signing.sign(prefix + tag, context=CONTEXT)]), secret


def opened_request(message: Message, *, scorer: SealingKey, verify: VerifyKey) -> bytes:
    """The secret of a request whose signature and body are right.

    Raises:
        MessageDamaged: the seal is cut short.
        SignatureInvalid: something was changed, or another key signed it.
        WrongModel: it was sealed to another scorer.
    """
    if len(message.seal) != _TAG + _SIGNATURE:
        raise MessageDamaged(f"Expected a seal of {_TAG + _SIGNATURE} bytes, got {len(message.seal)}; the request was cut short. Send it again")
    tag, signature = message.seal[:_TAG], message.seal[_TAG:]
    verify.verify(message.prefix + tag, signature, context=CONTEXT)
    bare = {name: value for name, value in message.header.items() if name != "session"}
    try:
        secret = scorer.open(field(message.header, "session", bytes), context=CONTEXT, bound=canonical_bytes(bare))
    except MessageDamaged:
        raise
    except VerificationError:
        raise WrongModel("The request was sealed to another scorer. Fetch the public model again, and encrypt for it") from None
    _check(secret, message, tag)
    return secret


def sealed_answer(header: dict[str, Any], body: Sequence[bytes], *, secret: bytes) -> bytes:
    """An answer to the request that brought this secret."""
    prefix = prefix_of(Kind.ANSWER, header, sum(map(len, body)))
    return b"".join([prefix, *body, _tag(secret, prefix, body)])


def check_answer(message: Message, *, secret: bytes) -> None:
    """Return if the answer is the scorer's.

    Raises:
        MessageDamaged: the seal is cut short.
        SignatureInvalid: something was changed.
    """
    if len(message.seal) != _TAG:
        raise MessageDamaged(f"Expected a seal of {_TAG} bytes, got {len(message.seal)}; the answer was cut short. Fetch it again")
    _check(secret, message, message.seal)


def _check(secret: bytes, message: Message, tag: bytes) -> None:
    if not compare_digest(_tag(secret, message.prefix, [message.body]), tag):
        raise SignatureInvalid("The seal does not belong to this message: ciphertexts or header were changed. Send it again")


def _tag(secret: bytes, prefix: bytes, body: Sequence[bytes | memoryview]) -> bytes:
    """GMAC under a key that is used for nothing else, so that its nonce may be zero."""
    key = derive(secret, purpose="tacit.encrypted.mac", bound_to=[prefix])
    mac = Cipher(AES(key), GCM(bytes(12))).encryptor()
    for part in body:
        mac.authenticate_additional_data(part)
    mac.finalize()
    return mac.tag
