"""A coordinator that is killed after any call, and goes on."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.domain import Category, Domain, Numeric
from tacit.errors import StorageError, UsageError
from tacit.federation import JournaledTransport, MaskedFederation
from tacit.federation.transports import Missing
from tacit.guarantee import Budget
from tacit.guard import Guard, MemoryBooks, Records
from tacit.learn import BoostingShape, LearnSpec, TargetSpec, fit_boosted

from .test_local import policy, table
from .test_masked import Line, federation

DOMAIN = Domain.of(a=Numeric(-6, 6), b=Category(("x", "y", "z")))
SPEC = LearnSpec(("a", "b"), TargetSpec("label", classes=("0", "1")), Budget(3.0, 1e-5), domain=DOMAIN, run="study-7")
SHAPE = BoostingShape(trees=2, depth=1)


class Killed(Exception):
    """What a kill looks like from inside."""


class Mortal:
    """Dies in its n-th call, before or after the sites have had it."""

    def __init__(self, line: Line, *, dies: int, after: bool) -> None:
        self._line, self._left, self._after = line, dies, after
        self.sites = line.sites
        self.calls = 0

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        self.calls += 1
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        replies = self._line.call(stage, messages, timeout=timeout)
        if self._left == 0:
            raise Killed
        return replies

    def close(self) -> None:
        """Nothing to close."""


def _guards() -> list[Guard]:
    data = table(900, 1)
    parts = [Records.open(data.take(np.arange(site, 900, 3))) for site in range(3)]
    return [Guard(part, policy=policy(site, Budget(3.0, 1e-5)), ledger=MemoryBooks()) for site, part in enumerate(parts)]


def _fit(masked: MaskedFederation, transport: Any) -> Any:
    again = MaskedFederation(masked.roster, masked.sites.key, transport, run="study-7")
    return fit_boosted(SPEC, again, SHAPE)


def _calls() -> int:
    masked, line, _ = federation(_guards())
    _fit(masked, line)
    return len(line.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before the sites had it", "after"])
def test_a_coordinator_that_is_killed_in_any_call_goes_on_and_nothing_is_charged_or_answered_twice(tmp_path: Path, after: bool) -> None:
    for dies in range(1 + after, _calls() + 1, 4):
        found = _guards()
        masked, line, _ = federation(found)
        path = tmp_path / f"{dies}.journal"
        with pytest.raises(Killed):
            _fit(masked, JournaledTransport(Mortal(line, dies=dies, after=after), path))
        model = _fit(masked, JournaledTransport(line, path))
        assert model.guarantee.holds
        assert [len(guard.ledger.find("charge", guard.scope)) for guard in found] == [2, 2, 2], "one count and one plan each"
        replayed = _fit(masked, JournaledTransport(Mortal(line, dies=1, after=False), path))
        np.testing.assert_array_equal(replayed.predict_proba(table(50, 2)), model.predict_proba(table(50, 2)))


def test_a_journal_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    masked, line, _ = federation(_guards())
    path = tmp_path / "run.journal"
    _fit(masked, JournaledTransport(line, path))
    before = path.read_bytes()
    other = MaskedFederation(masked.roster, masked.sites.key, JournaledTransport(line, path), run="another")
    with pytest.raises(UsageError, match="journal of another run"):
        other.size()
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StorageError, match="Cannot use the journal"):
        JournaledTransport(Line({}), path)
    with pytest.raises(StorageError, match="Cannot use the journal"):
        JournaledTransport(Line({}), tmp_path / "nowhere" / "journal")
