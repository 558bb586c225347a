"""Texts that hide in base64 or hexadecimal: found, read, and written again in the same way."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

ENCODED = r"[A-Za-z0-9+/_-]{14,}={0,2}"
"""What may be encoded; most of what matches is not, and `decoded` says so."""

_HEX = re.compile(r"(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+")
_LONGEST = 1 << 20
_SHORTEST_TEXT = 4


@dataclass(frozen=True)
class Hidden:
    """A text, and how it was hidden."""

    text: str
    kind: str
    charset: str
    padded: bool

    def encoded(self, text: str) -> str:
        """Another text, hidden in the same way."""
        data = text.encode(self.charset, "surrogatepass")
        if self.kind in ("hex", "HEX"):
            return data.hex() if self.kind == "hex" else data.hex().upper()
        coded = (base64.urlsafe_b64encode if self.kind == "urlsafe" else base64.b64encode)(data).decode("ascii")
        return coded if self.padded else coded.rstrip("=")


def decoded(run: str) -> Hidden | None:
    """What a run of characters hides, or ``None`` if it hides no text.

    >>> decoded("YW5uYS5rZWxsZXI=").text, decoded("deadbeefdeadbeef")
    ('anna.keller', None)
    """
    if len(run) > _LONGEST or _wordlike(run):
        return None
    bare = run.rstrip("=")
    if _HEX.fullmatch(run):
        found = _readable(bytes.fromhex(bare))
        if found is not None:
            return Hidden(*found[:1], "HEX" if bare == bare.upper() else "hex", found[1], False)
    if len(bare) % 4 == 1:
        return None
    urlsafe = "-" in bare or "_" in bare
    if urlsafe and ("+" in bare or "/" in bare):
        return None
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if urlsafe else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    found = _readable(data)
    return None if found is None else Hidden(found[0], "urlsafe" if urlsafe else "base64", found[1], len(bare) % 4 == 0 or run != bare)


def _wordlike(run: str) -> bool:
    """Whether this is an ordinary word, path or option, as most candidates are: base64 of a text has letters of both cases."""
    return (run.islower() or run.isupper() or run.istitle()) and _HEX.fullmatch(run) is None


def _readable(data: bytes) -> tuple[str, str] | None:
    """The text that bytes are, and its character set, if nothing in it is a control character."""
    if len(data) < _SHORTEST_TEXT:
        return None
    if len(data) % 2 == 0 and data[1::2].count(0) * 4 >= len(data):
        charset = "utf-16-le"
    else:
        if min(data) < 9:
            return None
        charset = "utf-8"
    try:
        text = data.decode(charset)
    except UnicodeDecodeError:
        return None
    return (text, charset) if all(sign.isprintable() or sign in "\r\n\t" for sign in text) else None
