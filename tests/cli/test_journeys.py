"""The five people's ways through the command line, from the first command to the last."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tacit.domain import Category, Domain, Numeric

from .conftest import Tacit, events, policy, write


def test_a_first_day_with_a_policy(tacit: Tacit, place: Path) -> None:
    assert tacit("init").code == 0
    assert "already" in tacit("init").err or tacit("init").code == 2
    assert tacit("policy", "check").code == 0
    policy(place)
    write(place / "events.parquet", events())
    trained = tacit("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user")
    assert trained.code == 0, trained.err
    assert "DP per record, add/remove, curator, gdp, on «events»" in trained.out
    shown = tacit("model", "show", "model.tacit")
    assert "3 features, target «label»" in shown.out
    assert tacit("model", "verify", "model.tacit", "--ledger", "tacit-ledger.db").code == 0
    spent = json.loads(tacit("ledger", "show", "--format", "json").out)
    assert [entry["kind"] for entry in spent["entries"]] == ["genesis", "charge", "count", "charge"]
    assert 0 < spent["spent"][0]["epsilon"] <= 1.001
    head = tacit("ledger", "verify").out.split()[-1]
    assert tacit("ledger", "verify", "--head", head).code == 0
    assert tacit("ledger", "verify", "--head", "0" * 64).code == 3


def test_scores_come_in_order_one_line_per_record(tacit: Tacit, place: Path) -> None:
    policy(place)
    table = events()
    write(place / "events.csv", table)
    assert tacit("train", "events.csv", "--target", "label", "--budget", "1.5", "--drop", "user").code == 0
    lines = tacit("score", "model.tacit", "events.csv").out.splitlines()
    assert lines[0] == "p_bad,p_good"
    assert len(lines) == table.num_rows + 1
    bad = [float(line.split(",")[0]) for line in lines[1:]]
    labels = table.column("label").to_pylist()
    means = [sum(p for p, label in zip(bad, labels, strict=True) if label == name) / labels.count(name) for name in ("bad", "good")]
    assert means[0] > means[1] + 0.2
    assert tacit("score", "model.tacit", "events.csv", "--output", "scores.csv").code == 0
    assert (place / "scores.csv").read_text().splitlines() == lines


def test_unusual_records_without_labels(tacit: Tacit, place: Path) -> None:
    policy(place)
    table = events()
    write(place / "events.parquet", table)
    trained = tacit("train", "events.parquet", "--anomaly", "--budget", "1.5", "--drop", "user", "--drop", "label")
    assert trained.code == 0, trained.err
    shown = tacit("model", "show", "model.tacit").out
    assert "unusual" in shown
    lines = tacit("score", "model.tacit", "events.parquet").out.splitlines()
    assert lines[0] == "p_usual,p_unusual"
    ranks = sorted(float(line.split(",")[1]) for line in lines[1:])
    assert len(ranks) == table.num_rows
    assert 0 <= ranks[0] < 0.2 < 0.8 < ranks[-1] <= 1
    assert tacit("model", "verify", "model.tacit", "--ledger", "tacit-ledger.db").code == 0
    for wrong in (("--target", "label", "--anomaly"), (), ("--anomaly", "--positive", "bad")):
        refused = tacit("train", "events.parquet", "--budget", "0.1", "--output", "no.tacit", *wrong)
        assert refused.code == 2
        assert "--anomaly" in refused.err
    assert not (place / "no.tacit").exists()


def test_a_network_uses_the_budget_up_once(tacit: Tacit, place: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'tacit[torch]'")
    path = policy(place)
    command = ("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "2", "--drop", "user", "--learner", "network")
    write(place / "events.parquet", events())
    path.write_text(path.read_text(encoding="utf-8").replace("delta = 1e-5", 'delta = 1e-5\nfilter = "single"'), encoding="utf-8")
    refused = tacit(*command)
    assert refused.code == 2
    assert "minimum_units = 0" in refused.err
    path.write_text(path.read_text(encoding="utf-8").replace("minimum_units = 50", "minimum_units = 0"), encoding="utf-8")
    trained = tacit(*command)
    assert trained.code == 0, trained.err
    assert "pld" in trained.out
    assert tacit("model", "verify", "model.tacit", "--ledger", "tacit-ledger.db").code == 0
    assert len(tacit("score", "model.tacit", "events.parquet").out.splitlines()) == 3_001
    again = tacit(*command, "--output", "second.tacit")
    assert again.code == 3
    assert "0 is left" in again.err
    assert not (place / "second.tacit").exists()


def test_a_network_of_squares_goes_from_training_to_encrypted_scoring(tacit: Tacit, place: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'tacit[torch]'")
    pytest.importorskip("seal", reason="needs the extra «encrypted»")
    from tacit.models import SquareNetwork, load

    path = policy(place, epsilon=4)
    write(place / "events.parquet", events())
    command = ("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "3", "--drop", "user", "--learner", "squares")
    refused = tacit(*command)
    assert refused.code == 2
    assert "a domain with every feature" in refused.err
    assert not (place / "model.tacit").exists()
    Domain.of(bytes=Numeric(0, 20_000), kind=Category(("get", "post", "head")), port=Numeric(0, 1_000)).save(place / "domain.toml")
    path.write_text(path.read_text(encoding="utf-8") + '[domain]\nfile = "domain.toml"\n', encoding="utf-8")
    trained = tacit(*command)
    assert trained.code == 0, trained.err
    assert isinstance(load(place / "model.tacit"), SquareNetwork)
    assert tacit("model", "verify", "model.tacit", "--ledger", "tacit-ledger.db").code == 0
    assert "squares@1" in tacit("model", "show", "model.tacit").out
    assert len(tacit("score", "model.tacit", "events.parquet").out.splitlines()) == 3_001
    compiled = tacit("encrypt", "compile", "model.tacit", "events.parquet", "--output", "vendor")
    assert compiled.code == 0, compiled.err
    assert "decisions differ" in compiled.out
    assert tacit("train", "events.parquet", "--anomaly", "--budget", "1", "--learner", "squares").code == 2


def test_an_attack_on_a_model_is_noted_where_it_was_paid(tacit: Tacit, place: Path) -> None:
    write(place / "events.parquet", events(seed=4))
    write(place / "others.parquet", events(seed=5))
    policy(place)
    assert tacit("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user").code == 0
    sides = ("attack", "model.tacit", "--data", "events.parquet", "--against", "others.parquet", "--shadows", 4, "--fail-on", "never")
    done = tacit(*sides, "--policy", "tacit.toml", "--format", "json")
    assert done.code == 0, done.err
    assert "attack on" in done.err
    entry = json.loads(tacit("ledger", "show", "--format", "json").out)["entries"][-1]
    assert (entry["kind"], entry["body"]["verdict"]) == ("attack", json.loads(done.out)["verdict"])
    assert not any(isinstance(value, float) for value in entry["body"].values())
    assert entry["body"]["verdict"] in tacit("ledger", "show").out
    (place / "other").mkdir()
    policy(place / "other")
    refused = tacit(*sides, "--policy", "other/tacit.toml")
    assert refused.code in (2, 3)
    assert refused.out == ""


def test_a_refresh_supersedes_and_old_charges_remain(tacit: Tacit, place: Path) -> None:
    write(place / "october.parquet", events(seed=1))
    write(place / "november.parquet", events(seed=2))
    write(place / "labelled.parquet", events(seed=3))
    policy(place, name="october")
    common = ("--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user")
    assert tacit("train", "october.parquet", *common, "--output", "o.tacit").code == 0
    assert "in service" in tacit("model", "promote", "o.tacit", "detector.tacit").out
    policy(place, name="november")
    trained = tacit("train", "november.parquet", *common, "--output", "n.tacit")
    assert trained.code == 0, trained.err
    compared = tacit("model", "compare", "detector.tacit", "n.tacit", "labelled.parquet", "--format", "json")
    found = json.loads(compared.out)
    assert compared.code == (0 if found["passed"] else 1)
    assert found["rows"] == 3_000
    assert min(found["old"]["measures"]["auc"], found["new"]["measures"]["auc"]) > 0.85
    assert found["released"] is False
    (place / "why.json").write_text("{}")
    promoted = tacit("model", "promote", "n.tacit", "detector.tacit", "--evidence", "why.json")
    assert promoted.code == 0, promoted.err
    assert "supersedes" in promoted.out
    assert len(list(place.glob("detector-*.tacit"))) == 1
    assert tacit("model", "verify", "detector.tacit", "--ledger", "tacit-ledger.db").code == 0
    entries = json.loads(tacit("ledger", "show", "--format", "json").out)["entries"]
    assert [entry["kind"] for entry in entries].count("promotion") == 2
    assert {entry["dataset"] for entry in entries if entry["kind"] == "charge"} == {"october", "november"}
    again = tacit("model", "promote", "n.tacit", "detector.tacit")
    assert again.code == 2
    assert "they are the same" in again.err


def test_a_plan_that_waits_for_the_owner(tacit: Tacit, place: Path) -> None:
    policy(place, approval="owner")
    write(place / "events.parquet", events())
    command = ("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user", "--run", "monday")
    waits = tacit(*command)
    assert waits.code == 3
    assert "tacit policy approve" in waits.err
    assert not (place / "model.tacit").exists()
    digest = waits.err.split("tacit policy approve ")[1].split("`")[0]
    assert digest in tacit("policy", "show").out
    assert tacit("policy", "approve", digest).code == 0
    done = tacit(*command)
    assert done.code == 0, done.err
    assert tacit(*command).code == 3  # an approval is good for one charge


def test_people_are_protected_with_all_their_rows(tacit: Tacit, place: Path) -> None:
    path = policy(place, column="user", epsilon=8.0)
    path.write_text(path.read_text().replace('column = "user"', 'column = "user"\nrows = 5'))
    write(place / "events.parquet", events(4_000, per_user=5))
    done = tacit("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "7")
    assert done.code == 0, done.err
    assert "DP per user" in done.out
    assert "4 features" not in tacit("model", "show", "model.tacit").out  # the unit is no feature


def test_what_epsilon_is_this_and_back(tacit: Tacit) -> None:
    forward = json.loads(tacit("account", "--noise", "1.1", "--sampling-rate", "0.01", "--steps", "1000", "--fast", "--format", "json").out)
    assert 1.5 < forward["epsilon"] < 2.5
    back = json.loads(
        tacit("account", "--epsilon", forward["epsilon"], "--sampling-rate", "0.01", "--steps", "1000", "--fast", "--format", "json").out,
    )
    assert back["noise_multiplier"] == pytest.approx(1.1, rel=5e-3)


def test_the_doctor_finds_this_installation_well(tacit: Tacit) -> None:
    done = tacit("doctor")
    assert done.code == 0
    assert "FAIL" not in done.out


def test_a_model_becomes_onnx(tacit: Tacit, place: Path) -> None:
    pytest.importorskip("onnxruntime")
    policy(place)
    write(place / "events.parquet", events())
    assert tacit("train", "events.parquet", "--target", "label", "--positive", "bad", "--budget", "1", "--drop", "user").code == 0
    assert tacit("model", "export-onnx", "model.tacit", "model.onnx").code == 0
    assert (place / "model.onnx").stat().st_size > 1_000


def test_counts_are_released_forecast_and_held_against_what_comes(tacit: Tacit, place: Path) -> None:
    """Six weeks of days by kind, then a week in which one of them doubles."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(49), 300)
    kind = np.where(rng.random(len(day)) < 0.3, "dns", "web")
    extra = np.full(600, 45)
    when = (np.concatenate([day, extra]) * 86_400 + rng.integers(0, 86_400, len(day) + 600)).astype("datetime64[s]")
    write(place / "events.parquet", pa.table({"at": when, "kind": np.concatenate([kind, ["dns"] * 600])}))
    policy(place, epsilon=3.0)
    counting = ("forecast", "count", "events.parquet", "--time", "at", "--budget", 1.2)
    first = tacit(*counting, "--bin", "1d", "--by", "kind", "--value", "dns", "--value", "web", "--from", "1970-01-01", "--to", "1970-02-12")
    assert first.code == 0, first.err
    assert "42 bins of 86400 s, 2 series" in first.out
    later = tacit(*counting, "--like", "counts.tacit", "--to", "1970-02-19", "--output", "later.tacit")
    assert later.code == 0, later.err
    ahead = tacit("forecast", "ahead", "counts.tacit", "--horizon", "1w")
    assert ahead.code == 0, ahead.err
    lines = ahead.out.splitlines()
    assert lines[0] == "time,series,expected,lower,upper,released_lower,released_upper"
    assert len(lines) == 15
    assert lines[1].startswith("1970-02-12T00:00:00Z,dns,")
    found = tacit("forecast", "check", "later.tacit", "counts.tacit", "--format", "json")
    assert found.code == 1, found.err
    rows = [(row["time"], row["series"], row["direction"]) for row in json.loads(found.out)]
    assert ("1970-02-15T00:00:00Z", "dns", "more") in rows
    assert len(rows) <= 3  # 14 counts at a coverage of .999, with noise that is drawn anew
    assert "1970-02-15 00:00  dns" in tacit("forecast", "check", "later.tacit", "counts.tacit").out
    assert "2 series of 42 bins" in tacit("model", "show", "counts.tacit").out
    assert tacit("model", "verify", "counts.tacit", "--ledger", "tacit-ledger.db").code == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (("score", "counts.tacit", "events.parquet"), "counts over time"), (("forecast", "ahead", "events.parquet"), "Tacit model"),
    (("forecast", "check", "counts.tacit", "counts.tacit"), "LATER first"), (("forecast", "ahead", "counts.tacit", "--horizon", "soon"), "1w"),
    (("forecast", "count", "events.parquet", "--time", "at", "--budget", 1), "--from"),
    (("forecast", "count", "events.parquet", "--time", "when", "--budget", 1, "--from", "1970-01-01", "--to", "1970-02-01"), "«when»"),
    (("forecast", "count", "events.parquet", "--time", "at", "--budget", 1, "--like", "counts.tacit", "--bin", "1h"), "--like alone"),
    (("forecast", "ahead", "counts.tacit", "--coverage", 2), "coverage"),
    (("forecast", "count", "events.parquet", "--time", "at", "--budget", 1, "--from", "2020-01-01", "--to", "2999-01-01"), "in the past"),
])  # fmt: skip
def test_a_forecast_that_cannot_be_made_says_why(arguments: tuple[object, ...], message: str, tacit: Tacit, place: Path) -> None:
    write(place / "events.parquet", pa.table({"at": np.arange(0, 30 * 86_400, 600).astype("datetime64[s]")}))
    policy(place, epsilon=3.0)
    made = tacit("forecast", "count", "events.parquet", "--time", "at", "--budget", 1, "--bin", "1d", "--from", "1970-01-01", "--to", "1970-01-31")
    assert made.code == 0, made.err
    spent = tacit("ledger", "show").out
    done = tacit(*arguments)
    assert done.code == 2
    assert message in done.err
    assert tacit("ledger", "show").out == spent


