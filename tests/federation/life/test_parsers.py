"""What strangers can send before anybody knows them: whatever it is, it is read or refused, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.errors import TacitError
from tacit.federation.enrolment import Asked, Enrolment, replied
from tacit.federation.invite import Invite
from tacit.federation.study import StudyCard, example_text

KEY = SigningKey.generate()
CARD = StudyCard.parse(example_text())
SIGNED = CARD.sign(KEY, roster=bytes(32))
READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "application": (Enrolment.from_bytes, Enrolment.make("anna", bytes(16), key=KEY, request=b"request").to_bytes()),
    "question": (Asked.claimed, Asked("/roster", "anna", 1, b"").sign(KEY)),
    "answer": (lambda data: replied(data, state=str), canonical_bytes({"state": "waiting"})),
    "card": (lambda data: StudyCard.verified(data, KEY.public, roster=bytes(32)), SIGNED),
    "invitation": (lambda data: Invite.parse(data.decode("latin-1")), Invite("f", "anna", "hub:1", bytes(32), bytes(16)).text.encode()),
}
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20) | st.binary(max_size=80)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=12), below, max_size=5), max_leaves=12,
)  # fmt: skip




def read_or_refused(read: Callable[[bytes], object], data: bytes) -> str:
    """Empty if it was read, else what was said; anything but a deliberate error goes through."""
    try:
        read(data)
    except TacitError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@settings(max_examples=150)
def test_changed_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    read, good = READERS[name]
    read(good)
    place, cut = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 12))
    said = read_or_refused(read, good[:place] + data.draw(st.binary(max_size=12)) + good[place + cut :])
    assert len(said) < 600


@pytest.mark.parametrize("name", ["application", "question", "answer", "card"])
@given(value=plain)
@settings(max_examples=150)
def test_any_canonical_value_in_any_field_is_read_or_refused(name: str, value: object) -> None:
    read, good = READERS[name]
    whole = from_canonical(good)
    for key in whole:
        read_or_refused(read, canonical_bytes({**whole, key: [value]}))
        assert read_or_refused(read, canonical_bytes({**whole, key: None})) or (name, key) == ("question", "signature")
    assert read_or_refused(read, canonical_bytes(value))


@given(value=plain)
@settings(max_examples=200)
def test_a_card_signed_by_the_right_key_with_anything_in_it_is_a_card_or_none(value: object) -> None:
    """The coordinator itself may send rubbish: the site survives that too."""
    content = canonical_bytes({"card": value, "roster": bytes(32)})
    signed = canonical_bytes({"content": content, "signature": KEY.sign(content, context="tacit.study@1")})
    assert read_or_refused(lambda data: StudyCard.verified(data, KEY.public, roster=bytes(32)), signed)


@given(table=st.sampled_from(sorted(CARD.to_dict())), value=plain, key=st.data())
@settings(max_examples=300)
def test_a_card_with_one_wrong_value_says_so_with_its_name(table: str, value: object, key: st.DataObject) -> None:
    fields = CARD.to_dict()
    inner = fields[table]
    fields[table] = {**inner, key.draw(st.sampled_from(sorted(inner))): value} if isinstance(inner, dict) else value
    said = read_or_refused(lambda _: StudyCard.from_dict(fields), b"")
    assert said == "" or said.startswith("study card: ")
