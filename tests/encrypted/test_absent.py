"""Without the extra these tests are skipped with a reason; they neither fail nor pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BLOCKED = "import sys; sys.modules[{name!r}] = None; import pytest; sys.exit(pytest.main(['-q', '-rs', '-p', 'no:cacheprovider', *sys.argv[1:]]))"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "folder", "reason"), [
    ("seal", ".", "needs the extra «encrypted»"), ("seal", "serving", "needs seal"), ("fastapi", "serving", "needs fastapi"),
])  # fmt: skip
def test_what_is_not_installed_is_a_reason_to_skip(name: str, folder: str, reason: str) -> None:
    command = [sys.executable, "-c", BLOCKED.format(name=name), str(HERE / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stdout + done.stderr  # 5: nothing was run
    last = done.stdout.strip().splitlines()[-1]
    assert "skipped" in last
    assert not {"failed", "passed", "error"} & set(last.split())
    assert reason in done.stdout
