"""Files that are no lines: Windows event logs and Parquet."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from tacit.cli.logs import logs
from tacit.errors import DataError
from tacit.logs.formats import by_name, records

WINDOWS = by_name("windows")


def test_recordings_of_windows_are_read_record_by_record(data_directory: Path) -> None:
    files = sorted((data_directory / "sigma_rules" / "regression_data").rglob("*.evtx"))
    if not files:
        pytest.skip("no event logs under TACIT_DATA")
    read, bad, refused = 0, 0, 0
    for file in files:
        try:
            for lines in records(file, lines=100):
                parsed = WINDOWS.parse(lines)
                read, bad = read + len(parsed.events), bad + len(parsed.damaged)
                assert all(isinstance(event["Event"]["System"]["EventID"], int | dict) for event in parsed.events)
        except DataError:
            refused += 1
    assert read > 200
    assert bad == 0
    assert refused <= 1


def test_an_event_log_is_anonymised(data_directory: Path, tmp_path: Path) -> None:
    files = sorted((data_directory / "sigma_rules" / "regression_data").rglob("*.evtx"))
    file = next((file for file in files if any(records(file, lines=1))), None)
    if file is None:
        pytest.skip("no event logs under TACIT_DATA")
    run = CliRunner().invoke
    assert run(logs, ["keys", "init", "--keys", str(tmp_path / "k.json"), "--tenant", "t"]).exit_code == 0
    command = ["anonymise", str(file), "--policy", "pack:windows", "--keys", str(tmp_path / "k.json"), "--output", str(tmp_path / "safe.jsonl")]
    done = run(logs, command)
    assert done.exit_code == 0, done.output
    before = [orjson.loads(line) for lines in records(file, lines=100) for line in lines]
    after = [json.loads(line) for line in (tmp_path / "safe.jsonl").read_text().splitlines()]
    assert len(after) == len(before) > 0
    assert [event["Event"]["System"]["EventID"] for event in after] == [event["Event"]["System"]["EventID"] for event in before]
    assert before[0]["Event"]["System"]["Computer"] not in (tmp_path / "safe.jsonl").read_text()


def test_what_is_no_event_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.evtx").write_bytes(b"no event log")
    (tmp_path / "a.parquet").write_bytes(b"no table")
    for name in ("a.evtx", "a.parquet", "none.evtx", "none.parquet"):
        with pytest.raises(DataError, match="Cannot read"):
            list(records(tmp_path / name, lines=10))


def test_a_cut_event_log_loses_its_rest_and_never_crashes(data_directory: Path, tmp_path: Path) -> None:
    file = next(iter(sorted((data_directory / "sigma_rules" / "regression_data").rglob("*.evtx"))), None)
    if file is None:
        pytest.skip("no event logs under TACIT_DATA")
    content = bytearray(file.read_bytes())
    content[5_000:6_000] = bytes(1_000)
    for name, part in (("cut.evtx", content[: len(content) // 2]), ("torn.evtx", content)):
        (tmp_path / name).write_bytes(part)
        try:
            found = [line for lines in records(tmp_path / name, lines=10) for line in lines]
        except DataError:
            continue
        parsed = WINDOWS.parse(found)
        assert len(parsed.events) + len(parsed.damaged) == len(found)


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    when = dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC)
    table = pl.DataFrame({"user.name": ["anna", None], "n": [1, 2], "when": [when, when], "raw": [b"\x00\xff", None], "tags": [["a"], []]})
    table.with_columns(pl.Series("money", [Decimal("1.50"), None])).write_parquet(tmp_path / "t.parquet")
    found = [orjson.loads(line) for lines in records(tmp_path / "t.parquet", lines=1) for line in lines]
    assert found[0] == {"user.name": "anna", "n": 1, "when": "2026-01-05T10:00:00+00:00", "raw": "00ff", "tags": ["a"], "money": "1.50"}
    assert found[1] == {"n": 2, "when": "2026-01-05T10:00:00+00:00", "tags": []}
