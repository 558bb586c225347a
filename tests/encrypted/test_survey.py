"""Statistics over contributors, evaluator and key holder that are apart: nothing passes between them but bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.crypto import SigningKey
from tacit.domain import Category, Domain, Numeric
from tacit.encrypted import SecretKey, Survey, Terms, statistic
from tacit.encrypted.wire import Kind, parse, prefix_of
from tacit.errors import (
    BudgetExceeded,
    MessageDamaged,
    Refused,
    Replayed,
    SignatureInvalid,
    TacitError,
    UsageError,
    WrongKey,
    WrongModel,
)
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Guard, Limits, MemoryBooks, Policy, Records, gdp_delta, mu_for
from tacit.questions import GRID, Tally

DOMAIN = Domain.of(age=Numeric(0.0, 100.0), dose=Numeric(-1.0, 1.0), ward=Category(("east", "west")))
RECORD = (PrivacyUnit(), Relation.ADD_REMOVE)
NAMES = ("north", "south", "west", "islands")


def table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.uniform(0, 100, rows)
    ward, who = rng.choice(["east", "west"], rows), np.arange(rows) // 2
    return pa.table({"age": age, "dose": age / 100 - rng.uniform(0, 1, rows), "ward": ward, "who": who})


def guard(records: pa.Table, *, epsilon: float = 10.0, unit: PrivacyUnit = RECORD[0]) -> Guard:
    policy = Policy("registry", budget=Budget(epsilon, 1e-5), limits=Limits(0), unit=unit, relation=Relation.ADD_REMOVE)
    return Guard(Records.open(records, unit=unit), policy=policy, ledger=MemoryBooks())


class Study:
    """A survey with everybody's keys, as each would hold their own."""

    def __init__(self, what: str, *, epsilon: float = 8.0, least: int = 3, colluding: int = 0, **options: Any) -> None:
        domain = options.pop("domain", DOMAIN)
        terms = Terms("doses", statistic(what, domain, **options), Budget(epsilon, 1e-5), options.pop("protected", RECORD), least, colluding)
        self.signing = {name: SigningKey.generate() for name in NAMES}
        self.evaluator = SigningKey.generate()
        made, self.key = Survey.make(terms, evaluator=self.evaluator.public, contributors={n: k.public for n, k in self.signing.items()})
        self.survey = Survey.from_bytes(made.to_bytes())
        assert self.survey.fingerprint == made.fingerprint

    def upload(self, name: str, records: pa.Table, **how: Any) -> bytes:
        return self.survey.contribute(guard(records, **how), who=name, signing=self.signing[name])

    def total(self, uploads: Any) -> bytes:
        return self.survey.total(uploads, signing=self.evaluator)


@pytest.fixture(scope="module")
def counted() -> tuple[Study, dict[str, bytes]]:
    """A survey of counts with everybody's contribution."""
    study = Study("count", epsilon=1.0)
    return study, {name: study.upload(name, table(50 + place, place)) for place, name in enumerate(NAMES)}


def test_covariances_of_three_registries_are_those_of_all_records() -> None:
    study, tables = Study("covariance"), {name: table(4_000, place) for place, name in enumerate(NAMES[:3])}
    uploads = [study.upload(name, records) for name, records in tables.items()]
    who, said = study.survey.open(study.total(uploads), key=study.key, kept=None)
    whole = pa.concat_tables(tables.values())
    age, dose, east = whole["age"].to_numpy(), whole["dose"].to_numpy(), whole["ward"].to_numpy(zero_copy_only=False) == "east"
    assert who == ("north", "south", "west")
    expected = np.cov([age, dose, east], bias=True)
    pairs = [
        (said.count, 12_000, 0.0), (said.means["age"], age.mean(), 0.01), (said.means["dose"], dose.mean(), 1e-4),
        (said.means["ward=east"], east.mean(), 0.0),
        (said.variances["age"], expected[0, 0], 0.2), (said.variances["dose"], expected[1, 1], 1e-3),
        (said.covariances["age", "dose"], expected[0, 1], 5e-3), (said.covariances["dose", "ward=east"], expected[1, 2], 1e-3),
    ]  # fmt: skip
    for found, right, rounding in pairs:
        assert found is not None
        assert abs(found.value - right) < 7 * found.error + rounding
        assert found.error < 0.1 * abs(right) + 1e-2 * (1 + abs(right)), "the test would see another number"


