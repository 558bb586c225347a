"""One call on real models: what leaks is found, what does not is not accused, and what cannot be told is said."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tacit import Budget
from tacit.attacks import AttackSettings, NetworkRecipe, NetworksTrainer, Sample, as_target, at_least, attack, train_networks
from tacit.attacks.findings import finding_of
from tacit.errors import DataError, UsageError
from tacit.guarantee import Guarantee, PrivacyUnit, Relation, Scope, TrustModel
from tacit.learn import AnomalyDetector, BoostedTreesClassifier, BoostedTreesRegressor, LinearClassifier, LinearRegressor

ROWS = 1_600
FEW = AttackSettings(shadows=4)
Sides = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def sides() -> Sides:
    """Labels are mostly chance, so that a forest has to remember them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 8))
    y = ((X[:, 0] + rng.normal(size=ROWS) * 2) > 0).astype(int)
    half = ROWS // 2
    return (X[:half], y[:half]), (X[half:], y[half:])


@pytest.fixture(scope="module")
def forest(sides: Sides) -> RandomForestClassifier:
    return RandomForestClassifier(60, random_state=0).fit(*sides[0])


def promise(epsilon: float) -> Guarantee:
    return Guarantee(epsilon, 1e-5, PrivacyUnit(), Relation.ADD_REMOVE, Scope("d"), TrustModel.curator(), "pld")


def test_an_overfit_model_is_found_and_the_controls_read_right(forest: RandomForestClassifier, sides: Sides) -> None:
    report = attack(forest, *sides, settings=FEW)
    assert report.verdict == "leak found"
    assert report.first.name == "learned fusion"
    assert report.first.at(0.01).low > 0.2
    assert not report.failed
    assert next(finding.rule for finding in report.findings) == "TA101"
    assert at_least(report.findings, "medium")
    assert not at_least(report.findings, "critical")
    assert report.described.correct is not None
    assert report.described.correct[0] > 0.95 > report.described.correct[1]


def test_a_model_that_never_saw_the_records_is_not_accused(sides: Sides) -> None:
    """Of sixty models that learned from neither side at most a few are accused: the chance of each is one in a hundred."""
    rng, accused = np.random.default_rng(1), 0
    for seed in range(60):
        X = rng.normal(size=(400, 8))
        blind = LogisticRegression().fit(X, rng.integers(0, 2, 400))
        pool = rng.permutation(ROWS)
        table, labels = np.concatenate([sides[0][0], sides[1][0]])[pool], np.concatenate([sides[0][1], sides[1][1]])[pool]
        halves = (table[:500], labels[:500]), (table[500:1_000], labels[500:1_000])
        report = attack(blind, *halves, settings=AttackSettings(shadows=4, controls=False, seed=seed))
        accused += report.verdict != "no leak found"
    assert accused <= 6


def test_members_of_another_kind_are_no_proof(sides: Sides) -> None:
    """Members are shifted by a little: everybody can tell them without the model, so the attack says that it says nothing."""
    (X, y), others = sides
    moved = X + 0.5
    model = LogisticRegression().fit(moved, y)
    report = attack(model, (moved, y), others, settings=FEW)
    assert report.verdict == "not tested"
    assert "members told from others without the model" in {control.name for control in report.failed}
    assert "Draw members and others at random" in report.explained
    assert report.findings[0].rule == "TA191"


def test_no_leak_is_said_with_its_power(sides: Sides) -> None:
    report = attack(LogisticRegression(C=1e-4).fit(*sides[0]), *sides, settings=FEW)
    assert report.verdict == "no leak found"
    auc, rate = report.power
    assert 0.5 < auc < 0.6
    assert 0.01 < rate < 0.1
    assert f"{auc:.3f}" in report.explained
    assert "safe" not in (report.to_text() + report.to_html() + report.to_json()).lower()


