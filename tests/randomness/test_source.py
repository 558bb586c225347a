from __future__ import annotations

import copy
import os
import pickle
import threading
import warnings

import numpy as np
import pytest

from tacit.errors import EntropyError, UsageError
from tacit.randomness import SecureRandom, source

# NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt
NIST_KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
NIST_COUNTER = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
NIST_PLAIN = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
NIST_CIPHER = "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"


def test_the_keystream_is_aes_256_ctr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda n: bytes.fromhex(NIST_KEY + NIST_COUNTER))
    stream = SecureRandom().bytes(64)
    assert bytes(a ^ b for a, b in zip(stream, bytes.fromhex(NIST_PLAIN), strict=True)).hex() == NIST_CIPHER


def test_long_draws_equal_short_ones() -> None:
    whole, parts = SecureRandom.for_testing(3), SecureRandom.for_testing(3)
    n = 100_000
    pieces = np.concatenate([parts.uint64(40_000), parts.uint64(2), parts.uint64(n - 40_002)])
    assert np.array_equal(whole.uint64(n), pieces)
    assert len(np.unique(pieces)) == n


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_lengths(n: int) -> None:
    assert len(SecureRandom().bytes(n)) == len(SecureRandom().uint64(n)) == n


def test_two_sources_differ_and_words_are_balanced() -> None:
    first, second = SecureRandom().uint64(1000), SecureRandom().uint64(1000)
    assert not np.intersect1d(first, second).size
    ones = int(np.unpackbits(first.view(np.uint8)).sum())
    assert abs(ones - 32_000) < 6.2 * np.sqrt(16_000)


def test_seeds_are_marked_and_distinct() -> None:
    assert SecureRandom.for_testing(1).deterministic
    assert not SecureRandom().deterministic
    assert SecureRandom.for_testing(1).bytes(16) != SecureRandom.for_testing(2).bytes(16)


def _fail(n: int) -> bytes:
    raise NotImplementedError("none here")


@pytest.mark.parametrize("broken", [_fail, lambda n: b"", lambda n: bytes(n - 1)])
def test_missing_entropy_is_an_error(monkeypatch: pytest.MonkeyPatch, broken: object) -> None:
    monkeypatch.setattr(os, "urandom", broken)
    with pytest.raises(EntropyError, match="secure randomness"):
        SecureRandom()


def test_missing_entropy_when_rekeying_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SecureRandom()
    monkeypatch.setattr(source, "REKEY_BYTES", 1024)
    made.bytes(1024)
    monkeypatch.setattr(os, "urandom", _fail)
    with pytest.raises(EntropyError):
        made.bytes(8)


def test_the_key_is_replaced_before_it_is_worn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = os.urandom
    monkeypatch.setattr(os, "urandom", lambda n: calls.append(n) or real(n))
    made = SecureRandom()
    made.uint64(3 * source.REKEY_BYTES // 8)
    assert calls == [48, 48, 48]


def test_a_seed_stays_deterministic_across_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "REKEY_BYTES", 1024)
    first, second = SecureRandom.for_testing(5), SecureRandom.for_testing(5)
    drawn = [first.bytes(1024) for _ in range(3)]
    assert drawn == [second.bytes(1024) for _ in range(3)]
    assert len(set(drawn)) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("hook", [True, False], ids=["fork hook", "process id alone"])
@pytest.mark.parametrize("make", [SecureRandom, lambda: SecureRandom.for_testing(1)], ids=["secure", "testing"])
def test_a_forked_child_never_repeats_the_parent(monkeypatch: pytest.MonkeyPatch, make: type[SecureRandom], hook: bool) -> None:
    made = make()
    if not hook:
        monkeypatch.setattr(source, "_LIVE", set())
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.write(write, made.bytes(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 32) != made.bytes(32)
    os.close(read)
    os.close(write)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_a_thread_holds_the_lock_can_draw() -> None:
    made = SecureRandom()
    with made._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            made.bytes(8)
            os._exit(17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_copied(copier: object) -> None:
    with pytest.raises(UsageError, match="make a new one"):
        copier(SecureRandom())  # type: ignore[operator]


def test_threads_never_see_the_same_words() -> None:
    made, drawn = SecureRandom.for_testing(9), []

    def draw() -> None:
        drawn.extend(made.uint64(20_000) for _ in range(5))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = np.concatenate(drawn)
    assert len(np.unique(words)) == len(words) == 400_000


def test_negative_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="n=-1"):
        SecureRandom().uint64(-1)


def test_repr_shows_no_key() -> None:
    assert repr(SecureRandom()) == "SecureRandom(deterministic=False)"
