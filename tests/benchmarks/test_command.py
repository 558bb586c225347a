from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from benchmarks.__main__ import INCOMPLETE, MISSED, PASSED, WRONG, main
from benchmarks.result import Check, Incomplete, Measured, Options, Row
from benchmarks.rows import ROWS

KEYS = ["name", "figure", "unit", "peer", "peer_figure", "ratio", "passed", "seconds"]
BINDING = ["utility.adult", "utility.nsl_kdd", "utility.fraud", "speed.trees", "scale.rows", "shadows.batched", "simulator.events", "anomaly.nsl_kdd",
    "steps.mlp", "steps.cnn", "steps.transformer", "steps.memory", "noise.secure", "accounting.tightness", "noise.correlated",
    "forecast.coverage", "fraud.customer", "synthetic.adult",
    "attacks.fusion", "attacks.peers", "attacks.others", "attacks.selftest", "attacks.bounds", "attacks.memory", "logs.cryptopan", "logs.counts",
    "logs.batch", "logs.stream", "logs.detection", "logs.sigma", "logs.leak", "sums.masked", "sums.scale", "sums.round",
    "encrypted.linear", "encrypted.latency", "encrypted.trees", "encrypted.sums", "encrypted.mlp",
    "federated.heart", "federated.poisoned",
]


def good(_options: Options) -> Measured:
    return Measured(0.9, "AUC", "a peer", 0.8, (Check("AUC", 0.9, 0.85),), {"seeds": _options.seeds, "reuse": _options.reuse})


def poor(_options: Options) -> Measured:
    return Measured(0.7, "AUC", "a peer", 0.8, (Check("AUC", 0.7, 0.85), Check("aim", 0.1, 0.9, decides=False)))


def absent(_options: Options) -> Measured:
    raise Incomplete("Expected adult.data in the data folder; set TACIT_DATA.")


def rows(**functions: object) -> Mapping[str, Row]:
    return {name: Row(name, f"about {name}", function) for name, function in functions.items()}  # type: ignore[arg-type]


def test_the_registry_has_the_rows_that_were_promised() -> None:
    assert list(ROWS) == BINDING
    assert all(name == row.name and row.about for name, row in ROWS.items())


@pytest.mark.parametrize(("function", "status"), [(good, PASSED), (poor, MISSED), (absent, INCOMPLETE)])
def test_a_row_prints_one_json_line_with_the_binding_keys_first(function: object, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["row"], rows=rows(row=function)) == status
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    line = json.loads(out)
    assert list(line)[: len(KEYS)] == KEYS
    assert line["name"] == "row"
    assert line["passed"] is (status == PASSED)
    assert line["seconds"] >= 0
    assert "Traceback" not in err


def test_the_ratio_is_ours_over_theirs_and_options_reach_the_row(capsys: pytest.CaptureFixture[str]) -> None:
    main(["row", "--seeds", "2", "--reuse"], rows=rows(row=good))
    line = json.loads(capsys.readouterr().out)
    assert line["ratio"] == pytest.approx(0.9 / 0.8, rel=1e-5)
    assert (line["details"]["seeds"], line["details"]["reuse"]) == (2, True)


def test_what_is_missing_is_said_on_both_streams(capsys: pytest.CaptureFixture[str]) -> None:
    main(["row"], rows=rows(row=absent))
    out, err = capsys.readouterr()
    assert "TACIT_DATA" in json.loads(out)["details"]["missing"]
    assert err == "row: Expected adult.data in the data folder; set TACIT_DATA.\n"


def test_a_row_is_recorded_and_the_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "RESULTS.md"
    assert main(["all"], rows=rows(one=good, two=poor), page=page) == MISSED
    before = page.read_text()
    assert main(["one", "--record", "--seeds", "2"], rows=rows(one=poor, two=poor), page=page) == MISSED
    after = page.read_text()
    assert after.count("| one |") == after.count("## one") == before.count("## one") == 1
    assert "python -m benchmarks one --seeds 2" in after
    assert after[after.index("## two") : after.index("## one")].strip() == before[before.index("## two") :].strip()
    assert "Measured on " in after[after.index("## one") :]
    assert main(["new", "--record"], rows=rows(new=good), page=page) == PASSED
    assert page.read_text().count("## ") == 3
    capsys.readouterr()


def test_an_unknown_row_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["utility.iris"]) == WRONG
    out, err = capsys.readouterr()
    assert out == ""
    assert all(name in err for name in BINDING)


@pytest.mark.parametrize("arguments", [[], ["list", "--seeds", "0"], ["list", "--seeds", "6"], ["list", "--seeds", "two"], ["list", "--fast"]])
def test_a_wrong_command_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == WRONG
    assert capsys.readouterr().out == ""


def test_the_list_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == PASSED
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == BINDING


def test_all_runs_every_row_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "RESULTS.md"
    assert main(["all", "--seeds", "1"], rows=rows(good=good, poor=poor), page=page) == MISSED
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["good", "poor"]
    text = page.read_text(encoding="utf-8")
    assert "`python -m benchmarks good --seeds 1`" in text
    assert "`python -m benchmarks all --seeds 1`" in text


def test_all_goes_on_after_a_row_that_cannot_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "RESULTS.md"
    assert main(["all"], rows=rows(absent=absent, good=good), page=page) == INCOMPLETE
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert "not measured: Expected adult.data" in page.read_text(encoding="utf-8")


def test_one_row_leaves_the_page_alone(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    main(["row"], rows=rows(row=good), page=page)
    assert not page.exists()
