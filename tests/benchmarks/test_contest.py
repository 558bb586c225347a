"""A contest with a tiny peer of our own, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.contest import Contestant, Failed, NotBuilt, compete, workplace, write_job
from benchmarks.datasets import Case, Split
from benchmarks.environments import Environment, Unavailable
from benchmarks.peers.__main__ import main as peers_main
from benchmarks.peers.common import read_job
from sklearn.metrics import roc_auc_score

from benchmarks import ROOT, contest, environments
from tacit.domain import Domain

PEER = """
import sys
from pathlib import Path
from benchmarks.peers.common import read_job, serve
job = read_job(sys.argv[1])
with (Path(__file__).parent / "runs").open("a") as runs:
    runs.write("run\\n")
serve(job, lambda job, epsilon: (job.x_test[:, 0] * (-1 if epsilon == 2.0 else 1), 0.5), {"tiny": "1.0"})
"""
COLUMNS = (
    {"name": "amount", "type": "number", "lower": 0.0, "upper": 10.0},
    {"name": "kind", "type": "category", "values": ["a", "b"]},
)


def split(seed: int) -> Split:
    rng = np.random.default_rng(seed)
    tables = [pl.DataFrame({"amount": rng.uniform(-1, 11, 300), "kind": rng.choice(["a", "b", "new"], 300)}) for _ in range(2)]
    y = [(table["amount"].to_numpy() + rng.normal(0, 3, 300) > 5).astype(np.int64) for table in tables]
    return Split(tables[0], y[0], tables[1], y[1], COLUMNS)


CASE = Case("tiny", "a few rows", split)


@dataclass(frozen=True)
class Here(Environment):
    """The interpreter of this process."""

    name: str = "here"
    steps: tuple[tuple[str, ...], ...] = field(default=(("tiny==1.0",),))

    def python(self) -> str:
        return sys.executable


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which modules can be added."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "tiny_peer.py").write_text(PEER)
    monkeypatch.setattr(contest, "ROOT", tmp_path)
    monkeypatch.setattr(contest, "WORKSHOP", tmp_path / ".bench")
    return tmp_path


def peer(module: str = "tiny_peer", **rest: object) -> Contestant:
    return Contestant("tiny", "Tiny", module, Here(), epsilons=(1.0, 2.0), **rest)  # type: ignore[arg-type]


def runs(place: Path) -> int:
    return (place / "runs").read_text().count("run")


def test_a_peer_is_scored_on_the_test_rows_for_every_epsilon(place: Path) -> None:
    scores, versions = compete(peer(), CASE, 0)
    expected = roc_auc_score(split(0).y_test, np.clip(split(0).test["amount"].to_numpy(), 0, 10))
    assert [score.epsilon for score in scores] == [1.0, 2.0]
    assert scores[0].auc == pytest.approx(expected, abs=1e-9)
    assert scores[1].auc == pytest.approx(1 - expected, abs=1e-9)
    assert {score.cpu_seconds for score in scores} == {0.5}
    assert {score.seed for score in scores} == {0}
    assert versions == {"tiny": "1.0"}


def test_kept_answers_are_used_only_when_asked_and_only_for_the_same_job(place: Path) -> None:
    first = compete(peer(), CASE, 0)
    assert compete(peer(), CASE, 0, reuse=True) == first
    assert runs(place) == 1
    compete(peer(), CASE, 0)
    assert runs(place) == 2
    compete(peer(), CASE, 1, reuse=True)
    assert runs(place) == 3


def test_a_changed_peer_is_measured_again(place: Path) -> None:
    compete(peer(), CASE, 0)
    (place / "tiny_peer.py").write_text(PEER + "# another way\n")
    compete(peer(), CASE, 0, reuse=True)
    assert runs(place) == 2


def test_an_answer_of_tacit_is_never_kept(place: Path) -> None:
    ours = Contestant("tiny", "Tiny", "tiny_peer", None, epsilons=(1.0,))
    compete(ours, CASE, 0, reuse=True)
    compete(ours, CASE, 0, reuse=True)
    assert runs(place) == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("raise ValueError('no such thing')", Failed, "broken exited with 1: ValueError: no such thing"),
        ("import sys; sys.stderr.write('no learner yet'); sys.exit(69)", NotBuilt, "no learner yet"),
    ],
)
def test_a_process_that_fails_is_told_by_its_last_line(place: Path, text: str, error: type[Exception], message: str) -> None:
    (place / "broken.py").write_text(text)
    with pytest.raises(error, match=message):
        compete(peer("broken"), CASE, 0)
    assert not list((place / ".bench" / "tmp").iterdir())


def test_a_job_is_the_same_rows_for_peers_and_for_tacit(place: Path) -> None:
    rows = split(3)
    with workplace() as folder:
        write_job(folder, rows, {"model": "tiny", "epsilons": [1.0]})
        job = read_job(str(folder))
        assert pl.read_parquet(folder / "train.parquet").equals(rows.train)
        assert np.load(folder / "y.npy").tolist() == job.y.tolist() == rows.y_train.tolist()
        assert Domain.load(folder / "domain.toml").names == ("amount", "kind")
        assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "domain.toml", "job.json", "test.parquet", "train.parquet", "y.npy"]
    np.testing.assert_allclose(job.x[:, 0], np.clip(rows.train["amount"].to_numpy(), 0, 10), rtol=1e-6)
    assert job.codes[:, 0].tolist() == [{"a": 0, "b": 1}.get(kind, 2) for kind in rows.train["kind"]]
    assert job.levels == [3]
    assert not folder.exists()


def test_public_scaling_keeps_numbers_between_0_and_1_and_one_hot_adds_up(place: Path) -> None:
    with workplace() as folder:
        write_job(folder, split(4), {"model": "tiny", "epsilons": [1.0]})
        train, test = read_job(str(folder)).one_hot()
    assert train.shape == test.shape == (300, 4)
    assert train.min() >= 0
    assert train.max() <= 1
    assert (train[:, 1:].sum(axis=1) == 1).all()


def test_an_environment_that_would_bring_accelerators_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def call(command: list[str]) -> str:
        calls.append(command)
        return '{"install": [{"metadata": {"name": "torch"}}, {"metadata": {"name": "nvidia-cublas"}}]}'

    monkeypatch.setattr(environments, "_call", call)
    monkeypatch.setattr(environments, "WORKSHOP", tmp_path)
    with pytest.raises(Unavailable, match="1 accelerator package"):
        Environment("heavy", (("torch==2.13.0",),)).python()
    assert "--dry-run" in calls[-1]
    assert not list(tmp_path.rglob("ready.json"))


def test_an_environment_is_made_once_per_set_of_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def call(command: list[str]) -> str:
        if "venv" in command:
            made.append(command[-1])
            Path(command[-1]).mkdir(parents=True)
        return '{"install": []}'

    monkeypatch.setattr(environments, "_call", call)
    monkeypatch.setattr(environments, "WORKSHOP", tmp_path)
    Environment("light", (("one==1",),)).python()
    Environment("light", (("one==1",),)).python()
    assert len(made) == 1
    Environment("light", (("one==2",),)).python()
    assert len(made) == 2


def test_an_installation_that_fails_says_so_in_one_line() -> None:
    with pytest.raises(Unavailable, match="failed: no such package") as raised:
        environments._call([sys.executable, "-c", "import sys; sys.exit('looking...\\nno such package')"])
    assert "\n" not in str(raised.value)


def test_peers_are_measured_alone_and_a_failure_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fake(contestant: Contestant, case: Case, seed: int, *, reuse: bool) -> tuple[list[contest.Score], dict[str, str]]:
        if seed == 0:
            raise Failed("it broke")
        return [contest.Score(1.0, seed, 0.9, 0.8, 0.1)], {}

    monkeypatch.setattr("benchmarks.peers.__main__.compete", fake)
    monkeypatch.setattr(sys, "argv", ["benchmarks.peers", "adult", "--only", "xgboost", "--seeds", "2"])
    assert peers_main() == 0
    out, err = capsys.readouterr()
    assert out.count('"auc": 0.9') == 1
    assert err == "xgboost adult 0: it broke\n"


@pytest.mark.parametrize(("cases", "count"), [([], 5), (["fraud"], 1)])
def test_without_a_case_all_are_measured(cases: list[str], count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks.peers.__main__.compete", lambda *_, **__: ([], {}))
    monkeypatch.setattr(sys, "argv", ["benchmarks.peers", *cases, "--only", "xgboost", "--seeds", "1"])
    assert peers_main() == 0
    assert len(capsys.readouterr().out.splitlines()) == count


def test_an_unknown_case_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.peers", "iris"])
    with pytest.raises(SystemExit) as stopped:
        peers_main()
    assert stopped.value.code == 2
    assert "nsl_kdd.official" in capsys.readouterr().err
