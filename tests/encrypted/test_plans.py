from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.crypto import SealingKey
from tacit.domain import Domain, Numeric
from tacit.encrypted import Parameters, SecretKey, SquareNetwork
from tacit.encrypted.library import library, ring
from tacit.encrypted.parameters import RINGS, tail
from tacit.encrypted.plan import PACKINGS, PLANS, Plan, choose
from tacit.encrypted.scorer import EncryptedScorer
from tacit.errors import PlanImpossible, UsageError
from tacit.questions import Target
from tacit.questions.linear import DESIGN_UNIT

from .conftest import parties_for


@pytest.mark.parametrize(("name", "packing"), list(itertools.product(PLANS, PACKINGS)))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from([1, 1 << 4, 1 << 9, 1 << 13]), columns=st.integers(1, 12), outputs=st.sampled_from([1, 3]), seed=st.integers(0, 2**32))
def test_every_plan_gives_the_integers_at_its_edges(name: str, packing: str, size: int, columns: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-size, size + 1, (outputs, columns))
    weights[:, 0] = 1  # an output without weights is refused
    weights[0] = size  # the record of all ones then has the largest score there can be, and its negative the smallest
    bias = np.array([size * 3] + [-size] * (outputs - 1))
    client, scorer, plan = parties_for(weights, bias, name, packing)
    x = rng.uniform(-1, 1, (3, columns))
    x[0], x[1] = 1.0, -1.0
    found = client.open_integers(scorer.score(client.request(x)))
    expected = np.rint(x * DESIGN_UNIT).astype(np.int64) @ weights.T + bias
    assert np.array_equal(found, expected)
    assert int(np.abs(expected).max()) == size * columns * DESIGN_UNIT + size * 3 < plan.parameters.plain // 2


