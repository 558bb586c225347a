from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import gzip
import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.errors import DataError, StorageError, TacitError, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard import records_spool, records_text, records_units
from tacit.guard.records import Records
from tacit.guard.records_spool import Spool, remove_abandoned

SECRET = "hunter2-s3cret"  # noqa: S105


@pytest.fixture(autouse=True)
def private_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every spool goes here, and none may be left when its records are gone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(records: Records, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return records.table(columns).to_pylist()


def refused(source: Any, match: str, kind: type[TacitError] = DataError, **options: Any) -> TacitError:
    with pytest.raises(kind, match=match) as caught:
        Records.open(source, **options).table()
    error = caught.value
    assert SECRET not in str(error)
    assert error.__context__ is None or error.__suppress_context__
    assert "\n" not in str(error)
    return error


# ---------------------------------------------------------------------------------------------------------------- formats

SAMPLE = pa.table({"name": ["a", None, "ü"], "n": [1, 2, None], "x": [0.5, None, 1e300], "b": [True, None, False]})


def sources(tmp_path: Path) -> dict[str, Any]:
    pq.write_table(SAMPLE, tmp_path / "s.parquet", row_group_size=2)
    pyarrow.feather.write_feather(SAMPLE, tmp_path / "s.feather")
    with pa.ipc.new_stream(tmp_path / "s.arrows", SAMPLE.schema) as stream:
        stream.write_table(SAMPLE, max_chunksize=2)
    folder = tmp_path / "folder" / "year=2024"
    folder.mkdir(parents=True)
    pq.write_table(SAMPLE.slice(0, 2), folder / "1.parquet")
    pq.write_table(SAMPLE.slice(2), folder / "2.parquet")
    (folder / "_SUCCESS.parquet").touch()
    return {
        "table": SAMPLE, "polars": pl.from_arrow(SAMPLE), "batch": SAMPLE.to_batches()[0], "parquet": tmp_path / "s.parquet",
        "feather": str(tmp_path / "s.feather"), "stream": tmp_path / "s.arrows", "folder": tmp_path / "folder",
        "pandas": SAMPLE.to_pandas(types_mapper=pd.ArrowDtype), "dict": {name: SAMPLE.column(name) for name in SAMPLE.column_names},
        "lists": SAMPLE.to_pydict(),
    }


def test_typed_sources_agree(tmp_path: Path) -> None:
    for name, source in sources(tmp_path).items():
        records = Records.open(source, batch_rows=2)
        assert records.schema == (("name", "text"), ("n", "number"), ("x", "number"), ("b", "bool")), name
        assert rows(records) == SAMPLE.to_pylist(), name
        assert [batch.rows for batch in records.batches([])] == [2, 1], name
        assert sum(batch.rows for batch in records.batches(["b"])) == 3, name
        assert all(isinstance(column, pa.Array) for batch in records.batches() for column in batch.columns.values()), name
        assert records.names_are_public


def test_text_files_keep_every_value_as_text(tmp_path: Path, private_tmp: Path) -> None:
    text = 'a,b\n1.50,true\n,"x, ""y""\nz"\n"",NaN\n'
    wanted = [{"a": "1.50", "b": "true"}, {"a": None, "b": 'x, "y"\nz'}, {"a": "", "b": "NaN"}]
    tabs = 'a\tb\n1.50\ttrue\n\t"x, ""y""\nz"\n""\tNaN\n'
    windows = text.replace("\n", "\r\n").replace('""\r\nz', '""\nz')
    for name, content in {
        "a.csv": text.encode(), "b.csv": b"\xef\xbb\xbf" + text.encode(), "c.csv.gz": gzip.compress(text.encode()), "d.tsv": tabs.encode(),
        "e.txt": windows.encode(), "f.csv": text.strip().encode(),
    }.items():
        with Records.open(write(tmp_path / name, content), batch_rows=2) as records:
            assert records.schema == (("a", "text"), ("b", "text"))
            assert rows(records) == wanted, name
            assert rows(records) == wanted, name
    assert not list(private_tmp.iterdir())


def test_quoted_line_ends_may_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_text, "_BLOCK", 251)  # twice the longest record, as Arrow asks for
    wanted = [{"a": f"{index}\n,é\r\n" * (index % 4), "b": str(index)} for index in range(500)]
    wanted += [{"a": "\r" * index, "b": "\r\n" * index} for index in range(40)]
    text = "a,b\n" + "".join(f'"{row["a"]}","{row["b"]}"\n' for row in wanted)
    for name, content in {"a.csv": text.encode(), "b.csv.gz": gzip.compress(text.encode())}.items():
        with Records.open(write(tmp_path / name, content)) as records:
            assert rows(records) == wanted


