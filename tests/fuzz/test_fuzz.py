"""Thirty seconds of coverage-guided fuzzing per reader in CI; from nothing, so that each run takes another way."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS, ROUNDS, ENCRYPTED = (Path(__file__).with_name(name) for name in ("harness.py", "rounds.py", "encrypted.py"))
NAMES = ("json", "syslog", "cef", "leef", "apache", "nginx", "auditd", "zeek", "csv", "syslog-stream", "relp-stream", "bulk", "hec", "packed")
SECONDS = int(os.environ.get("TACIT_FUZZ_SECONDS", "30"))
SEEDS = {
    "json": b'{"a": [1, 2.5, "x"], "b": {"c": null}}',
    "syslog": b"<34>1 2026-10-11T22:14:15.003Z host app 12 ID47 [a@1 b=\"c\"] text\n<34>Oct 11 22:14:15 host su[12]: text",
    "cef": b"CEF:0|v|p|1|id|name|5|src=10.0.0.1 msg=a b\\=c",
    "leef": b"LEEF:2.0|v|p|1|id|^|src=10.0.0.1^usrName=a",
    "apache": b'10.0.0.1 - a [10/Oct/2026:13:55:36 +0200] "GET /a HTTP/1.1" 200 23 "-" "curl"',
    "nginx": b"2026/10/10 13:55:36 [error] 1#2: *3 text, client: 10.0.0.1",
    "auditd": b"type=CWD msg=audit(1.500:1): cwd=2F61 key=(null)",
    "zeek": b"#separator \\x09\n#fields\tts\ta\n#types\ttime\tstring\n1.5\tx",
    "csv": b'a,b\n1,"x ""y"""\n',
    "syslog-stream": b"5 hello7 <1>abcd\n",
    "site-round": b'\x02{"adverts":{"a":{"$b64":"AAAA"}},"boxes":{},"survivors":["a"],"signatures":{}}',
    "coordinator-round": b'\x01{"boxes":{"b":{"$b64":"AAAA"}},"masking":{"$b64":"AAAA"},"seeds":{},"keys":{}}',
    "round-bytes": b"\x01\x00\x00\x00\x02{}\x00\x00\x00\x00\x00\x00\x00\x02{}",
    "connection-bytes": b"12345678\x06maskedvector",
    "relp-stream": b"1 open 30 relp_version=0\ncommands=syslog\n2 syslog 3 abc\n3 close 0\n",
    "encrypted-request": bytes(range(1, 60)),
    "encrypted-contribution": bytes(range(1, 60)),
    "encrypted-bytes": b"\x00TACITENC\x01\x00\x02\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00{}",
    "encrypted-endpoint": gzip.compress(b"TACITENC" * 30, mtime=0) + bytes(8),
    "bulk": b'{"index":{"_id":"1"}}\n{"a":1}\n{"delete":{"_id":"2"}}\n{"create":{"_index":"b"}}\n{"a":2}\n',
    "hec": b'{"event":"<34>1 - h a - - - x","time":1.5}{"event":{"a":1},"fields":{"b":2}}\n[{"event":"c"}]',
    "packed": b"\x00" + gzip.compress(b"abc" * 50, mtime=0),
}


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", NAMES)
def test_no_bytes_break_a_reader(name: str, tmp_path: Path) -> None:
    _fuzz(HARNESS, name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", ["site-round", "coordinator-round", "round-bytes", "connection-bytes"])
def test_no_message_breaks_a_masked_round(name: str, tmp_path: Path) -> None:
    _fuzz(ROUNDS, name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", ["encrypted-request", "encrypted-contribution", "encrypted-bytes", "encrypted-endpoint"])
def test_no_message_breaks_a_scorer_or_an_evaluator(name: str, tmp_path: Path) -> None:
    pytest.importorskip("seal", reason="needs the extra «encrypted»")
    pytest.importorskip("fastapi", reason="needs the extra «serve»")
    _fuzz(ENCRYPTED, name, tmp_path)


def _fuzz(harness: Path, name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(SEEDS[name])
    command = [sys.executable, str(harness), name, f"-max_total_time={SECONDS}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=8192", str(corpus)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    executed = re.search(r"Done (\d+) runs", done.stderr)
    assert executed is not None
    assert int(executed[1]) > 100
