"""Prefixes: what some known pairs say about all other addresses under a prefix-preserving pseudonymisation.

Two addresses share as many leading bits before as after. So an address whose pseudonym shares j bits with that of a known one begins with the same j
bits, and goes on with the other bit: j + 1 bits are known (Xu, Fan, Ammar & Moon 2002, section 5; Brekne & Årnes 2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.linkage.columns import Numbers
from tacit.attacks.linkage.shares import Share
from tacit.errors import UsageError

Octets = NDArray[np.uint8]
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class PrefixesKnown:
    """What so many known pairs say about the other addresses. Owner-side: measured on records, not released.

    Args:
        pairs: known to the attacker.
        others: addresses that he learns about.
        width: bits of an address.
        claimed: bits that he believes to know, on average.
        right: leading bits that he knows rightly, on average.
        control: the same where pseudonyms were dealt out anew at random: what addresses have in common anyway.
        networks: share of addresses of which all but the last 8 bits are known (64 of IPv6); its chance is that of the control.
        whole: share of which every bit is known.
    """

    pairs: int
    others: int
    width: int
    claimed: float
    right: float
    control: float
    networks: Share
    whole: Share

    @property
    def leaks(self) -> bool:
        """Whether more is known than addresses have in common anyway."""
        return self.networks.beats_chance or self.whole.beats_chance or self.right - self.control > 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain form; no address is in it."""
        return {
            "attack": "prefixes", "pairs": self.pairs, "others": self.others, "width": self.width, "bits_claimed": self.claimed,
            "bits_right": self.right, "bits_right_if_shuffled": self.control, "networks": self.networks.to_dict(), "whole": self.whole.to_dict(),
            "leaks": self.leaks, "released": False,
        }


def attack_prefixes(originals: Octets, pseudonyms: Octets, *, pairs: int, seed: int = 0) -> PrefixesKnown:
    """Learn about addresses from known pairs.

    Args:
        originals: different addresses, uint8 ``[addresses, 4]`` or ``[addresses, 16]``.
        pseudonyms: of each of them.
        pairs: how many the attacker knows, drawn at random.
        seed: draws them, and shuffles for the control.

    Raises:
        UsageError: if both are not of one shape, or no address is left to learn about.
    """
    if originals.shape != pseudonyms.shape or originals.ndim != 2 or originals.shape[1] not in (4, 16):
        raise UsageError(f"Expected addresses of 4 or 16 bytes each, and as many pseudonyms; got {originals.shape} and {pseudonyms.shape}.")
    if not 0 < pairs < len(originals):
        raise UsageError(f"Expected between 1 and {max(len(originals) - 1, 1)} known pairs of {len(originals)}; got {pairs}.")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(originals))
    true, false = np.unpackbits(originals, axis=1), np.unpackbits(pseudonyms, axis=1)
    claimed, right = _learned(true, false, order, pairs)
    _, usual = _learned(true, false[rng.permutation(len(false))], order, pairs)
    width = true.shape[1]
    network = width - 8 if width == 32 else 64
    chances = [(float((usual >= bits).sum()) + 0.5) / (len(usual) + 1.0) for bits in (network, width)]
    return PrefixesKnown(
        pairs, len(right), width, float(claimed.mean()), float(right.mean()), float(usual.mean()),
        Share.of(right >= network, chance=chances[0]), Share.of(right >= width, chance=chances[1]),
    )  # fmt: skip


def _learned(true: Bits, false: Bits, order: Numbers, pairs: int) -> tuple[Numbers, Numbers]:
    """Of every other address: how many bits are believed known, and how many of them are right, from the first on."""
    known, others = order[:pairs], order[pairs:]
    width = true.shape[1]
    if (true[known] == false[known]).all():
        # Nothing was replaced: whoever sees that reads the others as they are.
        return np.full(len(others), width), _shared(true[others], false[others])
    best, nearest = np.full(len(others), -1, np.int64), np.zeros(len(others), np.int64)
    for pair in known:
        length = _shared(false[others], false[pair][None, :])
        closer = length > best
        best[closer], nearest[closer] = length[closer], pair
    guess = true[nearest].copy()
    open_ends = np.flatnonzero(best < width)
    guess[open_ends, best[open_ends]] ^= 1
    claimed = np.minimum(best + 1, width)
    return claimed, np.minimum(_shared(guess, true[others]), claimed)


def _shared(first: Bits, second: Bits) -> Numbers:
    """How many leading bits are the same."""
    differ = first != second
    return np.asarray(np.where(differ.any(axis=1), differ.argmax(axis=1), first.shape[1]), np.int64)
