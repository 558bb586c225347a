"""Integers modulo 2^b, as few bytes as they need, under masks from AES-256 in counter mode.

A mask is the keystream of a key that is used once, read as integers of b bits: uniform, and independent of everything, to whoever lacks the key
(NIST SP 800-38A, §6.5). Sums of masked vectors are sums of the vectors plus sums of the masks, all modulo 2^b.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from tacit.errors import ProtocolViolation, UsageError
from tacit.questions.base import Sums

Residues: TypeAlias = NDArray[Any]
"""Unsigned integers modulo 2^b: uint16, uint32 or uint64, the narrowest that holds b bits."""

BITS = (16, 24, 32, 40, 48, 64)
CHUNK = 1 << 16
MOST_COORDINATES = 1 << 27


def require_shape(bits: int, size: int) -> None:
    """Raise `UsageError` unless vectors of ``size`` integers of ``bits`` bits can be sent."""
    if bits not in BITS or type(bits) is not int:
        raise UsageError(f"Expected bits={bits!r} to be one of {', '.join(map(str, BITS))}.")
    if type(size) is not int or not 1 <= size <= MOST_COORDINATES:
        raise UsageError(f"Expected 1 <= size={size!r} <= {MOST_COORDINATES:,} coordinates.")


def reduced(vector: Sums, bits: int) -> Residues:
    """int64 ``[size]`` modulo 2^``bits``."""
    kind = _dtype(bits)
    residues = vector.astype(np.int64).view(np.uint64).astype(kind)
    return residues & kind(_top(bits)) if _loose(bits) else residues


def centred(residues: Residues, bits: int) -> Sums:
    """The integers in [-2^(b-1), 2^(b-1)) with these residues, int64 ``[size]``."""
    values = residues.astype(np.uint64) << np.uint64(64 - bits)
    return np.asarray(values.view(np.int64) >> np.int64(64 - bits), np.int64)


def add_masks(into: Residues, keys: Iterable[tuple[bytes, bool]], bits: int) -> None:
    """Add (or, where the flag is false, subtract) the mask of each key of 32 bytes, in place."""
    width, kind = bits // 8, _dtype(bits)
    streams = [(Cipher(AES256(key), CTR(bytes(16))).encryptor().update_into, np.add if plus else np.subtract) for key, plus in keys]
    buffer = bytearray(CHUNK * width + 16)
    in_place = not _loose(bits) and sys.byteorder == "little"
    for start in range(0, len(into), CHUNK):
        part = into[start : start + CHUNK]
        zeros = bytes(len(part) * width)
        mask = _unpacked(buffer, len(part), width, kind)
        for keystream, join in streams:
            keystream(zeros, buffer)
            join(part, mask if in_place else _unpacked(buffer, len(part), width, kind), out=part)
    if _loose(bits):
        np.bitwise_and(into, kind(_top(bits)), out=into)


def packed(residues: Residues, bits: int) -> bytes:
    """``b / 8`` bytes per integer, little endian."""
    width = bits // 8
    if not _loose(bits):
        return residues.astype(residues.dtype.newbyteorder("<"), copy=False).tobytes()
    wide = residues.astype(residues.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(len(residues), residues.dtype.itemsize)
    return np.ascontiguousarray(wide[:, :width]).tobytes()


def unpacked(data: bytes, bits: int, size: int) -> Residues:
    """What `packed` wrote, on the same bytes where the width allows it: not to be written to.

    Raises:
        ProtocolViolation: if there are not ``size`` integers of ``bits`` bits.
    """
    if len(data) != size * (bits // 8):
        raise ProtocolViolation(f"Expected {size:,} integers of {bits} bits; got {len(data):,} bytes. Ask the site again.")
    return _unpacked(data, size, bits // 8, _dtype(bits))


def _unpacked(data: bytes | bytearray, size: int, width: int, kind: type[Any]) -> Residues:
    itemsize = np.dtype(kind).itemsize
    if width == itemsize:
        return np.frombuffer(data, np.dtype(kind).newbyteorder("<"), size).astype(kind, copy=False)
    wide = np.zeros((size, itemsize), np.uint8)
    wide[:, :width] = np.frombuffer(data, np.uint8, size * width).reshape(size, width)
    return wide.reshape(-1).view(np.dtype(kind).newbyteorder("<")).astype(kind, copy=False)


def _dtype(bits: int) -> type[Any]:
    return np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64


def _loose(bits: int) -> bool:
    """Whether the array's integers are wider than b bits."""
    return bits not in (16, 32, 64)


def _top(bits: int) -> int:
    return (1 << bits) - 1
