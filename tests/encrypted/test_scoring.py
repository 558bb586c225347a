from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.domain import Domain, Numeric
from tacit.encrypted import Client, EncryptionKey, Encryptors, SecretKey, Settings, SquareNetwork, compile
from tacit.encrypted import compiling as compiling
from tacit.encrypted.library import ring
from tacit.encrypted.plan import PACKINGS, PLANS
from tacit.encrypted.quantise import quantise
from tacit.encrypted.wire import Kind, parse
from tacit.errors import DecisionsDiffer, MessageDamaged, UsageError
from tacit.guarantee import Budget
from tacit.learn import AdditiveClassifier, AnomalyDetector, BoostedTreesClassifier, BoostedTreesRegressor, NetworkClassifier
from tacit.questions import Target

from .conftest import Parties, Patients, parties_for

EVERY = list(itertools.product(PLANS, PACKINGS))


@pytest.mark.parametrize(("plan", "packing"), EVERY)
def test_linear_scores(linear: Any, patients: Patients, plan: str, packing: str) -> None:
    compiled = compile(linear, patients.test, settings=Settings(plan, packing), labels=patients.y_test)
    rows = 200 if packing == "batch" else 3
    found = Parties(compiled).score(patients.some(rows))
    assert np.array_equal(found, compiled.simulate(patients.some(rows)))
    assert np.abs(found - linear.margins(patients.some(rows))).max() <= compiled.agreement.stated
    assert np.array_equal(compiled.public.answers(found), linear.predict(patients.some(rows)))
    assert compiled.agreement.accuracy[0] == compiled.agreement.accuracy[1] > 0.85


@pytest.mark.parametrize("plan", PLANS)
def test_trees_one_record_at_a_time_are_exact_on_every_test_record(trees: Any, patients: Patients, plan: str) -> None:
    compiled = compile(trees, patients.test, settings=Settings(plan, "single"), labels=patients.y_test)
    assert compiled.agreement.largest == compiled.agreement.stated == 0
    assert np.array_equal(compiled.simulate(patients.test), trees.margins(patients.test))
    assert np.array_equal(Parties(compiled).score(patients.some(3)), trees.margins(patients.some(3)))


def test_trees_in_batches_are_exact(patients: Patients) -> None:
    estimator = BoostedTreesClassifier(budget=Budget(8, 1e-5), domain=patients.domain, classes=[0, 1], trees=6, depth=4)
    model = estimator.fit(patients.train, patients.y_train).model_
    compiled = compile(model, patients.test)
    assert np.array_equal(Parties(compiled).score(patients.test), model.margins(patients.test))


def test_two_blocks_and_a_part(patients: Patients, linear: Any) -> None:
    compiled = compile(linear, patients.test)
    rows = 2 * compiled.plan.parameters.degree + 5
    assert np.array_equal(Parties(compiled).score(patients.some(rows)), compiled.simulate(patients.some(rows)))


def test_coarser_cells_state_what_they_lose(trees: Any, patients: Patients) -> None:
    compiled = compile(trees, patients.test, settings=Settings(packing="single", coarser=4))
    assert 0 < compiled.agreement.largest <= compiled.agreement.stated
    assert compiled.plan.parameters.plain_bits < compile(trees, patients.test, settings=Settings(packing="single")).plan.parameters.plain_bits


def test_additive_regression_multiclass_and_anomalies(patients: Patients) -> None:
    budget = Budget(8, 1e-5)
    additive = AdditiveClassifier(budget=budget, domain=patients.domain, classes=["x", "y", "z"])
    labels = np.array(["x", "y", "z"])[(np.arange(len(patients.y_train)) + patients.y_train) % 3]
    number = BoostedTreesRegressor(budget=budget, domain=patients.domain, bounds=(0.0, 1.0))
    unusual = AnomalyDetector(budget=budget, domain=patients.domain)
    models = [additive.fit(patients.train, labels).model_, number.fit(patients.train, patients.y_train.astype(float)).model_,
              unusual.fit(patients.train).model_]
    for model in models:
        compiled = compile(model, patients.test, settings=Settings(packing="single"))
        margins = Parties(compiled).score(patients.some(2))
        assert np.array_equal(margins, model.margins(patients.some(2)))
        assert np.array_equal(compiled.public.answers(model.margins(patients.test)), model.predict(patients.test))


