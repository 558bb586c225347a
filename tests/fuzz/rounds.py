"""What atheris throws at both sides of a masked round: ``python tests/fuzz/rounds.py NAME [options of libFuzzer]``.

Bodies are signed by whom they should be, so that nothing stops at the signature: a site or a coordinator that was taken over writes what it likes.
Nothing but a refusal may come of it, or an answer that the rules allow.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tacit.federation", "tacit.crypto.canonical"]):
    from tacit.federation import Roster
    from tacit.federation.bundles import bundled, unbundled
    from tacit.federation.certificates import issue, member_of, new_authority
    from tacit.federation.rounds import Address, CoordinatorRound, SiteRound, Stage, address_of
    from tacit.federation.rounds.asking import asked_in, asking, deflated
    from tacit.federation.rounds.wire import Message, read
    from tacit.federation.transports.frames import Answer, Question

import numpy as np

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import RoundAborted, VerificationError

NAMES = ("site-round", "coordinator-round", "round-bytes", "connection-bytes")
SIZE = 3
KEYS = {name: SigningKey.generate() for name in ("a", "b", "c")}
BOSS = SigningKey.generate()
ROSTER = Roster("fuzz", BOSS.public, {name: key.public for name, key in KEYS.items()})
ADDRESS = Address(ROSTER.id, "run", 0)
AUTHORITY = Path(tempfile.mkdtemp())
new_authority(AUTHORITY)


class Scene:
    """Three sites and a coordinator, led up to a stage."""

    def __init__(self, stage: Stage) -> None:
        def contribute(_question: bytes, size: int) -> np.ndarray:
            return np.zeros(size, np.int64)

        self.sites = {name: SiteRound(ROSTER, name, key=key, address=ADDRESS, contribute=contribute) for name, key in KEYS.items()}
        self.core = CoordinatorRound(ROSTER, key=BOSS, address=ADDRESS)
        self.requests = self.core.advertise()
        self.answers: dict[str, bytes] = {}
        for before in [one for one in Stage if one < stage]:
            self.ask(before)
            self.requests = self.follow(before)

    def ask(self, stage: Stage) -> None:
        self.answers = {name: self.sites[name].handle(stage, request) for name, request in self.requests.items()}

    def follow(self, stage: Stage) -> dict[str, bytes]:
        """The coordinator's requests after the answers of a stage; empty after the last."""
        if stage is Stage.SHARE:
            return self.core.masked(self.answers, question=b"q", bits=32, size=SIZE)
        if stage is Stage.UNMASK:
            self.core.total(self.answers)
            return {}
        step = {Stage.ADVERTISE: self.core.share, Stage.MASKED: self.core.agree, Stage.AGREE: self.core.unmask}[stage]
        return step(self.answers)


SCENES = {stage: Scene(stage) for stage in Stage}
FIELDS = ("adverts", "boxes", "survivors", "signatures", "bits", "size", "masking", "sealing", "seeds", "keys", "a", "b", "c", "d")


def honest(stage: Stage, *, answer: bool) -> dict[str, object]:
    """What the body of an honest message says, for the fuzzer to spoil."""
    scene = Scene(stage)
    scene.ask(stage)
    sender = "a" if answer else "coordinator"
    message = read((scene.answers if answer else scene.requests)["a"], roster=ROSTER, address=ADDRESS, stage=stage, sender=sender)
    if answer and stage in (Stage.MASKED, Stage.AGREE):
        return {}
    if not answer and stage is Stage.MASKED:
        return asked_in(message.body, "boxes", "bits", "size")[1]
    return dict(from_canonical(message.body))


HONEST = {(stage, answer): honest(stage, answer=answer) for stage in Stage for answer in (False, True)}


def value(given: atheris.FuzzedDataProvider, depth: int = 0) -> object:
    """Something of a kind that bodies hold."""
    kind = given.ConsumeIntInRange(0, 7 if depth < 3 else 5)
    if kind == 0:
        return given.ConsumeBytes(given.ConsumeIntInRange(0, 80))
    if kind == 1:
        return given.PickValueInList([None, True, False, -1, 0, 1, 32, 2**31, 2**63])
    if kind == 2:
        return given.PickValueInList(["a", "b", "c", "d", "coordinator", ""])
    if kind == 3:
        return given.PickValueInList([ORIGINAL[place] for place in range(len(ORIGINAL))])
    if kind in (4, 5):
        return given.ConsumeIntInRange(0, 64)
    if kind == 6:
        return [value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 4))]
    return {given.PickValueInList(list(FIELDS)): value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 4))}


