"""One masked round of simulated sites: ``python -m benchmarks.workers.sums SITES SIZE BITS DROPOUTS``. One thread; CPU seconds and bytes as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tacit.crypto import SigningKey
from tacit.federation import Roster
from tacit.federation.rounds import Address, CoordinatorRound, SiteRound, Stage
from tacit.questions.base import Sums
from tacit.randomness import SecureRandom, skellam

DEVIATIONS = {16: 200.0, 24: 2e3, 32: 2e4}  # of the sum's noise, in grid integers
Result = TypeVar("Result")


class Clock:
    """CPU seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, call: Callable[[], Result]) -> Result:
        """What a call returns; what it takes is added to a name."""
        before = time.process_time()
        result = call()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - before
        return result


class Simulation:
    """All sites of a roster in one process."""

    def __init__(self, sites: int, size: int, bits: int) -> None:
        self.keys = {f"site-{index:02d}": SigningKey.generate() for index in range(sites)}
        self.coordinator = SigningKey.generate()
        self.roster = Roster("benchmark", self.coordinator.public, {name: key.public for name, key in self.keys.items()})
        self.size, self.bits = size, bits
        self.clock = Clock()
        self.total = np.zeros(size, np.int64)
        self.up: dict[str, int] = {}
        self.down: dict[str, int] = {}

    def run(self, dropouts: int) -> tuple[Sums, CoordinatorRound]:
        """The sum, after some sites left between sharing and their vectors."""
        address = Address(self.roster.id, "run", 0)
        sites = {name: SiteRound(self.roster, name, key=key, address=address, contribute=self._answer(name)) for name, key in self.keys.items()}
        core = CoordinatorRound(self.roster, key=self.coordinator, address=address)
        timed = self.clock.time
        answers = self._ask(sites, Stage.ADVERTISE, timed("server", core.advertise))
        answers = self._ask(sites, Stage.SHARE, timed("server", lambda: core.share(answers)))
        requests = timed("server", lambda: core.masked(answers, question=b"q", bits=self.bits, size=self.size))
        gone = self.roster.names[len(self.keys) - dropouts :]
        answers = self._ask(sites, Stage.MASKED, {name: request for name, request in requests.items() if name not in gone})
        answers = self._ask(sites, Stage.AGREE, timed("server", lambda: core.agree(answers)))
        answers = self._ask(sites, Stage.UNMASK, timed("server", lambda: core.unmask(answers)))
        return timed("server", lambda: core.total(answers)), core

    def _ask(self, sites: dict[str, SiteRound], stage: Stage, requests: dict[str, bytes]) -> dict[str, bytes]:
        answers: dict[str, bytes] = {}
        for name, request in requests.items():
            answers[name] = self.clock.time(name, lambda name=name, request=request: sites[name].handle(stage, request))  # type: ignore[misc]
            self.up[name] = self.up.get(name, 0) + len(answers[name])
            self.down[name] = self.down.get(name, 0) + len(request)
        return answers

    def _answer(self, name: str) -> Callable[[bytes, int], Sums]:
        source, share = SecureRandom(), DEVIATIONS[self.bits] ** 2 / (self.roster.parties.threshold - self.roster.parties.colluding)
        vector = np.random.default_rng(len(name)).integers(-50, 50, self.size)

        def contribute(_question: bytes, size: int) -> Sums:
            noise = self.clock.time("noise", lambda: skellam(source, share, size))
            noise += vector
            self.total += noise
            return noise

        return contribute


def main(arguments: list[str]) -> int:
    sites, size, bits, dropouts = map(int, arguments)
    simulation = Simulation(sites, size, bits)
    total, core = simulation.run(dropouts)
    first = simulation.roster.names[0]
    found: dict[str, Any] = {
        "exact": bool((total == simulation.total).all()), "survivors": len(core.survivors), "server_cpu": simulation.clock.seconds["server"],
        "site_cpu": simulation.clock.seconds[first], "noise_cpu": simulation.clock.seconds["noise"] / len(core.survivors),
        "up": simulation.up[first], "down": simulation.down[first], "parties": str(simulation.roster.parties),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
