"""The encrypted column of a pilot."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from tacit import Budget
from tacit.domain import Domain, Numeric
from tacit.learn import BoostedTreesClassifier, LinearClassifier
from tacit.pilot import encrypted as measuring
from tacit.pilot.report import render_html, render_text
from tacit.pilot.results import EvidenceBook, PilotResult

DOMAIN = Domain.of(a=Numeric(0, 1), b=Numeric(0, 1))


@pytest.mark.parametrize("kind", [BoostedTreesClassifier, LinearClassifier])
def test_a_model_is_scored_encrypted_and_decides_as_before(kind: type) -> None:
    pytest.importorskip("seal", reason="needs the extra «encrypted»")
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.random(500), "b": rng.random(500)})
    truth = (table["a"].to_numpy() > 0.5).astype(int)
    model = kind(Budget(8, 1e-5), domain=DOMAIN, classes=[0, 1]).fit(table, truth).model_
    book = EvidenceBook()
    found = measuring.encrypted(model, table, name="x", book=book)
    assert found is not None
    assert found.agreement.value > 0.98
    assert 0 < found.latency_ms.value < 60_000
    assert found.records_per_second.value > 0
    assert 30 < found.kilobytes.value < 2_000
    assert [row.id for row in book.rows] == [found.latency_ms.ref] == ["M1"]


def test_without_the_library_nothing_is_measured_and_the_page_says_so(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "find_spec", lambda name: None)
    book = EvidenceBook()
    assert measuring.encrypted(None, pa.table({}), name="x", book=book) is None  # type: ignore[arg-type]
    assert not book.rows
    without = builder.make_result(change=lambda candidate: replace(candidate, encrypted=None))
    assert "tacit[encrypted]" in render_html(without)
    assert "Milliseconds for one record" not in render_html(without)


def test_the_page_and_the_terminal_show_the_column(result: PilotResult) -> None:
    page = render_html(result)
    for head in ("Milliseconds for one record", "Records in a second", "Kilobytes for one record", "Decisions that stay"):
        assert head in page
    from rich.console import Console

    text = StringIO()
    render_text(result, Console(file=text, width=120))
    assert "encrypted" in text.getvalue()
    assert PilotResult.from_dict(result.to_dict()) == result
