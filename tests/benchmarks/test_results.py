from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from benchmarks.report import machine, processor, results
from benchmarks.result import Check, Measured, as_json, line_of, missing_line


def measured(*checks: Check, figure: float = 0.9, peer: float = 0.8, **details: Any) -> Measured:
    return Measured(figure, "AUC", "DP-EBM | one", peer, checks, details)


def page(*lines: dict[str, Any]) -> str:
    return results(lines, command="python -m benchmarks all", today=date(2026, 1, 2), machine="a machine in words")


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "holds"),
    [(0.895, 0.895, True, True), (0.8949999, 0.895, True, False), (0.125, 0.125, False, True), (0.1251, 0.125, False, False)],
)
def test_a_limit_itself_is_within_the_limit_and_nothing_is_rounded(value: float, limit: float, at_least: bool, holds: bool) -> None:
    assert Check("x", value, limit, at_least=at_least).holds is holds


@pytest.mark.parametrize("at_least", [True, False])
def test_what_is_no_number_holds_nothing(at_least: bool) -> None:
    assert not Check("x", float("nan"), 0.5, at_least=at_least).holds


def test_one_missed_threshold_is_enough_and_a_missed_aim_is_not() -> None:
    hit, miss = Check("a", 1.0, 0.5), Check("b", 0.1, 0.5)
    assert measured(hit).passed
    assert not measured(hit, miss).passed
    assert measured(hit, Check("c", 0.1, 0.5, decides=False)).passed


def test_a_row_without_thresholds_has_not_passed() -> None:
    assert not measured().passed
    assert not measured(Check("only an aim", 1.0, 0.5, decides=False)).passed


def test_a_ratio_to_nothing_is_none() -> None:
    assert measured(figure=1.0, peer=0.0).ratio is None


def test_the_line_lists_thresholds_and_aims_apart_with_values_and_limits() -> None:
    checks = (Check("AUC", 0.9, 0.895), Check("CPU", 0.2, 0.125, at_least=False), Check("more", 0.9, 0.95, decides=False))
    line = line_of("utility.x", measured(*checks), 1.23456789)
    assert line["details"]["thresholds"] == [
        {"what": "AUC", "value": 0.9, "limit": ">= 0.895", "holds": True}, {"what": "CPU", "value": 0.2, "limit": "<= 0.125", "holds": False},
    ]
    assert [aim["what"] for aim in line["details"]["aims"]] == ["more"]
    assert line["seconds"] == 1.23457
    assert json.loads(as_json(line)) == line


def test_a_figure_that_is_no_number_cannot_be_printed_as_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json(line_of("x", measured(figure=float("nan")), 0.0))


def test_the_page_has_figure_peer_ratio_verdict_and_command_of_every_row() -> None:
    text = page(line_of("utility.x", measured(Check("AUC", 0.9, 0.85)), 1.0), line_of("speed.y", measured(Check("AUC", 0.9, 0.95)), 1.0))
    assert "| utility.x | 0.9 AUC | 0.8 DP-EBM \\| one | 1.125 | yes | `python -m benchmarks utility.x` |" in text
    assert "| **no** | `python -m benchmarks speed.y` |" in text
    assert "2026-01-02" in text
    assert "a machine in words" in text
    assert "| AUC | 0.9 | >= 0.95 | **no** |" in text


def test_the_page_shows_the_utility_table_by_contestant_and_epsilon() -> None:
    private = {e: {"fits": 2, "auc": 0.9, "auc_sd": 0.01, "ap": 0.5, "ap_sd": 0.02, "cpu_seconds": 1.0} for e in ("0.1", "1")}
    open_ = {"none": {"fits": 1, "auc": 0.95, "auc_sd": 0.0, "ap": 0.6, "ap_sd": 0.0, "cpu_seconds": 3.0}}
    details: dict[str, Any] = {"table": {"adult": {"tacit": private, "xgboost": open_}}, "cpu_ratios": {"adult": {"xgboost": 1 / 3}}}
    details["missing"] = {"opacus_mlp": "no wheel"}
    text = page(line_of("utility.adult", measured(Check("AUC", 0.9, 0.85), **details), 1.0))
    assert "| tacit | 0.9000 ± 0.0100 | 0.9000 ± 0.0100 | 2 | 1 |  |" in text
    assert "| xgboost | 0.9500 ± 0.0000 | 0.9500 ± 0.0000 | 1 | 3 | 0.3333 |" in text
    assert "| xgboost | 0.6000 ± 0.0000 | 0.6000 ± 0.0000 | 1 | 3 | 0.3333 |" in text
    assert "Without opacus_mlp: no wheel" in text


def test_a_row_that_was_not_measured_says_why_and_counts_as_failed() -> None:
    text = page(missing_line("scale.rows", "no space left", 0.1))
    assert "| scale.rows | not measured: no space left | | | no | `python -m benchmarks scale.rows` |" in text


def test_tables_have_as_many_cells_in_every_line() -> None:
    lines = page(line_of("utility.x", measured(Check("a | b", 0.9, 0.85)), 1.0), missing_line("y", "a | b", 0.0)).splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("|---")]
    for head in heads:
        body = [line for line in lines[head - 1:] if line]
        width = lines[head].count("|")
        for line in body[: next((i for i, text in enumerate(body) if not text.startswith("|")), len(body))]:
            assert line.replace("\\|", "").count("|") == width, line


def test_the_machine_is_described_without_its_name() -> None:
    words = machine()
    assert "cores" in words
    assert "GiB" in words
    assert not platform.node() or platform.node() not in words


def test_the_processor_is_named_with_its_widest_vectors(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: A Chip\nflags\t\t: fpu avx2 sse\n\nmodel name\t: A Chip\nflags\t\t: fpu avx2 sse\n")
    assert processor(info) == "A Chip with AVX2"
    info.write_text("model name\t: A Chip\nflags\t\t: fpu avx2 avx512f\n")
    assert processor(info) == "A Chip with AVX-512"
    assert processor(tmp_path / "none") == platform.machine()
