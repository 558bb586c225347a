from __future__ import annotations

import hashlib
import hmac
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SealedTo, SealingKey, derive
from tacit.errors import StorageError, UsageError, VerificationError

# A second implementation of everything below a box: slow, and only for these tests. X25519 after RFC 7748, 5; HKDF after RFC 5869, 2; the AEAD after
# RFC 8439, 2.
Q = 2**255 - 19


def x25519(k: bytes, u: bytes) -> bytes:
    scalar = int.from_bytes(k, "little") & ~7 & (2**254 - 1) | 2**254
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for place in range(254, -1, -1):
        bit = scalar >> place & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        x3, z3 = (d * a + c * b) ** 2 % Q, x1 * (d * a - c * b) ** 2 % Q
        x2, z2 = a * a * b * b % Q, (a * a - b * b) * (a * a + 121665 * (a * a - b * b)) % Q
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, Q - 2, Q) % Q).to_bytes(32, "little")


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    key, block, out = hmac.digest(salt or bytes(32), secret, "sha256"), b"", b""
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    start = [int.from_bytes(word, "little") for word in words(b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce)]
    state = list(start)
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for quarter in (columns + diagonals) * 10:
        a, b, c, d = quarter
        for x, y, z, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = state[x] + state[y] & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = (mixed << shift | mixed >> (32 - shift)) & 0xFFFFFFFF
    return b"".join((a + b & 0xFFFFFFFF).to_bytes(4, "little") for a, b in zip(state, start, strict=True))


def words(data: bytes) -> list[bytes]:
    return [data[start : start + 4] for start in range(0, len(data), 4)]


def chacha(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = b"".join(chacha_block(key, 1 + place, nonce) for place in range(-(-len(data) // 64)))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def poly1305(key: bytes, message: bytes) -> bytes:
    r, s = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF, int.from_bytes(key[16:], "little")
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start : start + 16] + b"\1", "little")) * r % (2**130 - 5)
    return (total + s & 2**128 - 1).to_bytes(16, "little")


def decrypted(key: bytes, nonce: bytes, box: bytes, aad: bytes) -> bytes:
    text, tag = box[:-16], box[-16:]
    padded = aad.ljust(-(-len(aad) // 16) * 16, b"\0") + text.ljust(-(-len(text) // 16) * 16, b"\0")
    lengths = len(aad).to_bytes(8, "little") + len(text).to_bytes(8, "little")
    if poly1305(chacha_block(key, 0, nonce)[:32], padded + lengths) != tag:
        raise ValueError("forged")
    return chacha(key, nonce, text)


def framed(kind: bytes, label: bytes) -> bytes:
    return b"tacit/1/" + kind + b"\0" + len(label).to_bytes(8, "big") + label


def part(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def opened(private: bytes, number: int, ephemeral: bytes, box: bytes, *, context: bytes, bound: bytes) -> bytes:
    shared = x25519(private, ephemeral)
    mine = x25519(private, (9).to_bytes(32, "little"))
    info = framed(b"derive", b"tacit.sealed") + part(context) + part(ephemeral) + part(mine)
    return decrypted(hkdf(shared, b"", info, 32), number.to_bytes(12, "big"), box, bound)


def test_the_second_implementation_knows_the_published_vectors() -> None:
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(scalar, point).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    made = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert made.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    key, nonce, aad = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    box = chacha(key, nonce, text) + bytes.fromhex("1ae10b594f09e26a7e902ecbd0600691")
    assert decrypted(key, nonce, box, aad) == text


# ------------------------------------------------------------------------------------------------------------------------- derive


@settings(max_examples=50)
@given(st.binary(min_size=16, max_size=80), st.lists(st.binary(max_size=20), max_size=4), st.integers(1, 200))
def test_derive_is_hkdf_over_what_it_is_bound_to(secret: bytes, bound: list[bytes], length: int) -> None:
    info = framed(b"derive", b"purpose") + b"".join(map(part, bound))
    assert derive(secret, purpose="purpose", bound_to=bound, length=length) == hkdf(secret, b"", info, length)


def test_derive_refuses_what_is_no_key() -> None:
    for wrong in ({"secret": b"password"}, {"secret": bytes(32), "length": 0}, {"secret": bytes(32), "length": 8161}):
        with pytest.raises(UsageError, match="Expected"):
            derive(purpose="x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="purpose"):
        derive(bytes(32), purpose="")
    assert derive(bytes(32), purpose="x", bound_to=["ü"]) == derive(bytes(32), purpose="x", bound_to=["ü".encode()])


# ------------------------------------------------------------------------------------------------------------------------- boxes


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=150), st.binary(max_size=40)), min_size=1, max_size=4))
def test_another_implementation_opens_the_boxes(entries: list[tuple[bytes, bytes]]) -> None:
    key = SealingKey.generate()
    raw = key._private.private_bytes_raw()
    batch = key.public.seal_many([message for message, _ in entries], context="test", bound=[bound for _, bound in entries])
    opener = key.opener(batch.ephemeral, context="test")
    for number, ((message, bound), box) in enumerate(zip(entries, batch.boxes, strict=True)):
        assert len(box) == len(message) + 16
        assert opener.open(number, box, bound=bound) == message
        assert opened(raw, number, batch.ephemeral, box, context=b"test", bound=bound) == message


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60), st.data())
def test_any_change_is_found(message: bytes, data: st.DataObject) -> None:
    key = SealingKey.generate()
    box = key.public.seal(message, context="c", bound=b"b")
    assert key.open(box, context="c", bound=b"b") == message
    forged = bytearray(box)
    place = data.draw(st.integers(0, len(box) - 1))
    forged[place] ^= data.draw(st.integers(1, 255))
    wrong: list[tuple[bytes, str, bytes]] = [(box, "d", b"b"), (box, "c", b""), (box, "c", b"b2"), (box[:-1], "c", b"b"), (box[:20], "c", b"b")]
    if not (place == 31 and forged[31] ^ box[31] == 0x80):  # the highest bit of a point is not part of it (RFC 7748, 5); bound all the same, below
        wrong.append((bytes(forged), "c", b"b"))
    for content, context, bound in wrong:
        with pytest.raises(VerificationError, match="does not open"):
            key.open(content, context=context, bound=bound)