def test_json_lines_flatten_and_keep_exact_text(tmp_path: Path) -> None:
    lines = [
        '{"n": 1.50, "user": {"name": "a", "id": 12345678901234567890}, "tags": ["x"], "list": [1, "y"], "ok": true}',
        "", '{"n": "x", "late": null, "user": {"name": {"deep": 1e5}}, "bad": "\\ud800", "": "e"}', "{}",
    ]
    with Records.open(write(tmp_path / "a.jsonl", "\n".join(lines))) as records:
        assert not records.names_are_public
        assert [batch.rows for batch in records.batches([])] == [3]
        assert records.names == ("bad", "column", "late", "list", "n", "ok", "tags", "user.id", "user.name", "user.name.deep")
        first, second, third = rows(records)
    assert first | {"bad": 0, "column": 0} == {
        "n": "1.50", "user.name": "a", "user.id": "12345678901234567890", "tags": "x", "list": '["1","y"]', "ok": "true", "late": None,
        "user.name.deep": None, "bad": 0, "column": 0,
    }
    assert (second["n"], second["user.name.deep"], second["bad"], second["column"], second["user.name"]) == ("x", "1e5", "?", "e", None)
    assert set(third.values()) == {None}


def test_json_keys_that_appear_late_start_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_text, "_BLOCK", 64)
    lines = [json.dumps({} if index < 9 else {f"k{index % 7}": index, "": None}) for index in range(60)]
    with Records.open(write(tmp_path / "a.jsonl", "\n".join(lines)), batch_rows=7) as records:
        assert sum(batch.rows for batch in records.batches([])) == 60
        got = rows(records)
        assert [row["k3"] for row in rows(records, ["k3"])] == [row["k3"] for row in got]
    assert got == [{f"k{k}": str(i) if i >= 9 and i % 7 == k else None for k in range(7)} | {"column": None} for i in range(60)]


def test_physical_types_become_plain() -> None:
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    table = pa.table({
        "s": pa.array([moment], pa.timestamp("s", "UTC")), "us": pa.array([moment], pa.timestamp("us", "Europe/Paris")),
        "d32": pa.array([moment.date()], pa.date32()), "d64": pa.array([moment.date()], pa.date64()),
        "t32": pa.array([datetime.time(0, 0, 1, 500000)], pa.time32("ms")), "t64": pa.array([datetime.time(0, 0, 1)], pa.time64("ns")),
        "span": pa.array([datetime.timedelta(minutes=1)]), "dec": pa.array([decimal.Decimal("1.25")]),
        "half": pa.array([np.float16(1.5)], pa.float16()), "cat": pa.array(["x"]).dictionary_encode(),
        "view": pa.array(["v"], pa.string_view()),
        "large": pa.array(["l"], pa.large_string()), "null": pa.nulls(1), "u64": pa.array([2**64 - 1], pa.uint64()),
        "ree": pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array([7], pa.int64())),
        "catnum": pa.DictionaryArray.from_arrays([0], [4]), "list": pa.array([[1]]),
        "bin": pa.array([b"x"]), "struct": pa.array([{"a": 1}]),
    })
    records = Records.open(table)
    (row,) = rows(records)
    seconds = moment.timestamp()
    assert row == {
        "s": float(int(seconds)), "us": seconds, "d32": 1704153600.0,
        "d64": 1704153600.0, "t32": 1.5, "t64": 1.0, "span": 60.0, "dec": 1.25,
        "half": 1.5, "cat": "x", "view": "v", "large": "l", "null": None, "u64": 2**64 - 1, "ree": 7, "catnum": 4,
    }
    for nested in ("list", "bin", "struct"):
        with pytest.raises(DataError, match="nested or binary"):
            records.batches([nested])
    with pytest.raises(DataError, match="nested or binary"):
        Records.open(table, unit="list")
    with pytest.raises(DataError, match="nested or binary"):
        Records.open(table, unit="cat").require(["bin"])


