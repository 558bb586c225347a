"""Rosters and sites for tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from tacit.crypto import SigningKey
from tacit.federation import Roster
from tacit.federation.rounds import Address, CoordinatorRound, SiteRound, Stage
from tacit.questions.base import Sums


class Party:
    """A roster with all its private keys, which only a test has in one place."""

    def __init__(self, sites: int) -> None:
        self.keys = {f"site-{index:02d}": SigningKey.generate() for index in range(1, sites + 1)}
        self.coordinator = SigningKey.generate()
        roster = Roster("test", self.coordinator.public, {name: key.public for name, key in self.keys.items()})
        for name, key in {**self.keys, "coordinator": self.coordinator}.items():
            roster = roster.signed_by(name, key)
        self.roster = roster

    def address(self, number: int = 0, *, run: str = "run") -> Address:
        return Address(self.roster.id, run, number)

    def sites(self, vectors: Mapping[str, Sums], *, number: int = 0) -> dict[str, SiteRound]:
        return {
            name: SiteRound(self.roster, name, key=self.keys[name], address=self.address(number), contribute=answering(vector))
            for name, vector in vectors.items()
        }

    def round(self, number: int = 0) -> CoordinatorRound:
        return CoordinatorRound(self.roster, key=self.coordinator, address=self.address(number))


def answering(vector: Sums) -> Callable[[bytes, int], Sums]:
    def contribute(question: bytes, size: int) -> Sums:
        assert question
        assert size == len(vector)
        return vector

    return contribute


def numbers(names: Collection[str], *, size: int, seed: int, bits: int = 32) -> dict[str, Sums]:
    rng = np.random.default_rng(seed)
    most = 2 ** (bits - 1) // len(names) - 1
    return {name: rng.integers(-most, most, size, endpoint=True).astype(np.int64) for name in names}


def asked(sites: Mapping[str, SiteRound], stage: Stage, requests: Mapping[str, bytes], *, absent: Collection[str] = ()) -> dict[str, bytes]:
    return {name: sites[name].handle(stage, request) for name, request in requests.items() if name not in absent}


def run_round(
    coordinator: CoordinatorRound, sites: Mapping[str, SiteRound], *, absent: Mapping[Stage, Collection[str]], size: int, bits: int = 32,
) -> Sums:
    """A whole round, in which some sites are absent from a stage on."""
    gone: set[str] = set()

    def ask(stage: Stage, requests: Mapping[str, bytes]) -> dict[str, bytes]:
        gone.update(absent.get(stage, ()))
        return asked(sites, stage, requests, absent=gone)

    answers = ask(Stage.ADVERTISE, coordinator.advertise())
    answers = ask(Stage.SHARE, coordinator.share(answers))
    answers = ask(Stage.MASKED, coordinator.masked(answers, question=b"q", bits=bits, size=size))
    answers = ask(Stage.AGREE, coordinator.agree(answers))
    return coordinator.total(ask(Stage.UNMASK, coordinator.unmask(answers)))
