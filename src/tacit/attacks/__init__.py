"""Privacy attacks. Owner-side: they need records, and what they measure is not released."""

from __future__ import annotations

from tacit.attacks.controls import planted_control
from tacit.attacks.membership import (
    AttackResult,
    RateAt,
    attack_membership,
    beats,
    confidence,
    evaluate,
    exact_interval,
    implied_bound,
    lira,
    relative,
)
from tacit.attacks.shadows import Pool, batched_linear_shadows, batched_shadows, by_unit, log_odds, paired_membership, sequential_shadows
from tacit.attacks.synthetic import attack_synthetic

__all__ = [
    "AttackResult", "Pool", "RateAt", "attack_membership", "attack_synthetic", "batched_linear_shadows", "batched_shadows", "beats", "by_unit",
    "confidence", "evaluate", "exact_interval", "implied_bound", "lira", "log_odds", "paired_membership", "planted_control", "relative",
    "sequential_shadows",
]
