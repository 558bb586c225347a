"""SHA-256 with a domain, so that a digest made for one purpose never equals one made for another."""

from __future__ import annotations

import hashlib

from tacit.crypto.canonical import CANONICAL_VERSION, canonical_bytes
from tacit.errors import UsageError


def digest(obj: object, *, domain: str) -> bytes:
    """Return the 32-byte SHA-256 of ``obj`` for the purpose ``domain``: bytes as they are, anything else as its canonical text.

    The hash is over a header that names the version and the kind, the length of the domain, the domain, and the content. Bytes and an
    object whose text equals them have different digests.

    >>> digest({"a": 1}, domain="tacit.plan") == digest(b'{"a":1}', domain="tacit.plan")
    False

    Raises:
        UsageError: ``domain`` is empty, or ``obj`` has no canonical text.
    """
    kind, content = (b"raw", obj) if isinstance(obj, bytes) else (b"canonical", canonical_bytes(obj))
    return hashlib.sha256(framed(kind, domain) + content).digest()


def hexdigest(obj: object, *, domain: str) -> str:
    """Return ``digest`` in hexadecimal, 64 characters.

    >>> hexdigest({"a": 1}, domain="tacit.plan")[:16]
    '0436bf570410baa2'
    """
    return digest(obj, domain=domain).hex()


def framed(kind: bytes, label: str) -> bytes:
    """Return the prefix that separates purposes: version, kind, and the label behind its length."""
    name = label.encode("utf-8")
    if not name:
        raise UsageError("Expected a purpose such as 'tacit.plan', not an empty one; it keeps digests and signatures apart")
    return b"tacit/%d/%s\x00" % (CANONICAL_VERSION, kind) + len(name).to_bytes(8, "big") + name
