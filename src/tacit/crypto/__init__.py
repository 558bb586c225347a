"""Canonical bytes, digests, signatures, sealed boxes, shares of a secret and public seeds, over ``cryptography``.

::

    text = canonical_bytes({"plan": "histogram", "epsilon": 1.0})   # one text per value
    key = SigningKey.generate()
    signature = key.sign(text, context="tacit.plan")
    key.public.verify(text, signature, context="tacit.plan")        # raises SignatureInvalid, or returns nothing

    key = SealingKey.generate()
    box = key.public.seal(b"for its holder only", context="tacit.vault")
    one, two, three = key.split()                                   # any two of them: SealingKey.from_shares([one, three]).open(...)
"""

from __future__ import annotations

from tacit.crypto.canonical import CANONICAL_VERSION, canonical_bytes, from_canonical
from tacit.crypto.digests import digest, hexdigest
from tacit.crypto.hkdf import derive
from tacit.crypto.keys import SigningKey, VerifyKey
from tacit.crypto.public_seed import PublicSeed
from tacit.crypto.sealed import Opener, SealedBatch, SealedTo, SealingKey
from tacit.crypto.shamir import combine_shares, split_secret
from tacit.crypto.shares import Share

__all__ = [
    "CANONICAL_VERSION",
    "Opener",
    "PublicSeed",
    "SealedBatch",
    "SealedTo",
    "SealingKey",
    "Share",
    "SigningKey",
    "VerifyKey",
    "canonical_bytes",
    "combine_shares",
    "derive",
    "digest",
    "from_canonical",
    "hexdigest",
    "split_secret",
]
