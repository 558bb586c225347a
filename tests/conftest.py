"""What every test shares: one thread per process, no deadline for property tests, slow tests only where there is time for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy is imported: several processes share the cores

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("tacit", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tacit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip slow tests unless CI or TACIT_SLOW asks for them."""
    if os.environ.get("CI") or os.environ.get("TACIT_SLOW"):
        return
    skip = pytest.mark.skip(reason="slow; set TACIT_SLOW=1 to run it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """Real records: the directory TACIT_DATA names, else ../shared/data beside the repository."""
    path = Path(os.environ.get("TACIT_DATA") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip("real records are absent; set TACIT_DATA to their directory")
    return path