def test_even_the_bit_that_x25519_ignores_is_bound() -> None:
    key = SealingKey.generate()
    box = bytearray(key.public.seal(b"x", context="c"))
    box[31] ^= 0x80
    with pytest.raises(VerificationError):
        key.open(bytes(box), context="c")


def test_boxes_do_not_move_between_numbers_batches_and_keys() -> None:
    key, other = SealingKey.generate(), SealingKey.generate()
    one, two = (key.public.seal_many([b"same", b"same"], context="c") for _ in range(2))
    assert one.ephemeral != two.ephemeral
    assert len({*one.boxes, *two.boxes}) == 4
    opener = key.opener(one.ephemeral, context="c")
    for number, box in ((1, one.boxes[0]), (0, two.boxes[0]), (-1, one.boxes[0]), (2**96, one.boxes[0]), (0, b"")):
        with pytest.raises(VerificationError):
            opener.open(number, box)
    with pytest.raises(VerificationError):
        other.opener(one.ephemeral, context="c").open(0, one.boxes[0])


def test_nonces_of_a_batch_differ_and_its_key_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[bytes, bytes]] = []

    class Watched:
        def __init__(self, key: bytes) -> None:
            self.key = key

        def encrypt(self, nonce: bytes, message: bytes, bound: bytes) -> bytes:
            used.append((self.key, nonce))
            return message

    monkeypatch.setattr("tacit.crypto.sealed.ChaCha20Poly1305", Watched)
    public = SealingKey.generate().public
    for _ in range(3):
        public.seal_many([b"x"] * 300, context="c")
    assert len(used) == len(set(used)) == 900
    assert len({key for key, _ in used}) == 3


def test_points_of_low_order_are_refused() -> None:
    for point in (bytes(32), (1).to_bytes(32, "little"), (Q - 1).to_bytes(32, "little")):
        with pytest.raises(UsageError, match="none that anything can be sealed to"):
            SealedTo.from_bytes(point).seal(b"x", context="c")
        with pytest.raises(VerificationError):
            SealingKey.generate().open(point + bytes(17), context="c")


def test_what_is_asked_wrongly_is_said() -> None:
    public = SealingKey.generate().public
    with pytest.raises(UsageError, match="context"):
        public.seal(b"x", context="")
    for bound in ([], [b"a", b"b"]):
        with pytest.raises(UsageError, match="as many entries"):
            public.seal_many([b"x"], context="c", bound=bound)
    assert public.seal_many([], context="c").boxes == []


# ------------------------------------------------------------------------------------------------------------------------- keys


def test_keys_survive_the_disk(tmp_path: Path) -> None:
    key, path = SealingKey.generate(), tmp_path / "key.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SealingKey.load(path).open(key.public.seal(b"x", context="c"), context="c") == b"x"
    key.public.save(tmp_path / "key.pub")
    assert SealedTo.load(tmp_path / "key.pub") == SealedTo.from_hex(key.public.hex) == key.public
    for save in (lambda: key.save(path), lambda: key.public.save(tmp_path / "key.pub")):
        with pytest.raises(UsageError, match="never overwritten"):
            save()
    path.chmod(0o604)
    with pytest.raises(UsageError, match="chmod 600"):
        SealingKey.load(path)


def test_unusable_key_files(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        SealingKey.load(tmp_path / "none")
    path = tmp_path / "bad"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    signing = Ed25519PrivateKey.generate().private_bytes(*form, serialization.NoEncryption())
    locked = X25519PrivateKey.generate().private_bytes(*form, serialization.BestAvailableEncryption(b"secret"))
    for content in (b"", b"nonsense", signing, locked):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UsageError, match="No sealing key"):
            SealingKey.load(path)
    for text in (b"", b"zz", b"\xff", b"ab" * 31):
        path.write_bytes(text)
        with pytest.raises(UsageError, match="X25519 public key"):
            SealedTo.load(path)
    with pytest.raises(UsageError, match="got 31"):
        SealedTo.from_bytes(bytes(31))


def test_a_key_in_shares_comes_back() -> None:
    key = SealingKey.generate()
    one, _, three = key.split()
    assert SealingKey.from_shares([three, one]).public == key.public


def test_a_private_key_stays_private() -> None:
    key = SealingKey.generate()
    opener = key.opener(key.public.seal_many([b"x"], context="c").ephemeral, context="c")
    secret = key._private.private_bytes_raw().hex()
    assert secret not in repr(key) + repr(opener)
    assert key.public.fingerprint in repr(key)
    assert len(key.public.fingerprint) == 19
    assert key.public.fingerprint != hashlib.sha256(key.public.raw).hexdigest()[:19]
    assert {key.public, SealedTo.from_hex(key.public.hex)} == {key.public}
    for private in (key, opener):
        with pytest.raises(UsageError, match="pickled"):
            pickle.dumps(private)