def test_one_value_does_not_change_the_type_of_an_object_column() -> None:
    frame = pd.DataFrame({"o": pd.Series([1, 2.5, None], dtype=object), "i": [1, 2, 3]})
    assert Records.open(frame).schema == (("o", "text"), ("i", "number"))
    frame.loc[0, "o"] = "x"
    assert Records.open(frame).schema == (("o", "text"), ("i", "number"))
    mixed = pd.Series([True, 1, 1.5, "s", None, float("nan"), pd.NaT, b"b", [1], pd.Timestamp("2024-01-01")], dtype=object)
    got = [row["o"] for row in rows(Records.open(pd.DataFrame({"o": mixed})))]
    assert got == ["true", "1", "1.5", "s", None, None, None, None, None, "2024-01-01 00:00:00"]
    categories = pd.DataFrame({"c": pd.Categorical(["x", None, "y"]), "t": pd.to_datetime(["2024-01-01", None, "2024-01-02"])})
    assert rows(Records.open(categories)) == [{"c": "x", "t": 1704067200.0}, {"c": None, "t": None}, {"c": "y", "t": 1704153600.0}]


def test_matrix_with_names() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert rows(Records.open((matrix, ["a", "b"]))) == [{"a": 0, "b": 1}, {"a": 2, "b": 3}, {"a": 4, "b": 5}]
    assert Records.open((matrix.astype(object), ["a", "b"])).schema == (("a", "text"), ("b", "text"))
    refused((matrix, ["a"]), "one name per column")
    refused((matrix[0], ["a"]), "one name per column")


def test_unusable_objects() -> None:
    refused(5, "got int")
    refused({"a": [1], "b": [1, 2]}, "equal length")
    refused({"a": np.ones((2, 2))}, "one dimension")
    refused({"a": np.ones(2, dtype=complex)}, "cannot be read")
    refused({}, "at least one column")
    refused(pa.table([[1], [2]], names=["a", "a"]), "columns 1 and 2 share one")
    assert rows(Records.open({"a": []})) == []


def test_text_that_is_not_utf8_in_parquet_is_missing(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"ok", b"\xff\xfe", "é".encode()], pa.binary()).buffers())
    pq.write_table(pa.table({"a": bad}), tmp_path / "a.parquet")
    assert rows(Records.open(tmp_path / "a.parquet")) == [{"a": "ok"}, {"a": None}, {"a": "é"}]


def test_folder_parts_may_differ_in_width_but_not_in_kind(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": pa.nulls(1)}), folder / "1.parquet")
    pq.write_table(pa.table({"b": ["x"], "a": [2.5]}), folder / "2.parquet")
    assert rows(Records.open(folder)) == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]
    with Records.open(folder, unit="b") as records:
        assert rows(records) == [{"a": 2.5, "b": "x"}]
    pq.write_table(pa.table({"a": [SECRET], "b": ["x"]}), folder / "3.parquet")
    refused(folder, "«a» to have one type")
    pq.write_table(pa.table({"a": [1.0], "c": ["x"]}), folder / "3.parquet")
    refused(folder, "number 3 differs")


# ---------------------------------------------------------------------------------------------------------------- errors

def test_bad_csv(tmp_path: Path, private_tmp: Path) -> None:
    path = tmp_path / "a.csv"
    big = "".join(f"{index},{SECRET}\n" for index in range(400_000))
    for content, match in [
        (b"", "is empty"), (b"\n\n", "is empty"), (b"a,b\n", "there are none"), (b"a,b", "there are none"),
        (f"a,b\n1,2\n\"x\ny\",{SECRET}\n1,2,{SECRET}\n", "Expected 2 fields .* line 5 has 3"),
        (f"a,b\n{big}{SECRET}\n1,2\n", "line 400002 has 1"), (f"a,b\n{SECRET},1\n1,\"{SECRET}\n3,4\n", "open in the record at line 3"),
        (f"a\n1\n\"{SECRET}\n", "open in the record at line 3"),
        (f'a,"b\n{SECRET}', "a quote in it is left open"), (f"a,b,a\n{SECRET},1,1\n", "columns 1 and 3"),
        (f"1,2.5,{SECRET}\n1,2,3\n", "2 of 3 fields are numbers"), (f"a,b\n{SECRET},\0\n", "NUL byte at byte 19"),
        (f"a,b\n{SECRET},".encode() + b"\xe9\n", "byte 19. Convert it: iconv -f latin1"), (b"a,b\n1,\xc3", "byte 6"),
        (big.replace("0", "é", 1).encode() + b"\xff", "UTF-8"), ("a,b\n1,2\n".encode("utf-16"), "iconv -f utf-16"),
        ('a,b\n1,"' + "\r" * 14_000_000 + '"\n', "longer than 4 MiB"), ('a,b\n1,"' + SECRET * 1_000_000 + '"\n', "longer than 4 MiB"),
    ]:
        refused(write(path, content), match)
    packed = gzip.compress(os.urandom(5000).hex().encode())
    for content in (packed[:-400], packed[:-8] + b"12345678", packed[:1000] + b"\0" * 100 + packed[1100:]):
        refused(write(tmp_path / "a.csv.gz", content), "gzip data; .* damaged or cut off")
    assert not list(private_tmp.iterdir())