@pytest.mark.parametrize(("degree", "bits"), RINGS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_proven_bound_holds_for_the_noise_that_the_library_makes(degree: int, bits: tuple[int, ...], symmetric: bool) -> None:
    parameters = Parameters(degree, bits, 10)
    made, key = ring(parameters), SecretKey.generate(parameters)
    words = (key if symmetric else key.public).encrypt(np.zeros((4, degree), np.int64))
    decryptor = library().Decryptor(made.context, key._secret)
    whole = sum(modulus.bit_length() for modulus in made.moduli)
    for one in words:
        noise_bits = whole - 1 - parameters.plain_bits - decryptor.invariant_noise_budget(made.cipher(one))
        bound = np.log2(tail(parameters.fresh_deviation(symmetric=symmetric, product=False)) + 1)
        assert noise_bits <= bound + 1, "the library's noise is larger than what plans are proved for"
        assert noise_bits >= bound - 6, "the bound is of another kind of noise"


def test_insecure_parameters_cannot_be_built() -> None:
    for degree, bits in ((2048, (55,)), (4096, (55, 55)), (1024, (27,)), (8192, (60, 60, 60, 60))):
        with pytest.raises(PlanImpossible, match="security"):
            Parameters(degree, bits, 16)


def test_scores_too_wide_for_any_ring_cannot_be_planned() -> None:
    with pytest.raises(PlanImpossible, match="weight_bits"):
        choose(np.array([[1 << 25]]), 1 << 60, name="throughput", packing="batch")
    with pytest.raises(PlanImpossible, match="2\\^26"):
        choose(np.array([[1 << 26]]), 1 << 26, name="throughput", packing="batch")
    with pytest.raises(PlanImpossible, match="same score"):
        choose(np.array([[1], [0]]), 1, name="throughput", packing="single")
    with pytest.raises(UsageError, match="packing"):
        choose(np.array([[1]]), 1, name="throughput", packing="cube")


def test_a_plan_says_what_it_is() -> None:
    text = choose(np.array([[1000] * 30]), 30_000 * DESIGN_UNIT, name="throughput", packing="batch").explain()
    assert "128 bits of security" in text
    assert "480 bytes up" in text
    assert "not hidden" in text
    private = choose(np.array([[1000] * 30]), 30_000 * DESIGN_UNIT, name="private-model", packing="single")
    assert f"2^{private.flood_bits}" in private.explain()
    assert Plan.from_dict(private.to_dict()) == private


def test_there_is_no_way_to_a_plan_with_noise_beyond_its_room() -> None:
    """Sweep sizes: whatever is emitted has room to spare, and a cheaper ring is not passed over for a dearer one without need."""
    for bits, count, name, packing in itertools.product(range(1, 20, 3), (1, 100, 3000), PLANS, PACKINGS):
        weights = np.full((1, count), 1 << bits)
        try:
            plan = choose(weights, int(weights.sum()), name=name, packing=packing)
        except PlanImpossible:
            assert weights.sum() >= 1 << 26
            continue
        assert plan.spare_bits >= 0
        assert plan.private == (plan.flood_bits > 0)


def test_fallback_to_the_librarys_products_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, bias = np.array([[3, -70, 0, 9]]), np.array([11])
    for packing in PACKINGS:
        client, scorer, plan = parties_for(weights, bias, "throughput", packing)
        x = np.random.default_rng(3).uniform(-1, 1, (2, 4))
        direct = client.open_integers(scorer.score(client.request(x)))
        with monkeypatch.context() as patch:
            patch.setattr(ring(plan.parameters), "raw", False)
            slow = client.open_integers(scorer.score(client.request(x)))
        assert np.array_equal(direct, slow)
    client, scorer, plan = parties_for(weights, bias, "private-model", "single")
    with monkeypatch.context() as patch:
        patch.setattr(ring(plan.parameters), "raw", False)
        with pytest.raises(PlanImpossible, match="taken apart"):
            EncryptedScorer(scorer.public, weights, bias, sealing=SealingKey.generate())


def test_the_self_check_finds_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.encrypted import library as door
    from tacit.encrypted.selfcheck import check

    made = door.Ring(Parameters(2048, (54,), 12))
    check(made)
    assert made.raw
    straight = door.Ring.words
    monkeypatch.setattr(door.Ring, "words", lambda self, cipher: straight(self, cipher)[:, :, ::-1])
    original = door.Ring.cipher
    monkeypatch.setattr(door.Ring, "cipher", lambda self, words: original(self, words[:, :, ::-1]))
    check(made)
    assert made.raw, "a permutation of coefficients changes nothing for sums"
    monkeypatch.setattr(door.Ring, "words", lambda self, cipher: straight(self, cipher) ^ np.uint64(1))
    monkeypatch.setattr(door.Ring, "cipher", lambda self, words: original(self, words ^ np.uint64(1)))
    check(made)
    assert made.raw, "noise of one unit is noise"
    monkeypatch.setattr(door.Ring, "words", lambda self, cipher: straight(self, cipher) ^ np.uint64(1 << 50))
    monkeypatch.setattr(door.Ring, "cipher", lambda self, words: original(self, words ^ np.uint64(1 << 50)))
    check(made)
    assert not made.raw
    monkeypatch.setattr(door.Ring, "cipher", original)
    with pytest.raises(PlanImpossible, match="another way"):
        check(made)


def test_square_networks_are_their_quadratic_form() -> None:
    rng = np.random.default_rng(0)
    domain = Domain.of(a=Numeric(-1.0, 1.0), b=Numeric(-1.0, 1.0), c=Numeric(-1.0, 1.0))
    layers = (rng.normal(size=(8, 3)), rng.normal(size=8)), (rng.normal(size=(1, 8)), np.zeros(1))
    network = SquareNetwork.of(Target("y", ("n", "p")), domain, first=layers[0], second=layers[1])
    quadratic, linear, constant = network.form
    x = np.rint(rng.uniform(-1, 1, (50, 3)) * DESIGN_UNIT) / DESIGN_UNIT
    expected = np.einsum("ri,oij,rj->ro", x, quadratic, x) + x @ linear.T + constant
    assert np.allclose(network.margins(x), expected)
