"""What a curious coordinator sees together with c sites on its side: everything both hold of a round. No more than the plan's noise allows.

The coalition takes off every mask it can compute, and its own noise. What is left of the honest sites is one vector: their noised sum. On that the
best way to tell two inputs apart is the likelihood ratio (Neyman & Pearson 1933); Skellam noise is log-concave, so it is a threshold. Each of many
bins is one trial with one patient more or less: coordinates have independent noise, and no patient is in two bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray
from scipy.stats import beta, chisquare

from tacit.errors import RoundAborted, UsageError
from tacit.federation import LocalFederation, Parties
from tacit.federation.rounds import Stage
from tacit.federation.rounds.masks import add_masks, centred, reduced
from tacit.federation.rounds.pairs import pair_mask, self_mask
from tacit.federation.rounds.site import read_adverts
from tacit.guarantee import Budget, TrustModel
from tacit.guard import Guard, Plan, gdp_delta, mu_for
from tacit.questions import GRID, SessionCache, TimeCounts, UnitCount
from tacit.questions.base import Sums

from .parties import Party, asked
from .test_local import PART, Lavish, Rows, Z, charges, deviation, guards, plan_for

LEVEL = 5e-10  # each of two rates is bounded at this; together 1e-9
TRIALS = 400_000
QUESTION = TimeCounts("t", 0, 1, TRIALS)
CLAIM = Budget(1.0, 0.1)
"""Nobody would promise this δ; with it, so many trials see noise that is a quarter short."""
NOISE = 1 / mu_for(CLAIM)
SIGMA = NOISE * GRID
WITH, WITHOUT, OTHER = Rows({"t": list(range(TRIALS))}), Rows({"t": [-1]}), Rows({"t": [0, 1, TRIALS - 1, None, 7]})
TABLE = [Parties.of(sites) for sites in (3, 4, 5, 7, 10)]
BITS = 32


def opened(part: Any, parties: Parties) -> list[Guard]:
    """One honest site about which the coalition wonders, the first; the others hold what it may as well know."""
    return guards([part, *[OTHER] * (parties.sites - 1)], Lavish)


def answers_of(part: Any, parties: Parties, *, share: Fraction) -> list[Sums]:
    """What each site would put under its masks; a share of zero is no noise at all."""
    if not share:
        return [QUESTION.evaluate(one, SessionCache()) for one in (part, *[OTHER] * (parties.sites - 1))]
    plan = plan_for(QUESTION, NOISE)
    return [guard.open(plan, share=share).answer(0, QUESTION) for guard in opened(part, parties)]


def honest_sum(part: Any, parties: Parties, *, share: Fraction, missing: int, colluding: int) -> NDArray[np.float64]:
    """What is left to a coalition that knows its own noise: of those that answer, the last are on its side."""
    answering = answers_of(part, parties, share=share)[: parties.sites - missing]
    return np.sum(answering[: len(answering) - colluding], axis=0).astype(np.float64)


def breach(inside: NDArray[np.float64], outside: NDArray[np.float64], *, variance: float) -> float:
    """How far P(S | one more) − e^ε P(S) certainly exceeds the claimed δ, for the best set S at the claimed ε; positive contradicts the claim.

    S is every sum above the point where the likelihood ratio of Gaussian noise of ``variance`` is e^ε; at noise so much wider than the grid it is
    Skellam's own to many digits, and any other set would give a bound as valid.
    """
    point = outside.mean() + GRID / 2 + CLAIM.epsilon * variance / GRID
    hits, trials = [int((sums > point).sum()) for sums in (inside, outside)], len(inside)
    low = float(beta.ppf(LEVEL, hits[0], trials - hits[0] + 1)) if hits[0] else 0.0
    high = float(beta.ppf(1 - LEVEL, hits[1] + 1, trials - hits[1])) if hits[1] < trials else 1.0
    return low - math.exp(CLAIM.epsilon) * high - CLAIM.delta


def distinguish(parties: Parties, *, share: Fraction, missing: int, colluding: int) -> float:
    """`breach` of the view of a coalition in its best case."""
    inside, outside = (honest_sum(part, parties, share=share, missing=missing, colluding=colluding) for part in (WITH, WITHOUT))
    left = parties.sites - missing - colluding
    return breach(inside, outside, variance=max(float(left * share), 1e-9) * SIGMA**2)


# ------------------------------------------------------------------------------------------------------- the noise that is left


@pytest.mark.parametrize("parties", TABLE, ids=str)
def test_what_colluders_see_is_within_the_claim_whoever_is_missing(parties: Parties) -> None:
    for missing in {0, parties.dropouts}:
        assert distinguish(parties, share=parties.share, missing=missing, colluding=parties.colluding) <= 0


@pytest.mark.parametrize("parties", TABLE, ids=str)
def test_the_distinguisher_succeeds_without_the_noise(parties: Parties) -> None:
    assert distinguish(parties, share=Fraction(0), missing=parties.dropouts, colluding=parties.colluding) > 0.89


@pytest.mark.parametrize("parties", TABLE, ids=str)
def test_the_distinguisher_succeeds_where_colluders_are_forgotten(parties: Parties) -> None:
    """A share of 1/t would do if nobody knew its own noise."""
    assert distinguish(parties, share=Fraction(1, parties.threshold), missing=parties.dropouts, colluding=parties.colluding) > 0


def test_the_distinguisher_succeeds_with_one_colluder_more() -> None:
    parties = Parties.of(4)
    assert distinguish(parties, share=parties.share, missing=parties.dropouts, colluding=parties.colluding + 1) > 0


@pytest.mark.parametrize("parties", TABLE, ids=str)
def test_exactly_the_planned_noise_is_left_in_the_worst_case(parties: Parties) -> None:
    left = honest_sum(WITHOUT, parties, share=parties.share, missing=parties.dropouts, colluding=parties.colluding)
    assert abs(deviation(left - left.mean(), SIGMA)) < Z
    assert abs(deviation((left - left.mean()) * 1.05, SIGMA)) > Z
    assert abs(deviation((left - left.mean()) * 0.95, SIGMA)) > Z


def test_the_claim_is_the_accountants_and_as_tight_as_it_can_be() -> None:
    """So a quarter less noise breaks it: otherwise the tests above would show nothing."""
    assert 0.8 * CLAIM.delta < gdp_delta(1 / NOISE, CLAIM.epsilon) < CLAIM.delta
    assert gdp_delta(math.sqrt(4 / 3) / NOISE, CLAIM.epsilon) > 1.2 * CLAIM.delta


# --------------------------------------------------------------------------------------------------- the view of a masked round


@dataclass
class View:
    """What coordinator and colluders hold at the end of a round, with all masks off that they can compute."""

    stripped: dict[str, NDArray[Any]]
    total: Sums
    own: Sums

    @property
    def honest(self) -> Sums:
        """The honest sites' noised sum: total less what the colluders put in."""
        return self.total - self.own


