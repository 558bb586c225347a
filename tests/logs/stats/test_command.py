"""``tacit logs stats`` as a person types it: on simulated events, with good words and bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tacit.cli.logs_stats import stats
from tacit.domain import Category, Domain
from tacit.errors import TacitError, UsageError
from tacit.guard import Ledger
from tacit.logs import SimulationSpec, simulate

POLICY = """
version = 1
[dataset]
name = "auth"
[unit]
name = "user-day"
column = "user.name"
window = "day"
[privacy]
epsilon = {epsilon}
delta = 1e-6
filter = "{filter}"
count_share = 0.001
[limits]
minimum_units = 50
"""
SPAN = ("--from", "2026-01-05", "--to", "2026-01-12")
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.parquet"
    simulate(SimulationSpec(users=300, days=7, hosts=350, intrusions=5, seed=3)).write_parquet(path)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder of its own, which holds a policy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY.format(epsilon=20.0, filter="pure"), encoding="utf-8")

    def call(*arguments: object, usual: bool = True) -> Result:
        given = ["--policy", "policy.toml", "--time", "@timestamp", "--budget", "4"] if usual else []
        return CliRunner().invoke(stats, [*map(str, arguments), *given])

    return call


def charges(folder: Path) -> int:
    path = folder / "tacit-ledger.db"
    if not path.exists():
        return 0
    ledger = Ledger.open(str(path))
    return sum(entry.kind == "charge" for entry in ledger.entries())


def test_a_dashboard_of_everything(run: Run, simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = run(
        simulated, "--count", "by=event.category,hour", "where=event.outcome=failure|success", "name=activity", "--units", "by=day",
        "--top", "of=event.action", "by=event.category", "k=2", "--quantiles", "of=network.bytes", "range=1..1e9", "at=p50,p95",
        "--distinct=of=destination.ip by=day rows=5", "--histogram", "of=destination.port range=0..65536 bins=8", *SPAN,
        "--parquet", "out", "--metrics", "out/metrics.ndjson", "--nonnegative", "--run", "nightly",
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert "(4, " in done.stdout
    assert "user-day, add/remove, curator, sum of epsilon, on «auth»" in done.stdout
    assert "ledger entry" in done.stderr
    assert charges(tmp_path) == 2  # the noised count, and everything else
    names = ["activity", "units", "top", "quantiles", "distinct", "histogram"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*(f"{name}.parquet" for name in names), "metrics.ndjson"])
    table = pq.read_table(tmp_path / "out" / "activity.parquet")
    promises = json.loads(table.schema.metadata[b"tacit"])
    assert promises["provenance"]["run"] == "nightly"
    assert promises["guarantee"]["epsilon"] <= 4
    events = pl.read_parquet(simulated)
    found = pl.DataFrame(table.to_pydict()).group_by("event.category").agg(pl.col("tacit.value").sum())
    for category, total in found.rows():
        exact = events.filter((pl.col("event.category") == category) & pl.col("event.outcome").is_not_null()).height
        assert 0.2 * exact < total < 2 * exact
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.ndjson").read_text(encoding="utf-8").splitlines()]
    assert {line["event.kind"] for line in lines} == {"metric"}
    assert {line["tacit.release"] for line in lines} == set(names)
    top = pq.read_table(tmp_path / "out" / "top.parquet").to_pylist()
    assert {row["event.action"] for row in top if row["event.category"] == "web"} == {"http-request"}


def test_words_may_be_quoted_or_not(run: Run, simulated: Path) -> None:
    for words in (["by=day where=event.category=web rows=3"], ["by=day", "where=event.category=web", "rows=3"]):
        done = run(simulated, "--count", *words, *SPAN, "--format", "json")
        assert done.exit_code == 0, done.exception
        (table,) = json.loads(done.stdout)["tables"]
        assert (len(table["rows"]), table["bounds"]) == (7, {"rows": 3})
        assert table["where"] == [{"column": "event.category", "test": "in", "values": ["web"], "limit": None}]
    bare = run(simulated, "--count", "--units", "--format", "json")
    assert [table["name"] for table in json.loads(bare.stdout)["tables"]] == ["count", "units"]


def test_releases_keep_their_order_and_get_names(run: Run, simulated: Path) -> None:
    done = run(simulated, "--units", "--count", "rows=2", "--count", "name=units-2", "--units", "--format", "json")
    assert done.exit_code == 0, done.exception
    assert [table["name"] for table in json.loads(done.stdout)["tables"]] == ["units", "count", "units-2", "units-3"]


def test_csv_is_for_one_table(run: Run, simulated: Path, tmp_path: Path) -> None:
    done = run(simulated, "--count", "by=day", *SPAN, "--format", "csv")
    assert done.stdout.splitlines()[0] == "@timestamp,tacit.value,tacit.noise_sd,tacit.lower,tacit.upper"
    assert len(done.stdout.splitlines()) == 8
    refused = run(simulated, "--count", "--units", "--format", "csv")
    assert isinstance(refused.exception, UsageError)
    assert charges(tmp_path) == 2


def test_public_hosts_from_a_file_and_a_gaussian_policy(run: Run, simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY.format(epsilon=20.0, filter="auto"), encoding="utf-8")
    names = pl.read_parquet(simulated)["host.name"].drop_nulls().unique().sort().to_list()
    (tmp_path / "hosts.txt").write_text("\n".join(names), encoding="utf-8")
    done = run(simulated, "--count", "by=host.name=@hosts.txt,day", *SPAN, "--lines", "3")
    assert done.exit_code == 0, done.exception
    assert f"count: count, {7 * len(names):,} cells" in done.stdout
    assert "gdp, on «auth»" in done.stdout
    assert "30 of them of one person: epsilon" in done.stdout
    assert f"and {7 * len(names) - 3:,} more" in done.stdout


def test_a_domain_declares_keys(run: Run, simulated: Path, tmp_path: Path) -> None:
    domain = Domain((("event.category", Category(("web", "dns"))),))
    (tmp_path / "domain.toml").write_text(domain.to_toml(), encoding="utf-8")
    policy = POLICY.format(epsilon=20.0, filter="pure") + '[domain]\nfile = "domain.toml"\n'
    (tmp_path / "policy.toml").write_text(policy, encoding="utf-8")
    done = run(simulated, "--count", "by=event.category", "--format", "json")
    assert done.exit_code == 0, done.exception
    (table,) = json.loads(done.stdout)["tables"]
    assert table["keys_found"] == []
    assert [row["event.category"] for row in table["rows"]] == ["web", "dns"]


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "at least one of --count"), (("--count", "host.name"), ""), (("--count", "of=x"), "'of=x'"), (("--count", "by=nowhere"), "«nowhere»"),
    (("--count", "by=day", "--from", "2026-01-05", "--to", "2026-01-04"), "end"), (("--count", "by=day", "--from", "soon"), "date"),
    (("--count", "by=day"), "--from"), (("--count", "by=week", *SPAN[:3], "2026-01-10"), "whole bins"),
    (("--count", "--from", "2026-01-05", "--to", "2999-01-01"), "past"),
    (("--count", "--parquet", "nowhere"), "folder"), (("--count", "--metrics", "nowhere/m.ndjson"), "folder"),
    (("--count", "--metrics", "."), "is a folder"),
    (("--count", "by=host.name=@none.txt"), "none.txt"), (("--count", "name=a", "--units", "name=a"), "name of its own"),
    (("--histogram", "of=network.bytes"), "range="), (("--count", "--budget", "-1"), "epsilon"),
])  # fmt: skip
def test_bad_words_charge_nothing_and_leave_nothing(run: Run, simulated: Path, tmp_path: Path, arguments: Any, message: str) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    given = [str(argument) for argument in arguments]
    own = "--budget" in given
    done = run(simulated, *given, *(("--policy", "policy.toml", "--time", "@timestamp") if own else ()), usual=not own)
    assert isinstance(done.exception, TacitError | SystemExit)
    if isinstance(done.exception, TacitError):
        assert done.exception.exit_code == 2
        assert message in str(done.exception)
    else:
        assert done.exit_code == 2
    assert done.stdout == ""
    left = {path.name for path in tmp_path.iterdir()} - before
    assert left <= {"tacit-ledger.db", "tacit-ledger.key", "tacit-ledger.db-wal", "tacit-ledger.db-shm"}
    assert charges(tmp_path) == 0


def test_what_does_not_fit_the_budget_is_refused_with_nothing_written(run: Run, simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY.format(epsilon=3.0, filter="pure"), encoding="utf-8")
    done = run(simulated, "--count", "--metrics", "m.ndjson")
    assert isinstance(done.exception, TacitError)
    assert done.exception.exit_code == 3
    assert "refused" in str(done.exception)
    assert done.stdout == ""
    assert not (tmp_path / "m.ndjson").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_an_existing_file_stays_when_something_goes_wrong(run: Run, simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "m.ndjson").write_text("before", encoding="utf-8")
    assert run(simulated, "--count", "by=nowhere", "--metrics", "m.ndjson").exception is not None
    assert (tmp_path / "m.ndjson").read_text(encoding="utf-8") == "before"
    assert run(simulated, "--count", "--metrics", "m.ndjson").exit_code == 0
    assert "before" not in (tmp_path / "m.ndjson").read_text(encoding="utf-8")


def test_a_missing_time_is_asked_for(run: Run, simulated: Path) -> None:
    done = run(simulated, "--count", "--policy", "policy.toml", "--budget", "1", usual=False)
    assert isinstance(done.exception, UsageError)
    assert "--time" in str(done.exception)


def test_errors_hold_no_value_of_a_record(run: Run, tmp_path: Path) -> None:
    secret = "hunter2-s3cret"  # noqa: S105
    pl.DataFrame({"user.name": [secret] * 50, "@timestamp": [1.7e9] * 50, "n": [[1]] * 50}).write_parquet(tmp_path / "e.parquet")
    for words in (("--count", "by=n"), ("--count", "by=x"), ("--quantiles", "of=n range=0..1")):
        done = run(tmp_path / "e.parquet", *words)
        assert isinstance(done.exception, TacitError)
        assert secret not in str(done.exception)


def test_help_is_quick_and_names_every_word() -> None:
    text = CliRunner().invoke(stats, ["--help"]).stdout
    for word in ("by=", "where=", "cells=", "each=", "rows=", "share=", "bias=", "name=", "range=", "at=", "k=", "of="):
        assert word in text
    program = "import sys; import tacit.cli.logs_stats; print({'numpy', 'polars', 'pyarrow', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
