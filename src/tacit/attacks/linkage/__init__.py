"""Linkage: whose are pseudonymous records? Attacks on plain columns of pseudonyms, times and numbers, each with what the attacker knows.

Owner-side: the truth is needed to score them. What they find is measured, not proved: an attacker who knows more links more.
"""

from __future__ import annotations

from tacit.attacks.linkage.columns import Trace, octets_of
from tacit.attacks.linkage.controls import Control, frequency_controls, injection_controls, prefix_controls, timing_controls, uniqueness_controls
from tacit.attacks.linkage.frequency import attack_frequency
from tacit.attacks.linkage.injection import attack_injection
from tacit.attacks.linkage.prefixes import PrefixesKnown, attack_prefixes
from tacit.attacks.linkage.records import attack_linkage
from tacit.attacks.linkage.shares import Linked, Share
from tacit.attacks.linkage.timing import attack_timing, in_order
from tacit.attacks.linkage.uniqueness import Anonymity, anonymity, points_needed, smallest_sets

__all__ = [
    "Anonymity", "Control", "Linked", "PrefixesKnown", "Share", "Trace", "anonymity", "attack_frequency", "attack_injection", "attack_linkage",
    "attack_prefixes", "attack_timing", "frequency_controls", "in_order", "injection_controls", "octets_of", "points_needed", "prefix_controls",
    "smallest_sets", "timing_controls", "uniqueness_controls",
]
