"""A whole study on mock records, in this process, charged to nobody."""

from __future__ import annotations

from dataclasses import replace

from tacit.errors import TacitError
from tacit.federation.learners import learn
from tacit.federation.local import LocalFederation
from tacit.federation.mock import mock_table
from tacit.federation.site.preflight.outcome import Bench, Failed
from tacit.federation.study import StudyCard
from tacit.guard import Guard, Ledger, Limits, Policy, Records

_ROWS = 300


def dry_run(bench: Bench) -> str:
    """Whether the study's learner runs through with three made-up sites under a policy like this one."""
    card = bench.card
    guards = [mock_guard(card, bench.policy) for _ in range(3)]
    try:
        model = learn(card, LocalFederation(guards))
    except TacitError as error:
        raise Failed(str(error), "Send this line to whoever wrote the study: it does not run with this card.") from None
    return f"«{card.name}» ran on 3 times {_ROWS} mock records: {model.guarantee.accountant}, nothing charged"


def mock_guard(card: StudyCard, policy: Policy) -> Guard:
    """A guard of mock records with a ledger that nobody keeps."""
    own = replace(policy, limits=Limits(0, policy.limits.questions, "automatic", policy.limits.max_rows_per_unit), budget=card.budget)
    return Guard(Records.open(mock_table(card, _ROWS), unit=policy.unit), policy=own, ledger=Ledger.ephemeral())
