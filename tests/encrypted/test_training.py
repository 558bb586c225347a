"""A network of squares is trained privately, compiled, and scored under encryption: the same decisions from end to end."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from tacit.encrypted import SQUARES, Client, SecretKey, Settings, compile, fit_squares
from tacit.errors import UsageError
from tacit.guarantee import Budget, PrivacyUnit, Relation
from tacit.guard import Curator, Guard, Limits, MemoryBooks, Policy, Records
from tacit.learn import LearnSpec, NetworkShape, TargetSpec

from .conftest import Patients

pytest.importorskip("torch", reason="needs the extra «torch»")
BUDGET = Budget(8.0, 1e-5)


def curator(patients: Patients) -> Curator:
    table = pa.table({**patients.train, "ill": patients.y_train})
    policy = Policy("patients", budget=BUDGET, limits=Limits(0), unit=PrivacyUnit(), relation=Relation.ADD_REMOVE, filter="single")
    return Curator(Guard(Records.open(table), policy=policy, ledger=MemoryBooks()))


def spec(patients: Patients, **changed: object) -> LearnSpec:
    how = {"target": TargetSpec("ill", classes=("0", "1")), "domain": patients.domain} | changed
    return LearnSpec(patients.domain.names, how["target"], BUDGET, domain=how["domain"])  # type: ignore[arg-type]


def test_a_network_of_squares_from_training_to_an_encrypted_score(patients: Patients) -> None:
    asked = curator(patients)
    model = fit_squares(spec(patients), asked)
    assert model.guarantee.holds
    assert model.guarantee.epsilon <= 8.0
    assert len(asked.guard.ledger.find("charge", asked.guard.scope)) == 1
    truth = np.array(patients.y_test).astype(str)
    assert (model.answers(model.margins(patients.test)) == truth).mean() > 0.85, "most are not ill or not well by chance: 63 %"
    compiled = compile(model, patients.test, settings=Settings(weight_bits=14), labels=patients.y_test)
    key, scorer = SecretKey.generate(compiled.plan.parameters), compiled.scorer()
    scorer.admit(key.public)
    client = Client(compiled.public, key)
    margins = client.open(scorer.score(client.request(patients.test)))
    assert np.array_equal(margins, compiled.simulate(patients.test))
    assert np.array_equal(compiled.public.answers(margins), model.answers(model.margins(patients.test)))


def test_what_cannot_be_trained(patients: Patients) -> None:
    asked = curator(patients)
    with pytest.raises(UsageError, match="one hidden layer"):
        fit_squares(spec(patients), asked, NetworkShape(hidden=(8, 8)))
    with pytest.raises(UsageError, match="declared"):
        fit_squares(spec(patients, target=TargetSpec("ill")), asked)
    with pytest.raises(UsageError, match="declared"):
        fit_squares(spec(patients, domain=patients.domain.without(patients.domain.names[0])), asked)
    assert not asked.guard.ledger.find("charge", asked.guard.scope)
    assert len(SQUARES.hidden) == 1
    assert math.isfinite(SQUARES.clip)
