from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from tacit.crypto import SealingKey, Share, combine_shares, shamir, split_secret
from tacit.errors import UsageError, VerificationError

P = 1e-9

# A second GF(256), by the school's method: polynomials over GF(2), multiplied and divided with remainder by x^8 + x^4 + x^3 + x + 1.


def times(a: int, b: int) -> int:
    product = 0
    for place in range(8):
        if b >> place & 1:
            product ^= a << place
    for place in range(15, 7, -1):
        if product >> place & 1:
            product ^= 0x11B << (place - 8)
    return product


INVERSE = {a: next(b for b in range(1, 256) if times(a, b) == 1) for a in range(1, 256)}


def value_at_zero(shares: dict[int, bytes]) -> bytes:
    out = []
    for place in range(len(next(iter(shares.values())))):
        total = 0
        for i, value in shares.items():
            weight = 1
            for j in shares:
                if j != i:
                    weight = times(weight, times(j, INVERSE[i ^ j]))
            total ^= times(value[place], weight)
        out.append(total)
    return bytes(out)


# ------------------------------------------------------------------------------------------------------------------- arithmetic


def test_the_field_is_that_of_aes() -> None:
    assert shamir._times(0x57, 0x83, 1) == times(0x57, 0x83) == 0xC1  # FIPS 197, 4.2
    assert shamir._times(0x57, 0x13, 1) == times(0x57, 0x13) == 0xFE
    for a in range(256):
        assert [shamir._times(a, b, 1) for b in range(256)] == [times(a, b) for b in range(256)]
    assert all(shamir._inverse(a) == INVERSE[a] for a in range(1, 256))


def test_lanes_do_not_touch_each_other() -> None:
    lanes = bytes(range(256))
    ones = int.from_bytes(b"\1" * 256, "big")
    for factor in (0, 1, 2, 3, 0x80, 0xFF):
        assert shamir._times(int.from_bytes(lanes, "big"), factor, ones) == int.from_bytes(bytes(times(a, factor) for a in lanes), "big")


def test_the_published_vector() -> None:
    """draft-mcgrew-tss-03, section 9: the same field, two of two."""
    secret, shares = bytes.fromhex("7465737400"), {1: bytes.fromhex("b9fa07e185"), 2: bytes.fromhex("f5409b4511")}
    assert shamir.interpolated(shares, 0) == value_at_zero(shares) == secret
    slope = bytes(a ^ b for a, b in zip(secret, shares[1], strict=True))
    assert {place: shamir.evaluated([secret, slope], place) for place in (1, 2)} == shares


@pytest.mark.parametrize(("shares", "threshold"), [(3, 2), (5, 3), (7, 7), (64, 33), (255, 2)])
def test_another_implementation_combines_our_shares(shares: int, threshold: int) -> None:
    other = pytest.importorskip("shamir_mnemonic.shamir", reason="the second implementation (PyPI: shamir-mnemonic) is not installed")
    secret = bytes(range(32))
    made = split_secret(secret, shares=shares, threshold=threshold)
    raw = [other.RawShare(share.index, share.value) for share in made[-threshold:]]
    assert other._interpolate(raw, 0)[32:] == secret


# ------------------------------------------------------------------------------------------------------------------- any t give it


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=80), st.integers(2, 7), st.integers(0, 6), st.randoms(use_true_random=False))
def test_any_threshold_of_shares_give_the_secret(secret: bytes, threshold: int, more: int, random: object) -> None:
    shares = split_secret(secret, shares=threshold + more, threshold=threshold)
    random.shuffle(shares)  # type: ignore[attr-defined]
    assert combine_shares(shares[:threshold]) == secret
    assert combine_shares(shares) == secret
    assert value_at_zero({share.index: share.value for share in shares[:threshold]})[32:] == secret
    with pytest.raises(UsageError, match=f"Expected {threshold} different shares"):
        combine_shares(shares[: threshold - 1])


def test_two_of_three_is_the_default_and_every_pair_will_do() -> None:
    shares = split_secret(b"x" * 32)
    assert [(share.index, share.threshold) for share in shares] == [(1, 2), (2, 2), (3, 2)]
    assert all(combine_shares(pair) == b"x" * 32 for pair in combinations(shares, 2))


@pytest.mark.parametrize(("shares", "threshold"), [(3, 1), (1, 1), (2, 3), (256, 2), (0, 0), (3, -1)])
def test_impossible_numbers_are_refused(shares: int, threshold: int) -> None:
    with pytest.raises(UsageError, match="2 <= threshold"):
        split_secret(b"x", shares=shares, threshold=threshold)


@pytest.mark.parametrize("secret", [b"", b"x" * (shamir.LONGEST + 1)])
def test_impossible_secrets_are_refused(secret: bytes) -> None:
    with pytest.raises(UsageError, match="Expected a secret of 1 to"):
        split_secret(secret)


def test_the_longest_secret_is_shared_and_fits_a_file(tmp_path: Path) -> None:
    secret = bytes(shamir.LONGEST)
    shares = split_secret(secret, shares=4, threshold=4)
    for share in shares:
        share.save(tmp_path / str(share.index))
    assert combine_shares(Share.load(path) for path in tmp_path.iterdir()) == secret


# ------------------------------------------------------------------------------------------------------------------- fewer have nothing


