"""Privacy attacks. Owner-side: they need records, and what they measure is not released."""

from __future__ import annotations

from tacit.attacks.membership import AttackResult, RateAt, attack_membership, confidence, evaluate, exact_interval, implied_bound, lira, relative
from tacit.attacks.shadows import batched_shadows, log_odds, paired_membership, sequential_shadows

__all__ = [
    "AttackResult", "RateAt", "attack_membership", "batched_shadows", "confidence", "evaluate", "exact_interval", "implied_bound", "lira", "log_odds",
    "paired_membership", "relative", "sequential_shadows",
]
