"""A federation over masked rounds: learners run unchanged, sites that drop out, refuse or restart are dealt with, and every site is charged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from tacit.crypto import SigningKey
from tacit.domain import Category, Domain, Numeric
from tacit.errors import BudgetExceeded, OffPlan, PolicyViolation, RoundAborted, UsageError, VerificationError
from tacit.federation import MaskedFederation, Roster, SiteAgent
from tacit.federation.agent import COUNT_QUESTION
from tacit.federation.transports import LocalTransport, Missing
from tacit.guarantee import Budget, PrivacyUnit, Relation, TrustModel
from tacit.guard import Guard, Limits, MemoryBooks, Plan, PlanStep, Policy, Records
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted
from tacit.questions import CountByKey, Histogram, Select, SessionCache, UnitCount

from .parties import Party
from .test_local import PART, Lavish, deviation, guards, plan_for, policy, table, wide

Z = 6.2


class Line(LocalTransport):
    """A transport of which some sites can be cut off, and which counts."""

    def __init__(self, agents: Mapping[str, SiteAgent]) -> None:
        super().__init__(agents)
        self.agents = dict(agents)
        self.down: dict[str, str] = {}
        self.calls: list[str] = []

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        self.calls.append(stage)
        return {
            site: Missing("unreachable") if self.down.get(site) in ("*", stage) else self.agents[site].handle(stage, message)
            for site, message in messages.items()
        }


def federation(found: list[Guard], *, positions: Path | None = None, **given: Any) -> tuple[MaskedFederation, Line, Party]:
    party = Party(len(found))
    line = Line({
        name: SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=guard, positions=positions / name if positions else None)
        for name, guard in zip(party.roster.names, found, strict=True)
    })
    return MaskedFederation(party.roster, party.coordinator, line, **given), line, party


def charged(found: list[Guard]) -> list[int]:
    return [sum(entry.body["plan"]["run"] == "r" for entry in guard.ledger.find("charge", guard.scope)) for guard in found]


@pytest.mark.parametrize("sites", [3, 4, 7])
def test_the_sum_carries_a_share_of_noise_from_each_site(sites: int) -> None:
    question = wide()
    masked, _, party = federation(guards([PART] * sites, Lavish))
    noise = (masked.open(plan_for(question, 5.0)).ask(0, question) - sites * question.evaluate(PART, SessionCache())).astype(np.float64)
    parties = party.roster.parties
    sigma = 5.0 * question.bounds(Relation.ADD_REMOVE).l2 * math.sqrt(sites / (parties.threshold - parties.colluding))
    assert abs(deviation(noise, sigma)) < Z
    assert abs(deviation(noise * 1.05, sigma)) > Z


@pytest.mark.parametrize("stage", ["advertise", "share", "masked", "agree", "unmask", "*"])
def test_a_step_survives_a_site_that_is_cut_off_at_any_stage(stage: str) -> None:
    question = CountByKey("c", ("v1", "v2"))
    found = guards([PART] * 4, Lavish)
    masked, line, party = federation(found)
    conversation = masked.open(plan_for(question, 2e-3, repeats=3))
    gone = party.roster.names[1]
    line.down[gone] = stage
    answers = [conversation.ask(step, question) for step in range(2)]
    line.down.clear()
    answers += [conversation.ask(2, question)]
    exact = question.evaluate(PART, SessionCache())
    sigma = 2e-3 * question.bounds(Relation.ADD_REMOVE).l2 * 2
    for answer, report in zip(answers, conversation.reports, strict=True):
        assert np.abs(answer - len(report.survivors) * exact).max() <= 9 * sigma + 1
        assert len(report.survivors) >= 3
    assert gone in conversation.reports[0].missing
    assert "unreachable" in conversation.reports[0].missing[gone]


def test_a_site_that_comes_back_is_asked_again() -> None:
    question = CountByKey("c", ("v1", "v2"))
    masked, line, party = federation(guards([PART] * 4, Lavish))
    conversation = masked.open(plan_for(question, 2e-3, repeats=4))
    gone = party.roster.names[1]
    conversation.ask(0, question)
    line.down[gone] = "*"
    conversation.ask(1, question)
    line.down.clear()
    conversation.ask(2, question)
    conversation.ask(3, question)
    there = [gone in report.survivors for report in conversation.reports]
    assert there == [True, False, False, True], "keys for a step are exchanged during the step before"


def test_two_sites_too_few_abort_and_stay_charged() -> None:
    question = UnitCount()
    found = guards([PART] * 4)
    masked, line, party = federation(found)
    conversation = masked.open(plan_for(question, 50.0, repeats=2))
    for gone in party.roster.names[:2]:
        line.down[gone] = "*"
    with pytest.raises(RoundAborted, match="2 of 4 sites were left, 3 are needed"):
        conversation.ask(0, question)
    assert charged(found) == [1, 1, 1, 1]
    line.down.clear()
    conversation.ask(1, question)


def test_a_step_takes_three_calls_once_a_run_is_under_way() -> None:
    question = CountByKey("c", ("v1", "v2"))
    masked, line, _ = federation(guards([PART] * 3, Lavish))
    conversation = masked.open(plan_for(question, 2.0, repeats=4))
    assert conversation.ask(0, question) is not None
    before = len(line.calls)
    for step in (1, 2, 3):
        conversation.ask(step, question)
    assert line.calls[before:] == ["masked", "agree", "unmask"] * 3


def test_every_site_is_charged_once_and_before_it_answers() -> None:
    found = guards([PART] * 4)
    masked, _, _ = federation(found)
    plan = plan_for(UnitCount(), 50.0)
    conversation = masked.open(plan)
    assert charged(found) == [1, 1, 1, 1]
    assert set(conversation.charges) == set(masked.roster.names)
    masked.open(plan)
    assert charged(found) == [1, 1, 1, 1], "the same run is not charged twice"


def _spent(found: list[Guard], *sites: int) -> MaskedFederation:
    for index in sites:
        found[index].open(Plan("t", PrivacyUnit(), Relation.ADD_REMOVE, (PlanStep(UnitCount.kind, 1, 5.0, 1, l0=1, l2=4096),), run="earlier"))
    return federation(found)[0]


def test_a_site_without_budget_is_left_out() -> None:
    found = guards([PART] * 4)
    masked = _spent(found, 2)
    assert len(masked.open(plan_for(UnitCount(), 5.0)).charges) == 3
    assert "BudgetExceeded" in masked.missing["site-03"]
    assert charged(found) == [1, 1, 0, 1]


def test_if_too_many_sites_refuse_nobody_is_charged() -> None:
    found = guards([PART] * 4)
    with pytest.raises(BudgetExceeded, match=r"2 of the sites would take part, 3 are needed.*site-03"):
        _spent(found, 2, 3).open(plan_for(UnitCount(), 5.0))
    assert charged(found) == [0, 0, 0, 0]


def test_the_size_is_the_sum_of_the_noised_counts_and_costs_one_count_each() -> None:
    found = guards([PART] * 4)
    masked, line, party = federation(found)
    first = masked.size()
    assert first == sum(guard.size() for guard in found)
    again = MaskedFederation(party.roster, party.coordinator, line)
    assert again.size() == first
    assert all(len(guard.ledger.find("count", guard.scope)) == 1 for guard in found)


def test_the_guarantee_names_the_sites_and_who_may_collude() -> None:
    masked, _, _ = federation(guards([PART] * 4))
    guarantee = masked.open(plan_for(UnitCount(), 50.0)).guarantee
    assert guarantee.trust == TrustModel.distributed(4, threshold=3, colluding=1)
    assert guarantee.accountant == "gdp over skellam"
    assert 0 < guarantee.epsilon < 1


def test_sites_that_disagree_on_the_unit_are_refused() -> None:
    found = guards([PART] * 3)
    odd = Policy("odd", unit=PrivacyUnit("patient", column="c"), relation=Relation.ADD_REMOVE, budget=Budget(1.0, 1e-5), limits=Limits(0))
    records = Records.open(pa.table({"c": ["v1", "v2"], "y": ["0", "1"]}), unit="c")
    found[0] = Guard(records, policy=odd, ledger=MemoryBooks())
    masked, _, _ = federation(found)
    with pytest.raises(UsageError, match="agree on unit"):
        masked.size()


def test_what_sites_cannot_share_is_refused_by_name() -> None:
    masked, _, _ = federation(guards([PART] * 3))
    with pytest.raises(UsageError, match="Skellam"):
        masked.open(plan_for(UnitCount(), 50.0, mechanism="gaussian"))
    with pytest.raises(OffPlan, match="one curator"):
        masked.open(plan_for(UnitCount(), 50.0)).select(0, Select(("c",)))


def test_a_roster_that_not_everybody_signed_is_refused() -> None:
    party = Party(3)
    unsigned = Roster(party.roster.federation, party.roster.coordinator, party.roster.sites)
    with pytest.raises(VerificationError, match="lacks the signature"):
        MaskedFederation(unsigned, party.coordinator, LocalTransport({}))
    name = party.roster.names[0]
    with pytest.raises(VerificationError, match="lacks the signature"):
        SiteAgent(name=name, roster=unsigned, key=party.keys[name], guard=guards([PART])[0])
    with pytest.raises(UsageError, match="Expected the key"):
        SiteAgent(name=name, roster=party.roster, key=SigningKey.generate(), guard=guards([PART])[0])


def test_a_site_can_refuse_a_study() -> None:
    found, party = guards([PART] * 3), Party(3)

    def admit(study: bytes, plan: Plan | None) -> None:
        if study != b"good":
            raise PolicyViolation("refused: this site does not take part in that study. Ask its owner.")

    agents = {
        name: SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=guard, admit=admit)
        for name, guard in zip(party.roster.names, found, strict=True)
    }
    with pytest.raises(PolicyViolation, match="does not take part"):
        MaskedFederation(party.roster, party.coordinator, LocalTransport(agents), study=b"bad").open(plan_for(UnitCount(), 50.0))
    assert MaskedFederation(party.roster, party.coordinator, LocalTransport(agents), study=b"good").open(plan_for(UnitCount(), 50.0)).charges


def test_a_site_that_was_stopped_goes_on_without_answering_a_step_twice(tmp_path: Path) -> None:
    question = CountByKey("c", ("v1", "v2"))
    found = guards([PART] * 4, Lavish)
    masked, line, party = federation(found, positions=tmp_path)
    conversation = masked.open(plan_for(question, 2e-3, repeats=4))
    conversation.ask(0, question)
    name = party.roster.names[2]
    restarted = SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=found[2], positions=tmp_path / name)
    line.agents[name] = restarted
    for step in (1, 2, 3):
        conversation.ask(step, question)
    assert [name in report.survivors for report in conversation.reports] == [True, False, True, True]
    assert charged(found) == [1, 1, 1, 1]
    assert restarted._runs["r"].session is not None
    with pytest.raises(OffPlan):
        restarted._runs["r"].session.answer(3, question)


def test_a_site_whose_positions_are_lost_does_not_go_on(tmp_path: Path) -> None:
    question = CountByKey("c", ("v1", "v2"))
    found = guards([PART] * 4, Lavish)
    masked, line, party = federation(found, positions=tmp_path)
    conversation = masked.open(plan_for(question, 2e-3, repeats=3))
    conversation.ask(0, question)
    name = party.roster.names[2]
    line.agents[name] = SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=found[2], positions=tmp_path / "elsewhere")
    for step in (1, 2):
        conversation.ask(step, question)
    assert [name in report.survivors for report in conversation.reports] == [True, False, False]
    assert "no plan of this run is open" in conversation.reports[2].missing[name]


def test_a_learner_runs_unchanged_and_a_site_that_missed_steps_gets_the_model_again() -> None:
    train, test = table(6_000, 1), table(4_000, 2)
    domain = Domain.of(a=Numeric(-6, 6), b=Category(("x", "y", "z")))
    spec = LearnSpec(("a", "b"), TargetSpec("label", classes=("0", "1")), Budget(3.0, 1e-5), domain=domain)
    parts = [Records.open(train.take(np.arange(site, 6_000, 4))) for site in range(4)]
    found = [Guard(part, policy=policy(site, Budget(3.0, 1e-5)), ledger=MemoryBooks()) for site, part in enumerate(parts)]
    masked, line, party = federation(found)
    opened = masked.open
    kept: list[Any] = []

    def open_and_disturb(plan: Plan) -> Any:
        conversation = opened(plan)
        asking = conversation.ask
        kept.append(conversation)

        def ask(step: int, question: Any, **given: Any) -> Any:
            line.down = {party.roster.names[0]: "*"} if 3 <= step < 6 else {}
            return asking(step, question, **given)

        conversation.ask = ask  # type: ignore[method-assign]
        return conversation

    masked.open = open_and_disturb  # type: ignore[method-assign]
    model = fit_boosted(spec, masked, BoostingShape(trees=10, depth=2))
    assert roc_auc_score(np.array(test["label"].to_pylist()) == "1", model.predict_proba(test)[:, 1]) > 0.8
    assert model.guarantee.trust.kind == "distributed"
    there = [party.roster.names[0] in report.survivors for report in kept[0].reports]
    assert not any(there[3:6])
    assert all(there[7:]), [report.missing for report in kept[0].reports]
    assert all(set(report.survivors) >= set(party.roster.names[1:]) for report in kept[0].reports), [r.missing for r in kept[0].reports]


def test_the_narrowest_integers_that_hold_the_sum_are_chosen() -> None:
    masked, _, _ = federation(guards([PART] * 3, Lavish))
    question = Histogram(Domain.of(c=Category(("v1", "v2"))), 9)
    conversation = masked.open(plan_for(question, 5.0))
    conversation.ask(0, question)
    assert conversation.reports[0].bits in (24, 32)


def test_anything_a_stranger_sends_is_answered_with_a_signed_refusal() -> None:
    masked, line, party = federation(guards([PART] * 3))
    agent = line.agents[party.roster.names[0]]
    for junk in (b"", b"\x00", b"\x01" + bytes(8), b"\x01" + (5).to_bytes(8, "big") + b"TCT1\x01", bytes(1000)):
        answers, refusals = masked.sites.exchange("junk", {})
        assert (answers, refusals) == ({}, {})
        assert masked.sites._sorted(party.roster.names[0], agent.handle("masked", junk), 1)[1][0].kind == "ProtocolViolation"


def test_a_count_is_not_summed_before_a_site_has_admitted_the_study() -> None:
    masked, _, _ = federation(guards([PART] * 3))
    with pytest.raises(RoundAborted, match="no plan of this run is open"):
        masked.round("count:unasked", 0).total(COUNT_QUESTION, bits=64, size=1)
    assert masked.size() >= 0


def test_a_refusal_says_nothing_about_files_or_records() -> None:
    question = CountByKey("nowhere", ("v1", "v2"))
    masked, _, _ = federation(guards([PART] * 3, Lavish))
    with pytest.raises(RoundAborted, match="its own log says why") as raised:
        masked.open(plan_for(question, 5.0)).ask(0, question)
    assert "nowhere" not in str(raised.value)