def rounds_view(party: Party, vectors: dict[str, Sums], *, colluding: Collection[str], absent: Collection[str], extra: Collection[str] = ()) -> View:
    """Run a round, at whose masked stage some are absent, and look from the coalition's side.

    ``extra``: honest sites whose masking keys have leaked as well.
    """
    coordinator, sites = party.round(), party.sites(vectors)
    known = {name: sites[name]._live().masking for name in (*colluding, *extra)}
    answers = asked(sites, Stage.ADVERTISE, coordinator.advertise())
    answers = asked(sites, Stage.SHARE, coordinator.share(answers))
    size = len(next(iter(vectors.values())))
    answers = asked(sites, Stage.MASKED, coordinator.masked(answers, question=b"q", bits=BITS, size=size), absent=absent)
    answers = asked(sites, Stage.AGREE, coordinator.agree(answers), absent=absent)
    answers = asked(sites, Stage.UNMASK, coordinator.unmask(answers), absent=absent)
    shares = coordinator._shares(coordinator._read(answers, Stage.UNMASK, coordinator.survivors))
    public = read_adverts(coordinator._adverts, roster=party.roster, address=coordinator.address)
    secret = {name: coordinator._combined(shares[name]) for name in vectors}
    known |= {name: X25519PrivateKey.from_private_bytes(secret[name]) for name in absent}
    stripped = {}
    for site in set(coordinator.survivors) - set(colluding):
        vector = coordinator._vectors[site].copy()
        masks = [(self_mask(secret[site], bound_to=coordinator._advertised), False)]
        masks += [
            (pair_mask(private, public[site][0], bound_to=coordinator._advertised), site > other)
            for other, private in known.items() if other != site and site not in extra
        ]
        masks += [
            (pair_mask(known[site], public[other][0], bound_to=coordinator._advertised), site > other) for other in vectors
            if site in extra and other != site
        ]
        add_masks(vector, masks, BITS)
        stripped[site] = vector
    return View(stripped, coordinator.total(answers), np.sum([vectors[name] for name in colluding], axis=0))


def noised(party: Party, part: Any) -> dict[str, Sums]:
    parties = party.roster.parties
    return dict(zip(party.roster.names, answers_of(part, parties, share=parties.share), strict=True))


def uniform(residues: NDArray[Any]) -> bool:
    """Whether every byte of these residues is as uniform as chance has it, at p <= 1e-9 in all."""
    found = np.ascontiguousarray(residues.astype("<u4")).view(np.uint8).reshape(-1, 4)
    return all(chisquare(np.bincount(column, minlength=256)).pvalue > 1e-9 / 4 for column in found.T)


