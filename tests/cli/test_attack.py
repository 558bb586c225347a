"""``tacit attack`` and ``tacit defences`` as people use them: on files, with exit codes for gates, and errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.learn import BoostedTreesClassifier
from tacit.models import save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members, others, a Tacit model without noise to speak of, and a module with a forest that remembers."""
    place, rng = tmp_path_factory.mktemp("attack"), np.random.default_rng(0)
    X = rng.normal(size=(1_600, 6))
    y = np.where(X[:, 0] + 2 * rng.normal(size=1_600) > 0, "yes", "no")
    table = pa.table({**{f"x{i}": X[:, i] for i in range(6)}, "y": y, "who": np.arange(1_600) // 2, "place": rng.choice(["a", "b"], 1_600)})
    pq.write_table(table[:800], place / "members.parquet")
    pq.write_table(table[800:], place / "others.parquet")
    fit = BoostedTreesClassifier(Budget(1.0, 1e-5), classes=["no", "yes"], trees=30).fit(table.select([f"x{i}" for i in range(6)])[:800], y[:800])
    save(fit.model_, place / "model.tacit", SigningKey.generate())
    (place / "ours.py").write_text(
        "import pyarrow.parquet as pq, numpy as np\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "table = pq.read_table('members.parquet')\n"
        "X = np.column_stack([table.column(f'x{i}').to_numpy() for i in range(6)])\n"
        "forest = RandomForestClassifier(40, random_state=0).fit(X, table.column('y').to_numpy(zero_copy_only=False))\n",
    )
    return place


def tacit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tacit", *arguments], cwd=folder, capture_output=True, text=True, check=False)


SIDES = ("--data", "members.parquet", "--against", "others.parquet", "--shadows", "4")


def test_a_forest_is_found_and_the_gate_closes(folder: Path) -> None:
    done = tacit(folder, "attack", "ours:forest", *SIDES, "--target", "y", "--drop", "who", "--drop", "place", "--fail-on", "medium")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("LEAK FOUND: RandomForestClassifier")
    assert "TA101" in done.stdout
    assert "not private" in done.stdout


def test_a_private_model_passes_the_gate_and_says_what_its_claim_allows(folder: Path) -> None:
    done = tacit(folder, "attack", "model.tacit", *SIDES, "--target", "y", "--group", "place", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["claim"]["epsilon"] <= 1.0
    assert found["verdict"] != "inconsistent with the claim"  # noise is drawn anew: once in some hundred runs a control reads wrong
    assert {group["grouping"] for group in found["groups"]} == {"class", "place"}


def test_findings_go_to_a_file_in_sarif(folder: Path) -> None:
    done = tacit(
        folder, "attack", "ours:forest", *SIDES, "--target", "y", "--drop", "who", "--drop", "place", "--format", "sarif", "--output", "found.sarif",
        "--fail-on", "never",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    run = json.loads((folder / "found.sarif").read_text())["runs"][0]
    assert run["tool"]["driver"]["name"] == "Tacit"
    assert run["results"]


def test_other_attacks_come_along(folder: Path) -> None:
    apart = ("--drop", "who", "--drop", "place", "--also", "structure", "--also", "extraction", "--format", "json", "--fail-on", "never")
    done = tacit(folder, "attack", "ours:forest", *SIDES, "--target", "y", *apart)
    assert done.returncode == 0, done.stderr
    assert [outcome["rule"] for outcome in json.loads(done.stdout)["outcomes"]] == ["TA701", "TA401"]
    named = tacit(folder, "attack", "model.tacit", *SIDES, "--target", "y", "--sensitive", "none")
    assert named.returncode == 2
    assert "none" in named.stderr


def test_units_are_guessed_about(folder: Path) -> None:
    apart = ("--unit", "who", "--drop", "place", "--format", "json", "--fail-on", "never")
    done = tacit(folder, "attack", "ours:forest", *SIDES, "--target", "y", *apart)
    assert json.loads(done.stdout)["results"][0]["members"] == 400, done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (("attack", "none.tacit", *SIDES), "none.tacit"),
    (("attack", "model.tacit", *SIDES, "--target", "label"), "a column «label» in both files"),
    (("attack", "model.pkl", *SIDES), "would run whatever code is in it"),
    (("attack", "ours:tree", *SIDES), "importable module:name"),
    (("attack", "model.tacit", "--data", "members.parquet", "--against", "none.parquet"), "none.parquet"),
    (("attack", "model.tacit", *SIDES, "--target", "y", "--budget", "soon"), "budget of time"),
    (("attack", "model.tacit", *SIDES, "--target", "y", "--access", "root"), "access to be one of"),
    (("attack", "model.tacit", *SIDES, "--target", "y", "--output", "no/where.html"), "a folder at"),
    (("attack", "model.tacit", *SIDES, "--target", "y", "--trainer", "ours"), "module:name"),
    (("defences", "members.parquet", "--target", "none"), "none"),
    (("defences", "members.parquet", "--target", "who"), "from 2 to 100 classes"),
])
def test_what_is_wrong_is_one_line_and_exit_code_2(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    done = tacit(folder, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == before


@pytest.mark.slow
def test_defences_are_compared_on_ones_own_records(folder: Path) -> None:
    done = tacit(folder, "defences", "members.parquet", "--target", "y", "--drop", "who", "--epsilon", "1", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["none"]["membership"]["auc_low"] > 0.5
    assert rows["DP training, ε = 1"]["membership"]["auc"] < 0.62
    assert len(rows) == 12
    kept = ("--format", "html", "--output", "page.html")
    page = tacit(folder, "defences", "members.parquet", "--target", "y", "--drop", "who", "--epsilon", "1", *kept)
    assert page.returncode == 0
    assert "<script" not in (folder / "page.html").read_text()