def test_made_up_records_for_an_outsider(tacit: Tacit, place: Path) -> None:
    pytest.importorskip("mbi", reason="made-up records need mbi: make synthetic")
    write(place / "events.parquet", events(6_000))
    write(place / "others.parquet", events(3_000, seed=1))
    policy(place)
    made = tacit("synthetic", "fit", "events.parquet", "--budget", 1.5, "--about", "label", "--drop", "user", "--whole", "port")
    assert made.code == 0, made.err
    assert "4 columns in 2 tables" in made.out
    drawn = tacit("synthetic", "sample", "synthetic.tacit", "--rows", 400, "--output", "mock.csv")
    assert drawn.code == 0, drawn.err
    lines = (place / "mock.csv").read_text().splitlines()
    assert lines[0] == '"bytes","kind","port","label"'
    assert len(lines) == 401
    assert tacit("synthetic", "sample", "synthetic.tacit", "--rows", 10, "--output", "mock.txt").code == 2
    against = ("--data", "events.parquet", "--against", "others.parquet", "--about", "label", "--format", "json")
    found = tacit("synthetic", "check", "synthetic.tacit", *against)
    assert found.code == 0, found.err
    result = json.loads(found.out)
    assert result["auc"] > result["auc_real"] - 0.05
    assert result["pairs"] < 0.2
    assert tacit("model", "verify", "synthetic.tacit", "--ledger", "tacit-ledger.db").code == 0
    assert "4 columns in 2 tables" in tacit("model", "show", "synthetic.tacit").out


