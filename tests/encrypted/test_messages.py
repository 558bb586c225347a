from __future__ import annotations

import copy
import logging
import pickle
import struct
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey
from tacit.encrypted import (
    Client,
    EncryptionKey,
    Evaluator,
    KeyHolder,
    Parameters,
    PublicModel,
    SecretKey,
    Settings,
    SumPlan,
    compile,
    contribute,
)
from tacit.encrypted.wire import Kind, parse, prefix_of
from tacit.errors import (
    BudgetExceeded,
    DataError,
    MessageDamaged,
    Replayed,
    SignatureInvalid,
    StorageError,
    TacitError,
    UsageError,
    WrongKey,
    WrongModel,
)

from .conftest import Parties, Patients


def rewritten(message: bytes, kind: Kind, **changes: Any) -> bytes:
    """The message with other entries in its header and everything else as it was."""
    found = parse(message, kind)
    return prefix_of(kind, {**found.header, **changes}, len(found.body)) + bytes(found.body) + found.seal


@pytest.mark.parametrize("place", ["header", "body", "tag", "signature"])
def test_a_changed_request_is_refused_and_not_charged(parties: Parties, patients: Patients, place: str) -> None:
    request = bytearray(parties.client.request(patients.some(1)))
    offset = {"header": 60, "body": len(request) - 200, "tag": len(request) - 70, "signature": len(request) - 1}[place]
    request[offset] ^= 1
    with pytest.raises((SignatureInvalid, MessageDamaged, WrongKey, WrongModel)) as caught:
        parties.scorer.score(bytes(request))
    if place != "header":
        assert caught.type is SignatureInvalid
    assert not parties.scorer.scored


@pytest.mark.parametrize("place", [100, -100, -1])
def test_a_changed_answer_is_refused_and_stays_open(parties: Parties, patients: Patients, place: int) -> None:
    answer = parties.scorer.score(parties.client.request(patients.some(1)))
    changed = bytearray(answer)
    changed[place] ^= 1
    with pytest.raises((SignatureInvalid, MessageDamaged, WrongKey, WrongModel, Replayed)) as caught:
        parties.client.open(bytes(changed))
    if place < 0:
        assert caught.type is SignatureInvalid
    assert parties.client.open(answer).shape == (1, 1)