def spoiled(content: object, given: atheris.FuzzedDataProvider) -> object:
    """An honest body in which here and there something is another, is missing or is too much."""
    if given.ConsumeIntInRange(0, 5) == 0:
        return value(given)
    if isinstance(content, dict):
        found = {key: spoiled(item, given) for key, item in content.items() if given.ConsumeIntInRange(0, 15)}
        return found | ({given.PickValueInList(list(FIELDS)): value(given)} if not given.ConsumeIntInRange(0, 7) else {})
    return content


def _leaves(content: object) -> list[bytes]:
    if isinstance(content, dict):
        return [leaf for item in content.values() for leaf in _leaves(item)]
    return [content] if isinstance(content, bytes) else []


ORIGINAL = [leaf for content in HONEST.values() for leaf in _leaves(content)]


def body(stage: Stage, given: atheris.FuzzedDataProvider, *, answer: bool) -> bytes:
    """A body to sign: raw bytes, or something near what is expected."""
    if given.ConsumeBool() or (answer and stage in (Stage.MASKED, Stage.AGREE)):
        return given.ConsumeBytes(given.ConsumeIntInRange(0, 200))
    content = spoiled(HONEST[stage, answer], given)
    if stage is Stage.MASKED and isinstance(content, dict) and given.ConsumeIntInRange(0, 7):
        return asking(deflated(b"q"), **content)
    return canonical_bytes(content)


def site_round(data: bytes) -> None:
    """A coordinator that signs what it likes, at any stage."""
    given = atheris.FuzzedDataProvider(data)
    stage = Stage(given.ConsumeIntInRange(1, len(Stage)))
    request = Message(ADDRESS, stage, "coordinator", b"", body(stage, given, answer=False)).signed(BOSS)
    try:
        answer = SCENES[stage].sites["a"].handle(stage, request)
    except VerificationError:
        return
    assert address_of(answer, federation=ROSTER.id) == (ADDRESS, stage)
    SCENES[stage] = Scene(stage)


def coordinator_round(data: bytes) -> None:
    """A site that signs what it likes, at any stage: it counts as missing, or the round ends."""
    given = atheris.FuzzedDataProvider(data)
    stage = Stage(given.ConsumeIntInRange(1, len(Stage)))
    scene = Scene(stage)
    scene.ask(stage)
    seen = scene.core._agreed or scene.core._asked or scene.core._advertised
    scene.answers["a"] = Message(ADDRESS, stage, "a", seen, body(stage, given, answer=True)).signed(KEYS["a"])
    try:
        scene.follow(stage)
    except (RoundAborted, VerificationError):
        return


def round_bytes(data: bytes) -> None:
    """A stranger."""
    for attempt in (data, b"TCT1" + data):
        for reader in (unbundled, Roster.from_bytes, lambda raw: address_of(raw, federation=ROSTER.id)):
            try:
                found = reader(attempt)
            except VerificationError:
                continue
            assert reader is not unbundled or bundled(found) == attempt
        try:
            SCENES[Stage.ADVERTISE].sites["a"].handle(Stage.ADVERTISE, attempt)
        except VerificationError:
            continue
        raise AssertionError("a stranger was answered")


def connection_bytes(data: bytes) -> None:
    """Before anybody has signed anything: frames, certificates and requests for them."""
    for attempt in (data, b"TQ1" + data, b"TA1" + data, b"-----BEGIN CERTIFICATE REQUEST-----\n" + data):
        for kind in (Question, Answer):
            try:
                assert kind.parse(attempt).to_bytes() == attempt
            except VerificationError:
                continue
        for reader in (member_of, lambda raw: issue(AUTHORITY, raw, "a", member=KEYS["a"].public)):
            try:
                reader(attempt)
            except VerificationError:
                continue
            raise AssertionError("a stranger's bytes are a certificate, or get one")


def main() -> None:
    targets: dict[str, Callable[[bytes], None]] = {
        "site-round": site_round, "coordinator-round": coordinator_round, "round-bytes": round_bytes, "connection-bytes": connection_bytes,
    }
    once = targets[sys.argv.pop(1)]
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
