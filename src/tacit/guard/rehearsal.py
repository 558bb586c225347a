"""How answers are given, rehearsed on made-up records before a plan is charged: the same session, noise and clipping, and a hostile unit.

The training of networks has a rehearsal of its own, in `tacit.networks.rehearsal`; this one covers everything that is asked as a question.
"""

from __future__ import annotations

import time
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from tacit.domain import Category, Domain, Numeric
from tacit.guarantee import PrivacyUnit, Relation
from tacit.guard.plan import Plan, PlanStep
from tacit.guard.records import Records
from tacit.guard.selftest import SelfTest, noise_tests, two_sided_mean
from tacit.guard.session import Session
from tacit.questions import GRID, Histogram, SessionCache
from tacit.randomness import SecureRandom

_ROUNDS, _ROWS, _MULTIPLIER, _SITES = 24, 48, 3.0, 4
Drawn = NDArray[np.float64]
_UNIT = PrivacyUnit("unit", column="who")
_DOMAIN = Domain.of(amount=Numeric(-10.0, 10.0), kind=Category(("a", "b", "c")))


@lru_cache(maxsize=16)
def rehearse_answers(mechanism: str, relation: Relation) -> SelfTest:
    """Test noise and bounds of answers, once per process, mechanism and relation; a few hundredths of a second.

    Raises:
        VerificationError: if answers are not what a plan promises.
    """
    started = time.perf_counter()
    question = Histogram(_DOMAIN, clip=2 * GRID)
    bounds = question.bounds(relation)
    quiet, hostile = _records(hostile=False), _records(hostile=True)
    exact = question.evaluate(quiet, SessionCache())
    scale = _MULTIPLIER * (bounds.l1 if mechanism == "laplace" else bounds.l2)
    drawn = _scores((_asked(question, quiet, mechanism, relation) - exact) / scale, mechanism)
    found = noise_tests(drawn, layers=question.sizes)
    answers = _scores((_asked(question, hostile, mechanism, relation) - question.evaluate(hostile, SessionCache())) / scale, mechanism)
    moved = question.evaluate(hostile, SessionCache()) - exact
    length, largest, touched = float(np.linalg.norm(moved)), int(np.abs(moved).max()), int((moved != 0).sum())
    found |= {
        "the sum is what was asked": two_sided_mean(answers), "a hostile unit: length": float(length <= bounds.l2),
        "a hostile unit: largest": float(largest <= bounds.linf), "a hostile unit: cells": float(touched <= bounds.l0),
        "a hostile unit: seen": float(length > bounds.l2 / relation.factor / 4),
    }
    return SelfTest({name: float(p) for name, p in found.items()}, time.perf_counter() - started).require()


def _scores(drawn: Drawn, mechanism: str) -> Drawn:
    """Noise of scale 1 as standard normal numbers, if it is what it should be: Laplace noise through its own distribution function."""
    return np.asarray(-np.sign(drawn) * ndtri_exp(-np.abs(drawn) - np.log(2))) if mechanism == "laplace" else drawn


def _records(*, hostile: bool) -> Records:
    """Six units with eight rows each; and one with hundreds that lie at every end there is."""
    rng = np.random.default_rng(5)
    amounts, kinds = rng.normal(size=_ROWS).tolist(), rng.choice(["a", "b", "c"], _ROWS).tolist()
    who = [row // 8 for row in range(_ROWS)]
    if hostile:
        ends = [1e308, -1e308, np.inf, -np.inf, np.nan, 0.0, 10.0, -10.0]
        amounts, kinds, who = amounts + ends * 40, kinds + ["a", "z", "", "b"] * 80, who + [99] * 320
    table = pa.table({"amount": pa.array(amounts, pa.float64()), "kind": kinds, "who": who})
    return Records.open(table, unit=_UNIT)


def _asked(question: Histogram, records: Records, mechanism: str, relation: Relation) -> Drawn:
    """Answers of a session, as many sites together where they share the noise: ``[rounds, cells]``."""
    bounds = question.bounds(relation)
    step = PlanStep(question.kind, _ROUNDS, _MULTIPLIER, question.size, l0=bounds.l0, l2=bounds.l2)
    plan = Plan("a rehearsal that nothing is charged for", _UNIT, relation, (step,), mechanism=mechanism, run="rehearsal")
    sites = _SITES if mechanism == "skellam" else 1
    sessions = [Session(plan, records, source=SecureRandom(), share=Fraction(1, sites)) for _ in range(sites)]
    exact = question.evaluate(records, SessionCache())
    answers = [[session.answer(number, question) for session in sessions] for number in range(_ROUNDS)]
    return np.asarray(np.sum(answers, axis=1, dtype=np.float64) - (sites - 1) * exact)