def test_means_and_counts_and_histograms(counted: tuple[Study, dict[str, bytes]]) -> None:
    study, uploads = counted
    _, said = study.survey.open(study.total(uploads.values()), key=study.key, kept=None)
    assert said.count is not None
    assert abs(said.count.value - 206) < 7 * said.count.error
    records = table(3_000, 7)
    mean = Study("mean", least=2)
    _, said = mean.survey.open(mean.total([mean.upload(name, records) for name in NAMES[:2]]), key=mean.key, kept=None)
    assert abs(said.means["age"].value - records["age"].to_numpy().mean()) < 7 * said.means["age"].error + 0.01
    bars = Study("histogram", least=2, bins=10)
    _, said = bars.survey.open(bars.total([bars.upload(name, records) for name in NAMES[:2]]), key=bars.key, kept=None)
    exact = 2 * np.histogram(records["age"].to_numpy(), bins=10, range=(0, 100))[0]
    assert said.histograms["age"].labels[0] == "0 to 10"
    assert np.abs(np.array(said.histograms["age"].counts) - exact).max() < 7 * said.histograms["age"].error
    assert said.histograms["age"].error < 10
    assert said.histograms["ward"].labels == ("east", "west")
    assert sum(said.histograms["ward"].counts) == pytest.approx(6_000, abs=10 * said.histograms["ward"].error)


@pytest.mark.parametrize(("sites", "colluding"), [(3, 0), (4, 0), (4, 1)])
def test_noise_of_a_sum_and_of_one_contribution_are_what_is_stated(sites: int, colluding: int) -> None:
    bins = 10_000
    study = Study("histogram", epsilon=1.0, colluding=colluding, bins=bins, domain=DOMAIN.select(["age"]))
    nobody = table(0, 0)
    uploads = [study.upload(name, nobody, epsilon=2.0) for name in NAMES[:sites]]
    _, said = study.survey.open(study.total(uploads), key=study.key, kept=None)
    full = GRID / mu_for(Budget(1.0, 1e-5))
    room = 6.5 * math.sqrt(2 / bins)
    assert room < 0.0975, "noise that is 5 % short would be seen"
    assert said.histograms["age"].error * GRID == pytest.approx(full * math.sqrt(sites / (3 - colluding)), rel=1e-9)
    assert abs(np.var(np.array(said.histograms["age"].counts) * GRID) / (full**2 * sites / (3 - colluding)) - 1) < room
    alone = opened_alone(study, uploads[0])
    assert abs(np.var(alone) / (full**2 / (3 - colluding)) - 1) < room


def opened_alone(study: Study, upload: bytes) -> Any:
    """What evaluator and key holder read together."""
    plan = study.survey.sums
    words = np.frombuffer(parse(upload, Kind.CONTRIBUTION).body, "<u8").reshape(plan.polynomials, 2, -1, plan.parameters.degree)
    return np.concatenate([study.key.decrypt(one) for one in words])[: plan.size]


def test_epsilon_of_one_contribution_is_stated_beside_that_of_the_sum() -> None:
    study = Study("count", epsilon=1.0, least=4, colluding=1)
    survey = study.survey
    assert survey.guarantee.epsilon == pytest.approx(1.0, rel=0.02)
    assert (survey.guarantee.trust.threshold, survey.guarantee.trust.colluding) == (4, 1)
    mu = mu_for(Budget(1.0, 1e-5)) * math.sqrt(3)
    assert gdp_delta(mu, survey.alone.epsilon) <= 1e-5
    assert gdp_delta(mu, survey.alone.epsilon / 1.1) > 1e-6
    assert f"{survey.alone.epsilon:.4g}" in survey.explain()
    assert "together read every contribution" in survey.explain()