def test_truncated_and_lengthened_messages_are_damaged(parties: Parties, patients: Patients) -> None:
    request = parties.client.request(patients.some(1))
    answer = parties.scorer.score(request)
    for cut in (0, 5, 23, 24, 300, len(request) // 2, len(request) - 1):
        with pytest.raises(MessageDamaged):
            parties.scorer.score(request[:cut])
    for cut in (0, 23, 300, len(answer) - 1):
        with pytest.raises(MessageDamaged):
            parties.client.open(answer[:cut])
    for longer in (b"\0", bytes(1000)):
        with pytest.raises(MessageDamaged):
            parties.scorer.score(request + longer)
    with pytest.raises(MessageDamaged, match="«request»"):
        parties.scorer.score(parties.key.public.to_bytes())


def test_a_key_that_is_not_admitted_and_one_that_is_put_in_its_place(parties: Parties, patients: Patients) -> None:
    stranger = SecretKey.generate(parties.compiled.plan.parameters)
    request = Client(parties.compiled.public, stranger).request(patients.some(1))
    with pytest.raises(WrongKey, match="not admitted"):
        parties.scorer.score(request)
    with pytest.raises(SignatureInvalid):
        parties.scorer.score(rewritten(request, Kind.REQUEST, key=parties.key.public.id))
    other = Client(parties.compiled.public, stranger)
    parties.scorer.admit(stranger.public)
    with pytest.raises(WrongKey, match="another key"):
        parties.client.open(parties.scorer.score(other.request(patients.some(1))))


def test_another_model_and_another_compilation_are_refused(parties: Parties, patients: Patients, linear: Any, trees: Any) -> None:
    for model in (linear, trees):
        other = compile(model, patients.test, settings=Settings(packing="single"))
        if other.plan.parameters != parties.key.parameters:
            continue
        scorer = other.scorer()
        scorer.admit(parties.key.public)
        request = parties.client.request(patients.some(1))
        with pytest.raises(WrongModel, match="Fetch the public model"):
            scorer.score(request)
        with pytest.raises(SignatureInvalid):
            scorer.score(rewritten(request, Kind.REQUEST, model=other.public.id))
        client = Client(other.public, parties.key)
        with pytest.raises(WrongModel):
            parties.client.open(scorer.score(client.request(patients.some(1))))


def test_replays_are_refused_on_both_sides(parties: Parties, patients: Patients) -> None:
    request = parties.client.request(patients.some(1))
    answer = parties.scorer.score(request)
    with pytest.raises(Replayed):
        parties.scorer.score(request)
    assert parties.scorer.scored == {parties.key.public.id: 1}
    parties.client.open(answer)
    with pytest.raises(Replayed):
        parties.client.open(answer)


def test_an_answer_moved_to_another_request_is_refused(parties: Parties, patients: Patients) -> None:
    first, second = (parties.scorer.score(parties.client.request(patients.some(1))) for _ in range(2))
    number = parse(second, Kind.ANSWER).header["number"]
    with pytest.raises(SignatureInvalid):
        parties.client.open(rewritten(first, Kind.ANSWER, number=number))


def test_old_requests_are_refused_once_they_are_forgotten(parties: Parties, patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.encrypted.meter._REMEMBERED", 2)
    requests = [parties.client.request(patients.some(1)) for _ in range(4)]
    for request in requests[1:]:
        parties.scorer.score(request)
    with pytest.raises(Replayed):
        parties.scorer.score(requests[0])
    with pytest.raises(Replayed):
        parties.scorer.score(requests[1])


def test_a_budget_ends(compiled: Any, patients: Patients) -> None:
    parties = Parties(compiled, budget=3)
    parties.score(patients.some(2))
    with pytest.raises(BudgetExceeded, match="at most 1 more"):
        parties.score(patients.some(2))
    parties.score(patients.some(1))


def test_ciphertexts_beyond_their_prime_are_damaged(parties: Parties, patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SecretKey.encrypt
    monkeypatch.setattr(SecretKey, "encrypt", lambda self, values: np.full_like(honest(self, values), (1 << 60) + 1))
    with pytest.raises(MessageDamaged, match="below their primes"):
        parties.scorer.score(parties.client.request(patients.some(1)))


def test_sizes_are_checked_before_anything_is_allocated(parties: Parties, patients: Patients) -> None:
    request = parties.client.request(patients.some(1))
    for rows in (0, -1, 2, 1 << 62):
        with pytest.raises(MessageDamaged):
            parties.scorer.score(rewritten(request, Kind.REQUEST, rows=rows))
    for rows in (1.0, "1", None, True):
        with pytest.raises(MessageDamaged, match="rows"):
            parties.scorer.score(rewritten(request, Kind.REQUEST, rows=rows))
    for number in (-1, 1 << 63, 1 << 70):
        with pytest.raises(MessageDamaged, match="number"):
            parties.scorer.score(rewritten(request, Kind.REQUEST, number=number))
    with pytest.raises(DataError, match="1 to"):
        parties.client.request(patients.some(0))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parsers_raise_nothing_but_our_own_errors(compiled: Any, data: st.DataObject) -> None:
    parties = PARTIES.setdefault("one", Parties(compiled))
    request = MESSAGES.setdefault("request", parties.client.request({name: [0.5] for name in compiled.public.columns.domain.names}))
    messages = {
        "request": (request, parties.scorer.score), "key": (parties.key.public.to_bytes(), EncryptionKey.from_bytes),
        "model": (compiled.public.to_bytes(), PublicModel.from_bytes), "answer": (b"TACITENC" + bytes(40), parties.client.open),
    }  # fmt: skip
    message, read = messages[data.draw(st.sampled_from(sorted(messages)))]
    begin = data.draw(st.integers(0, min(len(message), 600)))
    middle = data.draw(st.binary(max_size=40))
    end = begin + data.draw(st.sampled_from([0, len(middle), 100]))
    try:
        read(message[:begin] + middle + message[end:])
    except TacitError as error:
        assert len(str(error)) < 400  # noqa: PT017


PASSPHRASE = " ".join(["four", "random", "words", "here"])
PARTIES: dict[str, Parties] = {}
MESSAGES: dict[str, bytes] = {}


def test_public_halves_travel(compiled: Any, parties: Parties) -> None:
    again = PublicModel.from_bytes(compiled.public.to_bytes())
    assert (again.id, again.fingerprint) == (compiled.public.id, compiled.public.fingerprint)
    key = EncryptionKey.from_bytes(parties.key.public.to_bytes())
    assert key == parties.key.public
    assert parties.key.decrypt(key.encrypt(np.arange(2048)[None] % 50)[0]).tolist() == (np.arange(2048) % 50).tolist()


def secret_bytes(key: SecretKey) -> list[bytes]:
    """Pieces of the secret key that must be nowhere else: from its words, past the library's header, and the signing key."""
    words = key._secret.to_string()[-8 * key.parameters.degree :]
    return [words[place : place + 24] for place in range(0, 4096, 512)] + [key._ed25519.private_bytes_raw()]


def test_a_secret_key_shows_itself_nowhere(parties: Parties, patients: Patients, tmp_path: Path) -> None:
    key = parties.key
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(UsageError, match="passphrase"):
            leak(key)
    for holder in (parties.scorer, parties.compiled):
        with pytest.raises(UsageError):
            pickle.dumps(holder)
    request = parties.client.request(patients.some(1))
    answer = parties.scorer.score(request)
    key.save(tmp_path / "key", passphrase=PASSPHRASE)
    shown = [request, answer, key.public.to_bytes(), parties.compiled.public.to_bytes(), (tmp_path / "key").read_bytes(), repr(key).encode(),
             str(vars(parties.client)).encode()]
    for message in (request[:50], b"x"):
        with pytest.raises(MessageDamaged) as caught:
            parties.client.open(message)
        shown.append(repr(caught.value).encode())
    assert not any(piece in text for piece in secret_bytes(key) for text in shown)
    assert not any(piece.hex() in text.decode("latin-1") for piece in secret_bytes(key) for text in shown)
    assert any(piece in key._secret.to_string() for piece in secret_bytes(key)), "the probe itself finds a key that is shown"


def test_a_secret_key_is_in_no_log_no_traceback_and_no_message_of_a_sum(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    plan = SumPlan("s", 3, 100, 2, 2)
    key, evaluators, signing = SecretKey.generate(plan.parameters), SigningKey.generate(), {name: SigningKey.generate() for name in "ab"}
    evaluator = Evaluator(plan, key=key.public, contributors={name: own.public for name, own in signing.items()}, signing=evaluators)
    sent = [contribute(plan, np.arange(3), who=name, key=key.public, signing=own) for name, own in signing.items()]
    for message in sent:
        evaluator.add(message)
    holder, total, kept = KeyHolder(key, evaluator=evaluators.public, kept=tmp_path / "opened"), evaluator.total(), tmp_path / "key"
    found = holder.open(plan, total)
    key.save(kept, passphrase=PASSPHRASE)
    (tmp_path / "cut").write_bytes(kept.read_bytes()[:-1])
    shown = [*sent, total, found.tobytes(), (tmp_path / "opened").read_bytes(), repr(holder).encode(), str(vars(holder)).encode()]
    wrong: list[Callable[[], object]] = [
        lambda: holder.open(plan, total[:-1]), lambda: holder.open(SumPlan("t", 3, 100, 2, 2), total),
        lambda: KeyHolder(key, evaluator=evaluators.public).open(plan, sent[0]),
        lambda: SecretKey.load(tmp_path / "cut", passphrase=PASSPHRASE), lambda: SecretKey.load(kept, passphrase=PASSPHRASE + "!"),
        lambda: key.encrypt(np.zeros((1, 3), np.int64)), lambda: key.decrypt(np.zeros((2, 1, 8), np.uint64)),
    ]  # fmt: skip
    for call in wrong:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of the library too: none may show what it is about
            call()
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown.append("".join(trace.format()).encode())
    shown.append(caplog.text.encode())
    pieces = secret_bytes(key)
    written = [*pieces, *(piece.hex().encode() for piece in pieces), *(repr(piece)[2:-1].encode() for piece in pieces)]
    assert not any(piece in text for piece in written for text in shown)


HOSTILE = {
    "rows": {"rows": 1 << 40}, "all rows": {"rows": (1 << 30) // 65_536}, "no rows": {"rows": -(1 << 70)}, "number": {"number": 1 << 4_000},
    "key": {"key": "x" * 100_000}, "deep": {"session": [[[[[[[[[[]]]]]]]]]]},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sizes_take_no_memory(parties: Parties, patients: Patients, name: str) -> None:
    """What is stated is compared with what is there before anything is made of it."""
    request = parties.client.request(patients.some(1))
    message = rewritten(request, Kind.REQUEST, **HOSTILE[name])
    lengths = struct.pack("<IQ", (1 << 32) - 1, (1 << 64) - 1)
    attempts: list[tuple[bytes, Callable[[bytes], object]]] = [
        (message, parties.scorer.score), (message[:12] + lengths + message[24:], parties.scorer.score),
        (message[:12] + lengths, PublicModel.from_bytes),
        (b"TACITENC\x01\x00\x02\x00" + lengths + bytes(1_000), EncryptionKey.from_bytes),
    ]  # fmt: skip
    tracemalloc.start()
    try:
        for attempt, read in attempts:
            with pytest.raises(TacitError):
                read(attempt)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(message) + (1 << 20)


def test_a_secret_key_under_a_passphrase(parties: Parties, patients: Patients, tmp_path: Path) -> None:
    path, words = tmp_path / "key", "four random words here"
    parties.key.save(path, passphrase=words)
    assert path.stat().st_mode & 0o077 == 0
    again = SecretKey.load(path, passphrase=words)
    assert again.public == parties.key.public
    client = Client(parties.compiled.public, again)
    assert np.array_equal(client.open(parties.scorer.score(client.request(patients.some(1)))), parties.compiled.simulate(patients.some(1)))
    with pytest.raises(WrongKey):
        SecretKey.load(path, passphrase=words + "!")
    with pytest.raises(UsageError, match="never overwritten"):
        parties.key.save(path, passphrase=words)
    with pytest.raises(UsageError, match="12 characters"):
        parties.key.save(tmp_path / "other", passphrase=PASSPHRASE[:5])
    with pytest.raises(StorageError):
        SecretKey.load(tmp_path / "absent", passphrase=words)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed").write_bytes(data)
    with pytest.raises(WrongKey):
        SecretKey.load(tmp_path / "changed", passphrase=words)


def test_a_key_for_other_parameters_is_refused(parties: Parties) -> None:
    other = SecretKey.generate(Parameters(4096, (54, 55), 12))
    with pytest.raises(UsageError, match="parameters"):
        Client(parties.compiled.public, other)
    with pytest.raises(UsageError, match="parameters"):
        parties.scorer.admit(other.public)
