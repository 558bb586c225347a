"""Networks over samples that each site draws for itself: end to end over masked rounds, charged once, and never a second view of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from tacit.domain import Domain, Numeric
from tacit.errors import BudgetExceeded, OffPlan
from tacit.federation import GroupedFederation, LocalFederation, Parties, SiteAgent
from tacit.federation.bundles import unbundled
from tacit.federation.rounds.wire import Control, address_of
from tacit.federation.transports import Missing
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Aggregator, Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import LearnSpec, SharedShape, TargetSpec, fit_shared_network
from tacit.questions import DenseGradient

from .parties import Party
from .test_masked import Line, federation

BUDGET = Budget(3.0, 1e-5)
DOMAIN = Domain.of(a=Numeric(-4, 4), b=Numeric(-4, 4))
SPEC = LearnSpec(("a", "b"), TargetSpec("y", classes=("0", "1")), BUDGET, domain=DOMAIN)
SHAPE = SharedShape(hidden=(8,), steps=60, rate=0.2)


def rings(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    return pa.table({"a": a, "b": b, "y": (np.hypot(a, b) < 1.1).astype(int).astype(str).tolist()})


def guards(sites: int, rows: int, *, kind: str = "auto", unit: PrivacyUnit | None = None) -> list[Guard]:
    found, whole = [], rings(rows, 1)
    for site in range(sites):
        part = whole.take(np.arange(site, rows, sites))
        if unit is not None:
            part = part.append_column("who", pa.array(np.arange(len(part)) // 2))
        whom, each = (unit, 2) if unit else (PrivacyUnit(), 1)
        policy = Policy(f"site-{site}", whom, Relation.ADD_REMOVE, BUDGET, limits=Limits(0), filter=kind, rows_per_unit=each)
        found.append(Guard(Records.open(part, unit="who" if unit else None), policy=policy, ledger=MemoryBooks()))
    return found


def last_plan(guard: Guard) -> dict[str, Any]:
    return dict(guard.ledger.find("charge", guard.scope)[-1].body["plan"])


def auc(model: Any) -> float:
    test = rings(3_000, 2)
    return float(roc_auc_score(np.array(test["y"].to_pylist()) == "1", model.predict_proba(test)[:, 1]))


@pytest.mark.parametrize("kind", ["auto", "single"])
def test_a_network_learns_from_samples_over_masked_rounds_and_each_site_is_charged_for_samples(kind: str) -> None:
    found = guards(4, 8_000, kind=kind)
    masked, _, _ = federation(found)
    model = fit_shared_network(SPEC, masked, SHAPE)
    assert auc(model) > 0.9
    assert 0 < model.guarantee.epsilon <= BUDGET.epsilon
    assert model.guarantee.accountant == "pld over skellam"
    assert model.guarantee.trust.kind == "distributed"
    for guard in found:
        step = last_plan(guard)["steps"][-1]
        assert (step["kind"], step["repeats"], step["sampler"]["kind"]) == ("dense@1", SHAPE.steps, "poisson")
        assert step["sampler"]["rate"] == pytest.approx(0.2, abs=1e-9)
        events = [entry.body["cost"]["event"] for entry in guard.ledger.find("charge", guard.scope)]
        assert events[-1]["events"][-1]["event"]["type"] == "poisson"
        assert len(events) == (1 if kind == "single" else 2), "a scope for one plan has the count in it"


def everybody(kind: str) -> Iterator[Aggregator]:
    yield Curator(guards(1, 6_000, kind=kind)[0])
    yield LocalFederation(guards(3, 6_000, kind=kind), parties=Parties.of(3))
    if kind == "single":
        return  # groups need their sizes beside the plan
    found = guards(9, 9_000, kind=kind)
    yield GroupedFederation([LocalFederation(found[first : first + 3], parties=Parties.of(3)) for first in (0, 3, 6)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["auto", "renyi", "single"])
def test_every_aggregator_and_filter_takes_samples(kind: str) -> None:
    for aggregator in everybody(kind):
        model = fit_shared_network(SPEC, aggregator, SHAPE)
        assert model.guarantee.epsilon <= BUDGET.epsilon
        assert auc(model) > 0.8


def test_a_unit_with_several_rows_joins_as_one() -> None:
    found = guards(3, 3_000, unit=PrivacyUnit("who", "who"))
    model = fit_shared_network(SPEC, LocalFederation(found, parties=Parties.of(3)), SharedShape(hidden=(4,), steps=4, rate=0.5))
    assert model.guarantee.unit == PrivacyUnit("who", "who")


def test_a_second_plan_is_refused_where_one_is_all_there_is() -> None:
    masked, _, _ = federation(guards(3, 600, kind="single"))
    shape = SharedShape(hidden=(2,), steps=2, rate=0.5)
    fit_shared_network(SPEC, masked, shape)
    with pytest.raises(BudgetExceeded):
        fit_shared_network(SPEC, masked, shape)


# ------------------------------------------------------------------------------------------------------- never a second view of a step


class Killed(Exception):
    """The coordinator, in the middle of a call."""


class Watched(Line):
    """Keeps what one site was asked and answered at the masked stage of a step, and stops there."""

    def __init__(self, line: Line, site: str, *, party: Party, step: int) -> None:
        super().__init__(line.agents)
        self.site, self.party, self.step = site, party, step
        self.kept: tuple[bytes, bytes] | None = None

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        replies = super().call(stage, messages, timeout=timeout)
        reply = replies.get(self.site)
        if stage == "masked" and isinstance(reply, bytes):
            address, _ = address_of(unbundled(messages[self.site])[0], federation=self.party.roster.id)
            if address.round == self.step and not address.run.startswith("count:"):
                self.kept, self.down = (messages[self.site], reply), dict.fromkeys(self.agents, "*")
                raise Killed
        return replies

    def refused(self, answer: bytes) -> bool:
        return address_of(unbundled(answer)[0], federation=self.party.roster.id)[1] is Control.REFUSED


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[tuple[DenseGradient, Any]]:
    """Every question that was evaluated, with its sample."""
    seen: list[tuple[DenseGradient, Any]] = []
    evaluate = DenseGradient.evaluate

    def watched(question: DenseGradient, *args: Any, sample: Any = None) -> Any:
        seen.append((question, sample))
        return evaluate(question, *args, sample=sample)

    monkeypatch.setattr(DenseGradient, "evaluate", watched)
    return seen


def test_an_answer_is_repeated_byte_for_byte_and_refused_after_a_crash(tmp_path: Path, samples: list[tuple[DenseGradient, Any]]) -> None:
    found = guards(4, 800)
    masked, line, party = federation(found, positions=tmp_path)
    watched = Watched(line, party.roster.names[2], party=party, step=3)
    masked.sites._transport = watched
    with pytest.raises(Killed):
        fit_shared_network(SPEC, masked, SharedShape(hidden=(2,), steps=6, rate=0.5))
    assert len(samples) == 3 * 4, "the bins, and three steps at each of four sites"
    assert all(0 < sample.taken.sum() < 200 for _, sample in samples)
    assert watched.kept is not None
    asked, answered = watched.kept
    name = watched.site
    assert watched.agents[name].handle("masked", asked) == answered
    restarted = SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=found[2], positions=tmp_path / name)
    assert watched.refused(restarted.handle("masked", asked))
    session = restarted._runs[last_plan(found[2])["run"]].session
    assert session is not None
    with pytest.raises(OffPlan, match="answered or passed over"):
        session.answer(3, samples[-1][0])
    assert len(samples) == 3 * 4, "nothing was drawn in its place"
    session.answer(4, samples[-1][0])
    assert (samples[-1][1].taken != samples[-3][1].taken).any(), "the next step has a sample of its own"
    assert sum(entry.body["plan"]["steps"][-1]["kind"] == "dense@1" for entry in found[2].ledger.find("charge", found[2].scope)) == 1


def test_a_step_that_failed_before_it_was_answered_shows_one_sample_only(tmp_path: Path, samples: list[tuple[DenseGradient, Any]]) -> None:
    """A question that does not fit is refused before anything is drawn."""
    found = guards(4, 800)
    masked, line, party = federation(found, positions=tmp_path)
    watched = Watched(line, party.roster.names[0], party=party, step=2)
    masked.sites._transport = watched
    with pytest.raises(Killed):
        fit_shared_network(SPEC, masked, SharedShape(hidden=(2,), steps=6, rate=0.5))
    session = watched.agents[watched.site]._runs[last_plan(found[0])["run"]].session
    assert session is not None
    asked, before = samples[-1][0], len(samples)
    with pytest.raises(OffPlan, match="grid with l2"):
        session.answer(3, replace(asked, clip=asked.clip // 2))
    assert len(samples) == before