def test_what_an_evaluator_refuses(counted: tuple[Study, dict[str, bytes]]) -> None:
    study, uploads = counted
    north, south, west = (uploads[name] for name in NAMES[:3])
    with pytest.raises(Replayed, match="counts once"):
        study.total([north, south, north])
    again = study.upload("north", table(50, 0))
    with pytest.raises(Replayed, match="counts once"):
        study.total([north, south, again])
    with pytest.raises(Refused, match="at least 3"):
        study.total([north, south])
    with pytest.raises(MessageDamaged):
        study.total([north, south, west[:-1]])
    for place in (-1, -100):
        changed = bytearray(west)
        changed[place] ^= 1
        with pytest.raises(SignatureInvalid):
            study.total([north, south, bytes(changed)])
    found = parse(west, Kind.CONTRIBUTION)
    renamed = prefix_of(Kind.CONTRIBUTION, {**found.header, "who": "islands"}, len(found.body)) + bytes(found.body) + found.seal
    with pytest.raises(SignatureInvalid):
        study.total([north, south, renamed])
    other = Study("count", epsilon=1.0)
    with pytest.raises(WrongModel, match="another sum"):
        study.total([north, south, other.upload("west", table(5, 0))])
    with pytest.raises(WrongKey, match="another evaluator"):
        study.survey.total([north, south, west], signing=study.signing["north"])


def test_what_a_key_holder_refuses(counted: tuple[Study, dict[str, bytes]], tmp_path: Path) -> None:
    study, uploads = counted
    three, four = study.total([uploads[name] for name in NAMES[:3]]), study.total(uploads.values())
    kept = tmp_path / "opened"

    def opened(total: bytes, key: SecretKey = study.key) -> Any:
        return study.survey.open(total, key=key, kept=kept)

    found = parse(three, Kind.TOTAL)
    for who in (["north", "south"], ["north", "north", "south", "south"], list(NAMES)):
        told = prefix_of(Kind.TOTAL, {**found.header, "who": who}, len(found.body)) + bytes(found.body) + found.seal
        with pytest.raises(SignatureInvalid):
            opened(told)
    with pytest.raises(WrongKey):
        opened(three, SecretKey.generate(study.survey.sums.parameters))
    with pytest.raises(MessageDamaged):
        opened(three[:-1])
    with pytest.raises(MessageDamaged, match="«total»"):
        opened(uploads["north"])
    assert not kept.exists(), "nothing that was refused counts as opened"
    first = opened(three)
    assert kept.stat().st_mode & 0o077 == 0
    assert opened(three) == first, "the same sum says nothing new"
    with pytest.raises(Replayed, match="give a contributor away"):
        opened(four)


def test_a_sum_of_few_is_not_opened_though_the_evaluator_signs_it(counted: tuple[Study, dict[str, bytes]]) -> None:
    """An evaluator that breaks its own rule, and one that counts a contributor twice."""
    study, uploads = counted
    from tacit.encrypted import Evaluator, SumPlan

    plan = study.survey.sums
    adding = Evaluator(plan, key=study.key.public, contributors={n: k.public for n, k in study.signing.items()}, signing=study.evaluator)
    adding.add(uploads["north"])
    for names in (["north"], ["north"] * 3):
        adding._added = names
        loose = SumPlan(plan.name, plan.size, plan.bound, plan.contributors, 2)
        object.__setattr__(loose, "least", 1)
        loose.__dict__["id"] = plan.id
        adding.plan = loose
        with pytest.raises(Refused, match="at least 3"):
            study.survey.open(adding.total(), key=study.key, kept=None)