def test_a_network_of_squares() -> None:
    rng = np.random.default_rng(5)
    domain = Domain.of(**{f"x{place}": Numeric(-1.0, 1.0) for place in range(6)})
    layers = (rng.normal(size=(16, 6)), rng.normal(size=16)), (rng.normal(size=(1, 16)), rng.normal(size=1))
    model = SquareNetwork.of(Target("y", ("no", "yes")), domain, first=layers[0], second=layers[1])
    x = rng.uniform(-1, 1, (500, 6))
    for packing in PACKINGS:
        compiled = compile(model, x, settings=Settings(packing=packing))
        found = Parties(compiled).score(x[:4])
        assert np.array_equal(found, compiled.simulate(x[:4]))
        assert np.abs(found - model.margins(x[:4])).max() <= compiled.agreement.stated


def test_a_server_of_squares_gets_a_public_key_and_requests_and_no_evaluation_keys() -> None:
    rng = np.random.default_rng(6)
    domain = Domain.of(**{f"x{place}": Numeric(-1.0, 1.0) for place in range(3)})
    first, second = (rng.normal(size=(8, 3)), rng.normal(size=8)), (rng.normal(size=(1, 8)), rng.normal(size=1))
    x = rng.uniform(-1, 1, (20, 3))
    compiled = compile(SquareNetwork.of(Target("y", ("no", "yes")), domain, first=first, second=second), x)
    parameters = compiled.plan.parameters
    key, scorer = SecretKey.generate(parameters), compiled.scorer()
    client, sent = Client(compiled.public, key), key.public.to_bytes()
    pair = 16 * parameters.degree * len(ring(parameters).key_moduli)  # two polynomials of 64-bit words: one sample of ring-LWE
    assert pair < len(sent) < pair + 1_000
    for longer in (sent + bytes(pair), sent[:-8]):
        with pytest.raises(MessageDamaged):
            EncryptionKey.from_bytes(longer)
    scorer.admit(EncryptionKey.from_bytes(sent))
    request = client.request(x)
    assert parse(request, Kind.REQUEST).kind is Kind.REQUEST
    assert np.array_equal(client.open(scorer.score(request)), compiled.simulate(x))


def test_what_cannot_be_compiled(linear: Any, patients: Patients) -> None:
    with pytest.raises(UsageError, match="additive or linear"):
        quantise(object())
    with pytest.raises(UsageError, match="weight_bits"):
        compile(linear, patients.test, settings=Settings(weight_bits=60))
    with pytest.raises(UsageError, match="at least one record"):
        compile(linear, patients.some(0))
    assert NetworkClassifier