def test_numbered_columns_are_names(tmp_path: Path) -> None:
    assert Records.open(write(tmp_path / "a.csv", "0,1,2\n5,6,7\n")).names == ("0", "1", "2")
    assert Records.open(write(tmp_path / "b.csv", " age, ,V1\n5,6,7\n")).names == ("age", "column_2", "V1")


def test_bad_json(tmp_path: Path, private_tmp: Path) -> None:
    good = json.dumps({"a": SECRET}) + "\n"
    for content, match in [
        (good + f'{{"a": {SECRET}}}\n', "line 2 .* is no JSON"), (good * 3 + f'"{SECRET}"\n', "line 4 .* is no object"),
        (f'[{{"a": "{SECRET}"}}]', "jq -c"), (good + '{"a":' + "[" * 200_000, "line 2 .* nested too deeply"),
        ("{\n" + good[1:], "jq -c ."), (b"\n", "there are none"),
        (good.encode() + b'{"a": "\xff"}', "UTF-8"), (good.encode() + b'{"a": "\0"}', "NUL byte"), ("{}\n{}\n", "all empty"),
        ("".join(json.dumps({f"k{i}": 1}) + "\n" for i in range(5000)), "at most 4096"), (good.encode("utf-16"), "UTF-16"),
    ]:
        refused(write(tmp_path / "a.json", content), match)
    assert not list(private_tmp.iterdir())


