"""Four real hospitals as processes, from invitations to a study that aborts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import example

pytest.importorskip("websockets", reason="the extra «federation» is not installed")


@pytest.fixture(scope="module")
def hospitals() -> Any:
    return example("healthcare/hospitals.py")


def test_without_the_data_it_says_what_it_needs(hospitals: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        hospitals.main([str(tmp_path), "--work", str(tmp_path / "work")])
    assert stopped.value.code == 2
    assert "processed.cleveland.data" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_then_one_absent_then_two(hospitals: Any, data_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (data_directory / "heart").is_dir():
        pytest.skip("the heart disease data are absent")
    assert hospitals.main([str(data_directory / "heart"), "--work", str(tmp_path / "work")]) == 0
    said = capsys.readouterr().out
    studies = tmp_path / "work" / "coordinator" / "studies"
    reports = [json.loads((studies / f"heart-{edition}" / "report.json").read_text(encoding="utf-8")) for edition in (1, 2, 3)]
    assert [report["outcome"] for report in reports] == ["completed", "completed", "aborted"]
    assert len(reports[0]["charges"]) == 4
    assert set(reports[1]["charges"]) == {"cleveland", "hungarian", "va"}
    assert not (studies / "heart-3" / "model.tacit").exists()
    assert said.count("(epsilon so far") == 4  # va: the count, two studies and the one that was aborted
    (line,) = [line for line in said.splitlines() if line.startswith("  all four")]
    assert float(line.split("all patients ")[1].split()[0]) > 0.7
