"""The owner's side: the only room whose answers about records may leave the owner."""

from __future__ import annotations

from tacit.guard.accounting import MOST_SITES, Cost, gdp_delta, gdp_epsilon, gdp_mu, mu_for, plan_cost, plan_event, skellam_variance
from tacit.guard.aggregate import Aggregator, Conversation, Curator, CuratorConversation, answer_with, charge_of, stated
from tacit.guard.books import MemoryBooks
from tacit.guard.calibration import least_noise
from tacit.guard.correlation import Correlation
from tacit.guard.filters import Filter, Spent
from tacit.guard.guard import Books, Guard
from tacit.guard.ledger import Ledger
from tacit.guard.ledger_entry import Entry
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.policy import Limits, Policy
from tacit.guard.records import Records
from tacit.guard.rehearsal import rehearse_answers
from tacit.guard.sampler import FULL, Sampler
from tacit.guard.selftest import SelfTest, StepClaim, self_test
from tacit.guard.session import Session
from tacit.guard.several import SeveralGuards

__all__ = [
    "Aggregator", "Books", "Conversation", "Correlation", "Cost", "Curator", "CuratorConversation", "Entry", "FULL", "Filter", "Guard", "Ledger",
    "Limits", "MOST_SITES", "MemoryBooks", "Plan", "PlanStep", "Policy", "Records", "Sampler", "SelfTest", "Session", "SeveralGuards", "Spent",
    "StepClaim",
    "answer_with", "charge_of", "gdp_delta", "gdp_epsilon", "gdp_mu", "least_noise", "mu_for", "plan_cost", "plan_event", "rehearse_answers",
    "self_test", "skellam_variance", "stated",
]