def test_one_share_of_two_is_exactly_independent_of_the_secret() -> None:
    """For every secret, over all coefficients, every value of the share comes up once."""
    coefficients = bytes(range(256))
    for secret in range(256):
        for place in (1, 2, 255):
            assert sorted(shamir.evaluated([bytes([secret]) * 256, coefficients], place)) == list(range(256))


def test_two_shares_of_three_are_exactly_independent_of_the_secret() -> None:
    low, high = bytes(range(256)) * 256, bytes(n for n in range(256) for _ in range(256))
    for secret in (0, 1, 0x80, 0xFF):
        one, two = (shamir.evaluated([bytes([secret]) * 65536, low, high], place) for place in (1, 3))
        assert len(set(zip(one, two, strict=True))) == 65536


def uniform(samples: np.ndarray, cells: int) -> float:
    """The p-value of «all cells are equally likely» (Pearson)."""
    counts = np.bincount(samples, minlength=cells)
    expected = len(samples) / cells
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), cells - 1))


def values(secret: bytes, *, index: int, threshold: int, runs: int) -> np.ndarray:
    """Bytes of one share where the secret itself is shared, over many splits."""
    found = b"".join(split_secret(secret, threshold=threshold)[index - 1].value[32:] for _ in range(runs))
    return np.frombuffer(found, np.uint8).astype(np.int64)


SECRETS = [b"\0" * 4096, b"\xff" * 4096]


@pytest.mark.parametrize("secret", SECRETS, ids=["zeros", "ones"])
def test_a_share_looks_uniform_whatever_the_secret_is(secret: bytes) -> None:
    for index in (1, 2, 3):
        assert uniform(values(secret, index=index, threshold=2, runs=60), 256) > P
    pairs = [np.frombuffer(share.value[32:], np.uint8).astype(np.int64) for _ in range(200) for share in split_secret(secret, threshold=3)[:2]]
    joint = np.concatenate(pairs[::2]) * 256 + np.concatenate(pairs[1::2])
    assert uniform(joint, 65536) > P


@pytest.mark.parametrize(
    "broken",
    [
        lambda n: bytes(1 + b % 255 for b in np.random.default_rng().bytes(n)),  # coefficients that are never zero: the share is never the secret
        lambda n: bytes(n),  # no coefficients: the share is the secret
        lambda n: bytes(b & 0x7F for b in np.random.default_rng().bytes(n)),
    ],
)
def test_the_test_finds_a_share_that_is_not_uniform(broken: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shamir.secrets, "token_bytes", broken)
    assert uniform(values(SECRETS[0], index=1, threshold=2, runs=60), 256) < P


# ------------------------------------------------------------------------------------------------------------------- wrong shares


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_changed_share_is_found(data: st.DataObject) -> None:
    one, two, three = split_secret(b"the key of the vault")
    value = bytearray(one.value)
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    forged = replace(one, value=bytes(value))
    last = replace(three, value=bytes([*three.value[:-1], three.value[-1] ^ 1]))  # one more than needed has to fit too
    for given_ in ([forged, two], [three, forged], [forged, two, three], [one, two, last]):
        with pytest.raises(VerificationError, match="changed"):
            combine_shares(given_)


def test_a_share_with_another_number_set_or_threshold_is_found() -> None:
    one, two, three = split_secret(b"secret" * 4)
    other = split_secret(b"secret" * 4)
    for wrong in (replace(one, index=3), replace(one, index=200)):
        with pytest.raises(VerificationError, match="changed"):
            combine_shares([wrong, two])
    with pytest.raises(VerificationError, match="number 2"):
        combine_shares([replace(one, index=2), two])
    for mixed in ([one, other[1]], [one, two, other[2]], [replace(one, threshold=3), two, three], [one, replace(two, value=two.value[:-1])]):
        with pytest.raises(VerificationError, match="not made together"):
            combine_shares(mixed)
    with pytest.raises(VerificationError, match="changed"):
        combine_shares([replace(share, set_id=bytes(8)) for share in (one, two)])
    with pytest.raises(VerificationError, match="changed"):
        combine_shares([replace(share, threshold=3) for share in (one, two, three)])
    lower = [replace(share, threshold=2) for share in split_secret(b"secret", threshold=3)]
    with pytest.raises(VerificationError, match="changed"):
        combine_shares(lower[:2])


def test_the_same_share_twice_and_no_share_are_refused() -> None:
    one, two, _ = split_secret(b"secret")
    with pytest.raises(UsageError, match="twice"):
        combine_shares([one, one])
    with pytest.raises(UsageError, match="twice"):
        combine_shares([one, two, replace(two)])
    with pytest.raises(UsageError, match="got none"):
        combine_shares([])


def test_shares_of_something_else_are_no_key() -> None:
    with pytest.raises(VerificationError, match="something else"):
        SealingKey.from_shares(split_secret(b"not a key")[:2])
    empty = [replace(share, value=share.value[:32]) for share in split_secret(b"secret")]
    with pytest.raises(VerificationError, match="too short"):
        combine_shares(empty[:2])


def test_a_share_keeps_its_value_to_itself() -> None:
    share = split_secret(b"secret")[0]
    assert "value" not in repr(share)
    with pytest.raises(UsageError, match="pickled"):
        pickle.dumps(share)
    for wrong in ((b"short", 2, 1), (bytes(8), 1, 1), (bytes(8), 2, 0), (bytes(8), 2, 256)):
        with pytest.raises(UsageError, match="split_secret"):
            Share(*wrong, b"value")
