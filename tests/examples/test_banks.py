"""Three banks in one process: what they find together, and that one customer is protected at one bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import example
from .test_finance import transactions


@pytest.fixture(scope="module")
def banks() -> Any:
    return example("banks/banks.py")


def test_three_banks_find_what_one_alone_would_miss(banks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transactions(900).write_parquet(tmp_path / "tx.parquet")
    assert banks.main([str(tmp_path / "tx.parquet"), "--cards", "8", "--epsilon", "8"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line[:9] for line in lines] == ["one bank ", "three ban", "a curator"]
    together, curator = (float(line.split("AP ")[1].split()[0]) for line in lines[1:])
    assert together > 0.5
    assert curator > 0.5
    assert "distributed(3,3,1)" in err
    assert "per customer" in err


def test_every_customer_is_at_one_bank(banks: Any) -> None:
    table = transactions(60)
    parts = [banks.of_bank(table, place) for place in range(3)]
    assert sum(part.height for part in parts) == table.height
    assert not set(parts[0]["CUSTOMER_ID"]) & set(parts[1]["CUSTOMER_ID"])
