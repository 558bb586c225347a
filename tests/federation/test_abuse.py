"""A coordinator that lies, splits, swaps, replays or asks for too much: every site refuses, and nothing is unmasked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import ProtocolViolation, RoundAborted, SignatureInvalid, VerificationError
from tacit.federation import Roster
from tacit.federation.rounds import Address, CoordinatorRound, SiteRound, Stage, address_of
from tacit.federation.rounds.asking import asked_in, asking, deflated
from tacit.federation.rounds.site import read_adverts
from tacit.federation.rounds.wire import Message, read

from .parties import Party, answering, asked, numbers

SIZE = 4
REFUSED = (ProtocolViolation, SignatureInvalid)


class Scene:
    """Four sites, of which three are needed, led up to a stage by an honest coordinator."""

    def __init__(self, sites: int = 4) -> None:
        self.party = Party(sites)
        self.names = self.party.roster.names
        self.vectors = numbers(self.names, size=SIZE, seed=1)
        self.sites = self.party.sites(self.vectors)
        self.coordinator = self.party.round()
        self.requests = self.coordinator.advertise()
        self.answers: dict[str, bytes] = {}

    def ask(self, stage: Stage) -> None:
        self.answers = asked(self.sites, stage, self.requests)

    def led_to(self, stage: Stage) -> Scene:
        """The requests of ``stage`` are ready to be sent."""
        steps: dict[Stage, Callable[[], dict[str, bytes]]] = {
            Stage.SHARE: lambda: self.coordinator.share(self.answers),
            Stage.MASKED: lambda: self.coordinator.masked(self.answers, question=b"q", bits=32, size=SIZE),
            Stage.AGREE: lambda: self.coordinator.agree(self.answers),
            Stage.UNMASK: lambda: self.coordinator.unmask(self.answers),
        }
        for following in [after for after in Stage if Stage.ADVERTISE < after <= stage]:
            self.ask(Stage(following - 1))
            self.requests = steps[following]()
        return self

    def forged(self, stage: Stage, content: dict[str, object], *, address: Address | None = None, key: SigningKey | None = None) -> bytes:
        """A request that the coordinator really signs (or ``key`` does)."""
        if stage is Stage.MASKED and "question" in content:
            question = content["question"]
            body = asking(deflated(question), **{name: value for name, value in content.items() if name != "question"})  # type: ignore[arg-type]
        else:
            body = canonical_bytes(content)
        return Message(address or self.party.address(), stage, "coordinator", b"", body).signed(key or self.party.coordinator)

    def content(self, name: str, stage: Stage) -> dict[str, object]:
        request = self.requests[name]
        message = read(request, roster=self.party.roster, address=self.party.address(), stage=stage, sender="coordinator")
        if stage is Stage.MASKED:
            question, fields = asked_in(message.body, "boxes", "bits", "size")
            return {**fields, "question": question}
        return dict(from_canonical(message.body))

    def finishes(self) -> np.ndarray:
        self.ask(Stage.UNMASK)
        return self.coordinator.total(self.answers)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_request_that_the_coordinator_did_not_sign(stage: Stage) -> None:
    scene = Scene().led_to(stage)
    name = scene.names[0]
    request = scene.forged(stage, scene.content(name, stage), key=SigningKey.generate())
    with pytest.raises(SignatureInvalid):
        scene.sites[name].handle(stage, request)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_replay_out_of_another_round_run_or_federation(stage: Stage) -> None:
    scene = Scene().led_to(stage)
    name = scene.names[0]
    for address in (scene.party.address(1), scene.party.address(0, run="other"), Address(bytes(32), "run", 0)):
        with pytest.raises(ProtocolViolation, match="another federation, run, round"):
            scene.sites[name].handle(stage, scene.forged(stage, scene.content(name, stage), address=address))


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stage_out_of_turn(stage: Stage) -> None:
    scene = Scene().led_to(stage)
    site = scene.sites[scene.names[0]]
    for other in [after for after in Stage if after > stage]:
        with pytest.raises(ProtocolViolation, match="out of turn"):
            site.handle(other, scene.forged(other, {}))


@pytest.mark.parametrize("stage", list(Stage))
def test_the_same_request_again_gets_the_same_bytes(stage: Stage) -> None:
    scene = Scene().led_to(stage)
    name = scene.names[0]
    first = scene.sites[name].handle(stage, scene.requests[name])
    assert scene.sites[name].handle(stage, scene.requests[name]) == first


def test_the_same_stage_with_another_request_ends_the_round_at_the_site() -> None:
    scene = Scene().led_to(Stage.AGREE)
    site, name = scene.sites[scene.names[0]], scene.names[0]
    site.handle(Stage.AGREE, scene.requests[name])
    with pytest.raises(ProtocolViolation, match="twice, differently"):
        site.handle(Stage.AGREE, scene.forged(Stage.AGREE, {"survivors": list(scene.names[:3])}))
    with pytest.raises(ProtocolViolation, match="is over at this site"):
        site.handle(Stage.UNMASK, scene.forged(Stage.UNMASK, {"signatures": {}}))


def test_a_stranger_cannot_end_a_round_by_asking_twice() -> None:
    scene = Scene().led_to(Stage.AGREE)
    name = scene.names[0]
    scene.sites[name].handle(Stage.AGREE, scene.requests[name])
    with pytest.raises(SignatureInvalid):
        scene.sites[name].handle(Stage.AGREE, scene.forged(Stage.AGREE, {"survivors": []}, key=SigningKey.generate()))
    scene.ask(Stage.AGREE)
    scene.requests = scene.coordinator.unmask(scene.answers)
    np.testing.assert_array_equal(scene.finishes(), np.sum(list(scene.vectors.values()), axis=0))


def _survivors(scene: Scene, survivors: list[str]) -> bytes:
    return scene.forged(Stage.AGREE, {"survivors": survivors})


def test_lies_about_survivors() -> None:
    scene = Scene().led_to(Stage.AGREE)
    first, second, third, fourth = scene.names
    site = scene.sites[first]
    for survivors, why in (
        ([first, second], "Expected at least 3"), ([second, third, fourth], "lack this site"), ([first, second, "site-99"], "lack this site"),
        ([first, first, second], "ordered list"), ([third, second, first], "ordered list"),
    ):
        with pytest.raises(ProtocolViolation, match=why):
            site.handle(Stage.AGREE, _survivors(scene, survivors))


def test_different_survivors_for_different_sites_are_never_unmasked() -> None:
    scene = Scene().led_to(Stage.AGREE)
    groups = [list(scene.names[:3]), list(scene.names[1:])]
    told = dict(zip(scene.names, (groups[0], groups[0], groups[1], groups[1]), strict=True))
    signed = {name: scene.sites[name].handle(Stage.AGREE, _survivors(scene, told[name])) for name in scene.names}
    signatures = {
        name: read(answer, roster=scene.party.roster, address=scene.party.address(), stage=Stage.AGREE, sender=name).body
        for name, answer in signed.items()
    }
    for name in scene.names:
        request = scene.forged(Stage.UNMASK, {"signatures": {other: signatures[other] for other in told[name]}})
        with pytest.raises(SignatureInvalid):
            scene.sites[name].handle(Stage.UNMASK, request)


def test_different_questions_for_different_sites_are_never_unmasked() -> None:
    scene = Scene().led_to(Stage.MASKED)
    odd = scene.names[0]
    scene.requests[odd] = scene.forged(Stage.MASKED, {**scene.content(odd, Stage.MASKED), "question": b"another question"})
    scene.ask(Stage.MASKED)
    scene.requests = scene.coordinator.agree(scene.answers)
    assert odd not in scene.requests  # an honest coordinator finds it out; one that lies gets signatures that do not fit
    scene = Scene(3).led_to(Stage.MASKED)
    odd = scene.names[0]
    scene.requests[odd] = scene.forged(Stage.MASKED, {**scene.content(odd, Stage.MASKED), "question": b"another question"})
    scene.ask(Stage.MASKED)
    request = _survivors(scene, list(scene.names))
    answers = {name: scene.sites[name].handle(Stage.AGREE, request) for name in scene.names}
    signatures = {
        name: read(answer, roster=scene.party.roster, address=scene.party.address(), stage=Stage.AGREE, sender=name).body
        for name, answer in answers.items()
    }
    for name in scene.names:
        with pytest.raises(SignatureInvalid):
            scene.sites[name].handle(Stage.UNMASK, scene.forged(Stage.UNMASK, {"signatures": signatures}))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_signatures_than_are_needed_never_unmask(count: int) -> None:
    scene = Scene().led_to(Stage.UNMASK)
    name = scene.names[0]
    signatures = dict(list(scene.content(name, Stage.UNMASK)["signatures"].items())[:count])  # type: ignore[attr-defined]
    with pytest.raises(ProtocolViolation, match="Expected at least 3"):
        scene.sites[name].handle(Stage.UNMASK, scene.forged(Stage.UNMASK, {"signatures": signatures}))


def test_one_site_s_signature_under_other_names_is_not_enough() -> None:
    scene = Scene().led_to(Stage.UNMASK)
    name = scene.names[0]
    signatures = dict(scene.content(name, Stage.UNMASK)["signatures"])  # type: ignore[call-overload]
    copied = dict.fromkeys(signatures, signatures[name])
    with pytest.raises(SignatureInvalid):
        scene.sites[name].handle(Stage.UNMASK, scene.forged(Stage.UNMASK, {"signatures": copied}))
    with pytest.raises(ProtocolViolation, match="are no survivors"):
        scene.sites[name].handle(Stage.UNMASK, scene.forged(Stage.UNMASK, {"signatures": {**signatures, "site-99": signatures[name]}}))


def test_a_site_gives_one_kind_of_share_of_each_other_and_then_nothing_more() -> None:
    scene = Scene().led_to(Stage.MASKED)
    gone = scene.names[3]
    answers = asked(scene.sites, Stage.MASKED, scene.requests, absent=[gone])
    answers = asked(scene.sites, Stage.AGREE, scene.coordinator.agree(answers))
    requests = scene.coordinator.unmask(answers)
    for name, request in requests.items():
        answer = scene.sites[name].handle(Stage.UNMASK, request)
        message = read(answer, roster=scene.party.roster, address=scene.party.address(), stage=Stage.UNMASK, sender=name)
        content = from_canonical(message.body)
        assert set(content["keys"]) == {gone}
        assert set(content["seeds"]) == set(scene.names[:3])
        other = _survivors(scene, list(scene.names))
        with pytest.raises(ProtocolViolation, match="twice, differently"):
            scene.sites[name].handle(Stage.AGREE, other)
        assert scene.sites[name]._secrets is None
        assert all(peer.shares is None for peer in scene.sites[name]._peers.values())


def test_keys_that_are_swapped_left_out_repeated_or_made_up() -> None:
    scene = Scene().led_to(Stage.SHARE)
    first, second, third, fourth = scene.names
    adverts = dict(scene.content(first, Stage.SHARE)["adverts"])  # type: ignore[call-overload]
    stranger = Party(3)
    cases: list[tuple[dict[str, bytes], type[Exception]]] = [
        ({**adverts, second: adverts[third]}, ProtocolViolation),
        ({first: adverts[first], second: adverts[second]}, ProtocolViolation),
        ({name: advert for name, advert in adverts.items() if name != first}, ProtocolViolation),
        ({**adverts, second: _advert(scene, second, SigningKey.generate())}, SignatureInvalid),
        ({**adverts, "site-99": adverts[fourth]}, ProtocolViolation),
        ({**adverts, second: b""}, ProtocolViolation),
    ]
    for content, error in cases:
        with pytest.raises(error):
            scene.sites[first].handle(Stage.SHARE, scene.forged(Stage.SHARE, {"adverts": content}))
    assert stranger.roster.id != scene.party.roster.id


def _advert(scene: Scene, name: str, key: SigningKey) -> bytes:
    body = canonical_bytes({"masking": bytes(range(32)), "sealing": bytes(range(1, 33))})
    return Message(scene.party.address(), Stage.ADVERTISE, name, b"", body).signed(key)


def test_a_key_that_a_site_repeats_is_refused() -> None:
    party = Party(3)
    body = canonical_bytes({"masking": bytes(range(32)), "sealing": bytes(range(32))})
    adverts = {name: Message(party.address(), Stage.ADVERTISE, name, b"", body).signed(party.keys[name]) for name in party.roster.names}
    with pytest.raises(ProtocolViolation, match="occurs twice"):
        read_adverts(adverts, roster=party.roster, address=party.address())


def test_a_key_of_low_order_is_refused() -> None:
    scene = Scene().led_to(Stage.SHARE)
    first, second = scene.names[:2]
    adverts = dict(scene.content(first, Stage.SHARE)["adverts"])  # type: ignore[call-overload]
    body = canonical_bytes({"masking": bytes(31) + b"\x01", "sealing": bytes(32)})
    adverts[second] = Message(scene.party.address(), Stage.ADVERTISE, second, b"", body).signed(scene.party.keys[second])
    with pytest.raises(ProtocolViolation, match="public key"):
        scene.sites[first].handle(Stage.SHARE, scene.forged(Stage.SHARE, {"adverts": adverts}))


def test_different_keys_for_different_sites_leave_boxes_that_nobody_can_open() -> None:
    scene = Scene().led_to(Stage.SHARE)
    first, fourth = scene.names[0], scene.names[3]
    adverts = dict(scene.content(first, Stage.SHARE)["adverts"])  # type: ignore[call-overload]
    split = {name: advert for name, advert in adverts.items() if name != fourth}
    sent = {first: scene.forged(Stage.SHARE, {"adverts": split})} | {name: scene.requests[name] for name in scene.names[1:]}
    answers = asked(scene.sites, Stage.SHARE, sent)
    requests = scene.coordinator.masked(answers, question=b"q", bits=32, size=SIZE)
    assert first not in requests
    where = {"roster": scene.party.roster, "address": scene.party.address(), "stage": Stage.SHARE}
    boxes = {name: from_canonical(read(answers[name], sender=name, **where).body)["boxes"] for name in scene.names}  # type: ignore[arg-type]
    request = scene.forged(Stage.MASKED, {
        "boxes": {name: boxes[name][first] for name in scene.names[1:3]}, "question": b"q", "bits": 32, "size": SIZE,
    })
    with pytest.raises(ProtocolViolation, match="does not open"):
        scene.sites[first].handle(Stage.MASKED, request)


def test_boxes_that_are_moved_or_too_few() -> None:
    scene = Scene().led_to(Stage.MASKED)
    first, second, third, fourth = scene.names
    content = scene.content(first, Stage.MASKED)
    boxes = dict(content["boxes"])  # type: ignore[call-overload]
    for wrong, why in (
        ({**boxes, second: boxes[third]}, "does not open"), ({second: boxes[second]}, "Expected at least 3"),
        ({**boxes, first: boxes[second]}, "sent no keys"), ({**boxes, "site-99": boxes[fourth]}, "sent no keys"),
        ({**boxes, second: b""}, "does not open"),
    ):
        with pytest.raises(ProtocolViolation, match=why):
            scene.sites[first].handle(Stage.MASKED, scene.forged(Stage.MASKED, {**content, "boxes": wrong}))
    for wrong in ({"bits": 31}, {"bits": True}, {"size": 0}, {"size": 1 << 40}, {"extra": 7}):
        with pytest.raises(ProtocolViolation):
            scene.sites[first].handle(Stage.MASKED, scene.forged(Stage.MASKED, {**content, **wrong}))


def test_a_question_that_is_a_bomb_cut_short_or_followed_by_something_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene().led_to(Stage.MASKED)
    name = scene.names[0]
    content = scene.content(name, Stage.MASKED)
    fields = {key: content[key] for key in ("boxes", "bits", "size")}
    good = asking(deflated(b"q" * 10_000), **fields)
    monkeypatch.setattr("tacit.federation.rounds.asking.LONGEST_QUESTION", 5_000)
    for body in (good, asking(deflated(b"q"), **fields)[:-1], asking(deflated(b"q"), **fields) + b"x", b"", b"\xff" * 9, good[:4] + b"{}"):
        request = Message(scene.party.address(), Stage.MASKED, "coordinator", b"", body).signed(scene.party.coordinator)
        with pytest.raises(ProtocolViolation):
            scene.sites[name].handle(Stage.MASKED, request)


def test_a_question_is_answered_once_even_if_the_coordinator_starts_the_round_again() -> None:
    scene = Scene().led_to(Stage.MASKED)
    name = scene.names[0]
    calls: list[bytes] = []

    def contribute(question: bytes, size: int) -> np.ndarray:
        calls.append(question)
        return np.zeros(size, np.int64)

    scene.sites[name]._contribute = contribute
    for _ in range(2):
        scene.sites[name].handle(Stage.MASKED, scene.requests[name])
    assert len(calls) == 1


def test_bytes_changed_anywhere_are_refused_or_change_nothing() -> None:
    scene = Scene().led_to(Stage.MASKED)
    name = scene.names[0]
    request = scene.requests[name]
    for place in range(0, len(request), 7):
        damaged = request[:place] + bytes([request[place] ^ 0x41]) + request[place + 1 :]
        with pytest.raises((ProtocolViolation, VerificationError)):
            scene.sites[name].handle(Stage.MASKED, damaged)
    scene.sites[name].handle(Stage.MASKED, request)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_site_s_answer_that_was_damaged_counts_as_missing(stage: Stage) -> None:
    scene = Scene().led_to(stage)
    scene.ask(stage)
    name = scene.names[0]
    answer = scene.answers[name]
    scene.answers[name] = answer[:-70] + bytes([answer[-70] ^ 1]) + answer[-69:]
    following = {
        Stage.ADVERTISE: lambda: scene.coordinator.share(scene.answers), Stage.AGREE: lambda: scene.coordinator.unmask(scene.answers),
        Stage.SHARE: lambda: scene.coordinator.masked(scene.answers, question=b"q", bits=32, size=SIZE),
        Stage.MASKED: lambda: scene.coordinator.agree(scene.answers), Stage.UNMASK: lambda: scene.coordinator.total(scene.answers),
    }
    following[stage]()
    assert scene.coordinator.missing[name].startswith("garbled")


@pytest.mark.parametrize("body", [
    {"masking": 5, "sealing": b""}, {"masking": bytes(32), "sealing": bytes(32)}, {"masking": None, "sealing": "x"}, {}, {"other": 1},
])
def test_a_site_that_advertises_rubbish_is_left_out_by_the_coordinator(body: dict[str, object]) -> None:
    scene = Scene()
    scene.ask(Stage.ADVERTISE)
    name = scene.names[0]
    message = Message(scene.party.address(), Stage.ADVERTISE, name, b"", canonical_bytes(body))
    scene.answers[name] = message.signed(scene.party.keys[name])
    assert set(scene.coordinator.share(scene.answers)) == set(scene.names[1:])


def test_a_site_that_copies_another_s_key_is_left_out_with_it() -> None:
    scene = Scene(5)
    scene.ask(Stage.ADVERTISE)
    first, second = scene.names[:2]
    copied = read(scene.answers[second], roster=scene.party.roster, address=scene.party.address(), stage=Stage.ADVERTISE, sender=second).body
    scene.answers[first] = Message(scene.party.address(), Stage.ADVERTISE, first, b"", copied).signed(scene.party.keys[first])
    with pytest.raises(RoundAborted, match="3 of 5 sites were left, 4 are needed"):
        scene.coordinator.share(scene.answers)
    assert "the same key" in scene.coordinator.missing[first]


OTHERS = ("site-02", "site-03", "site-04")


@pytest.mark.parametrize("boxes", [5, {}, dict.fromkeys(OTHERS, 7), dict.fromkeys((*OTHERS, "site-05"), b"")])
def test_a_site_that_shares_rubbish_is_left_out_by_the_coordinator(boxes: object) -> None:
    scene = Scene().led_to(Stage.SHARE)
    scene.ask(Stage.SHARE)
    name = scene.names[0]
    message = Message(scene.party.address(), Stage.SHARE, name, scene.coordinator._advertised, canonical_bytes({"boxes": boxes}))
    scene.answers[name] = message.signed(scene.party.keys[name])
    assert set(scene.coordinator.masked(scene.answers, question=b"q", bits=32, size=SIZE)) == set(scene.names[1:])


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    party = _PARTY
    site = SiteRound(party.roster, party.roster.names[0], key=party.keys[party.roster.names[0]], address=party.address(), contribute=_nothing)
    for attempt in (data, b"TCT1\x01" + data):
        with pytest.raises(VerificationError):
            site.handle(Stage.ADVERTISE, attempt)
        with pytest.raises(VerificationError):
            address_of(attempt, federation=party.roster.id)
        with pytest.raises(VerificationError):
            Roster.from_bytes(attempt)


_PARTY = Party(3)
_nothing = answering(np.zeros(1, np.int64))


def test_answers_for_nobody_abort() -> None:
    coordinator: CoordinatorRound = _PARTY.round(5)
    coordinator.advertise()
    with pytest.raises(RoundAborted, match="0 of 3 sites were left, 3 are needed"):
        coordinator.share({})