def test_compile_refuses_a_model_that_decides_otherwise(linear: Any, patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = quantise(linear)
    wrong = type(honest)(honest.columns, honest.weights + 60, honest.bias, honest.unit, honest.error)
    monkeypatch.setattr(compiling, "quantise", lambda *_, **__: wrong)
    with pytest.raises(DecisionsDiffer, match="margins within"):
        compile(linear, patients.test)


def test_compile_refuses_wrong_arithmetic(linear: Any, patients: Patients, monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.encrypted.scorer import EncryptedScorer

    sent = EncryptedScorer._sent
    monkeypatch.setattr(EncryptedScorer, "_sent", lambda self, score, kept, key: sent(self, score ^ np.uint64(1 << 40), kept, key))
    with pytest.raises(DecisionsDiffer, match="same integers"):
        compile(linear, patients.test)


def test_few_bits_flip_only_what_the_stated_error_allows(linear: Any, patients: Patients) -> None:
    compiled = compile(linear, patients.test, settings=Settings(weight_bits=3), labels=patients.y_test)
    assert compiled.agreement.largest <= compiled.agreement.stated
    assert "decisions differ" in str(compiled.agreement)


def test_decrypted_scores_say_nothing_of_the_noise(linear: Any, patients: Patients) -> None:
    """IND-CPA-D: an approximate scheme would give different numbers each time, from which the key can be computed; exact scores are equal."""
    parties = Parties(compile(linear, patients.test, settings=Settings(packing="single")))
    first, second = parties.score(patients.some(2)), parties.score(patients.some(2))
    assert np.array_equal(first, second)
    assert np.array_equal(first * parties.compiled.public.unit, np.rint(first * parties.compiled.public.unit))


def test_a_server_that_is_told_what_its_answer_decrypts_to_reads_the_key(linear: Any, patients: Patients) -> None:
    """Why answers are authenticated, and decrypted scores are never told to the server: docs/decisions/0020-encrypted.md."""
    from tacit.encrypted.words import lifted

    key = SecretKey.generate(compile(linear, patients.test).plan.parameters)
    made = ring(key.parameters)
    crafted = np.zeros((2, len(made.moduli), key.parameters.degree), np.uint64)
    crafted[1, :, 0] = lifted(1, key.parameters.plain, made.moduli)
    told = key.decrypt(crafted)
    assert set(told.tolist()) == {-1, 0, 1}
    assert abs(float((told == 0).mean()) - 1 / 3) < 0.1, "a ternary secret"


@pytest.mark.parametrize("plan", PLANS)
def test_the_key_holder_divides_the_weights_out_of_an_answer_unless_it_is_hidden(plan: str) -> None:
    """One column: the answer's second polynomial is the weight times the request's, until an encryption of zero is added."""
    secret = 1234
    client, scorer, _ = parties_for(np.array([[secret]]), np.array([0]), plan, "batch")
    seen: list[Any] = []
    honest = client._encrypt
    client._encrypt = lambda values: seen.append(honest(values)) or seen[-1]  # type: ignore[func-returns-value,method-assign]
    answer = scorer.score(client.request(np.array([[0.5]])))
    made = ring(scorer.public.plan.parameters)
    degree, primes = scorer.public.plan.parameters.degree, scorer.public.plan.answer_primes
    from tacit.encrypted.wire import Kind, parse

    sent = np.frombuffer(parse(answer, Kind.ANSWER).body, "<u8")[-primes * degree :].reshape(primes, degree)
    modulus = made.moduli[0]
    asked = seen[0][0, 1, 0] if len(made.moduli) == primes else None
    if asked is None:  # a prime was dropped: compare with what the request's polynomial becomes
        whole = made.evaluator.mod_switch_to_next(made.cipher(seen[0][0]))
        asked = made.words(whole)[1, 0]
    guesses = {int(a) * pow(int(b), -1, modulus) % modulus for a, b in zip(sent[0, :50], asked[:50], strict=True)}
    assert (guesses == {secret}) is (plan == "throughput")


def test_trees_on_intrusions(data_directory: Path) -> None:
    pl = pytest.importorskip("polars")
    benchmarks = pytest.importorskip("benchmarks.datasets")
    try:
        split = benchmarks.CASES["nsl_kdd"].load(0)
    except benchmarks.MissingData as error:
        pytest.skip(str(error))
    domain = Domain.from_toml(split.domain_toml) if hasattr(Domain, "from_toml") else None
    rows = np.random.default_rng(0).choice(len(split.y_train), 8_000, replace=False)
    model = BoostedTreesClassifier(budget=Budget(1, 1e-5), domain=domain, classes=[0, 1]).fit(split.train[rows], split.y_train[rows]).model_
    test = split.test.head(5_000)
    compiled = compile(model, test, settings=Settings("private-model", "single"))
    assert compiled.agreement.flips == 0
    assert np.array_equal(compiled.simulate(test), model.margins(test))
    assert isinstance(test, pl.DataFrame)


def test_encryption_in_other_processes(linear: Any, patients: Patients) -> None:
    compiled = compile(linear, patients.test)
    key = SecretKey.generate(compiled.plan.parameters)
    scorer = compiled.scorer()
    scorer.admit(key.public)
    with Encryptors(key.public, processes=2) as pool:
        client = Client(compiled.public, key, pool=pool)
        assert np.array_equal(client.open(scorer.score(client.request(patients.some(100)))), compiled.simulate(patients.some(100)))
        with pytest.raises(UsageError, match="pool"):
            Client(compiled.public, SecretKey.generate(compiled.plan.parameters), pool=pool)
