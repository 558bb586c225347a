"""How a learner runs: it yields questions, an aggregator answers them, and what it returns becomes a model."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from tacit.guard import Conversation
from tacit.questions import CellSums, Question, Select, SelectKeys, Update

Fitted = TypeVar("Fitted")
Steps: TypeAlias = Generator[tuple[int, Question | Select | SelectKeys], Any, Fitted]
"""A learner's conversation: yields (step of the plan, question), receives the noisy answer, returns what it learned."""


def converse(steps: Steps[Fitted], conversation: Conversation) -> Fitted:
    """Drive a learner with the answers of a conversation, to its end.

    Guards that have forgotten the model so far receive it again: it is the sum of all updates the learner has sent.
    """
    sent: list[Update] = []
    answer: Any = None
    while True:
        try:
            step, question = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if isinstance(question, Select | SelectKeys):
            answer = conversation.select(step, question)
        elif isinstance(question, CellSums):
            answer = conversation.ask(step, question, model=(question.frame, tuple(sent)))
            sent.extend(question.delta)
        else:
            answer = conversation.ask(step, question)