def test_counts_stay_within_the_window_that_pays(tacit: Tacit, place: Path) -> None:
    """Records outside it are not seen: their zeros would look like quiet days."""
    today = np.datetime64("today", "D")
    start = today.astype("datetime64[M]").astype("datetime64[D]")
    if today == start:
        start = (start - 1).astype("datetime64[M]").astype("datetime64[D]")
    rng = np.random.default_rng(0)
    at = start.astype("datetime64[s]") + rng.integers(0, 86_400, 4_000)
    write(place / "events.parquet", pa.table({"at": at, "user": [f"u{i % 400}" for i in range(4_000)]}))
    path = policy(place, epsilon=3.0, column="user")
    renewing = path.read_text().replace('column = "user"', 'column = "user"\nwindow = "day"')
    path.write_text(renewing.replace("delta = 1e-5", 'delta = 1e-5\nwindow = "month"'))
    counting = ("forecast", "count", "events.parquet", "--time", "at", "--budget", 1, "--bin", "1d")
    assert "within the budget's window" in tacit(*counting, "--from", "2020-01-01").err
    if np.datetime64("today", "D") != np.datetime64("today", "M").astype("datetime64[D]"):
        made = tacit(*counting)
        assert made.code == 0, made.err
        assert "1 series" in made.out


def test_the_doctor_tells_an_old_compiled_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    from tacit.cli.doctor import _compiled
    from tacit.logs.anonymise.native import _INTERFACE, kernel

    found = ModuleType("tacit_kernel")
    found.__spec__ = ModuleSpec("tacit_kernel", None)
    monkeypatch.setitem(sys.modules, "tacit_kernel", found)
    for interface, said in ((0, "not used"), (_INTERFACE, "ok    compiled reader")):
        kernel.cache_clear()
        monkeypatch.setattr(found, "INTERFACE", interface, raising=False)
        assert said in _compiled()
    kernel.cache_clear()


def test_the_doctor_knows_every_extra(tacit: Tacit) -> None:
    import tomllib

    from tacit.cli.doctor import EXTRAS

    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    assert {extra for _, extra in EXTRAS} == set(project["optional-dependencies"]) - {"all"}
    assert all(f"  {extra}" in tacit("doctor").out for _, extra in EXTRAS)
