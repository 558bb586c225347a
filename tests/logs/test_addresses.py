"""Prefix-preserving pseudonyms are Crypto-PAn's, by its published pairs and by one address at a time."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.logs import AddressPseudonyms
from tacit.logs.treatments.addresses import _INSIDE, _KEPT, _Networks

PUBLISHED_KEY = bytes([
    21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
])  # fmt: skip
PUBLISHED = {
    "128.11.68.132": "135.242.180.132", "129.118.74.4": "134.136.186.123", "130.132.252.244": "133.68.164.234", "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235", "192.102.249.13": "252.138.62.131",
}
"""From the sample trace that its authors published."""

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
KEYS = st.binary(min_size=32, max_size=32)


def one_by_one(key: bytes, text: str) -> str:
    """As the paper says it: bit after bit, each by an encryption of its own."""
    encryptor = Cipher(algorithms.AES(key[:16]), modes.ECB()).encryptor()  # noqa: S305
    pad = encryptor.update(key[16:])
    address = ipaddress.ip_address(text)
    bits, value, flips = address.max_prefixlen, int(address), 0
    head = int.from_bytes(pad[: bits // 8], "big")
    for depth in range(bits):
        mask = ((1 << depth) - 1) << (bits - depth)
        first = (value & mask) | (head & ~mask & ((1 << bits) - 1))
        flips = flips << 1 | encryptor.update(first.to_bytes(bits // 8, "big") + pad[bits // 8 :])[0] >> 7
    return str(type(address)(value ^ flips))


def test_the_published_pairs() -> None:
    assert AddressPseudonyms(PUBLISHED_KEY).texts(list(PUBLISHED)) == list(PUBLISHED.values())


@settings(max_examples=40, deadline=None)
@given(KEYS, st.lists(ADDRESSES, max_size=12))
def test_all_at_once_is_one_by_one(key: bytes, addresses: list[str]) -> None:
    assert AddressPseudonyms(key).texts(addresses) == [one_by_one(key, text) for text in addresses]


@pytest.mark.parametrize("size", [4, 16])
def test_as_many_leading_bits_are_shared_after_as_before(size: int) -> None:
    rng = np.random.default_rng(size)
    rows = rng.integers(0, 256, (400, size)).astype(np.uint8)
    for row in range(1, 400, 2):  # a neighbour that shares some bits
        bit = rng.integers(0, 8 * size)
        rows[row] = rows[row - 1]
        rows[row, bit // 8] ^= 128 >> bit % 8
    found = AddressPseudonyms(bytes(range(32))).octets(rows)

    def shared(first: np.ndarray, second: np.ndarray) -> int:
        differ = np.unpackbits(first ^ second)
        return int(differ.argmax()) if differ.any() else len(differ)

    for row in range(1, 400, 2):
        assert shared(rows[row - 1], rows[row]) == shared(found[row - 1], found[row])
    assert len(np.unique(found, axis=0)) == len(np.unique(rows, axis=0))


def test_order_repetition_and_number_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (500, 4)).astype(np.uint8)
    pseudonyms = AddressPseudonyms(bytes(range(32)))
    whole = pseudonyms.octets(rows)
    assert np.array_equal(pseudonyms.octets(np.repeat(rows, 2, axis=0)[::-1]), np.repeat(whole, 2, axis=0)[::-1])
    monkeypatch.setattr("tacit.logs.addresses._MOST", 28)
    assert np.array_equal(pseudonyms.octets(rows), whole)
    assert pseudonyms.octets(rows[:0]).shape == (0, 4)


def test_another_key_gives_others_and_no_key_is_shown() -> None:
    texts = ["10.0.0.1", "2001:db8::1"]
    first, second = (AddressPseudonyms(bytes([place]) * 32) for place in (1, 2))
    assert first.texts(texts) != second.texts(texts)
    assert "01" not in repr(first)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "host", "::g", "10.0.0.1 ", "1.2.3.4\x00", "010.0.0.1x"])
def test_what_is_no_address_gets_no_pseudonym(text: str) -> None:
    assert AddressPseudonyms(bytes(32)).texts([text, "10.0.0.1"])[0] is None


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(UsageError, match="key of 32 bytes; got 16"):
        AddressPseudonyms(bytes(16))
    for rows in (np.zeros((2, 5), np.uint8), np.zeros(4, np.uint8), np.zeros((2, 4), np.int64)):
        with pytest.raises(UsageError, match="4 or 16 bytes each"):
            AddressPseudonyms(bytes(32)).octets(rows)


@pytest.mark.parametrize("texts", [_INSIDE, (*_KEPT, "192.168.4.0/22", "8.8.8.8/32"), (*_KEPT, "10.0.0.0/8", "10.1.0.0/16")])
def test_networks_hold_what_the_standard_library_says(texts: tuple[str, ...]) -> None:
    networks = [network for network in map(ipaddress.ip_network, texts) if network.version == 4]
    edges = [int(network[place]) + step for network in networks for place, step in ((0, 0), (-1, 0), (0, -1), (-1, 1))]
    words = np.array([*edges, *np.random.default_rng(1).integers(0, 1 << 32, 500)], np.int64) % (1 << 32)
    found, masks = _Networks(texts).masks(words.astype(">u4").view(np.uint8).reshape(-1, 4))
    for word, held, mask in zip(words.tolist(), found, masks, strict=True):
        holding = [network.netmask.packed for network in networks if ipaddress.ip_address(word) in network]
        assert bool(held) == bool(holding)
        assert not holding or holding[0] == mask.tobytes()
