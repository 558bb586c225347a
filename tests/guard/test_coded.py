"""A few columns grouped in memory: the same rows under the same units as the arrangement on disk, whatever the source."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import DataError, UsageError
from tacit.guarantee import PrivacyUnit
from tacit.guard import Records, records_coded
from tacit.questions import encoding

USER_DAY = PrivacyUnit("user-day", "user", "day")
TIMES = [0.0, 10.0, 86_399.0, 86_400.0, 1e6, float("nan"), None, 1e15, -5.0]


def units_of(records: Records, columns: list[str]) -> Counter[tuple[Any, ...]]:
    """Each unit as its rows in order, whatever the units' own order."""
    found: list[list[Any]] = []
    for batch in records.batches(columns):
        rows = list(zip(*(batch.columns[name].to_pylist() for name in columns), strict=True))
        ends = [0, *(np.flatnonzero(np.diff(batch.units)) + 1).tolist(), len(rows)]
        found += [rows[start:end] for start, end in pairwise(ends)]
    return Counter(tuple(unit) for unit in found)


WHO = st.sampled_from(["a", "b", "", None, "\u00fc", "A"])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(WHO, st.sampled_from(TIMES), st.sampled_from(["x", "y", None, ""]), st.integers(0, 3)), max_size=60),
    st.sampled_from([None, "hour", "day", "month"]), st.sampled_from([None, 1, 2]),
)
def test_the_same_units_as_on_disk(rows: list[tuple[Any, ...]], window: str | None, limit: int | None) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    table = pa.table({
        "user": pa.array(columns[0], pa.string()), "at": pa.array(columns[1], pa.float64()), "kind": pa.array(columns[2], pa.string()),
        "n": pa.array(columns[3], pa.int64()), "other": pa.nulls(len(rows), pa.string()),
    })
    unit, time = PrivacyUnit("u", "user", window), "at" if window else None
    plain = Records.open(table, unit=unit, time=time)
    coded = Records.open_columns(table, ["kind", "n"], unit=unit, time=time)
    assert units_of(plain, ["kind", "n"]) == units_of(coded, ["kind", "n"])
    assert coded.names == (("user", "at", "kind", "n") if window else ("user", "kind", "n"))
    if limit:
        kept = units_of(Records.open_columns(table, ["kind", "n"], unit=unit, time=time, max_rows_per_unit=limit), ["kind", "n"])
        whole = units_of(coded, ["kind", "n"])
        assert sum(kept.values()) == sum(whole.values())
        assert sum(len(unit) * count for unit, count in kept.items()) == sum(min(limit, len(unit)) * count for unit, count in whole.items())


def test_which_rows_stay_depends_on_the_unit_alone() -> None:
    rng = np.random.default_rng(0)
    mine = {"user": ["me"] * 40, "at": [5.0] * 40, "n": list(range(40))}
    kept = set()
    for others in (0, 3, 500):
        names = [f"u{rng.integers(0, 50)}" for _ in range(others)]
        table = {"user": names + mine["user"], "at": [float(x) for x in rng.integers(0, 10**6, others)] + mine["at"], "n": [-1] * others + mine["n"]}
        records = Records.open_columns(table, ["n"], unit=USER_DAY, time="at", max_rows_per_unit=5)
        kept.add(tuple(sorted(n for batch in records.batches(["n"]) for n in batch.columns["n"].to_pylist() if n >= 0)))
    assert len(kept) == 1
    assert len(next(iter(kept))) == 5


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(1)
    users, kinds = [f"u{i}" for i in rng.integers(0, 40, 3_000)], [["web", "dns", None, "sch\u00fctz"][i] for i in rng.integers(0, 4, 3_000)]
    times = pa.array(rng.integers(0, 10**6, 3_000) * 1_000, pa.timestamp("ms", tz="UTC"))
    return pa.table({"user": users, "at": times, "kind": kinds, "more": users})


def test_files_of_every_kind_agree(table: pa.Table, tmp_path: Path) -> None:
    expected = units_of(Records.open(table, unit=USER_DAY, time="at"), ["kind"])
    pq.write_table(table, tmp_path / "plain.parquet", row_group_size=700, use_dictionary=False)
    pq.write_table(table, tmp_path / "coded.parquet", row_group_size=700)
    coded = table.set_column(2, "kind", table.column("kind").dictionary_encode()).set_column(0, "user", table.column("user").cast(pa.large_string()))
    pq.write_table(coded, tmp_path / "types.parquet", row_group_size=900)
    folder = tmp_path / "folder"
    folder.mkdir()
    pq.write_table(table.slice(0, 1_000), folder / "1.parquet")
    pq.write_table(coded.slice(1_000), folder / "2.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "t.feather")
    lines = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line, default=lambda at: at.isoformat()) + "\n" for line in lines), encoding="utf-8")
    for source in ("plain.parquet", "coded.parquet", "types.parquet", "folder", "t.feather", "t.jsonl"):
        with Records.open_columns(tmp_path / source, ["kind"], unit=USER_DAY, time="at") as records:
            assert units_of(records, ["kind"]) == expected, source
            assert next(records.batches(["kind"])).columns["kind"].type == pa.dictionary(pa.int32(), pa.large_string())


