"""The anomaly model: an artefact like the others, whose answers are ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.crypto import SigningKey
from tacit.errors import UsageError
from tacit.models import AnomalyModel, load, to_onnx

from .conftest import additive, awkward

EDGES, BELOW = np.array([-4_000, 0, 1_000, 9_000], np.int32), np.array([0.1, 0.5, 0.5, 0.995])


def anomaly(**changes: Any) -> AnomalyModel:
    plain = additive("binary")
    parts = {"edges": EDGES, "below": BELOW, **changes}
    return AnomalyModel(plain.frame, plain.updates, plain.guarantee, plain.provenance, **parts)


def test_a_rank_is_the_share_below_the_last_edge_that_is_reached() -> None:
    margins = np.array([[-2.0], [-1.0 + 1e-9], [0.0], [0.2], [2.19], [2.1973], [50.0]])
    steps = np.rint(margins[:, 0] * 4096)
    expected = [0.0 if step < -4000 else BELOW[np.flatnonzero(steps[i] >= EDGES)[-1]] for i, step in enumerate(steps)]
    assert anomaly().probabilities_at(margins)[:, 1].tolist() == expected
    assert anomaly().answers(margins).tolist() == ["benign" if rank < 0.99 else "attack" for rank in expected]


def test_the_margin_of_a_share_is_the_first_edge_that_has_it() -> None:
    found = anomaly()
    assert [found.margin_at(share) * 4096 for share in (0.05, 0.1, 0.3, 0.9)] == [-4000, -4000, 0, 9000]
    assert found.margin_at(0.999) == np.inf
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="share"):
            found.margin_at(share)


def test_it_is_saved_and_loaded_as_what_it_is(tmp_path: Path) -> None:
    found = anomaly()
    found.save(tmp_path / "a.tacit", SigningKey.generate())
    again = load(tmp_path / "a.tacit")
    assert isinstance(again, AnomalyModel)
    assert again == found
    assert again != additive("binary")
    records = awkward(500)
    assert np.array_equal(again.predict_proba(records), found.predict_proba(records))
    assert len({found.digest, replace(found, below=BELOW * 0.9).digest, replace(found, edges=EDGES + np.int32(1)).digest}) == 3


def test_onnx_gives_the_same_ranks(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    to_onnx(anomaly(), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").stat().st_size > 1_000


@pytest.mark.parametrize("changes", [
    {"edges": EDGES[::-1].copy()}, {"below": BELOW[::-1].copy()}, {"below": BELOW[:3]}, {"below": BELOW * 2}, {"below": BELOW - 0.3},
    {"edges": EDGES.astype(np.int64)}, {"edges": EDGES[:0], "below": BELOW[:0]}, {"below": BELOW * np.nan},
])
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        anomaly(**changes)
