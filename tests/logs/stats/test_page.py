"""The page on statistics of a log: its policy is valid, its commands run, its words and fields are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tacit.cli.logs_stats import stats
from tacit.guard import Policy
from tacit.logs import SimulationSpec, simulate
from tacit.logs.stats import metric_documents
from tacit.logs.stats.grammar import _COMMON, _KNOWN

from .test_parts import Release, released  # noqa: F401 - a fixture

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "log-statistics.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line.startswith("$ ")]


def test_every_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (policy,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert Policy.parse(policy).filter == "pure"
    Path("policy.toml").write_text(policy, encoding="utf-8")
    simulate(SimulationSpec(users=250, days=7, hosts=300, intrusions=5, seed=2)).write_parquet("events.parquet")
    ran = 0
    for command in COMMANDS:
        words = shlex.split(command)
        if words[:2] == ["mkdir", "-p"]:
            Path(words[2]).mkdir()
            continue
        assert words[:3] == ["tacit", "logs", "stats"]
        done = CliRunner().invoke(stats, words[3:])
        assert done.exit_code == 0, (command, done.output, done.exception)
        ran += 1
    assert ran >= 4
    assert sorted(path.name for path in Path("dashboard").iterdir()) == ["distinct.parquet", "metrics.ndjson", "quantiles.parquet", "units.parquet"]


def test_every_option_and_word_is_explained() -> None:
    for metric, words in _KNOWN.items():
        assert f"`--{metric}`" in PAGE
        assert all(f"`{word}=" in PAGE for word in (*_COMMON, *words))
    for parameter in stats.params:
        if parameter.name in ("parquet", "metrics", "nonnegative"):
            assert parameter.opts[0] in PAGE


def test_every_field_of_a_document_is_explained(released: Release) -> None:  # noqa: F811
    fields = {field for document in metric_documents(released) if document["event.dataset"] == "tacit.statistics" for field in document}
    assert not {field for field in fields if f"`{field}`" not in PAGE and not field.startswith("host.")}