def test_bad_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.csv", "there is none")
    refused("a\0b.csv", "there is none")
    refused(tmp_path / ("x" * 300), "File name too long")
    refused("/dev/null", "regular file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "Parquet files in the folder")
    refused(tmp_path / "empty", "is a folder", format="csv")
    refused(write(tmp_path / "a.csv", "a\n1\n"), "one of csv, tsv", format="excel")
    refused(write(tmp_path / "a.unknown", "a\n1\n"), "Pass format=")
    assert rows(Records.open(tmp_path / "a.unknown", format="csv")) == [{"a": "1"}]
    assert rows(Records.open(write(tmp_path / "b.unknown", ' {"a": 1}\n'))) == [{"a": "1"}]
    refused(write(tmp_path / "a.xlsx", b"PK\x03\x04"), "spreadsheet")
    pq.write_table(SAMPLE, tmp_path / "really.csv")
    refused(tmp_path / "really.csv", "those of parquet", format="csv")
    assert Records.open(tmp_path / "really.csv").names == ("name", "n", "x", "b")
    pq.write_table(SAMPLE.slice(0, 0), tmp_path / "zero.parquet")
    refused(tmp_path / "zero.parquet", "there are none")
    refused(SAMPLE, "batch_rows=0", UsageError, batch_rows=0)


def test_damaged_parquet_and_arrow(tmp_path: Path, private_tmp: Path) -> None:
    table = pa.table({"a": [f"{SECRET}{index}" for index in range(50_000)], "n": np.random.default_rng(1).random(50_000)})
    pq.write_table(table, tmp_path / "a.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "a.feather")
    for name in ("a.parquet", "a.feather"):
        whole = (tmp_path / name).read_bytes()
        refused(write(tmp_path / f"cut.{name}", whole[: len(whole) // 2]), "cut off")
        holed = whole[:5000] + bytes(200_000) + whole[205_000:]
        refused(write(tmp_path / f"hole.{name}", holed), "damaged")
        refused(tmp_path / f"hole.{name}", "damaged", unit="a")
    assert not list(private_tmp.iterdir())


def test_no_permission(tmp_path: Path) -> None:
    """Whether the file, its folder or a folder above cannot be read."""
    path, folder = write(tmp_path / "a.csv", "a\n1\n"), tmp_path / "parts"
    folder.mkdir()
    pq.write_table(SAMPLE, folder / "1.parquet")
    for locked in (path, folder / "1.parquet", folder, tmp_path):
        locked.chmod(0)
    with unprivileged():
        refused(path, "Permission denied. Check its permissions")
        refused(folder, "Permission denied. Check its permissions")
    for opened in (tmp_path, folder):
        opened.chmod(0o755)
    tops = [top for top in tmp_path.parents if not top.stat().st_mode & 0o001]
    if os.geteuid() != 0 or not tops:
        with unprivileged():
            refused(path, "Permission denied. Check its permissions")
            refused(folder, "1.parquet: Permission denied. Check its permissions")


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody else than root, whom permissions do not bind."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_unknown_columns_suggest_the_closest() -> None:
    records = Records.open({"user_name": ["a"], "bytes": [1]})
    for ask in (lambda: records.batches(["user_nam"]), lambda: Records.open({"user_name": ["a"]}, unit="User_Name")):
        with pytest.raises(DataError, match="Did you mean «user_name»"):
            ask()
    with pytest.raises(DataError, match="There are «user_name», «bytes»"):
        records.require(["zzz"])


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(SAMPLE, path)
    records = Records.open(path)
    assert len(rows(records)) == 3
    pq.write_table(SAMPLE.slice(1), path)
    with pytest.raises(DataError, match="changed or is gone"):
        rows(records)
    path.unlink()
    with pytest.raises(DataError, match="changed or is gone"):
        rows(records)


# ------------------------------------------------------------------------------------------------------- property: CSV, JSON, Parquet

cells = st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from(
    ['"', '""', "\n", "\r\n", "\r", ",", "NA", "null", "-0", "1e999", "0x10", " 1 ", "\x1eend of records", "\ufeff", "'", "\\", "=1+1"]))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=20), st.sampled_from([",", ";", "\t", "|"]))
def test_csv_json_and_parquet_agree(tmp_path: Path, table: list[tuple[str | None, ...]], mark: str) -> None:
    text = io.StringIO(newline="")
    for row in [("first", "second", "third"), *table]:
        text.write(mark.join("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in row) + "\n")
    names = ["first", "second", "third"]
    wanted = [dict(zip(names, row, strict=True)) for row in table]
    pq.write_table(pa.Table.from_pylist(wanted, pa.schema([(name, pa.string()) for name in names])), tmp_path / "a.parquet")
    lines = "\n".join(json.dumps({name: cell for name, cell in row.items() if cell is not None}) for row in wanted)
    assert rows(Records.open(tmp_path / "a.parquet")) == wanted
    with Records.open(write(tmp_path / "a.csv", text.getvalue()), batch_rows=3) as records:
        assert rows(records) == wanted
    if any(cell is not None for row in table for cell in row):
        with Records.open(write(tmp_path / "a.jsonl", lines)) as records:
            assert [{name: row.get(name) for name in names} for row in rows(records)] == wanted


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for format in ("csv", "tsv", "jsonl", "parquet", "arrow"):
        with contextlib.suppress(DataError), Records.open(write(tmp_path / "a", content), format=format) as records:
            rows(records)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from('ab1",\n\r;'), max_size=40))
def test_csv_never_reads_two_records_as_one(tmp_path: Path, body: str) -> None:
    """Whatever is accepted is what Python's own reader sees, row by row."""
    content = "a,b\n" + body
    try:
        with Records.open(write(tmp_path / "a.csv", content)) as records:
            got = [[cell or "" for cell in row.values()] for row in rows(records)]
    except DataError:
        return
    wanted = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    if '"' not in body.replace('""', ""):
        assert got == wanted
    assert len(got) <= len(wanted) or '"' in body


# ---------------------------------------------------------------------------------------------------------------- units

def oracle(table: list[dict[str, Any]], unit: str) -> dict[Any, list[dict[str, Any]]]:
    grouped: dict[Any, list[dict[str, Any]]] = {}
    for row in table:
        if row[unit] not in (None, ""):
            grouped.setdefault(row[unit], []).append(row)
    return grouped


def check_units(records: Records, wanted: dict[Any, list[dict[str, Any]]], unit: str) -> None:
    seen: dict[Any, list[dict[str, Any]]] = {}
    for batch in records.batches():
        assert batch.units is not None
        assert batch.units.dtype == np.int64
        assert batch.units[0] == 0
        assert set(np.diff(batch.units)) <= {0, 1}
        table = pa.table(dict(batch.columns)).to_pylist()
        assert len(table) == batch.rows == len(batch.units)
        for index in range(int(batch.units[-1]) + 1):
            part = [row for row, local in zip(table, batch.units, strict=True) if local == index]
            assert len({row[unit] for row in part}) == 1
            assert part[0][unit] not in seen, "a unit is split"
            seen[part[0][unit]] = part
    assert seen == wanted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["a", "b", "c", "dd", "", None, "ü", "A"]), max_size=60), st.integers(1, 9), st.integers(1, 5))
