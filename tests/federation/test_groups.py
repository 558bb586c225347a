"""Groups of sites: the middle of their sums, all of the noise in each, and one poisoned site that turns a plain sum but not the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tacit.domain import Category, Domain, Numeric
from tacit.errors import BudgetExceeded, OffPlan, RoundAborted, UsageError
from tacit.federation import GroupedFederation, LocalFederation, MaskedFederation, Parties, SiteAgent
from tacit.federation.transports import LocalTransport
from tacit.guarantee import Budget, PrivacyUnit, Relation, TrustModel
from tacit.guard import Guard, Limits, MemoryBooks, Plan, Policy, Records, Session, plan_cost
from tacit.learn import LearnSpec, TargetSpec, fit_linear
from tacit.questions import GRID, CountByKey, Question, Select, TimeCounts, UnitCount
from tacit.questions.base import Sums

from .parties import Party
from .test_local import PART, Lavish, Rows, Z, deviation, guards, plan_for, table

WIDE = TimeCounts("t", 0, 1, 60_000)
EMPTY = Rows({"t": [-1]})


class Liar(Session):
    """A session of a site whose guard was replaced: it says so many times the opposite of the truth."""

    factor = -30

    def answer(self, step: int, question: Question) -> Sums:
        return np.asarray(super().answer(step, question) * self.factor, np.int64)


class Poisoned(Guard):
    """A guard that was replaced."""

    def open(self, plan: Plan, *, share: Fraction = Fraction(1)) -> Session:
        super().open(plan, share=share)
        return Liar(plan, self._records, source=self._source, share=share)


def locals_of(found: Sequence[Guard], *, groups: int, **given: Any) -> list[LocalFederation]:
    each = len(found) // groups
    return [LocalFederation(found[start : start + each], parties=Parties.of(each), **given) for start in range(0, len(found), each)]


def grouped(found: Sequence[Guard], *, groups: int = 3, rule: str = "median") -> GroupedFederation:
    return GroupedFederation(locals_of(found, groups=groups), rule=rule)


# ----------------------------------------------------------------------------------------------------------------- the middle


@pytest.mark.parametrize("rule", ["median", "trimmed"])
def test_the_middle_is_scaled_to_the_whole(rule: str) -> None:
    """Groups of unequal size, each with its share of the same values: the middle is what all hold together."""
    parts = [Rows({"c": ["v1"] * count + ["v2"] * (3 * count)}) for count in (1_000, 1_000, 1_000, 2_000, 2_000, 2_000, 1_400, 1_400, 1_400)]
    federation = grouped(guards(parts, Lavish), rule=rule)
    question = CountByKey("c", ("v1", "v2"))
    answer = federation.open(plan_for(question, 2e-3)).ask(0, question) / GRID
    assert answer[1] / answer[0] == pytest.approx(3, rel=0.01)
    assert answer.sum() == pytest.approx(federation.size(), rel=0.05)
    assert federation.size() == pytest.approx(3 * 4 * 4_200, rel=0.05)


def test_a_median_of_three_has_the_noise_that_is_stated() -> None:
    federation = grouped(guards([EMPTY] * 9, Lavish))
    conversation = federation.open(plan_for(WIDE, 5.0))
    scaled = conversation.ask(0, WIDE).astype(np.float64)
    shares = Parties.of(3)
    one = 5.0 * GRID * math.sqrt(shares.sites * shares.share)
    scales = federation.size() / federation.sizes
    middle = float(np.std(np.median(np.random.default_rng(1).normal(size=(3, 200_000)) * scales[:, None], axis=0)))
    assert np.std(scaled) == pytest.approx(one * middle, rel=0.04)
    assert abs(scaled.mean()) < Z * np.std(scaled) / math.sqrt(len(scaled))


def test_the_mean_of_equal_groups_costs_the_root_of_their_number() -> None:
    federation = grouped(guards([EMPTY] * 15, Lavish), groups=5, rule="trimmed")
    federation.__class__ = type("Even", (GroupedFederation,), {"sizes": property(lambda self: np.ones(5))})
    noise = federation.open(plan_for(WIDE, 5.0)).ask(0, WIDE).astype(np.float64)
    one = 5.0 * GRID * math.sqrt(3 / 2)
    assert deviation(noise, one * math.sqrt(5)) > Z, "a trimmed mean of five has more noise than their mean"
    assert np.std(noise) < 1.12 * one * math.sqrt(5)


def test_each_group_carries_all_the_noise_and_each_unit_is_charged_once() -> None:
    found = guards([EMPTY] * 9, Lavish)
    plan = plan_for(WIDE, 5.0)
    conversation = grouped(found).open(plan)
    for group in range(3):
        noise = conversation._conversations[group].ask(0, WIDE).astype(np.float64)
        assert np.std(noise) >= 0.99 * 5.0 * GRID
    for guard in found:
        charges = [entry for entry in guard.ledger.find("charge", guard.scope) if entry.body["plan"]["run"] == "r"]
        assert len(charges) == 1
        assert charges[0].body["cost"] == plan_cost(plan).to_dict()


def test_the_guarantee_is_that_of_the_group_that_tolerates_least() -> None:
    found = guards([PART] * 13)
    groups = [LocalFederation(part, parties=Parties.of(len(part))) for part in (found[:7], found[7:10], found[10:])]
    guarantee = GroupedFederation(groups).open(plan_for(UnitCount(), 50.0)).guarantee
    assert guarantee.trust == TrustModel.distributed(3, threshold=3, colluding=1)
    assert guarantee.unit == PrivacyUnit()
    assert 0 < guarantee.epsilon < 1


# -------------------------------------------------------------------------------------------------------- poisoned and missing


def test_one_liar_turns_the_sum_and_not_the_middle() -> None:
    parts = [Rows({"c": ["v1"] * 80 + ["v2"] * 20})] * 9
    question = CountByKey("c", ("v1", "v2"))
    found = guards(parts, Lavish)
    liar = Poisoned(parts[0], policy=found[4].policy, ledger=Lavish())
    found[4] = liar
    plain = LocalFederation(found, parties=Parties.of(9)).open(plan_for(question, 2e-3)).ask(0, question)
    assert plain[0] < 0
    conversation = grouped(found).open(plan_for(question, 2e-3, repeats=2))
    for step in range(2):
        answer = conversation.ask(step, question) / GRID
        assert answer[0] / answer[1] == pytest.approx(4, rel=0.02)
    assert [report.outlying for report in conversation.reports] == [(1,), (1,)]
    assert conversation.suspicion == (0, 1, 0)


def test_a_liar_does_not_spoil_a_model() -> None:
    train, test = table(9_000, 1), table(4_000, 2)
    parts = [Records.open(train.take(np.arange(site, 9_000, 9))) for site in range(9)]
    domain = Domain.of(a=Numeric(-6, 6), b=Category(("x", "y", "z")))
    spec = LearnSpec(("a", "b"), TargetSpec("label", classes=("0", "1")), Budget(1.0, 1e-5), domain=domain)
    sick = np.array(test["label"].to_pylist()) == "1"

    def quality(*, robust: bool) -> float:
        found = guards(parts)
        found[0] = Poisoned(parts[0], policy=found[0].policy, ledger=found[1].ledger.__class__())
        aggregator = grouped(found) if robust else LocalFederation(found, parties=Parties.of(9))
        return float(roc_auc_score(sick, fit_linear(spec, aggregator).margins(test)[:, 0]))

    assert quality(robust=False) < 0.5
    assert quality(robust=True) > 0.8


def test_groups_that_are_missing_or_refuse_are_left_out_while_enough_are_left() -> None:
    found = guards([PART] * 12)
    groups = locals_of(found[:9], groups=3)
    groups.append(LocalFederation(found[9:], parties=Parties.of(3), absent=lambda step: (0,) if step == 1 else ()))
    conversation = GroupedFederation(groups).open(plan_for(UnitCount(), 50.0, repeats=3))
    for step in range(3):
        conversation.ask(step, UnitCount())
    assert [list(report.missing) for report in conversation.reports] == [[], [3], []]
    assert conversation.reports[1].distances[3] is None
    conversation.close()
    spent = guards([PART] * 9)
    spent[0].open(plan_for(UnitCount(), 5.0, mechanism="gaussian"))
    with pytest.raises(BudgetExceeded):
        grouped(spent).open(plan_for(UnitCount(), 5.0))


def charges(found: Sequence[Guard]) -> list[int]:
    return [sum(entry.body["plan"]["run"] == "r" for entry in guard.ledger.find("charge", guard.scope)) for guard in found]


@pytest.mark.parametrize("place", [0, 4, 8])
def test_nobody_is_charged_where_too_few_groups_would_take_part(place: int) -> None:
    """All are asked first: a group that comes last and refuses does not cost those before it anything."""
    found = guards([PART] * 9)
    found[place].open(replace(plan_for(UnitCount(), 5.0, mechanism="gaussian"), run="earlier"))
    with pytest.raises(BudgetExceeded):
        grouped(found).open(plan_for(UnitCount(), 5.0))
    assert charges(found) == [0] * 9


def test_nobody_is_charged_over_the_wire_either() -> None:
    found = guards([PART] * 9)
    found[7].open(replace(plan_for(UnitCount(), 5.0, mechanism="gaussian"), run="earlier"))
    groups = [masked_of(found[first : first + 3]) for first in (0, 3, 6)]
    with pytest.raises(BudgetExceeded):
        GroupedFederation(groups).open(plan_for(UnitCount(), 5.0))
    assert charges(found) == [0] * 9


def test_a_group_that_would_refuse_is_not_charged_and_the_others_go_on() -> None:
    found = guards([PART] * 12)
    found[3].open(replace(plan_for(UnitCount(), 5.0, mechanism="gaussian"), run="earlier"))
    conversation = grouped(found, groups=4).open(plan_for(UnitCount(), 5.0))
    assert charges(found) == [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    conversation.ask(0, UnitCount())
    assert list(conversation.reports[0].missing) == [1]


class Quick(Guard):
    """A guard whose budget is gone between the question and the charge."""

    def open(self, plan: Plan, *, share: Fraction = Fraction(1)) -> Session:
        super().open(replace(plan_for(UnitCount(), 5.0), run="another"), share=share)
        return super().open(plan, share=share)


def test_groups_that_opened_stay_charged_where_another_changed_its_mind() -> None:
    """No charge is taken back: whoever has opened a plan may have been asked."""
    found = guards([PART] * 9)
    found[6:] = [Quick(PART, policy=guard.policy, ledger=MemoryBooks()) for guard in found[6:]]
    with pytest.raises(BudgetExceeded):
        grouped(found).open(plan_for(UnitCount(), 5.0))
    assert charges(found) == [1] * 6 + [0] * 3


def test_nobody_is_charged_where_policies_leave_no_room_for_the_sizes_of_groups() -> None:
    policy = Policy("s", PrivacyUnit(), Relation.ADD_REMOVE, Budget(1.0, 1e-5), limits=Limits(0), filter="single")
    found = [Guard(PART, policy=policy, ledger=MemoryBooks()) for _ in range(9)]
    with pytest.raises(UsageError, match="beside a single plan"):
        grouped(found).open(plan_for(UnitCount(), 50.0))
    assert charges(found) == [0] * 9


def test_too_few_groups_end_the_step() -> None:
    found = guards([PART] * 9)
    groups = [*locals_of(found[:6], groups=2), LocalFederation(found[6:], parties=Parties.of(3), absent=lambda step: (0,))]
    with pytest.raises(RoundAborted, match="Expected 3 groups at step 0; 2 are left"):
        GroupedFederation(groups).open(plan_for(UnitCount(), 50.0)).ask(0, UnitCount())


def masked_of(found: Sequence[Guard]) -> MaskedFederation:
    party = Party(len(found))
    named = zip(party.roster.names, found, strict=True)
    agents = {name: SiteAgent(name=name, roster=party.roster, key=party.keys[name], guard=guard) for name, guard in named}
    return MaskedFederation(party.roster, party.coordinator, LocalTransport(agents))


def test_groups_of_masked_rounds() -> None:
    question = CountByKey("c", ("v1", "v2"))
    groups = []
    for part in (guards([Rows({"c": ["v1"] * 60 + ["v2"] * 30})] * 3, Lavish) for _ in range(3)):
        groups.append(masked_of(part))
    answer = GroupedFederation(groups).open(plan_for(question, 2e-3)).ask(0, question)
    assert answer[0] / answer[1] == pytest.approx(2, rel=0.02)


# --------------------------------------------------------------------------------------------------------------- what is refused


def test_what_cannot_be_grouped_is_refused_by_name() -> None:
    found = guards([PART] * 9)
    groups = locals_of(found, groups=3)
    for wrong, message in (
        ({"groups": groups[:2]}, "at least 3 groups"),
        ({"groups": groups, "rule": "mean"}, "one of median, trimmed"),
        ({"groups": groups, "rule": "trimmed", "trim": 2}, "at least 5 groups"),
        ({"groups": groups, "rule": "trimmed", "trim": 0}, "trim=0 >= 1"),
        ({"groups": [*groups[:2], groups[0]]}, "one is in two"),
        ({"groups": [*groups[:2], LocalFederation(found[6:])]}, "at least three sites each, with masked sums"),
        ({"groups": [*groups[:2], LocalFederation(guards([PART] * 3, unit=PrivacyUnit("event")), parties=Parties.of(3))]}, "agree on unit"),
    ):
        with pytest.raises(UsageError, match=message):
            GroupedFederation(**wrong)  # type: ignore[arg-type]
    with pytest.raises(OffPlan, match="one curator"):
        GroupedFederation(groups).open(plan_for(UnitCount(), 50.0)).select(0, Select(("c",)))


def test_no_group_can_say_that_it_is_most_of_the_whole() -> None:
    parts = [Rows({"c": ["v1"] * 100})] * 6 + [Rows({"c": ["v1"] * 30_000})] * 3
    assert grouped(guards(parts)).size() < 2_000


