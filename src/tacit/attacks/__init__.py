"""Privacy attacks. Owner-side: they need records, and what they measure is not released."""

from __future__ import annotations

from tacit.attacks.attribute import AttributeOutcome, attack_attribute
from tacit.attacks.bounds import LowerBound, lower_bounds
from tacit.attacks.canaries import CanaryAudit, audit_canaries, audit_loop, audit_runs, exposure
from tacit.attacks.controls import ControlResult, planted_control
from tacit.attacks.defending import DefenceRow, DefenceTable, compare_defences
from tacit.attacks.extraction import Thief, attack_extraction
from tacit.attacks.findings import SEVERITIES, Finding, at_least
from tacit.attacks.fusion import Fusion, attack_membership, fit_fusion, fusion_features
from tacit.attacks.gradients import Update, attack_gradients, labels_in, linear_leak, match_gradients, noised_update, summed, update_of
from tacit.attacks.inversion import InversionOutcome, Inverter, attack_inversion
from tacit.attacks.judging import AttackResult, RateAt, beats, evaluate, exact_interval, implied_bound
from tacit.attacks.linkage import attack_linkage
from tacit.attacks.membership import SHADOWED, Moments, confidence, lira, relative, shrunk_lira
from tacit.attacks.outcome import Outcome
from tacit.attacks.perceptrons import NetworkRecipe, Networks, train_networks
from tacit.attacks.properties import attack_property
from tacit.attacks.report import AttackReport, Described, GroupRisk
from tacit.attacks.running import AttackSettings, attack
from tacit.attacks.sample import Sample
from tacit.attacks.shadows import Pool, batched_linear_shadows, batched_shadows, by_unit, paired_membership, sequential_shadows
from tacit.attacks.signals import log_odds
from tacit.attacks.structure import attack_structure
from tacit.attacks.synthetic import attack_synthetic
from tacit.attacks.targets import ACCESS, Target, as_target
from tacit.attacks.trainers import CloneTrainer, FunctionTrainer, ModuleTrainer, NetworksTrainer, Trainer
from tacit.attacks.unlearning import Forgetting, check_unlearning

__all__ = [
    "ACCESS", "SEVERITIES", "SHADOWED", "AttackReport", "AttackResult", "AttackSettings", "AttributeOutcome", "CanaryAudit", "CloneTrainer",
    "ControlResult", "DefenceRow", "DefenceTable", "Described", "Finding", "Forgetting", "FunctionTrainer", "Fusion", "GroupRisk",
    "InversionOutcome", "Inverter", "LowerBound", "ModuleTrainer", "Moments", "NetworkRecipe", "Networks", "NetworksTrainer", "Outcome", "Pool",
    "RateAt", "Sample", "Target", "Thief", "Trainer", "Update", "as_target", "at_least", "attack", "attack_attribute", "attack_extraction",
    "attack_gradients", "attack_inversion", "attack_linkage", "attack_membership", "attack_property", "attack_structure", "attack_synthetic",
    "audit_canaries", "audit_loop", "audit_runs", "batched_linear_shadows", "batched_shadows", "beats", "by_unit", "check_unlearning",
    "compare_defences", "confidence", "evaluate", "exact_interval", "exposure", "fit_fusion", "fusion_features", "implied_bound", "labels_in",
    "linear_leak", "lira", "log_odds", "lower_bounds", "match_gradients", "noised_update", "paired_membership", "planted_control", "relative",
    "sequential_shadows", "shrunk_lira", "summed", "train_networks", "update_of",
]
