"""Canonical bytes, digests, signatures and public seeds, over ``cryptography``.

::

    text = canonical_bytes({"plan": "histogram", "epsilon": 1.0})   # one text per value
    key = SigningKey.generate()
    signature = key.sign(text, context="tacit.plan")
    key.public.verify(text, signature, context="tacit.plan")        # raises SignatureInvalid, or returns nothing
"""

from __future__ import annotations

from tacit.crypto.canonical import CANONICAL_VERSION, canonical_bytes, from_canonical
from tacit.crypto.digests import digest, hexdigest
from tacit.crypto.keys import SigningKey, VerifyKey
from tacit.crypto.public_seed import PublicSeed

__all__ = [
    "CANONICAL_VERSION",
    "PublicSeed",
    "SigningKey",
    "VerifyKey",
    "canonical_bytes",
    "digest",
    "from_canonical",
    "hexdigest",
]
