from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import VerificationError
from tacit.federation.transports import Missing
from tacit.federation.transports.frames import ANSWERED, FAILED, TOO_LARGE, Answer, Question, is_stage

CALL = st.binary(min_size=8, max_size=8)
STAGE = st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True)


@given(CALL, STAGE, st.binary())
def test_a_question_is_read_as_it_was_written(call: bytes, stage: str, message: bytes) -> None:
    question = Question(call, stage, message)
    assert Question.parse(question.to_bytes()) == question


@given(CALL, st.integers(0, 255), st.binary())
def test_an_answer_is_read_as_it_was_written(call: bytes, how: int, message: bytes) -> None:
    answer = Answer(call, how, message)
    assert Answer.parse(answer.to_bytes()) == answer


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"TQ1" + data) | st.binary(max_size=30).map(lambda data: b"TA1" + data))
def test_whatever_arrives_is_read_or_refused(data: bytes) -> None:
    for kind in (Question, Answer):
        try:
            assert kind.parse(data).to_bytes() == data
        except VerificationError:
            continue


@given(CALL, STAGE, st.data())
def test_a_question_cut_before_its_message_is_refused(call: bytes, stage: str, data: st.DataObject) -> None:
    whole = Question(call, stage, b"").to_bytes()
    with pytest.raises(VerificationError):
        Question.parse(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_how_an_answer_went_is_what_a_call_returns() -> None:
    assert Answer(b"12345678", ANSWERED, b"sum").outcome == b"sum"
    assert Answer(b"12345678", TOO_LARGE).outcome == Missing("garbled")
    assert Answer(b"12345678", 77, b"?").outcome == Missing("garbled")
    failed = Answer(b"12345678", FAILED, b"a secret").outcome
    assert isinstance(failed, Missing)
    assert failed.reason.startswith("refused: ")
    assert "secret" not in failed.reason


@pytest.mark.parametrize("text", ["", "Masked", "1st", "a b", "a/b", "ä", "a" * 33, "a\n"])
def test_a_stage_has_a_plain_name(text: str) -> None:
    assert not is_stage(text)
    assert is_stage("masked")
