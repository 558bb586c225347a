"""What a text hides: the same bytes without JSON's or a URL's escapes, decoded from base64 and hexadecimal at every alignment, and from UTF-16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
FORMS = ("plain", "case", "spelling", "escaped", "url", "utf16", "base64", "base64-utf16", "hex", "hex-utf16")

_JSON_ESCAPE = re.compile(rb"\\[nrtbfu/]")
_JSON_CODE = re.compile(rb"\\u00([0-9a-fA-F]{2})")
_BREAK = 10
_SHORTEST = 4  # of decoded texts; an identity of fewer characters is not looked for in encodings
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NONE = 255


def _table(pairs: dict[int, int]) -> Bytes:
    table = np.full(256, _NONE, np.uint8)
    for byte, value in pairs.items():
        table[byte] = value
    return table


_BASE64 = _table({**{byte: value for value, byte in enumerate(_ALPHABET)}, ord("-"): 62, ord("_"): 63})
_HEX = _table({**{ord(f"{value:x}"): value for value in range(16)}, **{ord(f"{value:X}"): value for value in range(16)}})
_SOLID = np.ones(256, bool)
_SOLID[list(b' \t\r\n"')] = False
_READABLE = np.zeros(256, bool)
_READABLE[33:127] = True
_READABLE[[0, 32]] = True  # NUL as UTF-16 has it, and the space of a full name
_READABLE[128:] = True


def views(chunk: bytes) -> Iterator[tuple[str, Bytes]]:
    """Pairs of a form and bytes in which an identity that has this form is readable as it is.

    Args:
        chunk: whole lines, or bytes that were cut where no word is cut.
    """
    plain = np.frombuffer(chunk, np.uint8)
    yield "plain", plain
    yield from _encoded(plain)
    for form, text in (("escaped", _without_escapes(chunk)), ("url", _without_percents(chunk))):
        if text:
            other = np.frombuffer(text, np.uint8)
            yield form, other
            yield from _encoded(other)


def _encoded(text: Bytes) -> Iterator[tuple[str, Bytes]]:
    if (text == 0).any():
        yield "utf16", from_utf16(text)
    for form, decoded in (("base64", from_base64(text)), ("hex", from_hex(text))):
        yield form, decoded
        if (decoded == 0).any():
            yield f"{form}-utf16", from_utf16(decoded)


def _without_escapes(chunk: bytes) -> bytes:
    """Lines with escapes of JSON strings (RFC 8259, section 7), without them. Other lines are left out."""
    if not _JSON_ESCAPE.search(chunk):
        return b""
    text = b"\n".join(line for line in chunk.split(b"\n") if _JSON_ESCAPE.search(line)).replace(b"\\\\", b"\x01")
    for letter in b"nrtbf":
        text = text.replace(b"\\" + bytes([letter]), b" ")
    if b"\\u00" in text:
        text = _JSON_CODE.sub(lambda match: bytes([int(match[1], 16)]), text)
    return text.replace(b"\\/", b"/").replace(b'\\"', b'"').replace(b"\x01", b"\\")


def _without_percents(chunk: bytes) -> bytes:
    """Words with percent-encoded bytes (RFC 3986, section 2.1), decoded, twice where they were encoded twice. Other words are left out."""
    if b"%" not in chunk:
        return b""
    plain = np.frombuffer(chunk, np.uint8)
    starts, ends = _runs(_SOLID[plain])
    marks = np.concatenate([[0], np.cumsum(plain == ord("%"))])
    marked = marks[ends] > marks[starts]
    text = unquote_to_bytes(_picked(plain, starts[marked], ends[marked]).tobytes())
    return text + b"\n" + unquote_to_bytes(text) if b"%" in text else text


def from_base64(text: Bytes) -> Bytes:
    """Readable runs of what the text says if it is base64 (RFC 4648, sections 4 and 5), from each of four places on."""
    values = _BASE64[text]
    pieces = [_base64_from(values[start:]) for start in range(min(4, len(values)))]
    return np.concatenate([np.append(readable(piece), np.uint8(_BREAK)) for piece in pieces]) if pieces else text[:0]


def _base64_from(values: Bytes) -> Bytes:
    whole = np.full(-(-len(values) // 4) * 4, _NONE, np.uint8)
    whole[: len(values)] = values
    groups = whole.reshape(-1, 4)
    a, b, c, d = (np.ascontiguousarray(groups[:, i]) for i in range(4))
    out = np.empty((len(groups), 3), np.uint8)
    good = (a != _NONE) & (b != _NONE)
    out[:, 0] = np.where(good, a << 2 | (b & 63) >> 4, _BREAK)
    good &= c != _NONE
    out[:, 1] = np.where(good, b << 4 | (c & 63) >> 2, _BREAK)
    good &= d != _NONE
    out[:, 2] = np.where(good, c << 6 | d & 63, _BREAK)
    return out.reshape(-1)


def from_hex(text: Bytes) -> Bytes:
    """Readable runs of what the text says if it is hexadecimal, from either place on."""
    values = _HEX[text]
    pieces = []
    for start in range(min(2, len(values))):
        even = values[start : start + (len(values) - start) // 2 * 2].reshape(-1, 2)
        good = (even[:, 0] != _NONE) & (even[:, 1] != _NONE)
        pieces.append(np.append(readable(np.where(good, even[:, 0] << 4 | even[:, 1] & 15, np.uint8(_BREAK))), np.uint8(_BREAK)))
    return np.concatenate(pieces) if pieces else text[:0]


def readable(text: Bytes) -> Bytes:
    """Runs of at least four readable bytes, each with a line break after it."""
    starts, ends = _runs(_READABLE[text])
    long = ends - starts >= _SHORTEST
    return _picked(text, starts[long], ends[long])


def _runs(good: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where stretches of true begin and end."""
    padded = np.zeros(len(good) + 2, bool)
    padded[1:-1] = good
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2]


def _picked(text: Bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Bytes:
    sizes = ends - starts + 1
    total = int(sizes.sum())
    shift = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    place = np.minimum(np.arange(total) + shift, len(text) - 1)
    out = text[place] if total else text[:0]
    out[np.cumsum(sizes) - 1] = _BREAK
    return out


def from_utf16(text: Bytes) -> Bytes:
    """Characters of one byte that UTF-16 wrote with a NUL after or before them, with line breaks where such a run ends."""
    padded = np.concatenate([[1], text, [1]]).astype(np.uint8)
    wide = (text != 0) & ((padded[2:] == 0) | (padded[:-2] == 0))
    places = np.flatnonzero(wide)
    if not len(places):
        return text[:0]
    cut = np.flatnonzero(np.diff(places) != 2)
    return np.insert(text[places], cut + 1, np.uint8(_BREAK))
