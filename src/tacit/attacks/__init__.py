"""Privacy attacks. Owner-side: they need records, and what they measure is not released."""

from __future__ import annotations

from tacit.attacks.controls import ControlResult, planted_control
from tacit.attacks.findings import SEVERITIES, Finding, at_least
from tacit.attacks.fusion import Fusion, fit_fusion, fusion_features
from tacit.attacks.judging import AttackResult, RateAt, beats, evaluate, exact_interval, implied_bound
from tacit.attacks.membership import SHADOWED, Moments, attack_membership, confidence, lira, relative, shrunk_lira
from tacit.attacks.perceptrons import NetworkRecipe, Networks, train_networks
from tacit.attacks.report import AttackReport, Described, GroupRisk
from tacit.attacks.running import AttackSettings, attack
from tacit.attacks.sample import Sample
from tacit.attacks.shadows import Pool, batched_linear_shadows, batched_shadows, by_unit, log_odds, paired_membership, sequential_shadows
from tacit.attacks.synthetic import attack_synthetic
from tacit.attacks.targets import ACCESS, Target, as_target
from tacit.attacks.trainers import CloneTrainer, FunctionTrainer, ModuleTrainer, NetworksTrainer, Trainer

__all__ = [
    "ACCESS", "SEVERITIES", "SHADOWED", "AttackReport", "AttackResult", "AttackSettings", "CloneTrainer", "ControlResult", "Described", "Finding",
    "FunctionTrainer", "Fusion", "GroupRisk", "ModuleTrainer", "Moments", "NetworkRecipe", "Networks", "NetworksTrainer", "Pool", "RateAt",
    "Sample", "Target", "Trainer", "as_target", "at_least", "attack", "attack_membership", "attack_synthetic", "batched_linear_shadows",
    "batched_shadows", "beats", "by_unit", "confidence", "evaluate", "exact_interval", "fit_fusion", "fusion_features", "implied_bound", "lira",
    "log_odds", "paired_membership", "planted_control", "relative", "sequential_shadows", "shrunk_lira", "train_networks",
]