def test_power_is_what_it_says() -> None:
    """A leak of the size that is said to be found in nine of ten cases is found in most, one half as far from chance in few."""
    from scipy.special import ndtri

    from tacit.attacks.judging import CHANCE, detectable_auc, evaluate

    rng, auc = np.random.default_rng(3), detectable_auc(800, 800)
    member, found = np.repeat([True, False], 800), []
    for share in (1.0, 0.5):
        shift = np.sqrt(2) * ndtri(0.5 + (auc - 0.5) * share)
        results = [evaluate("", rng.normal(size=1_600) + shift * member, member, shadows=0).p_value <= CHANCE for _ in range(200)]
        found.append(np.mean(results))
    assert found[0] > 0.8
    assert found[1] < 0.5


def test_p_values_are_honest() -> None:
    from tacit.attacks.judging import tail_p_value

    rng = np.random.default_rng(4)
    for ties in (False, True):
        scores = [rng.normal(size=600) for _ in range(2_000)]
        values = np.array([tail_p_value(np.round(s) if ties else s, np.arange(600) < 300, seed=i) for i, s in enumerate(scores)])
        assert (values <= 0.05).mean() < 0.065
        assert (values <= 0.01).mean() < 0.02


def test_a_claim_that_cannot_be_true_is_contradicted_and_one_that_can_is_not(forest: RandomForestClassifier, sides: Sides) -> None:
    lied = attack(forest, *sides, settings=FEW, claim=promise(0.2))
    assert lied.verdict == "inconsistent with the claim"
    assert lied.findings[0].rule == "TA102"
    assert lied.findings[0].severity == "critical"
    assert attack(forest, *sides, settings=FEW, claim=promise(12.0)).verdict == "leak found"


@pytest.mark.parametrize("access", ["label", "top-k", "probabilities", "logits"])
def test_every_access_is_attacked(forest: RandomForestClassifier, sides: Sides, access: str) -> None:
    report = attack(forest, *sides, access=access, settings=FEW)
    assert report.verdict == "leak found"
    assert report.described.access == access


@pytest.mark.parametrize("kind", [float, bool])
@pytest.mark.parametrize("bare", [False, True])
def test_how_labels_are_written_says_nothing(sides: Sides, kind: type, bare: bool) -> None:
    """Classes 1, 1.0 and True are the same: their shares among changed copies decide over who is recognised."""
    scores = []
    for written in (int, kind):
        members, others = ((X, y.astype(written)) for X, y in sides)
        model = RandomForestClassifier(20, random_state=0).fit(*members)
        settings = AttackSettings(shadows=4, controls=False)
        target = (lambda X, model=model: model.predict(X)) if bare else model
        scores.append(attack(target, members, others, access="label", settings=settings).scores)
    assert np.allclose(*scores)


def test_the_order_of_records_says_nothing(sides: Sides) -> None:
    """Answers with many ties, members first: a ranking that breaks ties by position would tell who is a member without the model."""
    rng, read = np.random.default_rng(12), []
    for seed in range(12):
        X, y = rng.normal(size=(800, 6)), rng.integers(0, 2, 800)
        model = RandomForestClassifier(10, random_state=0).fit(X[:400], y[:400])
        report = attack(model, (X[:400], y[:400]), (X[400:], y[400:]), access="label", settings=AttackSettings(shadows=4, seed=seed))
        read += [control.p_value for control in report.controls if control.expected == "chance"]
    assert min(read) > 1e-4
    assert np.mean(np.array(read) < 0.05) < 0.25


def test_less_access_recognises_fewer(sides: Sides) -> None:
    members, others = sides
    model = RandomForestClassifier(20, max_depth=7, random_state=0).fit(*members)
    rates = [attack(model, members, others, access=access, settings=FEW).first.auc for access in ("label", "probabilities")]
    assert rates[0] < rates[1]


