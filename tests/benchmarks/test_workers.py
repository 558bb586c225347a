"""What runs in processes of its own: made-up records, timed fits, both kinds of shadows, both writers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.contest import Contestant, Failed, Score
from benchmarks.datasets import Case
from benchmarks.result import Incomplete, Options
from benchmarks.rows import shadows as shadow_rows
from benchmarks.rows import simulator as simulator_rows
from benchmarks.rows import trees as tree_rows
from benchmarks.workers import shadows, simulator, trees

from benchmarks import contest, synthetic
from tacit.domain import Domain
from tacit.logs import SimulationSpec, simulate
from tacit.questions.losses import MARGIN_UNIT


def test_made_up_records_are_the_same_every_time_and_within_public_bounds() -> None:
    values, labels = synthetic.piece(3, 5_000)
    again, same = synthetic.piece(3, 5_000)
    assert np.array_equal(values, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(values, synthetic.piece(4, 5_000)[0])
    bounds = np.array([[column["lower"], column["upper"]] for column in synthetic.columns()])
    assert values.shape == (40, 5_000)
    assert (values.min(axis=1) >= bounds[:, 0]).all()
    assert (values.max(axis=1) <= bounds[:, 1]).all()
    assert 0.2 < labels.mean() < 0.5


def test_the_file_and_the_split_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "PIECE", 400)
    monkeypatch.setattr(synthetic, "piece", lambda number, rows=400, make=synthetic.piece: make(number, rows))
    synthetic.write_parquet(tmp_path / "rows.parquet", 1_200)
    table, rows = pl.read_parquet(tmp_path / "rows.parquet"), synthetic.split(1_200)
    assert table.drop("y").equals(rows.train)
    assert table["y"].to_list() == rows.y_train.tolist()
    assert Domain.from_toml(rows.domain_toml).names == tuple(rows.train.columns)
    synthetic.write_parquet(tmp_path / "short.parquet", 1_001)
    assert pl.read_parquet(tmp_path / "short.parquet").equals(table.head(1_001))


def test_a_timed_fit_adds_up_and_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write_parquet(tmp_path / "rows.parquet", 20_000)
    assert trees.main([str(tmp_path / "rows.parquet"), "20000"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = dict(found["microseconds_per_row"])
    whole = parts.pop("whole")
    assert sum(parts.values()) == pytest.approx(whole, rel=1e-6)
    assert parts["trees"] > parts["features"] > 0
    assert found["auc"] > 0.7
    assert found["peak_mib"] > 50


@pytest.fixture(scope="module")
def quiet() -> shadows.Setting:
    """A pool and shadows without noise, so that all ways have to agree."""
    return dataclasses.replace(shadows.setting(rows=1_500, shadows=4), sigma=0.0)


def test_all_ways_train_the_same_shadows(quiet: shadows.Setting) -> None:
    """Half of a pool, one after another by questions or by a bare loop, and all at once, are one recipe."""
    joint = shadows.joint(quiet)[1]
    rng = np.random.default_rng(0)
    for shadow in range(4):
        mask = quiet.membership[:, shadow]
        bare, members = shadows.bare(quiet, mask, rng)
        asked, _ = shadows.as_a_guard(quiet, mask, rng)
        margins = shadows.scored(quiet, bare)
        np.testing.assert_allclose(margins, joint[:, shadow], atol=0.02)
        np.testing.assert_allclose(margins[mask], members, atol=1e-3)
        np.testing.assert_allclose(shadows.scored(quiet, tuple(v[:, 0] / MARGIN_UNIT for v in asked)), joint[:, shadow], atol=0.1)


def test_a_shadow_of_the_loop_depends_on_its_members_alone(quiet: shadows.Setting) -> None:
    mask, rng = quiet.membership[:, 0], np.random.default_rng(0)
    labels = np.where(mask, quiet.pool.labels, 1 - quiet.pool.labels)
    others = dataclasses.replace(quiet, pool=dataclasses.replace(quiet.pool, labels=labels))
    before, after = (shadows.bare(at, mask, rng)[0] for at in (quiet, others))
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_the_comparison_names_both_ways_and_their_seconds() -> None:
    found = shadows.compare(shadows.setting(rows=600, shadows=2))
    assert min(found[name] for name in ("joint", "fits", "as_a_guard", "bare", "scoring")) > 0
    assert (found["shadows"], found["pool"]) == (2, 600)


def test_both_writers_write_the_same_events(tmp_path: Path) -> None:
    spec = SimulationSpec.small(seed=2)
    count = simulator.by_json(tmp_path / "json", spec)
    assert count == simulate(spec).write_ndjson(tmp_path / "ours")
    ours, theirs = ((tmp_path / name).read_text(encoding="utf-8").splitlines() for name in ("ours", "json"))
    assert [json.loads(line) for line in ours] == [json.loads(line) for line in theirs]


def answers(monkeypatch: pytest.MonkeyPatch, module: object, found: dict[str, object] | Exception) -> None:
    def run(*_: object) -> str:
        if isinstance(found, Exception):
            raise found
        return json.dumps(found)

    monkeypatch.setattr(module, "run", run)


@pytest.mark.parametrize(("rate", "passed"), [(200_000.0, True), (199_999.0, False)])
def test_the_simulator_row_holds_its_rate(monkeypatch: pytest.MonkeyPatch, rate: float, passed: bool) -> None:
    answers(monkeypatch, simulator_rows, {"events_per_second": rate, "json_events_per_second": 50_000.0})
    found = simulator_rows.events(Options(2))
    assert found.passed is passed
    assert found.ratio == rate / 50_000


@pytest.mark.parametrize(("fits", "passed"), [(3.1, True), (2.9, False)])
def test_the_shadow_row_compares_with_fits_and_says_what_loops_take(monkeypatch: pytest.MonkeyPatch, fits: float, passed: bool) -> None:
    answers(monkeypatch, shadow_rows, {"joint": 1.0, "fits": fits, "as_a_guard": 9.0, "bare": 2.0, "scoring": 1.0})
    found = shadow_rows.batched(Options(1))
    assert found.passed is passed
    assert found.peer_figure == fits
    assert found.details["over_loops"]["bare NumPy loop"] == 0.5
    assert found.details["with_scoring"] == 1 / 3


@pytest.mark.parametrize(
    ("changed", "passed"),
    [({}, True), ({"trees": 3.1}, False), ({"peak_mib": 1_025.0}, False), ({"whole": 12.5}, False), ({"few_trees": 2.0}, False)],
)
def test_the_scale_row_holds_every_limit(monkeypatch: pytest.MonkeyPatch, changed: dict[str, float], passed: bool) -> None:
    def fit(trees: float, whole: float, peak: float) -> dict[str, object]:
        return {"microseconds_per_row": {"trees": trees, "whole": whole}, "peak_mib": peak}

    few = fit(changed.get("few_trees", 2.9), 10.0, 300.0)
    many = fit(changed.get("trees", 3.0), changed.get("whole", 11.9), changed.get("peak_mib", 1_024.0))
    monkeypatch.setattr(tree_rows, "fitted", lambda rows, repeats=1: [many] if rows == tree_rows.MANY else [few])
    assert tree_rows.scale(Options(1)).passed is passed


def test_the_speed_row_gives_both_aucs_beside_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    def compete(contestant: Contestant, case: Case, seed: int, *, reuse: bool) -> tuple[list[Score], dict[str, str]]:
        return [Score(None, seed, 0.92, 0.9, 40.0)], {"xgboost-cpu": "3"}

    fit = {"microseconds_per_row": {"whole": 4.0}, "auc": 0.87}
    monkeypatch.setattr(tree_rows, "fitted", lambda rows, repeats: [fit])
    monkeypatch.setattr(tree_rows, "compete", compete)
    found = tree_rows.speed(Options(1))
    assert found.ratio == pytest.approx(0.1)
    assert found.passed
    assert found.details["auc"] == {"tacit at ε=1": 0.87, "xgboost": 0.92}


@pytest.mark.parametrize("row", [simulator_rows, shadow_rows])
def test_a_worker_that_fails_leaves_the_row_incomplete(monkeypatch: pytest.MonkeyPatch, row: object) -> None:
    answers(monkeypatch, row, Failed("it broke"))
    function = {simulator_rows: simulator_rows.events, shadow_rows: shadow_rows.batched}[row]  # type: ignore[index]
    with pytest.raises(Incomplete, match="it broke"):
        function(Options(1))


def test_the_generated_file_is_gone_after_the_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(contest, "WORKSHOP", tmp_path)
    monkeypatch.setattr(synthetic, "piece", lambda number, rows=0, make=synthetic.piece: make(number, 1_000))
    monkeypatch.setattr(synthetic, "PIECE", 1_000)
    monkeypatch.setattr(tree_rows, "run", lambda module, arguments: (seen.append(Path(arguments[0]).is_file()), '{"auc": 1}')[1])
    assert tree_rows.fitted(2_000, 2) == [{"auc": 1}, {"auc": 1}]
    assert seen == [True, True]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
