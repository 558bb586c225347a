"""Masked rounds: the sum is exact whoever drops out where, and a coordinator that cheats is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import RoundAborted
from tacit.federation.rounds import BITS, Stage
from tacit.federation.table import Parties

from .parties import Party, asked, numbers, run_round

STAGES = tuple(Stage)


def _expected(vectors: dict[str, np.ndarray], absent: dict[Stage, list[str]]) -> np.ndarray:
    """Everybody who was there until the masked stage is in the sum, whoever leaves later."""
    early = {name for stage in (Stage.ADVERTISE, Stage.SHARE, Stage.MASKED) for name in absent.get(stage, ())}
    return np.sum([vector for name, vector in vectors.items() if name not in early], axis=0)


@pytest.mark.parametrize("sites", [3, 4, 5])
def test_every_permitted_subset_of_dropouts_at_every_stage_gives_the_exact_sum(sites: int) -> None:
    party, size = Party(sites), 3
    vectors = numbers(party.roster.names, size=size, seed=sites)
    for number, (stages, gone) in enumerate(_dropouts(party.roster.names, Parties.of(sites).dropouts)):
        absent: dict[Stage, list[str]] = {}
        for stage, name in zip(stages, gone, strict=True):
            absent.setdefault(stage, []).append(name)
        coordinator = party.round(number)
        total = run_round(coordinator, party.sites(vectors, number=number), absent=absent, size=size)
        np.testing.assert_array_equal(total, _expected(vectors, absent))
        assert set(gone) <= set(coordinator.missing)


def _dropouts(names: tuple[str, ...], most: int) -> list[tuple[tuple[Stage, ...], tuple[str, ...]]]:
    return [
        (stages, gone)
        for count in range(most + 1) for gone in itertools.combinations(names, count) for stages in itertools.product(STAGES, repeat=count)
    ]


_PARTIES = {sites: Party(sites) for sites in range(6, 13)}


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sites=st.integers(6, 12), bits=st.sampled_from(BITS))
def test_any_permitted_dropouts_among_up_to_twelve_sites_give_the_exact_sum(data: st.DataObject, sites: int, bits: int) -> None:
    party = _PARTIES[sites]
    gone = data.draw(st.lists(st.sampled_from(party.roster.names), max_size=Parties.of(sites).dropouts, unique=True))
    absent: dict[Stage, list[str]] = {}
    for name in gone:
        absent.setdefault(data.draw(st.sampled_from(STAGES)), []).append(name)
    vectors = numbers(party.roster.names, size=5, seed=sites, bits=bits)
    total = run_round(party.round(), party.sites(vectors), absent=absent, size=5, bits=bits)
    np.testing.assert_array_equal(total, _expected(vectors, absent))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("sites", [3, 4, 7])
def test_one_site_too_few_at_any_stage_releases_nothing(sites: int, stage: Stage) -> None:
    party = Party(sites)
    vectors = numbers(party.roster.names, size=4, seed=1)
    gone = list(party.roster.names)[: Parties.of(sites).dropouts + 1]
    with pytest.raises(RoundAborted, match=f"ended at stage {stage.name}"):
        run_round(party.round(), party.sites(vectors), absent={stage: gone}, size=4)


def test_sums_beyond_one_chunk_of_keystream_are_exact() -> None:
    party = Party(3)
    size = (1 << 16) * 2 + 17
    for bits in BITS:
        vectors = numbers(party.roster.names, size=size, seed=bits, bits=bits)
        total = run_round(party.round(), party.sites(vectors), absent={}, size=size, bits=bits)
        np.testing.assert_array_equal(total, np.sum(list(vectors.values()), axis=0))


def test_a_sum_out_of_range_wraps_around() -> None:
    party = Party(3)
    vectors = {name: np.array([1 << 14], np.int64) for name in party.roster.names}
    total = run_round(party.round(), party.sites(vectors), absent={}, size=1, bits=16)
    assert total[0] == 3 * (1 << 14) - (1 << 16)


def test_what_a_site_sends_looks_uniform_and_never_repeats() -> None:
    party, size = Party(3), 4096
    vectors = {name: np.zeros(size, np.int64) for name in party.roster.names}
    sent = []
    for number in range(2):
        coordinator, sites = party.round(number), party.sites(vectors, number=number)
        answers = asked(sites, Stage.SHARE, coordinator.share(asked(sites, Stage.ADVERTISE, coordinator.advertise())))
        answers = asked(sites, Stage.MASKED, coordinator.masked(answers, question=b"q", bits=32, size=size))
        coordinator.agree(answers)
        sent += [vector.copy() for vector in coordinator._vectors.values()]
    for one, other in itertools.combinations(sent, 2):
        assert np.sum(one == other) <= 3
    ones = sum(int(np.unpackbits(vector.view(np.uint8)).sum()) for vector in sent)
    bits = len(sent) * size * 32
    assert abs(ones - bits / 2) < 6.2 * np.sqrt(bits) / 2


def test_a_site_whose_shares_were_changed_does_not_stop_a_round_that_can_do_without_it() -> None:
    party = Party(4)
    vectors = numbers(party.roster.names, size=4, seed=1)
    coordinator, sites = party.round(), party.sites(vectors)
    liar = party.roster.names[0]
    for peer in sites[liar]._peers.values():
        peer.shares = None
    answers = asked(sites, Stage.SHARE, coordinator.share(asked(sites, Stage.ADVERTISE, coordinator.advertise())))
    answers = asked(sites, Stage.MASKED, coordinator.masked(answers, question=b"q", bits=32, size=4))
    answers = asked(sites, Stage.AGREE, coordinator.agree(answers))
    for peer in sites[liar]._peers.values():
        assert peer.shares is not None
        peer.shares = tuple(type(s)(s.set_id, s.threshold, s.index, bytes(64)) for s in peer.shares)
    total = coordinator.total(asked(sites, Stage.UNMASK, coordinator.unmask(answers)))
    np.testing.assert_array_equal(total, np.sum(list(vectors.values()), axis=0))
