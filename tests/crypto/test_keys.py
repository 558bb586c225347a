from __future__ import annotations

import hashlib
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey, VerifyKey
from tacit.errors import SignatureInvalid, StorageError, UsageError

# RFC 8032, 7.1: secret key, public key, message, signature
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]

# An independent Ed25519 after RFC 8032, 5.1: slow, and only for these tests.
Q = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, Q) % Q
Point = tuple[int, int]


def _add(p: Point, q: Point) -> Point:
    (x, y), (u, v) = p, q
    k = D * x * u * y * v % Q
    return (x * v + u * y) * pow(1 + k, -1, Q) % Q, (y * v + x * u) * pow(1 - k, -1, Q) % Q


def _times(n: int, p: Point) -> Point:
    total: Point = (0, 1)
    while n:
        if n & 1:
            total = _add(total, p)
        p, n = _add(p, p), n >> 1
    return total


def _decode(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, Q) % Q
    x = pow(square, (Q + 3) // 8, Q)
    if x * x % Q != square:
        x = x * pow(2, (Q - 1) // 4, Q) % Q
    assert x * x % Q == square
    return (x if x & 1 == sign else Q - x), y


BASE = _decode((4 * pow(5, -1, Q) % Q).to_bytes(32, "little"))


def _verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return s < ORDER and _times(s, BASE) == _add(_decode(signature[:32]), _times(h, _decode(public)))


def _key(secret: str) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC8032)
def test_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = _key(secret)
    assert key.public.hex == public
    assert key._private.sign(bytes.fromhex(message)).hex() == signature
    assert _verifies(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not _verifies(bytes.fromhex(public), bytes.fromhex(message) + b"!", bytes.fromhex(signature))


def test_a_signature_is_ed25519_over_the_framed_payload() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"payload", context="tacit.plan")
    framed = b"tacit/1/signature\x00" + (10).to_bytes(8, "big") + b"tacit.plan" + b"payload"
    assert _verifies(key.public.raw, framed, signature)
    assert not _verifies(key.public.raw, b"payload", signature)


@settings(max_examples=50)
@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.data())
def test_any_change_is_found(payload: bytes, context: str, data: st.DataObject) -> None:
    key = _key(RFC8032[0][0])
    signature = key.sign(payload, context=context)
    key.public.verify(payload, signature, context=context)
    where, bit = data.draw(st.integers(0, 63)), data.draw(st.integers(0, 7))
    forged = bytearray(signature)
    forged[where] ^= 1 << bit
    wrong = [(payload + b"\0", signature, context), (payload, bytes(forged), context), (payload, signature, context + "x")]
    for content, claimed, purpose in wrong:
        with pytest.raises(SignatureInvalid):
            key.public.verify(content, claimed, context=purpose)


@pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 65, bytes(64)])
def test_malformed_signatures_are_invalid(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match=r"tacit\.plan"):
        SigningKey.generate().public.verify(b"payload", signature, context="tacit.plan")


def test_context_and_payload_do_not_run_into_each_other() -> None:
    key = SigningKey.generate()
    with pytest.raises(SignatureInvalid):
        key.public.verify(b"bc", key.sign(b"c", context="ab"), context="a")
    with pytest.raises(UsageError, match="purpose"):
        key.sign(b"x", context="")


def test_another_key_does_not_verify() -> None:
    signature = SigningKey.generate().sign(b"x", context="c")
    with pytest.raises(SignatureInvalid):
        SigningKey.generate().public.verify(b"x", signature, context="c")


def test_keys_survive_the_disk(tmp_path: Path) -> None:
    key, path = SigningKey.generate(), tmp_path / "key.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public == key.public
    assert isinstance(serialization.load_pem_private_key(path.read_bytes(), None), Ed25519PrivateKey)
    key.public.save(tmp_path / "key.pub")
    (tmp_path / "key.hex").write_text(key.public.hex + "\n")
    assert VerifyKey.load(tmp_path / "key.pub") == VerifyKey.load(tmp_path / "key.hex") == key.public
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key.hex", "key.pem", "key.pub"]


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("something dear")
    with pytest.raises(UsageError, match="never overwritten"):
        SigningKey.generate().save(path)
    assert path.read_text() == "something dear"
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        SigningKey.generate().save(tmp_path / "key.pem")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        SigningKey.load(path)


def test_unusable_key_files(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        SigningKey.load(tmp_path / "none")
    with pytest.raises(StorageError, match="Cannot write"):
        SigningKey.generate().save(tmp_path / "none" / "key")
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    locked = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    for content in (b"", b"nonsense", pem, locked):
        path = tmp_path / "bad"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UsageError, match="No signing key"):
            SigningKey.load(path)
    public = other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for content in (b"", b"zz", b"\xff\xfe", b"ab" * 31, public, b"-----BEGIN PUBLIC KEY-----\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            VerifyKey.load(path)


def test_forms_of_a_public_key() -> None:
    key = SigningKey.generate().public
    assert VerifyKey.from_bytes(key.raw) == VerifyKey.from_hex(key.hex.upper()) == key
    assert len({key, VerifyKey.from_hex(key.hex), SigningKey.generate().public}) == 2
    assert len(key.fingerprint) == 19
    assert key.fingerprint in repr(key)
    with pytest.raises(UsageError, match="got 31"):
        VerifyKey.from_bytes(bytes(31))


def test_a_private_key_stays_private(tmp_path: Path) -> None:
    key = SigningKey.generate()
    secret = key._private.private_bytes_raw()
    assert secret.hex() not in repr(key)
    with pytest.raises(UsageError, match="pass its path"):
        pickle.dumps(key)