class Logits:
    """Answers with logits of two classes; one that is taken for probabilities says nothing."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, X: np.ndarray) -> np.ndarray:
        p = np.clip(self.model.predict_proba(X), 1e-3, 1)
        return np.log(p) - 7.0


def test_logits_are_not_taken_for_probabilities(forest: RandomForestClassifier, sides: Sides) -> None:
    report = attack(Logits(forest), *sides, trainer=RandomForestClassifier(20), settings=FEW)
    assert report.described.reading == "logits"
    assert report.first.at(0.01).low > 0.3


def test_a_function_whose_training_nobody_knows_is_attacked_by_stand_ins(sides: Sides) -> None:
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(1_200, 30)), rng.integers(0, 2, 1_200)
    import warnings

    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings(action="ignore"):
        net = MLPClassifier((64,), max_iter=100, random_state=0).fit(X[:600], y[:600])
    report = attack(lambda rows: net.predict_proba(rows)[:, 1], (X[:600], y[:600]), (X[600:], y[600:]), settings=FEW)
    assert report.verdict == "leak found"
    assert "not known" in report.described.assumption
    assert "perceptrons" in report.described.trainer


def test_without_a_budget_what_needs_no_shadows_is_tried(forest: RandomForestClassifier, sides: Sides) -> None:
    report = attack(forest, *sides, budget="0s")
    assert report.described.shadows == 0
    assert report.verdict == "leak found"
    assert {result.name for result in report.results} >= {"confidence alone", "correct or not", "confidence within its class", "entropy"}


def test_numbers_are_attacked(sides: Sides) -> None:
    (X, _), (Z, _) = sides
    rng = np.random.default_rng(6)
    y, z = X[:, 0] + rng.normal(size=len(X)), Z[:, 0] + rng.normal(size=len(Z))
    report = attack(RandomForestRegressor(20, random_state=0).fit(X, y), (X, y), (Z, z), settings=FEW)
    assert report.described.readings == ("number",)
    assert report.verdict == "leak found"
    assert report.described.correct is None


def test_a_detector_without_labels_is_attacked() -> None:
    rng = np.random.default_rng(7)
    X = rng.standard_t(2, size=(800, 6))
    report = attack(IsolationForest(n_estimators=30, max_samples=1.0, random_state=0).fit(X[:400]), X[:400], X[400:], settings=FEW)
    assert "score" in report.described.reading
    assert report.verdict != "inconsistent with the claim"


def test_a_pipeline_on_a_frame_in_five_lines(sides: Sides) -> None:
    (X, y), (Z, z) = sides
    frame, other = pd.DataFrame(X).add_prefix("f"), pd.DataFrame(Z).add_prefix("f")
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(frame, y)
    assert attack(pipeline, (frame, y), (other, z), settings=FEW).verdict == "leak found"


def test_texts_as_labels_and_tables_as_records(sides: Sides) -> None:
    (X, y), (Z, z) = sides
    tables = [pa.table({f"x{i}": side[:, i] for i in range(8)}) for side in (X, Z)]
    labels = [np.array(["no", "yes"])[side] for side in (y, z)]
    model = BoostedTreesClassifier(Budget(2.0, 1e-5), classes=["no", "yes"], trees=20).fit(tables[0], labels[0]).model_
    report = attack(model, (tables[0], labels[0]), (tables[1], labels[1]), settings=FEW)
    assert report.claim is not None
    assert report.verdict != "inconsistent with the claim"
    assert all(result.at(0.01).bound is not None for result in report.results)


def test_shadows_of_an_estimator_do_not_charge_its_ledger(sides: Sides) -> None:
    from tacit.guard import MemoryBooks

    ledger = MemoryBooks()
    model = BoostedTreesClassifier(Budget(2.0, 1e-5), classes=[0, 1], trees=5, ledger=ledger).fit(*sides[0])
    before = ledger.head
    attack(model, *sides, settings=AttackSettings(shadows=4, controls=False))
    assert ledger.head == before


def test_units_are_guessed_about_as_a_whole(sides: Sides) -> None:
    rng = np.random.default_rng(8)
    owner = np.repeat(np.arange(400), 4)
    X = rng.normal(size=(1_600, 8)) + rng.normal(size=(400, 8))[owner]
    y = rng.integers(0, 2, 1_600)
    inside = owner < 200
    model = RandomForestClassifier(20, random_state=0).fit(X[inside], y[inside])
    report = attack(model, (X[inside], y[inside], owner[inside]), (X[~inside], y[~inside], owner[~inside]), settings=FEW)
    assert report.first.members == report.first.nonmembers == 200
    assert report.first.auc > 0.95
    with pytest.raises(DataError, match="on one side only"):
        attack(model, (X[inside], y[inside], owner[inside]), (X[~inside], y[~inside], owner[~inside] - 100), settings=FEW)


def test_a_group_at_risk_is_named(sides: Sides) -> None:
    """A forest that remembers only the records of one group; the other is scored by a rule that learned from no record, so that it cannot leak."""
    (X, y), (Z, z) = sides
    rng = np.random.default_rng(9)
    groups = [rng.choice(["a", "b"], len(side), p=[0.3, 0.7]) for side in (X, Z)]

    def mixed(forest: RandomForestClassifier, rows: np.ndarray) -> np.ndarray:
        ruled = 1 / (1 + np.exp(-rows[:, :1]))
        return np.where(rows[:, 8:] == 1, forest.predict_proba(rows[:, :8]), np.hstack([1 - ruled, ruled]))

    deep = RandomForestClassifier(20, random_state=0).fit(X, y)

    marked = [np.column_stack([side, group == "a"]) for side, group in zip((X, Z), groups, strict=True)]

    def trainer(rows: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        again = RandomForestClassifier(20, random_state=0).fit(rows[:, :8], labels)
        return lambda asked: mixed(again, asked)

    samples = [Sample(side, labels, groups={"kind": group}) for side, labels, group in zip(marked, (y, z), groups, strict=True)]
    report = attack(lambda rows: mixed(deep, rows), *samples, trainer=trainer, settings=FEW)
    risk = {group.value: group for group in report.groups if group.grouping == "kind"}
    assert risk["a"].leaks
    assert not risk["b"].leaks
    assert any(finding.rule == "TA103" and finding.facts["value"] == "a" for finding in report.findings)


def test_the_riskiest_members_are_members(forest: RandomForestClassifier, sides: Sides) -> None:
    report = attack(forest, *sides, settings=FEW)
    top = report.riskiest(20)
    assert all(report.is_member[place] for place, _ in top)
    assert [rate for _, rate in top] == sorted(rate for _, rate in top)
    assert top[0][1] < 0.01


# --------------------------------------------------------------------------------------------------------------------------- cache


def test_the_cache_gives_the_same_and_never_other_records_shadows(forest: RandomForestClassifier, sides: Sides, tmp_path: Path) -> None:
    settings = AttackSettings(shadows=4, cache=tmp_path, controls=False)
    first = attack(forest, *sides, settings=settings)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    again = attack(forest, *sides, settings=settings)
    assert (first.described.cached, again.described.cached) == (0, 4)
    assert np.array_equal(first.scores, again.scores)
    (X, y), others = sides
    changed = X.copy()
    changed[0, 0] += 1e-9
    assert attack(forest, (changed, y), others, settings=settings).described.cached == 0
    files[0].write_bytes(b"damaged")
    assert attack(forest, *sides, settings=settings).described.cached == 2
    seen = attack(forest, *sides, access="label", settings=settings)
    assert seen.described.cached == 0
    fresh = attack(forest, *sides, access="label", settings=AttackSettings(shadows=4, controls=False))
    assert np.array_equal(seen.scores, fresh.scores)
    deeper = RandomForestClassifier(20, max_depth=3, random_state=0).fit(*sides[0])
    assert attack(deeper, *sides, settings=settings).described.cached == 0


# ------------------------------------------------------------------------------------------------------------------------- targets


def test_a_pytorch_module_is_attacked_and_left_as_it_was() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make torch")
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(800, 20)).astype(np.float32), rng.integers(0, 3, 800)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    inputs, labels = torch.from_numpy(X[:400]), torch.from_numpy(y[:400])
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = attack(model, (X[:400], y[:400]), (X[400:], y[400:]), settings=FEW)
    assert report.described.kind == "pytorch"
    assert "perceptrons with 64" in report.described.trainer
    assert report.verdict == "leak found"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_any_other_module_is_trained_again_layer_by_layer() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: make torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(10, 32), torch.nn.Linear(32, 2)

        def forward(self, x: Any) -> Any:
            return self.second(torch.nn.functional.gelu(self.first(x)))

    rng = np.random.default_rng(11)
    X, y = rng.normal(size=(240, 10)).astype(np.float32), rng.integers(0, 2, 240)
    model = Net()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(X[:120])), torch.from_numpy(y[:120])).backward()
        optimiser.step()
    state = torch.get_rng_state()
    report = attack(model, (X[:120], y[:120]), (X[120:], y[120:]), settings=AttackSettings(shadows=4, controls=False))
    assert report.verdict == "leak found"
    assert torch.equal(state, torch.get_rng_state())


def test_an_onnx_file_is_attacked(forest: RandomForestClassifier, sides: Sides, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from tacit.models import to_onnx

    model = BoostedTreesClassifier(Budget(8.0, 1e-5), classes=[0, 1], trees=10).fit(*sides[0]).model_
    path = tmp_path / "model.onnx"
    to_onnx(model, path)
    table = pa.table({name: sides[0][0][:, i] for i, name in enumerate(model.domain.names)})
    asked = as_target(str(path)).answers(table)
    np.testing.assert_allclose(asked[:, -1] if asked.ndim == 2 else asked, model.predict_proba(table)[:, 1], atol=1e-5)


class _Endpoint(BaseHTTPRequestHandler):
    model: Any = None
    reply: bytes | None = None
    status = 200

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        body = self.reply or json.dumps({"predictions": self.model.predict_proba(np.array(rows)).tolist()}).encode()
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def endpoint(forest: RandomForestClassifier) -> Iterator[tuple[str, type[_Endpoint]]]:
    handler = type("Handler", (_Endpoint,), {"model": forest})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/predict", handler
    server.shutdown()
    server.server_close()


def test_an_endpoint_is_attacked(endpoint: tuple[str, type[_Endpoint]], sides: Sides) -> None:
    report = attack(endpoint[0], *sides, trainer=RandomForestClassifier(20), settings=FEW)
    assert report.described.kind == "http"
    assert report.first.at(0.01).low > 0.3


@pytest.mark.parametrize(("status", "reply", "words"), [(503, b"busy", "status 503"), (200, b"{}", "something else"), (200, b"<", "something else")])
def test_an_endpoint_that_fails_is_named(endpoint: tuple[str, type[_Endpoint]], sides: Sides, status: int, reply: bytes, words: str) -> None:
    endpoint[1].status, endpoint[1].reply = status, reply
    with pytest.raises(DataError, match=words):
        attack(endpoint[0], *sides)


def test_nobody_at_an_address_is_named(sides: Sides) -> None:
    with pytest.raises(DataError, match="Expected an answer from http"):
        attack("http://127.0.0.1:9/x", *sides)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "weights.pt"])
def test_pickles_are_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(UsageError, match=r"would run whatever code is in it.*module:name"):
        as_target(name)


# ------------------------------------------------------------------------------------------------------------------- what is wrong


def test_what_is_wrong_is_said(forest: RandomForestClassifier, sides: Sides) -> None:
    (X, y), (Z, z) = sides
    with pytest.raises(UsageError, match="access to be one of label"):
        attack(forest, *sides, access="all")
    with pytest.raises(UsageError, match="budget of time such as 30s"):
        attack(forest, *sides, budget="soon")
    with pytest.raises(UsageError, match="at least 20 members and 20 others"):
        attack(forest, (X[:5], y[:5]), (Z, z))
    with pytest.raises(UsageError, match="even number of shadows"):
        attack(forest, *sides, settings=AttackSettings(shadows=3))
    with pytest.raises(UsageError, match="of both members and others"):
        attack(forest, X, (Z, z))
    with pytest.raises(DataError, match="one of the labels per record, 800"):
        attack(forest, (X, y[:10]), (Z, z))
    with pytest.raises(DataError, match="same columns"):
        attack(forest, (X[:, :4], y), (Z, z))
    with pytest.raises(DataError, match="labels among the target's 2 classes; 1 of"):
        attack(forest, (X, y + 1), (Z, z + 1))
    with pytest.raises(DataError, match="one row per record"):
        attack(lambda rows: np.zeros(3), *sides)
    with pytest.raises(DataError, match="numbers as answers"):
        attack(lambda rows: np.full(len(rows), np.nan), *sides)
    with pytest.raises(UsageError, match="a model that has predict"):
        attack(3, *sides)
    with pytest.raises(UsageError, match="trainer to be 'auto'"):
        attack(forest, *sides, trainer=3)


def test_the_report_is_saved_as_a_whole_in_every_form(forest: RandomForestClassifier, sides: Sides, tmp_path: Path) -> None:
    report = attack(forest, *sides, settings=AttackSettings(shadows=4))
    for suffix in ("html", "json", "sarif", "txt"):
        report.save(tmp_path / f"report.{suffix}")
    assert "<script" not in (tmp_path / "report.html").read_text()
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["released"] is False
    assert "scores" not in found
    run = json.loads((tmp_path / "report.sarif").read_text())["runs"][0]
    assert run["results"][0]["ruleId"] == run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]["id"] == "TA101"
    assert run["results"][0]["level"] == {"high": "error", "medium": "warning"}[report.findings[0].severity]
    with pytest.raises(UsageError, match="ends in"):
        report.save(tmp_path / "report.docx")


def test_perceptrons_that_are_told_their_recipe_do_not_search(sides: Sides) -> None:
    trainer = NetworksTrainer(NetworkRecipe((16,), epochs=2), search=False)
    report = attack(LogisticRegression().fit(*sides[0]), *sides, trainer=trainer, settings=AttackSettings(shadows=4, controls=False))
    assert report.described.trainer == "perceptrons with 16 hidden units, 2 epochs"


def test_other_attacks_on_the_same_model_are_part_of_the_report(forest: RandomForestClassifier, sides: Sides) -> None:
    settings = AttackSettings(shadows=4, also=("extraction", "structure"), sensitive=0)
    rounded = tuple((np.column_stack([X[:, 0] > 0, X[:, 1:]]).astype(float), y) for X, y in sides)
    model = RandomForestClassifier(40, random_state=0).fit(*rounded[0])
    report = attack(model, *rounded, settings=settings)
    assert [outcome.attack for outcome in report.outcomes] == [
        "structure, small leaves", "extraction, in distribution", "attribute inference, members", "attribute inference, members beyond others",
    ]
    assert {"TA101", "TA701", "TA401"} <= {finding.rule for finding in report.findings}
    assert "other attacks:" in report.to_text()
    small = dataclasses.replace(report.outcomes[-1], low=0.01, high=0.02)
    large = dataclasses.replace(report.outcomes[-1], low=0.3, high=0.4)
    assert (finding_of(small).severity, finding_of(large).severity) == ("low", "high")
    assert "What else was tried" in report.to_html()
    with pytest.raises(UsageError, match="other attacks among"):
        AttackSettings(also=("everything",))


def test_bare_labels_of_changed_copies_say_how_sure_a_model_is() -> None:
    """Labels alone hide members who are right anyway, but not how often the label changes nearby. Frames are asked about as they are."""
    rng = np.random.default_rng(14)
    X = rng.normal(size=(2_400, 20)).astype(np.float32)
    y = ((X[:, :4].sum(axis=1) + rng.normal(size=2_400)) > 0).astype(int)
    member = np.arange(2_400) < 1_200
    net = train_networks(X, y, members=member[:, None], classes=2, recipe=NetworkRecipe((64,), epochs=60), rng=rng)
    sides = (X[:1_200], y[:1_200]), (X[1_200:], y[1_200:])
    settings = AttackSettings(shadows=6, controls=False)

    def model(rows: Any) -> np.ndarray:
        return np.asarray(net.logits(np.asarray(rows, np.float32))[0])

    around = attack(model, *sides, access="label", settings=settings)
    flat = attack(model, *((pd.DataFrame(side), labels) for side, labels in sides), access="label", settings=settings)
    assert around.first.auc > flat.first.auc + 0.02


def test_the_model_card_is_valid_cyclonedx(forest: RandomForestClassifier, sides: Sides, tmp_path: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib")
    from cyclonedx.schema import SchemaVersion

    report = attack(forest, *sides, settings=FEW, claim=promise(12.0))
    text = report.to_cyclonedx()
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace("machine-learning-model", "wish")) is not None
    report.save(tmp_path / "model.cdx.json")
    assert json.loads((tmp_path / "model.cdx.json").read_text())["vulnerabilities"][0]["id"] == "TA101"


KINDS: list[tuple[str, Callable[[], Any], str]] = [
    ("anomalies by trees", lambda: AnomalyDetector(Budget(2.0, 1e-5), trees=8), "none"),
    ("anomalies by components", lambda: AnomalyDetector(Budget(2.0, 1e-5), method="components"), "none"),
    ("three classes", lambda: BoostedTreesClassifier(Budget(4.0, 1e-5), classes=[0, 1, 2], trees=8), "three"),
    ("a number", lambda: BoostedTreesRegressor(Budget(4.0, 1e-5), bounds=(-4, 4), trees=8), "number"),
    ("two classes, linear", lambda: LinearClassifier(Budget(4.0, 1e-5), classes=[0, 1]), "two"),
    ("three classes, linear", lambda: LinearClassifier(Budget(4.0, 1e-5), classes=[0, 1, 2]), "three"),
    ("a number, linear", lambda: LinearRegressor(Budget(4.0, 1e-5), bounds=(-4, 4)), "number"),
]


@pytest.mark.parametrize(("kind", "build", "what"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_every_kind_of_tacit_model_has_shadows_of_its_own_kind(kind: str, build: Callable[[], Any], what: str) -> None:
    rng = np.random.default_rng(15)
    X = rng.normal(size=(600, 4))
    labels = {"two": (X[:, 0] > 0).astype(int), "three": rng.integers(0, 3, 600), "number": X[:, 0] + rng.normal(size=600), "none": None}[what]
    fit = build().fit(X[:300]) if labels is None else build().fit(X[:300], labels[:300])
    sides = (X[:300], X[300:]) if labels is None else ((X[:300], labels[:300]), (X[300:], labels[300:]))
    report = attack(fit.model_, *sides, settings=AttackSettings(shadows=4, controls=False))
    assert report.described.shadows == 4
    assert "perceptrons" not in report.described.trainer
    assert report.described.assumption
    assert not report.first.contradicts


def test_what_others_code_raises_is_named_without_what_it_says(forest: RandomForestClassifier, sides: Sides) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("could not convert string to float: 'alice'")

    for call in (lambda: attack(broken, *sides), lambda: attack(forest, *sides, trainer=broken, settings=FEW)):
        with pytest.raises(DataError, match="ValueError") as caught:
            call()
        assert "alice" not in str(caught.value)
        assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_are_counted(forest: RandomForestClassifier, sides: Sides, missing: Any) -> None:
    (X, y), others = sides
    labels = y.astype(object)
    labels[:3] = missing
    with pytest.raises(DataError, match="for every record; 3 are missing"):
        attack(forest, (X, labels), others)
