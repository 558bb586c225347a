"""Controls: each attack where the answer is known. With names dealt out anew it must read as chance, on a log that was never treated as certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.attacks.linkage.columns import Coded, Trace
from tacit.attacks.linkage.prefixes import Octets, PrefixesKnown, attack_prefixes
from tacit.attacks.linkage.shares import Linked, Share
from tacit.attacks.linkage.uniqueness import anonymity

_NEVER = 1e-6
_CERTAIN = 0.999


@dataclass(frozen=True)
class Control:
    """One measurement whose answer is known.

    Args:
        name: of the control.
        expected: what it must read, in words.
        share: what it read.
        passed: whether it did. If not, the attack beside it is broken and says nothing.
    """

    name: str
    expected: str
    share: Share
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"name": self.name, "expected": self.expected, "passed": self.passed, **self.share.to_dict()}


def frequency_controls(
    attack: Callable[[Sequence[Any], Sequence[Any]], Linked], truth: Sequence[Any], released: Sequence[Any], *, seed: int = 0
) -> tuple[Control, Control]:
    """Of an attack as a function of (released pseudonyms, truth): names dealt out anew, and the names themselves released."""
    return _chance(attack(released, dealt_anew(truth, seed=seed)).named), _certain(attack(truth, truth).named)


def injection_controls(
    attack: Callable[[Trace, Sequence[Any]], Linked], released: Trace, truth: Sequence[Any], *, seed: int = 0
) -> tuple[Control, Control]:
    """Of an attack as a function of (released trace, truth)."""
    plain = Trace(truth, released.times, released.marks)
    return _chance(attack(released, dealt_anew(truth, seed=seed)).named), _certain(attack(plain, truth).named)


timing_controls = injection_controls
"""Of an attack as a function of (released trace, truth)."""


def prefix_controls(originals: Octets, pseudonyms: Octets, *, pairs: int, seed: int = 0) -> tuple[Control, Control]:
    """Pseudonyms dealt out anew must say no more than another such deal; addresses that were never replaced must be known in every bit."""
    rng = np.random.default_rng(seed + 1)
    found: PrefixesKnown = attack_prefixes(originals, pseudonyms[rng.permutation(len(pseudonyms))], pairs=pairs, seed=seed)
    plain = attack_prefixes(originals, originals, pairs=pairs, seed=seed).whole
    share = Share(found.whole.hits, found.whole.cases, max(found.whole.chance, 1 / len(originals)))
    return _chance(share), _certain(plain)


def uniqueness_controls(rows: int) -> tuple[Control, Control]:
    """A column that says the same of all must make nobody unique, a serial number everybody."""
    same, serial = (anonymity({"control": column}).unique for column in (["same"] * rows, list(range(rows))))
    return (
        Control("a column that is always the same", "nobody is unique", same, rows < 2 or same.value == 0),
        Control("a serial number", "everybody is unique", serial, serial.value == 1),
    )


def dealt_anew(truth: Sequence[Any], *, seed: int) -> list[Any]:
    """The same names, dealt out anew among those who have them: every link to what an attacker knows is cut."""
    coded = Coded.of(truth)
    values = [coded.values[number] for number in np.random.default_rng(seed + 7).permutation(len(coded.values))]
    return [None if code < 0 else values[code] for code in coded.codes]


def _chance(share: Share) -> Control:
    return Control("names dealt out anew at random", "no more than guessing", share, share.p_value > _NEVER)


def _certain(share: Share) -> Control:
    return Control("names that were never replaced", "everybody is linked", share, share.value >= _CERTAIN)