def test_a_contributor_is_charged_once_and_only_as_the_survey_knows_them() -> None:
    study, records = Study("count", epsilon=1.0), table(40, 0)
    mine = guard(records, epsilon=1.2)
    for who, signing in (("north", study.signing["south"]), ("nobody", study.signing["north"])):
        with pytest.raises(WrongKey):
            study.survey.contribute(mine, who=who, signing=signing)
    assert not mine.ledger.costs(mine.scope)
    study.survey.contribute(mine, who="north", signing=study.signing["north"])
    charged = [entry for entry in mine.ledger.find("charge", mine.scope) if entry.body["plan_digest"] == study.survey.plan.digest]
    assert len(charged) == 1
    with pytest.raises(BudgetExceeded):
        study.survey.contribute(mine, who="north", signing=study.signing["north"])


def test_units_with_several_rows_are_clipped_as_one() -> None:
    unit, records = PrivacyUnit("patient", "who"), table(4_000, 0)
    for what in ("count", "mean", "histogram"):
        questions = statistic(what, DOMAIN, rows=2)
        terms = Terms("doses", questions, Budget(8.0, 1e-5), (unit, Relation.ADD_REMOVE), 2)
        keys = {name: SigningKey.generate() for name in NAMES[:2]}
        evaluator = SigningKey.generate()
        survey, key = Survey.make(terms, evaluator=evaluator.public, contributors={n: k.public for n, k in keys.items()})
        uploads = [survey.contribute(guard(records, unit=unit), who=name, signing=own) for name, own in keys.items()]
        _, said = survey.open(survey.total(uploads, signing=evaluator), key=key, kept=None)
        if what == "count":
            assert said.count is not None
            assert abs(said.count.value - 4_000) < 7 * said.count.error
        elif what == "mean":
            assert abs(said.means["age"].value - records["age"].to_numpy().mean()) < 7 * said.means["age"].error + 0.05
        else:
            assert sum(said.histograms["age"].counts) == pytest.approx(8_000, abs=7 * said.histograms["age"].error * math.sqrt(20))
    with pytest.raises(UsageError, match="as one"):
        Terms("doses", statistic("mean", DOMAIN), Budget(1.0, 1e-5), (unit, Relation.ADD_REMOVE), 2)


def test_surveys_that_cannot_be() -> None:
    questions = statistic("count", DOMAIN)
    for least, colluding in ((1, 0), (3, 2), (3, -1), (65, 0)):
        with pytest.raises(UsageError, match="honest"):
            Terms("s", questions, Budget(1.0, 1e-5), RECORD, least, colluding)
    for name, asked in ((" ", questions), ("s", ())):
        with pytest.raises(UsageError):
            Terms(name, asked, Budget(1.0, 1e-5), RECORD, 3)
    with pytest.raises(UsageError, match="one of"):
        statistic("median", DOMAIN)
    with pytest.raises(UsageError, match="contributors"):
        Survey.make(Terms("s", questions, Budget(1.0, 1e-5), RECORD, 3), evaluator=SigningKey.generate().public, contributors={})


@settings(max_examples=60, deadline=None)
@given(begin=st.integers(0, 1_500), middle=st.binary(max_size=30), cut=st.integers(0, 40))
def test_the_survey_parser_raises_nothing_but_our_own_errors(
    counted: tuple[Study, dict[str, bytes]], begin: int, middle: bytes, cut: int
) -> None:
    message = counted[0].survey.to_bytes()
    try:
        Survey.from_bytes(message[:begin] + middle + message[begin + cut :])
    except TacitError as error:
        assert len(str(error)) < 400  # noqa: PT017


def test_a_survey_that_was_changed_has_another_fingerprint(counted: tuple[Study, dict[str, bytes]]) -> None:
    survey = counted[0].survey
    found = parse(survey.to_bytes(), Kind.SURVEY)
    terms = {**found.header["terms"], "epsilon": 0.5}
    changed = prefix_of(Kind.SURVEY, {**found.header, "terms": terms}, len(found.body)) + bytes(found.body)
    assert Survey.from_bytes(changed).fingerprint != survey.fingerprint
    other = Survey(survey.terms, SecretKey.generate(survey.key.parameters).public, survey.evaluator, survey.contributors)
    assert other.fingerprint != survey.fingerprint
    assert isinstance(statistic("histogram", DOMAIN)[0], Tally)
