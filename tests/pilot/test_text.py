from __future__ import annotations

import io
import shlex
from dataclasses import replace
from types import ModuleType

import pytest
from rich.console import Console

from tacit.page.numbers import NBSP, decimal, of_hundred, percent
from tacit.pilot.report import for_release, render_text
from tacit.pilot.results import PilotResult

WIDTHS = (40, 60, 80, 100, 160)


def printed(result: PilotResult, width: int = 80, *, terminal: bool = False) -> str:
    out = io.StringIO()
    render_text(result, Console(file=out, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None))
    return out.getvalue()


def table(text: str) -> list[str]:
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("model"))
    return lines[start : next(i for i in range(start, len(lines)) if lines[i].startswith(("found:", "before", "Release")) or not lines[i])]


def verdict(builder: ModuleType, name: str) -> PilotResult:
    made: PilotResult = {
        "pass": lambda: builder.make_result(),
        "none": lambda: builder.make_result(gates=builder.Gates(recall_loss=0.001)),
        "long names": lambda: builder.make_result(gates=builder.Gates(recall_loss=0.001), change=lambda c: replace(c, name=c.name + "x" * 200)),
        "alarm": lambda: builder.make_result(tuple(replace(s, hits=1200) if s.epsilon == 1 else s for s in builder.SPECS)),
    }[name]()
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["pass", "none", "alarm", "long names"])
def test_only_what_is_to_be_copied_is_wider_than_the_terminal(builder: ModuleType, name: str, width: int) -> None:
    for line in printed(verdict(builder, name), width).split("\n"):
        copied = line.startswith("    tacit ") or builder.HEAD in line
        assert copied or len(line) <= width, line


@pytest.mark.parametrize("width", WIDTHS)
def test_no_cell_is_cut_and_no_head_either(result: PilotResult, width: int) -> None:
    text = printed(result, width)
    assert "…" not in text
    for candidate in result.candidates:
        assert any(candidate.name in line.replace(NBSP, " ") for line in table(text))


def test_eighty_columns_hold_the_whole_table(result: PilotResult) -> None:
    text = printed(result, 80)
    for head in ("guaranteed", "found", "AUC", "attacker", "proven", "CPU", "gates"):
        assert head in text
    rows = table(text)[1:]
    assert len(rows) == len(result.candidates)
    for row, candidate in zip(rows, result.candidates, strict=True):
        utility, rate, cap = candidate.utility, candidate.rate(), candidate.cap()
        assert utility.recall is not None
        assert utility.auc is not None
        assert rate is not None
        shown = row.replace(candidate.name.replace(" = ", f"{NBSP}={NBSP}"), "")
        wanted = (of_hundred(utility.recall.value), decimal(utility.auc.value), percent(rate.tpr.value), "none" if cap is None else percent(cap))
        for cell in wanted:
            assert cell in shown, (cell, row)


def test_a_hundred_columns_are_no_wider_than_they_need_to_be(result: PilotResult) -> None:
    assert max(map(len, table(printed(result, 160)))) <= 100


def test_a_narrow_terminal_keeps_what_matters_most(result: PilotResult) -> None:
    text = printed(result, 40)
    assert "found" in text
    assert "gates" in text
    assert "CPU" not in text


def test_long_names_are_folded_and_the_numbers_stay(builder: ModuleType) -> None:
    long = "x" * 90
    result = builder.make_result(change=lambda c: replace(c, name=f"{c.name} {long}"))
    text = printed(result, 80)
    assert all(len(line) <= 80 for line in table(text))
    assert "".join(line.partition(" ")[0] for line in table(text)).count("x") + text.count("x") > 90
    assert "0.984" in text


def test_the_recommended_model_is_marked_and_so_is_the_closest(builder: ModuleType) -> None:
    for name, marked in (("pass", "ε = 1"), ("none", "ε = 8"), ("alarm", None)):
        rows = [line.replace(NBSP, " ") for line in table(printed(verdict(builder, name)))]
        assert [row[2 : 2 + len(marked or "")] for row in rows if row.startswith("→")] == ([marked] if marked else [])


def test_the_gates_of_the_table_are_explained_in_their_order(result: PilotResult) -> None:
    text = " ".join(printed(result).split())
    order = "ranking quality kept, detections kept, no attack beats the guarantee, attackers gain little, no group falls behind"
    assert f"gates, in this order: {order}." in text
    row = next(line for line in table(printed(result)) if "→" in line)
    assert row.endswith("✓✓✓✓✓")
    assert next(line for line in table(printed(result)) if "Logistic" in line).endswith("✗✗✓✓-")  # no groups were measured for it


@pytest.mark.parametrize("name", ["pass", "none", "alarm"])
def test_the_text_says_what_the_page_says(builder: ModuleType, name: str) -> None:
    result = verdict(builder, name)
    text = " ".join(printed(result).replace(NBSP, " ").split())
    found = result.recommendation
    assert found is not None
    said = [found.headline, found.sentence, *found.helps, *result.warnings, *(step.title for step in found.steps), result.disclosure]
    said += [reason.text for reason in found.reasons] if name != "pass" else []
    for sentence in said:
        assert " ".join(sentence.replace(NBSP, " ").split()) in text


@pytest.mark.parametrize("width", [40, 80])
def test_commands_can_be_copied_from_one_line(result: PilotResult, width: int) -> None:
    lines = [line.strip() for line in printed(result, width).split("\n")]
    assert result.recommendation is not None
    for step in result.recommendation.steps:
        assert not step.command or step.command in lines
        shlex.split(step.command)
    assert any(line.endswith(f"head {result.meta.ledger.head}") for line in lines)


def test_what_is_piped_has_no_colour_and_no_trailing_blanks(result: PilotResult) -> None:
    text = printed(result)
    assert "\x1b" not in text
    outside = [line for line in text.split("\n") if line not in table(text) and not line.startswith("  ")]
    assert all(line == line.rstrip() for line in outside)
    assert "\x1b[" in printed(result, terminal=True)


def test_a_name_cannot_restyle_the_terminal(builder: ModuleType) -> None:
    bad = "\x1b[2J\x1b]0;owned\x07[bold red]\u202ename\r\x9b31m"
    result = builder.make_result(change=lambda c: replace(c, name=c.name + bad))
    meta = replace(result.meta, words=replace(result.meta.words, positives=bad))
    text = printed(replace(result, meta=meta, warnings=(bad,)))
    assert not {letter for letter in text if not letter.isprintable()} - {"\n", NBSP}
    assert "[bold red]" in text


def test_a_release_prints_promises_only(result: PilotResult) -> None:
    text = printed(for_release(result))
    assert "Release version" in " ".join(text.split())
    for word in ("found", "AUC", "attacker", "CPU", "gates", "Baseline", "→", "what to do next"):
        assert word not in text
    assert [row.split()[-1] for row in table(text)[1:]] == ["7.91", "2.97", "0.989", "0.0989", "0.989", "0.989"]
