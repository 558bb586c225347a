from __future__ import annotations

import contextlib
import hashlib
import json
import math
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.crypto import PublicSeed, canonical_bytes, digest, from_canonical, hexdigest
from tacit.errors import UsageError, VerificationError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | st.binary()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()  # tells 0.0 from -0.0
    return type(a) is type(b) and bool(a == b)


@given(VALUES)
def test_values_survive_and_keep_their_type(value: Any) -> None:
    assert _same(from_canonical(canonical_bytes(value)), value)


@given(VALUES, VALUES)
def test_different_values_have_different_texts(a: Any, b: Any) -> None:
    assert (canonical_bytes(a) == canonical_bytes(b)) == _same(a, b)


@given(VALUES)
def test_the_text_is_json(value: Any) -> None:
    json.loads(canonical_bytes(value))


@given(st.binary() | VALUES.map(lambda v: json.dumps(v, default=str).encode()) | st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_what_is_read_reencodes_to_the_same_bytes(data: bytes) -> None:
    try:
        value = from_canonical(data)
    except VerificationError:
        return
    assert canonical_bytes(value) == data


@given(VALUES, st.data())
def test_a_changed_text_never_reads_as_the_same_value(value: Any, data: st.DataObject) -> None:
    text = bytearray(canonical_bytes(value))
    where = data.draw(st.integers(0, len(text) - 1))
    text[where] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(VerificationError):
        assert not _same(from_canonical(bytes(text)), value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" 1",
        b"1 ",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"1.00",
        b"1e2",
        b"1E+22",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"1e999",
        b'"\\u0041"',
        b'"\\ud800"',
        b'"\xff"',
        b'\xef\xbb\xbf"a"',
        b'{"$x":1}',
        b'{"$b64":"aGk"}',
        b'{"$b64":"aGl="}',
        b'{"$b64":"aG k="}',
        b'{"$b64":1}',
        b'{"$b64":"","a":1}',
        b'{"$array":{"b64":"AA==","dtype":"<f8","shape":[1]}}',
        b'{"$array":{"b64":"AA==","dtype":"|u1","shape":[2]}}',
        b'{"$array":{"b64":"AA==","dtype":"|u1","shape":[-1]}}',
        b'{"$array":{"b64":"AA==","dtype":"|u1","shape":[true]}}',
        b'{"$array":{"b64":"AA==","dtype":["|u1"],"shape":[1]}}',
        b'{"$array":[]}',
        b'{"$array":{"b64":"","dtype":"|u1","shape":[0,100000000000000000000000]}}',
        b'{"$array":{"b64":"","dtype":"|u1","shape":[0,4611686018427387904,4611686018427387904]}}',
        b"[" * 100_000,
        b"[" * 70 + b"]" * 70,
        b"1" * 5000,
    ],
)
def test_other_spellings_are_refused(text: bytes) -> None:
    with pytest.raises(VerificationError):
        from_canonical(text)


class _Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), b"[1,2]"),
        (np.int64(3), b"3"),
        (np.float64(0.1), b"0.1"),
        (np.bool_(True), b"true"),
        (-0.0, b"-0.0"),
        (1e22, b"1e+22"),
        (5e-324, b"5e-324"),
        (10**40, b"1" + b"0" * 40),
        ("ε\n\x7f\u2028", '"ε\\n\x7f\u2028"'.encode()),
        ({"é": 1, "z": 2, "$b64": 3}, '{"$$b64":3,"z":2,"é":1}'.encode()),
        (_Colour.RED, b'"red"'),
        (b"hi", b'{"$b64":"aGk="}'),
        (np.array([[1, 2]], ">i2"), b'{"$array":{"b64":"AQACAA==","dtype":"<i2","shape":[1,2]}}'),
    ],
)
def test_published_spelling(value: Any, text: bytes) -> None:
    assert canonical_bytes(value) == text
    assert canonical_bytes(from_canonical(text)) == text


@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i4", "<i8", "u1", "<u8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_arrays_survive(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = from_canonical(canonical_bytes({"a": array.T}))["a"]
    assert back.shape == array.T.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(back, array.T)
    assert back.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        {1: 2},
        {None: 2},
        {1, 2},
        object(),
        1j,
        "\ud800",
        {"\ud800": 1},
        np.array([0.5]),
        np.array(["a"]),
        pytest.param(10**4300, id="too long"),
    ],
)
def test_what_has_no_text_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        canonical_bytes([value])


def test_depth_is_bounded() -> None:
    nested: list[Any] = []
    for _ in range(63):
        nested = [nested]
    assert canonical_bytes(from_canonical(canonical_bytes(nested))) == b"[" * 64 + b"]" * 64
    with pytest.raises(UsageError, match="64 levels"):
        canonical_bytes([[[nested]]])


def test_errors_do_not_show_values() -> None:
    with pytest.raises(UsageError) as caught:
        canonical_bytes({"user": {"alice"}})
    assert "alice" not in str(caught.value)
    with pytest.raises(VerificationError) as refused:
        from_canonical(b'{"user": "alice"}')
    assert "alice" not in str(refused.value)


def test_digests_are_framed_sha256() -> None:
    domain = b"tacit.plan"
    expected = hashlib.sha256(b"tacit/1/canonical\x00" + len(domain).to_bytes(8, "big") + domain + b'{"a":1}').hexdigest()
    assert hexdigest({"a": 1}, domain="tacit.plan") == expected == digest({"a": 1}, domain="tacit.plan").hex()


def test_domains_kinds_and_contents_never_collide() -> None:
    made = [
        digest(b"x", domain="a"),
        digest(b"x", domain="b"),
        digest(b"", domain="ax"),
        digest(b"1", domain="a"),
        digest(1, domain="a"),
        digest("1", domain="a"),
        digest(1.0, domain="a"),
    ]
    assert len(set(made)) == len(made)
    with pytest.raises(UsageError, match="purpose"):
        digest(b"x", domain="")


def test_public_seed_depends_on_everything_but_the_order_of_members() -> None:
    base = PublicSeed.of(study="s", roster=["a", "b"], run="1")
    assert base == PublicSeed.of(study="s", roster=["b", "a"], run="1")
    others = [("t", ["a", "b"], "1"), ("s", ["a"], "1"), ("s", ["a,b"], "1"), ("s", ["a", "b"], "2")]
    assert len({base, *(PublicSeed.of(study=s, roster=r, run=n) for s, r, n in others)}) == 5
    with pytest.raises(UsageError, match="32 bytes"):
        PublicSeed(b"short")


def test_public_streams_are_fixed_and_separate() -> None:
    seed = PublicSeed(bytes(32))
    words = {label: seed.generator(label).bit_generator.random_raw(4).tolist() for label in ("a", "b")}
    assert words["a"] == seed.generator("a").bit_generator.random_raw(4).tolist()
    assert not set(words["a"]) & set(words["b"])
    assert set(words["a"]).isdisjoint(PublicSeed(bytes(31) + b"\x01").generator("a").bit_generator.random_raw(4).tolist())
    assert words["a"][0] == 15746912307915040120
