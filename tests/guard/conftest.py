"""Where a ledger can lie: an SQLite file of the test's own, or a schema of its own on the server that TACIT_TEST_PG names."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def postgres() -> Iterator[str]:
    """A URL whose tables are nobody else's."""
    url = os.environ.get("TACIT_TEST_PG")
    if not url:
        pytest.skip("needs a PostgreSQL server; set TACIT_TEST_PG to its URL")
    psycopg = pytest.importorskip("psycopg")
    name = f"tacit_test_{secrets.token_hex(6)}"
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both places in turn."""
    return str(tmp_path / "ledger.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres"))
