"""Real senders ship to ``tacit logs serve`` while it is killed twice: `senders`, small. By hand with a million events: see there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("senders.py")
SOURCE = Path(__file__).resolve().parents[3] / "src"
COUNT = int(os.environ.get("TACIT_SENT", "6000"))
RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
SYSLOG_NG = bool(os.environ.get("SYSLOG_NG")) or Path("/usr/sbin/syslog-ng").exists()

pytestmark = [pytest.mark.integration, pytest.mark.slow]


needs_ng = pytest.mark.skipif(not SYSLOG_NG, reason="syslog-ng is not installed; SYSLOG_NG names the folder that it is in")


def needs(module: str) -> Any:
    there = RSYSLOGD is not None and any(Path("/usr/lib").glob(f"*/rsyslog/{module}.so"))
    return pytest.mark.skipif(not there, reason=f"rsyslog with {module} is not installed")


def shipped(kind: str, tmp_path: Path, *options: str) -> dict[str, Any]:
    pytest.importorskip("fastapi", reason="needs the extra «serve»")
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), kind, "--events", str(COUNT), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", [
    pytest.param("omelasticsearch", marks=needs("omelasticsearch")), pytest.param("relp", marks=needs("omrelp")), "hec",
])
def test_nothing_is_lost_where_senders_hear_what_arrived(kind: str, tmp_path: Path) -> None:
    found = shipped(kind, tmp_path)
    assert found["lost"] == 0
    assert found["twice"] == found["twice_with_one_id"], "what came twice is recognised"


@pytest.mark.parametrize("kind", [
    pytest.param("tls", marks=needs("lmnsd_gtls")),
    pytest.param("syslog-ng-tcp", marks=needs_ng), pytest.param("syslog-ng-tls", marks=needs_ng),
])
def test_where_they_hear_nothing_everything_arrives_while_nobody_is_killed(kind: str, tmp_path: Path) -> None:
    found = shipped(kind, tmp_path, "--kills", "0")
    assert (found["lost"], found["twice"]) == (0, 0)