def test_units_match_a_naive_grouping(tmp_path: Path, users: list[str | None], batch_rows: int, chunk: int) -> None:
    places = pa.array(range(len(users)), pa.int64())
    table = pa.table({"i": places, "user": pa.array(users, pa.string()), "t": places.cast(pa.string())})
    wanted = oracle(table.to_pylist(), "user")
    check_units(Records.open(table, unit="user", batch_rows=batch_rows), wanted, "user")
    if users:
        pq.write_table(table, tmp_path / "u.parquet", row_group_size=chunk)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records_units, "_BUCKET", 200)
            patch.setattr(records_units, "_CHUNK", chunk)
            with Records.open(tmp_path / "u.parquet", unit="user", batch_rows=batch_rows) as records:
                check_units(records, wanted, "user")
                assert [batch.rows for batch in records.batches([])] == [batch.rows for batch in records.batches(["i"])]


def test_units_of_text_files_and_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    users = rng.integers(0, 500, 20_000)
    text = "user,v\n" + "".join(f"u{user},{index}\n" for index, user in enumerate(users))
    wanted = oracle([{"user": f"u{user}", "v": str(index)} for index, user in enumerate(users)], "user")
    with Records.open(write(tmp_path / "a.csv", text), unit="user", batch_rows=1000) as records:
        check_units(records, wanted, "user")
    floats = np.where(users == 7, np.nan, users.astype(float))
    records = Records.open({"user": floats, "v": np.arange(20_000)}, unit="user")
    assert len(records.table()) == int((users != 7).sum())
    assert records.unit_index()[-1] == len(set(users)) - 2


def test_largest_unit_comes_in_one_batch_and_can_be_limited(tmp_path: Path) -> None:
    users = ["giant"] * 5000 + [f"u{index % 10}" for index in range(100)]
    table = pa.table({"user": users, "v": np.arange(5100)})
    records = Records.open(table, unit="user", batch_rows=100)
    assert max(batch.rows for batch in records.batches()) >= 5000
    pq.write_table(table, tmp_path / "a.parquet")
    limited = Records.open(table, unit="user", max_rows_per_unit=10, batch_rows=100)
    assert np.bincount(limited.unit_index()).tolist() == [10] * 11
    with Records.open(tmp_path / "a.parquet", unit="user", max_rows_per_unit=10) as spooled:
        assert rows(spooled) == rows(limited)
    kept = sorted(row["v"] for row in rows(limited) if row["user"] == "giant")
    assert kept != list(range(10))
    assert max(kept) > 1000


def test_which_rows_of_a_unit_stay_depends_on_that_unit_alone() -> None:
    rng = np.random.default_rng(5)
    users = [f"u{user}" for user in rng.integers(0, 40, 3000)]
    table = pa.table({"user": users, "v": np.arange(3000)})

    def kept(part: pa.Table) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row in rows(Records.open(part, unit="user", max_rows_per_unit=7)):
            found.setdefault(row["user"], []).append(row["v"])
        return found

    everybody = kept(table)
    without = kept(table.filter(pa.array([user != "u3" for user in users])))
    assert everybody.pop("u3")
    assert without == everybody
    assert kept(table.filter(pa.array([user == "u5" for user in users])))["u5"] == everybody["u5"]


@pytest.mark.parametrize(("window", "expected"), [
    ("hour", [0, 0, 1, 2, 3]), ("day", [0, 0, 0, 1, 1]), ("week", [0, 0, 0, 0, 0]), ("month", [0, 0, 0, 1, 1]),
])
def test_windowed_units(window: str, expected: list[int]) -> None:
    times = ["2024-01-31T10:00:00Z", "2024-01-31 10:59:59.9", "2024-01-31T12:00:00+01:00", "2024-02-01", "1706749200"]
    table = {"user": ["a"] * 5 + ["b", "a", None], "at": [*times, times[0], "never", times[0]], "i": list(range(8))}
    records = Records.open(table, unit=PrivacyUnit("user-window", column="user", window=window), time="at")
    by_row = dict(zip(records.table(["i"])["i"].to_pylist(), records.unit_index().tolist(), strict=True))
    assert set(by_row) == {0, 1, 2, 3, 4, 5}
    first: dict[int, int] = {}
    assert [first.setdefault(by_row[index], len(first)) for index in range(5)] == expected
    assert by_row[5] not in {by_row[index] for index in range(5)}


