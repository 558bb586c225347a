"""RESULTS.md: every row with the command that made it, the machine in words, and what stands behind each figure."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

Line = dict[str, Any]
PACKAGES = ("numpy", "scipy", "scikit-learn", "polars", "pyarrow", "dp-accounting")


def results(lines: Sequence[Line], *, command: str, today: date, machine: str, options: str = "") -> str:
    """The whole page."""
    parts = [
        "# Results", "",
        f"*Written by `{command}` on {today.isoformat()}. Do not edit.* Ratios are ours over the peer's, from the same run; bare seconds say",
        "little. CPU seconds count all threads of a process; every process has one.", "",
        f"Machine: {machine}. Versions: {versions()}.", "",
        "| row | figure | peer | ratio | passed | command |", "|---|---|---|---|---|---|",
        *(_table_line(line, options) for line in lines), "",
        *(text for line in lines for text in _section(line)),
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def with_row(page: str, line: Line, *, today: date, options: str = "") -> str:
    """The page with one row measured anew, or added; the others stay as they were measured.

    >>> page = results([], command="a command", today=date(2026, 1, 1), machine="a machine")
    >>> line = {"name": "a.row", "figure": None, "details": {"missing": "a reason"}}
    >>> again = with_row(with_row(page, line, today=date(2026, 1, 2)), line, today=date(2026, 1, 3))
    >>> again.count("a.row"), again.count("not measured: a reason")
    (2, 1)
    """
    head, *sections = page.rstrip("\n").split("\n## ")
    rows = [text for text in head.rstrip("\n").split("\n") if not text.startswith(f"| {line['name']} |")]
    place = max(number for number, text in enumerate(rows) if text.startswith("|")) + 1
    rows.insert(place, _table_line(line, options))
    kept = [section for section in sections if section.partition("\n")[0] != line["name"]]
    section = "\n".join(_section(line, f"Measured on {today.isoformat()}.")).rstrip("\n").removeprefix("## ")
    parts = ["\n".join(rows), *(text.rstrip("\n") for text in [*kept, section] if text)]
    return "\n\n## ".join(parts) + "\n"


def machine() -> str:
    """Processor, cores, memory and system, in words that name no host."""
    cores = f"{os.cpu_count() or 1} cores"
    memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    return f"{processor(Path('/proc/cpuinfo'))}, {cores}, {memory}, {platform.system()}, Python {platform.python_version()}"


def processor(path: Path) -> str:
    """The processor's model, and the widest vectors it has, which decide much of what is measured here."""
    try:
        pairs = [line.partition(":") for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in reversed(pairs)}
    flags = facts.get("flags", "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return " with ".join(filter(None, (facts.get("model name", platform.machine()), vectors)))


def versions() -> str:
    """Tacit's own and those of what it stands on; peers' versions are in their rows."""
    from tacit import __version__

    return ", ".join([f"tacit {__version__}", *(f"{name} {version(name)}" for name in PACKAGES)])


def _table_line(line: Line, options: str) -> str:
    command = f"`python -m benchmarks {line['name']}{options}`"
    if line["figure"] is None:
        return f"| {line['name']} | not measured: {_cell(line['details']['missing'])} | | | no | {command} |"
    figure = f"{_number(line['figure'])} {line['unit']}"
    peer = f"{_number(line['peer_figure'])} {line['peer']}"
    return f"| {line['name']} | {_cell(figure)} | {_cell(peer)} | {_number(line['ratio'])} | {_yes(line['passed'])} | {command} |"


def _section(line: Line, when: str = "") -> Iterator[str]:
    if line["figure"] is None:
        return
    details = line["details"]
    yield from (f"## {line['name']}", "")
    if when:
        yield from (when, "")
    if details.get("notes"):
        yield from (details["notes"], "")
    yield from ("| threshold | measured | limit | holds |", "|---|---|---|---|")
    for kind, checks in (("", details["thresholds"]), ("aim: ", details["aims"])):
        yield from (f"| {kind}{_cell(c['what'])} | {_number(c['value'])} | {_cell(c['limit'])} | {_yes(c['holds'])} |" for c in checks)
    yield ""
    for case, contestants in details.get("table", {}).items():
        yield from _utility(case, contestants, details["cpu_ratios"].get(case, {}))
    for name, reason in details.get("missing", {}).items():
        yield from (f"Without {name}: {reason}", "")
    if details.get("versions"):
        yield from ("Versions: " + ", ".join(f"{name} {text}" for name, text in details["versions"].items()) + ".", "")


def _utility(case: str, contestants: dict[str, dict[str, Line]], costs: dict[str, float]) -> Iterator[str]:
    epsilons = [epsilon for epsilon in next(iter(contestants.values())) if epsilon != "none"]
    for metric, title in (("auc", "AUC"), ("ap", "average precision")):
        yield from (f"{case}, {title} (mean ± standard deviation over fits)", "")
        yield f"| contestant | {' | '.join(f'ε={epsilon}' for epsilon in epsilons)} | fits | CPU s per fit | our CPU over theirs |"
        yield "|---" * (len(epsilons) + 4) + "|"
        for name, rows in contestants.items():
            shown = [_with_spread(rows.get(epsilon, rows.get("none", {})), metric) for epsilon in epsilons]
            fits = next(iter(rows.values()))["fits"]
            seconds = sum(row["cpu_seconds"] for row in rows.values()) / len(rows)
            yield f"| {name} | {' | '.join(shown)} | {fits} | {_number(seconds)} | {_number(costs.get(name))} |"
        yield ""


def _with_spread(row: Line, metric: str) -> str:
    return f"{row[metric]:.4f} ± {row[f'{metric}_sd']:.4f}" if row else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