def coalitions(parties: Parties, names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Colluders, and who is absent: the honest site in question is the first and stays."""
    for absent in ((), names[1 : 1 + parties.dropouts]):
        left = [name for name in names[1:] if name not in absent]
        for colluding in list(combinations(left, parties.colluding))[:3]:
            yield colluding, tuple(absent)


@pytest.mark.parametrize("sites", [3, 4, 5])
def test_beyond_the_sum_the_view_is_uniform(sites: int) -> None:
    """All honest vectors but one are uniform together: of what sums say, there is one. So the view is made from the sum, colluders' own and coins."""
    party = Party(sites)
    vectors = noised(party, WITH)
    for colluding, absent in coalitions(party.roster.parties, party.roster.names):
        view = rounds_view(party, vectors, colluding=colluding, absent=absent)
        honest = set(vectors) - set(colluding) - set(absent)
        assert view.stripped.keys() == honest
        assert view.honest.tolist() == np.sum([vectors[name] for name in honest], axis=0).tolist()
        rest = sum(view.stripped.values())
        assert centred(rest.astype(np.uint32), BITS).tolist() == view.honest.tolist(), "the masks that are left cancel"
        for some in combinations(sorted(honest), len(honest) - 1):
            assert uniform(sum(view.stripped[name] for name in some))
            assert all(uniform(view.stripped[name] - reduced(vectors[name], BITS)) for name in some), "not even against the truth"


def test_a_leaked_key_of_an_honest_site_is_seen_by_the_same_test() -> None:
    party = Party(4)
    vectors = noised(party, WITH)
    first, *_, last = party.roster.names
    view = rounds_view(party, vectors, colluding=(last,), absent=(), extra=(first,))
    assert not uniform(view.stripped[first])
    assert centred(view.stripped[first], BITS).tolist() == vectors[first].tolist()


@pytest.mark.parametrize("sites", [3, 4, 5])
def test_two_inputs_are_told_apart_from_the_view_no_better_than_claimed(sites: int) -> None:
    party = Party(sites)
    parties, names = party.roster.parties, party.roster.names
    colluding, absent = names[len(names) - parties.colluding :], names[1 : 1 + parties.dropouts]
    sums = [rounds_view(party, noised(party, part), colluding=colluding, absent=absent).honest for part in (WITH, WITHOUT)]
    inside, outside = (values.astype(np.float64) for values in sums)
    assert breach(inside, outside, variance=SIGMA**2) <= 0
    quiet = dict(zip(names, answers_of(WITH, parties, share=Fraction(0)), strict=True))
    none = dict(zip(names, answers_of(WITHOUT, parties, share=Fraction(0)), strict=True))
    bare = [rounds_view(party, vectors, colluding=colluding, absent=absent).honest.astype(np.float64) for vectors in (quiet, none)]
    assert breach(*bare, variance=1e-9) > 0.89


# --------------------------------------------------------------------------------------------------- the same noise, in one process


def simulated(part: Any, parties: Parties, absent: Callable[[int], Collection[int]] | None = None) -> Any:
    given = {} if absent is None else {"absent": absent}
    return LocalFederation(opened(part, parties), parties=parties, **given).open(plan_for(QUESTION, NOISE, repeats=3))


@pytest.mark.parametrize("parties", TABLE, ids=str)
def test_a_local_federation_simulates_the_noise_of_masked_rounds(parties: Parties) -> None:
    conversation = simulated(WITHOUT, parties, lambda step: range(parties.dropouts) if step == 1 else ())
    for step, sites in ((0, parties.sites), (1, parties.threshold)):
        noise = conversation.ask(step, QUESTION).astype(np.float64)
        sigma = SIGMA * math.sqrt(sites * parties.share)
        assert abs(deviation(noise, sigma)) < Z
        assert abs(deviation(noise * 1.05, sigma)) > Z
    assert conversation.guarantee.trust == TrustModel.distributed(parties.sites, threshold=parties.threshold, colluding=parties.colluding)


def test_too_few_sites_end_the_step_and_stay_charged() -> None:
    found = guards([PART] * 4)
    conversation = LocalFederation(found, parties=Parties.of(4), absent=lambda step: (0, 3) if step else (2,)).open(count_plan())
    assert conversation.ask(0, UnitCount()).shape == (1,)
    with pytest.raises(RoundAborted, match="Expected 3 sites at step 1; 2 are left"):
        conversation.ask(1, UnitCount())
    assert charges(found) == [1, 1, 1, 1]


def count_plan() -> Plan:
    return plan_for(UnitCount(), 50.0, repeats=2)


def test_parties_fit_the_guards() -> None:
    with pytest.raises(UsageError, match="as many guards"):
        LocalFederation(guards([PART] * 4), parties=Parties.of(5))
    with pytest.raises(UsageError, match="parties beside absent"):
        LocalFederation(guards([PART] * 4), absent=lambda step: ())
    assert LocalFederation(guards([PART] * 4)).share == Fraction(1, 4)
    assert LocalFederation(guards([PART] * 4), parties=Parties.of(4)).share == Fraction(1, 2)


