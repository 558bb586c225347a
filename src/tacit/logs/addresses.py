"""Prefix-preserving pseudonyms for network addresses: Crypto-PAn (Xu, Fan, Ammar & Moon 2002), for all addresses at once.

Two addresses share as many leading bits after as before, so that subnets stay subnets. That is what detection needs, and what an attacker can use who
knows some pairs: these are pseudonyms under a key, not anonymous.

Bit i of an address is flipped by the first bit of AES over the i bits before it. Sorted addresses share prefixes with their neighbours, so that
each prefix is encrypted once, in one call.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tacit.errors import UsageError

Octets = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger]

_KEY_BYTES, _BLOCK = 32, 16
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"\A{_OCTET}(\.{_OCTET}){{3}}\z"
_DECIMALS = pa.array([str(value) for value in range(256)])
_FEW = 64
_PREFIXES = np.packbits(np.tri(128, 128, -1, dtype=np.uint8), axis=1)
"""Row d has the first d bits set."""
_MOST = 1 << 18
"""Bytes of addresses of one round: blocks of more would take too much memory."""


class AddressPseudonyms:
    """Pseudonyms under one key.

    >>> pseudonyms = AddressPseudonyms(bytes(range(32)))
    >>> first, second, other = pseudonyms.texts(["192.0.2.1", "192.0.2.77", "not an address"])
    >>> first.rpartition(".")[0] == second.rpartition(".")[0], other
    (True, None)

    Args:
        key: 32 secret bytes: 16 for AES-128, and 16 whose encryption fills up what a prefix leaves of a block.

    Raises:
        UsageError: for a key of another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise UsageError(f"Expected a key of {_KEY_BYTES} bytes; got {len(key)}.")
        # Single blocks as a pseudorandom function, as Crypto-PAn defines it; nothing is enciphered in this mode.
        self._cipher = Cipher(algorithms.AES(key[:_BLOCK]), modes.ECB())  # noqa: S305
        self._pad = np.frombuffer(self._encrypted(key[_BLOCK:]), np.uint8)

    def __repr__(self) -> str:
        return "AddressPseudonyms(...)"

    def octets(self, addresses: Octets) -> Octets:
        """Pseudonyms of IPv4 or IPv6 addresses as bytes: uint8 ``[addresses, 4]`` or ``[addresses, 16]``, in network order."""
        if addresses.ndim != 2 or addresses.shape[1] not in (4, 16) or addresses.dtype != np.uint8:
            raise UsageError(f"Expected addresses of 4 or 16 bytes each; got the shape {addresses.shape} of {addresses.dtype}.")
        if len(addresses) <= _FEW:
            return self._few(addresses)
        most = max(1, _MOST // addresses.shape[1])
        rounds = [self._some(addresses[start : start + most]) for start in range(0, len(addresses), most)]
        return np.concatenate(rounds) if rounds else addresses.copy()

    def texts(self, addresses: Sequence[str]) -> list[str | None]:
        """Pseudonyms of addresses as text, IPv4 and IPv6 together; ``None`` for what is no address."""
        return list(self.column(pa.array(addresses, pa.string())).to_pylist())

    def column(self, addresses: pa.Array) -> pa.Array:
        """The same for a column of strings: each distinct address is computed once, and what is no address, or missing, becomes null."""
        coded = addresses.dictionary_encode()
        distinct = coded.dictionary
        four = pc.match_substring_regex(distinct, _IPV4).to_numpy(zero_copy_only=False)
        found = np.full(len(distinct), None, dtype=object)
        if four.any():
            octets = pc.split_pattern(distinct.filter(pa.array(four)), ".").flatten().cast(pa.uint8()).to_numpy().reshape(-1, 4)
            parts = [_DECIMALS.take(pa.array(column)) for column in np.ascontiguousarray(self.octets(octets).T)]
            found[four] = pc.binary_join_element_wise(*parts, ".").to_numpy(zero_copy_only=False)
        for place, packed in _sixes(distinct, ~four):
            found[place] = packed
        six = np.array([isinstance(value, bytes) for value in found], bool)
        if six.any():
            rows = self.octets(np.frombuffer(b"".join(found[six]), np.uint8).reshape(-1, 16))
            found[six] = [socket.inet_ntop(socket.AF_INET6, row.tobytes()) for row in rows]
        return pa.array(found, pa.string()).take(coded.indices)

    def _encrypted(self, blocks: bytes | memoryview) -> bytes:
        encryptor = self._cipher.encryptor()
        return encryptor.update(blocks) + encryptor.finalize()

    def _few(self, addresses: Octets) -> Octets:
        """Of a few addresses: every prefix of each, without a search for those they share."""
        count, width = addresses.shape
        masks = _PREFIXES[: 8 * width]
        padded = np.zeros((count, 1, _BLOCK), np.uint8)
        padded[:, 0, :width] = addresses
        blocks = padded & masks | self._pad & ~masks
        answers = np.frombuffer(self._encrypted(blocks.reshape(-1).data), np.uint8)[::_BLOCK] >> 7
        return addresses ^ np.packbits(answers.reshape(count, 8 * width), axis=1)

    def _some(self, addresses: Octets) -> Octets:
        """Of a few thousand addresses, as words: one of 32 bits, or two of 64."""
        kind = np.dtype(">u4" if addresses.shape[1] == 4 else ">u8")
        words = np.ascontiguousarray(addresses).view(kind).astype(kind.newbyteorder("="))
        order = np.argsort(words[:, 0]) if words.shape[1] == 1 else np.lexsort(words.T[::-1])
        ordered = words[order]
        found = np.empty_like(words)
        found[order] = ordered ^ self._flips(ordered, kind)
        return np.ascontiguousarray(found.astype(kind)).view(np.uint8).reshape(addresses.shape)

    def _flips(self, words: Words, kind: np.dtype[Any]) -> Words:
        """Which bits of sorted addresses change."""
        width, parts = 8 * kind.itemsize, words.shape[1]
        shared = _shared(words, width)
        firsts = [np.flatnonzero(shared < depth) if depth else np.zeros(min(1, len(words)), np.intp) for depth in range(width * parts)]
        ends = np.cumsum([0, *map(len, firsts)])
        blocks = np.empty((int(ends[-1]), _BLOCK // kind.itemsize), kind)
        blocks[:] = self._pad.view(kind)
        pad = self._pad.view(kind).astype(words.dtype)
        for depth, rows in enumerate(firsts):
            part, within = divmod(depth, width)
            block = blocks[ends[depth] : ends[depth + 1]]
            own = words if len(rows) == len(words) else words[rows]
            block[:, :part] = own[:, :part]
            if within:
                mask = words.dtype.type((1 << width) - (1 << (width - within)))
                block[:, part] = own[:, part] & mask | pad[part] & ~mask
        answers = (np.frombuffer(self._encrypted(blocks.view(np.uint8).data), np.uint8)[::_BLOCK] >> 7).astype(words.dtype)
        flips = np.zeros_like(words)
        for depth, rows in enumerate(firsts):
            bits = answers[ends[depth] : ends[depth + 1]]
            bits = bits if len(rows) == len(words) else np.repeat(bits, np.diff(np.append(rows, len(words))))
            flips[:, depth // width] |= bits << words.dtype.type(width - 1 - depth % width)
        return flips


def _sixes(texts: pa.Array, others: NDArray[np.bool_]) -> Iterator[tuple[int, bytes]]:
    """Places of IPv6 addresses among what is no IPv4 address, and their bytes."""
    for place in np.flatnonzero(others):
        text = texts[int(place)].as_py()
        if ":" in text:
            try:
                yield int(place), socket.inet_pton(socket.AF_INET6, text)
            except (OSError, ValueError):
                continue


def _shared(words: Words, width: int) -> NDArray[np.int64]:
    """How many leading bits each address has in common with the one before it; -1 for the first."""
    found = np.full(len(words), -1, np.int64)
    if len(words) > 1:
        differ = words[1:] ^ words[:-1]
        place = (differ != 0).argmax(axis=1)
        first = np.take_along_axis(differ, place[:, None], axis=1)[:, 0]
        found[1:] = np.where(first == 0, width * words.shape[1], width * place + width - _bits(first))
    return found


def _bits(values: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """How many bits each number has, exactly: by its halves, which floating point holds without rounding."""
    high = (values >> values.dtype.type(4 * values.itemsize)).astype(np.float64)
    low = (values & values.dtype.type((1 << 4 * values.itemsize) - 1)).astype(np.float64)
    return np.where(high > 0, np.frexp(high)[1] + 4 * values.itemsize, np.frexp(low)[1]).astype(np.int64)