def test_what_does_not_fit_is_arranged_on_disk(table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_coded, "MOST_BYTES", 1_000)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=500)
    expected = units_of(Records.open(table, unit=USER_DAY, time="at"), ["kind"])
    with Records.open_columns(tmp_path / "t.parquet", ["kind"], unit=USER_DAY, time="at") as records:
        assert units_of(records, ["kind"]) == expected
        assert next(records.batches(["kind"])).columns["kind"].type == pa.string()
        assert "more" not in records.names


def test_text_that_is_not_utf8_is_missing(tmp_path: Path) -> None:
    words = pa.array([b"ok", b"\xff\xfe", None, b"ok"], pa.binary())
    broken = pa.StringArray.from_buffers(4, words.buffers()[1], words.buffers()[2], words.buffers()[0])
    pq.write_table(pa.table({"user": ["a", "a", "b", "b"], "kind": broken}), tmp_path / "t.parquet", store_schema=False)
    records = Records.open_columns(tmp_path / "t.parquet", ["kind"], unit=PrivacyUnit("user", "user"))
    values = [value for batch in records.batches(["kind"]) for value in batch.columns["kind"].to_pylist()]
    assert values == ["ok", None, None, "ok"]
    who = Records.open_columns(tmp_path / "t.parquet", ["user"], unit=PrivacyUnit("kind", "kind"))
    assert sum(batch.rows for batch in who.batches(["user"])) == 2


@pytest.mark.parametrize("who", [[1, 2, 1, None], [1.5, float("nan"), 1.5, 2.0], [True, False, True, None]])
def test_units_that_are_no_text(who: list[Any]) -> None:
    table = pa.table({"who": pa.array(who), "n": [1, 2, 3, 4]})
    unit = PrivacyUnit("who", "who")
    assert units_of(Records.open_columns(table, ["n"], unit=unit), ["n"]) == units_of(Records.open(table, unit=unit), ["n"])


def test_many_units_over_many_windows_do_not_overflow() -> None:
    rng = np.random.default_rng(2)
    table = pa.table({"user": [f"{i}" for i in range(2_000)] * 2, "at": np.tile(rng.choice([-9e10, 9e10, 0.0], 2_000), 2)})
    unit = PrivacyUnit("user-hour", "user", "hour")
    records = Records.open_columns(table, ["user"], unit=unit, time="at")
    assert all(len(set(part)) == 1 for part in units_of(records, ["user"]))
    assert sum(units_of(records, ["user"]).values()) == 2_000
    codes = np.repeat(np.arange(4, dtype=np.int64) << 58, 3)
    units, order = records_coded._sorted(codes, np.tile(np.array([0, 1 << 40, 7]), 4))
    assert len(set(units.tolist())) == 12
    assert sorted(order.tolist()) == list(range(12))


def test_bad_requests(table: pa.Table) -> None:
    with pytest.raises(DataError, match="«knd»"):
        Records.open_columns(table, ["knd"], unit=USER_DAY, time="at")
    with pytest.raises(DataError, match="«knd»"):
        Records.open_columns(table, ["knd"])
    with pytest.raises(UsageError, match="max_rows_per_unit"):
        Records.open_columns(table, ["kind"], unit=USER_DAY, time="at", max_rows_per_unit=0)
    with pytest.raises(UsageError, match="time"):
        Records.open_columns(table, ["kind"], unit=USER_DAY)
    assert Records.open_columns(table.slice(0, 0), ["kind"], unit=USER_DAY, time="at").table(["kind"]).num_rows == 0


def test_encodings_of_dictionaries_are_those_of_their_values() -> None:
    from tacit.questions.clock import seconds

    for values in (["1", " 2.5", "x", None], ["1970-01-02", None, "soon"], [" a ", "", None]):
        plain = pa.array(values, pa.large_string())
        coded = plain.dictionary_encode()
        assert encoding.texts(coded).to_pylist() == encoding.texts(plain).to_pylist()
        np.testing.assert_array_equal(encoding.numbers(coded), encoding.numbers(plain))
        np.testing.assert_array_equal(seconds(coded), seconds(plain))