def test_times_of_any_kind_give_the_same_window() -> None:
    moments = [datetime.datetime(1969, 12, 31, 23, 59), datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, 23, 59, 59)]
    seconds = [moment.replace(tzinfo=datetime.UTC).timestamp() for moment in moments]
    day = PrivacyUnit("user-day", column="u", window="day")
    for times in (pa.array(moments, pa.timestamp("ns")), np.array(seconds), [moment.isoformat() for moment in moments]):
        records = Records.open({"u": ["a"] * 3, "t": times}, unit=day, time="t")
        assert records.unit_index().tolist() == [0, 1, 1]
    for factor in (1e3, 1e6, 1e9):
        records = Records.open({"u": ["a"] * 2, "t": np.array(seconds[1:]) * factor}, unit=day, time="t")
        assert records.unit_index().tolist() == [0, 0]


def test_unit_parameters_are_checked() -> None:
    source = {"u": ["a"], "t": [0.0]}
    for options, match in [
        ({"unit": PrivacyUnit("d", column="u", window="day")}, "Expected time="), ({"unit": "u", "time": "t"}, "Expected time="),
        ({"unit": PrivacyUnit("d", column="u", window="year"), "time": "t"}, "one of hour"), ({"time": "t"}, "unit= together"),
        ({"unit": "u", "max_rows_per_unit": 0}, ">= 1"), ({"max_rows_per_unit": 3}, "unit= together"),
    ]:
        refused(source, match, UsageError, **options)


# ---------------------------------------------------------------------------------------------------------------- owner's side

def test_take_and_split_keep_units_whole() -> None:
    rng = np.random.default_rng(2)
    table = pa.table({"user": rng.integers(0, 50, 1000), "v": np.arange(1000)})
    records = Records.open(table, unit="user", batch_rows=64)
    parts = records.split([0.5, 0.3], seed=1)
    users = [set(part.table(["user"])["user"].to_pylist()) for part in parts]
    assert not users[0] & users[1]
    assert [len(found) for found in users] == [25, 15]
    for part, found in zip(parts, users, strict=True):
        check_units(part, oracle([row for row in table.to_pylist() if row["user"] in found], "user"), "user")
    plain = Records.open(table)
    assert [row["v"] for row in rows(plain.take([5, 2]))] == [5, 2]
    assert sum(len(part.table()) for part in plain.split([0.25, 0.75], seed=2)) == 1000
    assert rows(records.take(np.zeros(1000, dtype=bool))) == []
    with pytest.raises(UsageError, match="one mask value per row"):
        plain.take(np.ones(3, dtype=bool))
    with pytest.raises(UsageError, match="at most 1"):
        plain.split([0.9, 0.2], seed=1)


def test_take_needs_memory(tmp_path: Path) -> None:
    pq.write_table(SAMPLE, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="in memory"):
        Records.open(tmp_path / "a.parquet").take([0])


def test_fingerprint_is_keyed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a\n1\n")
    with Records.open(path) as first, Records.open(path) as again:
        assert first.fingerprint(b"k" * 16) == again.fingerprint(b"k" * 16) != first.fingerprint(b"j" * 16)
        with pytest.raises(UsageError, match="16 bytes"):
            first.fingerprint(b"short")
    table = Records.open({"a": [1, 2]})
    assert table.fingerprint(b"k" * 16) == Records.open({"a": [1, 2]}).fingerprint(b"k" * 16)
    assert table.fingerprint(b"k" * 16) != Records.open({"a": [1, 3]}).fingerprint(b"k" * 16)


def test_nothing_about_records_is_shown_or_serialised() -> None:
    records = Records.open({"user": [SECRET]}, unit="user")
    assert repr(records) == "Records(1 columns, unit user)"
    with pytest.raises(UsageError, match="never serialised"):
        pickle.dumps(records)


# ---------------------------------------------------------------------------------------------------------------- spool

