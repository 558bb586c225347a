"""What a site says to studies: signature, federation, dates, policy, decisions, and a budget that aborted runs count against."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tacit.crypto import SigningKey
from tacit.errors import ConfigError, PolicyViolation, Refused, RoundAborted, UsageError, VerificationError
from tacit.federation import MaskedFederation, Roster, SiteAgent
from tacit.federation.certificates import Address
from tacit.federation.coordinator import CoordinatorFolder, run_study
from tacit.federation.coordinator.keeping import keep
from tacit.federation.coordinator.resuming import Attempt
from tacit.federation.journal import JournaledTransport
from tacit.federation.learners import KINDS, kinds_of, learn, spec_of
from tacit.federation.mock import MARK, mock_table
from tacit.federation.roster import COORDINATOR
from tacit.federation.site import Admission, decide, decisions
from tacit.federation.study import LearnerSpec, StudyCard, example_text
from tacit.federation.transports import LocalTransport
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Ledger, Limits, Plan, Policy, Records

CARD = replace(StudyCard.parse(example_text()), budget=Budget(1.0, 1e-5), learner=LearnerSpec("boosted-trees", "readmitted", positive="yes",
                                                                                              parameters={"passes": 1, "trees": 2}))


class Houses:
    """Three sites in one process, each with mock records, a ledger and an admission of its own."""

    def __init__(self, card: StudyCard = CARD, *, epsilon: float = 4.0, approval: str = "automatic", today: date = date(2027, 1, 1)) -> None:
        self.hub = SigningKey.generate()
        self.keys = {name: SigningKey.generate() for name in card.sites}
        plain = Roster("houses", self.hub.public, {name: key.public for name, key in self.keys.items()}).signed_by(COORDINATOR, self.hub)
        for name, key in self.keys.items():
            plain = plain.signed_by(name, key)
        self.roster, self.ledgers, self.admissions, agents = plain, {}, {}, {}
        for seed, (name, key) in enumerate(self.keys.items()):
            policy = Policy(
                card.dataset, card.unit, card.relation, Budget(epsilon, card.budget.delta), rows_per_unit=card.rows_per_unit,
                limits=Limits(0, approval=approval),
            )
            records = Records.open(mock_table(card, 300, seed=seed), unit=card.unit)
            self.ledgers[name] = Ledger.ephemeral()
            guard = Guard(records, policy=policy, ledger=self.ledgers[name])
            self.admissions[name] = Admission(name, roster=plain, guard=guard, ledger=self.ledgers[name], today=lambda: today)
            agents[name] = SiteAgent(name=name, roster=plain, key=key, guard=guard, admit=self.admissions[name])
        self.transport = LocalTransport(agents)
        self.policy, self.scope = policy, guard.scope

    def run(self, card: StudyCard = CARD) -> object:
        signed = card.sign(self.hub, roster=self.roster.id)
        return learn(card, MaskedFederation(self.roster, self.hub, self.transport, study=signed))

    def ask(self, card: StudyCard, plan: Plan | None = None, *, key: SigningKey | None = None, roster: bytes | None = None) -> None:
        self.admissions["anna"](card.sign(key or self.hub, roster=roster or self.roster.id), plan)

    def charges(self) -> list[int]:
        return [len(ledger.costs(self.scope)) for ledger in self.ledgers.values()]


@pytest.fixture
def houses() -> Houses:
    return Houses()


def test_a_study_that_fits_is_answered_and_noted_before_it_is_charged(houses: Houses) -> None:
    model = houses.run()
    assert "distributed(3,3,1)" in str(model.guarantee)  # type: ignore[attr-defined]
    kinds = [entry.kind for entry in houses.ledgers["anna"].entries()]
    assert kinds.index("study") < kinds.index("charge")
    (known,) = decisions(houses.ledgers["anna"], houses.scope)
    assert (known.card, known.said, known.charges) == (CARD, "", 1)


def test_only_the_coordinators_signature_for_this_federation_counts(houses: Houses) -> None:
    with pytest.raises(VerificationError):
        houses.ask(CARD, key=SigningKey.generate())
    with pytest.raises(VerificationError, match="another federation"):
        houses.ask(CARD, roster=bytes(32))
    for rubbish in (b"", b"{}", CARD.sign(houses.hub, roster=houses.roster.id)[:-1]):
        with pytest.raises(VerificationError):
            houses.admissions["anna"](rubbish, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ends": date(2026, 12, 31)}, "ended on 2026-12-31"), ({"sites": ("berta", "carl", "dora")}, "does not ask «anna»"),
        ({"sites": ("anna", "berta", "dora")}, "roster does not have"), ({"dataset": "bills"}, "the data set «bills»"),
        ({"unit": PrivacyUnit("stay", "patient_id")}, "the unit «stay»"), ({"unit": PrivacyUnit("patient")}, "told by the column"),
        ({"relation": Relation.REPLACE}, "under replace"), ({"rows_per_unit": 1}, "assumes 1 rows"),
    ],
)
def test_a_study_that_does_not_fit_the_policy_is_refused_with_what_differs(houses: Houses, change: dict[str, object], said: str) -> None:
    with pytest.raises(PolicyViolation, match=f"refused: .*{said}"):
        houses.ask(replace(CARD, **change))  # type: ignore[arg-type]
    assert houses.charges() == [0, 0, 0]


def test_a_plan_must_be_the_cards(houses: Houses) -> None:
    step = {"kind": "cells@1", "repeats": 1, "noise_multiplier": 9.0, "cells": 4, "l0": 2, "l2": 1 << 16}
    good = {"purpose": CARD.purpose, "unit": {"name": "patient", "column": "patient_id", "window": None}, "relation": "add/remove", "steps": [step],
            "mechanism": "skellam", "run": CARD.run + "1"}
    houses.ask(CARD, Plan.from_dict(good))
    for change in ({"purpose": "marketing"}, {"run": "other"}, {"steps": [{**step, "kind": "marginals@1"}]}, {"relation": "replace"}):
        with pytest.raises(PolicyViolation, match="refused"):
            houses.ask(CARD, Plan.from_dict({**good, **change}))


def test_a_second_run_needs_a_new_edition_because_the_first_was_charged(houses: Houses) -> None:
    houses.run()
    with pytest.raises(PolicyViolation, match="new edition"):
        houses.run()
    assert houses.charges() == [2, 2, 2]  # the count and one plan
    houses.run(replace(CARD, edition=2))
    assert houses.charges() == [3, 3, 3]


def test_studies_wait_for_the_owner_and_a_denial_lasts() -> None:
    houses = Houses(approval="owner")
    with pytest.raises(Refused, match="tacit site approve readmission-2027"):
        houses.run()
    assert houses.charges() == [0, 0, 0]
    for ledger in houses.ledgers.values():
        decide(ledger, houses.scope, CARD.name, approve=True)
    houses.run()
    assert houses.charges() == [2, 2, 2]
    assert [known.said for known in decisions(houses.ledgers["anna"], houses.scope)] == ["approved"]
    for ledger in houses.ledgers.values():
        decide(ledger, houses.scope, CARD.digest[:10], approve=False)
    with pytest.raises(PolicyViolation, match="denied"):
        houses.run()


def test_a_denied_study_is_refused_under_an_automatic_policy_too(houses: Houses) -> None:
    houses.ask(CARD)
    decide(houses.ledgers["anna"], houses.scope, CARD.name, approve=False)
    with pytest.raises(PolicyViolation, match="denied"):
        houses.ask(CARD)
    with pytest.raises(UsageError, match="none fit"):
        decide(houses.ledgers["anna"], houses.scope, "unheard-of", approve=True)


def test_an_approval_is_for_one_edition(houses: Houses) -> None:
    owner = Houses(approval="owner")
    with pytest.raises(Refused):
        owner.ask(CARD)
    decide(owner.ledgers["anna"], owner.scope, CARD.name, approve=True)
    owner.ask(CARD)
    with pytest.raises(Refused, match="waits for the owner"):
        owner.ask(replace(CARD, edition=2, budget=Budget(3.0, 1e-5)))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"linear"}))
def test_every_learner_asks_what_it_says_and_runs_over_masked_rounds(kind: str) -> None:
    labelled = kind in ("boosted-trees", "additive", "network")
    sizes = {"boosted-trees": {"passes": 1, "trees": 1}, "additive": {"iterations": 2}, "anomaly": {"trees": 2},
             "network": {"hidden": (3, 2), "steps": 2, "rate": 0.5}}
    target = {"target": "readmitted", "positive": "yes"} if labelled else {}
    card = replace(CARD, learner=LearnerSpec(kind, parameters=sizes.get(kind, {}), **target), budget=Budget(3.0, 1e-5))  # type: ignore[arg-type]
    assert StudyCard.from_dict(card.to_dict()) == card
    houses = Houses(card, epsilon=6.0)
    houses.run(card)
    plans = [entry.body["plan"] for entry in houses.ledgers["anna"].entries(kind="charge")]
    asked = next(plan["steps"] for plan in plans if plan["run"].startswith(card.run))
    assert {step["kind"] for step in asked} == kinds_of(card)


def test_a_refusal_and_an_abort_are_told_apart(houses: Houses) -> None:
    class Gone(LocalTransport):
        def call(self, stage: str, messages: object, *, timeout: float) -> object:  # type: ignore[override]
            found = super().call(stage, messages, timeout=timeout)  # type: ignore[arg-type]
            return {site: found[site] for site in found if not (stage not in ("terms", "ask", "open") and site == "carl" and houses.charges()[0] > 1)}

    whole = houses.transport
    houses.transport = Gone(whole._handlers)
    with pytest.raises(RoundAborted):
        houses.run()
    assert houses.charges()[0] == 2
    houses.transport = whole
    with pytest.raises(PolicyViolation, match="aborted runs included"):
        houses.run()


def test_a_coordinator_that_is_killed_goes_on_with_the_same_run_and_nobody_pays_twice(houses: Houses, tmp_path: Path) -> None:
    class Dies(LocalTransport):
        left = 9

        def call(self, stage: str, messages: object, *, timeout: float) -> object:  # type: ignore[override]
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return super().call(stage, messages, timeout=timeout)  # type: ignore[arg-type]

    folder = CoordinatorFolder.create(tmp_path, federation="houses", address=Address.parse("127.0.0.1:8443"))
    folder.__dict__["key"] = houses.hub
    first = Attempt.of(folder, CARD)
    with pytest.raises(KeyboardInterrupt):
        run_study(folder, houses.roster, CARD, transport=JournaledTransport(Dies(houses.transport._handlers), first.journal), run=first.run)
    assert houses.charges() == [2, 2, 2]
    again = Attempt.of(folder, CARD)
    assert (again.resumed, again.run) == (True, first.run)
    model, report = run_study(folder, houses.roster, CARD, transport=JournaledTransport(houses.transport, again.journal), run=again.run)
    assert (report.outcome, houses.charges()) == ("completed", [2, 2, 2])
    assert keep(folder, model, report)[-1].name == "model.tacit"
    again.over()
    assert not Attempt.of(folder, CARD).resumed


def test_cards_say_what_is_wrong_with_them() -> None:
    text = example_text()
    for change, said in (
        (('positive = "yes"', ""), "exactly one of classes"), (("kind = \"boosted-trees\"", "kind = \"magic\""), "learner"),
        (("trees = 50", "iterations = 5"), "no parameter of"), (("ends = 2027-12-31", "ends = 2027-13-31"), "TOML"),
        (("epsilon = 1.0", "epsilon = -1"), "epsilon = -1"), (('names = ["anna", "berta", "carl"]', 'names = ["anna", "berta"]'), "names"),
        (('name = "ward"', 'name = "readmitted"'), "target or the unit"), (("version = 1", "version = 1\nextra = 2"), "unknown"),
        (("lower = 0", ""), "columns"),
    ):
        with pytest.raises(ConfigError, match=f"study.toml: .*{said}"):
            StudyCard.parse(text.replace(*change, 1))


def test_a_card_survives_its_own_text_and_every_change_changes_its_digest() -> None:
    assert StudyCard.from_dict(CARD.to_dict()) == CARD
    for change in ({"edition": 2}, {"purpose": "another"}, {"ends": date(2028, 1, 1)}, {"budget": Budget(1.5, 1e-5)}, {"asker": "x"}):
        assert replace(CARD, **change).digest != CARD.digest  # type: ignore[arg-type]
    assert spec_of(CARD).run != spec_of(CARD).run
    assert str(spec_of(CARD).run).startswith(CARD.run)


def test_mock_records_are_marked_and_within_the_public_bounds() -> None:
    table = mock_table(CARD, 500, seed=3)
    assert MARK in table.column_names
    ages = table["age"].to_numpy()
    assert 0 <= ages.min() < 20 < 100 < ages.max() <= 120
    assert set(table["ward"].to_pylist()) == {"surgery", "medicine", "other"}
    assert len(set(table["patient_id"].to_pylist())) == 250
    with pytest.raises(UsageError):
        mock_table(CARD, 0)