def test_spool_is_private_and_removed(tmp_path: Path, private_tmp: Path) -> None:
    path = write(tmp_path / "a.csv", "a,u\n1,x\n")
    records = Records.open(path, unit="u")
    (folder,) = private_tmp.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(part.name for part in folder.iterdir()) == [".lock", "units.parquet"]
    remove_abandoned()
    assert rows(records) == [{"a": "1", "u": "x"}]
    child = os.fork()
    if child == 0:  # pragma: no cover - the child
        records.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.exists()
    records.close()
    records.close()
    assert not folder.exists()
    with pytest.raises(DataError, match="is gone"):
        rows(records)
    records = Records.open(path)
    del records
    assert not list(private_tmp.iterdir())


def run(code: str, private_tmp: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"TMPDIR": str(private_tmp), "PYTHONPATH": str(Path(records_spool.__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_spool_of_a_killed_process_is_removed_by_the_next(tmp_path: Path, private_tmp: Path) -> None:
    path = write(tmp_path / "a.csv", "a\n1\n")
    process = run(f"""
        import time
        from tacit.guard.records import Records
        records = Records.open({str(path)!r})
        print("ready", flush=True)
        time.sleep(600)
    """, private_tmp)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        remove_abandoned()
        assert len(list(private_tmp.iterdir())) == 1
        process.send_signal(signal.SIGKILL)
    assert len(list(private_tmp.iterdir())) == 1
    Spool().close()
    assert not list(private_tmp.iterdir())


def test_full_disk_leaves_nothing(tmp_path: Path, private_tmp: Path) -> None:
    table = pa.table({"u": [f"{SECRET}{index}" for index in range(200_000)]})
    pq.write_table(table, tmp_path / "a.parquet")
    lines = "\n".join(f'{{"u": "{SECRET}{index}"}}' for index in range(200_000))
    text = "u\n" + "\n".join(f"{SECRET}{index}" for index in range(200_000))
    paths = [(tmp_path / "a.parquet", "u"), (write(tmp_path / "a.csv", text), None), (write(tmp_path / "a.jsonl", lines), None)]
    for path, unit in paths:
        process = run(f"""
            import os, resource, sys
            from tacit.errors import StorageError
            from tacit.guard import records_units
            from tacit.guard.records import Records
            records_units._BUCKET = 1 << 20
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                Records.open({str(path)!r}, unit={unit!r})
            except StorageError as error:
                print(error, len(os.listdir({str(private_tmp)!r})))
        """, private_tmp)
        output, errors = process.communicate()
        assert "Cannot write a temporary copy" in output, errors
        assert output.endswith(" 0\n")
        assert SECRET not in output + errors


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", "a\n1\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    refused(path, "No such file or directory. Free some space", StorageError)


# ---------------------------------------------------------------------------------------------------------------- memory

@pytest.mark.slow
@pytest.mark.parametrize("unit", [None, "u"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, private_tmp: Path, unit: str | None) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "big.parquet"
    schema = pa.schema([("u", pa.int64()), *((f"c{index}", pa.float64()) for index in range(19))])
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(4):
            columns = [rng.integers(0, 100_000, 500_000), *(rng.random(500_000) for _ in range(19))]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=500_000)
    process = run(f"""
        import resource, pyarrow, numpy, polars
        from tacit.guard.records import Records
        Records.open({{"u": ["a"]}}, unit="u").table()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Records.open({str(path)!r}, unit={unit!r}) as records:
            count = sum(batch.rows for batch in records.batches())
        print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """, private_tmp)
    output, errors = process.communicate()
    assert output, errors
    count, grown = map(int, output.split())
    assert count == 2_000_000
    assert grown < (300 if unit is None else 600), grown


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_nameless_index_of_pandas_is_no_column(format: str, tmp_path: Path) -> None:
    """It numbers the rows, so that a detector would learn when a record was written."""
    frame = pd.DataFrame({"user": ["a", "b", "c"], "size": [1.0, 2.0, 3.0]}, index=[7, 9, 4])
    stored = pa.Table.from_pandas(frame)
    assert "__index_level_0__" in stored.column_names
    path = tmp_path / f"t.{format}"
    if format == "parquet":
        pq.write_table(stored, path)
    else:
        with pa.ipc.new_file(path, stored.schema) as writer:
            writer.write_table(stored)
    for source in (path, stored):
        with Records.open(source) as records:
            assert records.names == ("user", "size")
            assert [batch.rows for batch in records.batches()] == [3]
