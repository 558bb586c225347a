"""``tacit encrypt`` as a vendor and a hospital use it: two processes, TLS between them, files that each would have."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.domain import Domain, Numeric
from tacit.learn import BoostedTreesClassifier
from tacit.models import load, save

pytest.importorskip("seal", reason="needs the extra «encrypted»")
pytest.importorskip("uvicorn", reason="needs the extra «serve»")
SOURCE = Path(__file__).resolve().parents[2] / "src"
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of these tests alone
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "TACIT_PASSPHRASE": "four random words here"}
DOMAIN = Domain.of(age=Numeric(0, 100), dose=Numeric(0, 10))


def tacit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tacit", "encrypt", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model, records, and tokens."""
    rng = np.random.default_rng(0)
    age, dose = rng.uniform(0, 100, 4_000), rng.uniform(0, 10, 4_000)
    ill = (age / 10 + dose + rng.normal(0, 1, 4_000) > 11).astype(int)
    table = pl.DataFrame({"age": age, "dose": dose, "ill": ill})
    model = BoostedTreesClassifier(Budget(8, 1e-5), domain=DOMAIN, classes=[0, 1], trees=10, depth=3).fit(table.select("age", "dose"), ill)
    save(model.model_, tmp_path / "model.tacit", SigningKey.generate())
    table.head(500).write_parquet(tmp_path / "records.parquet")
    (tmp_path / "tokens").write_text(f"hospital:{TOKEN}\n")
    (tmp_path / "mine").write_text(f"{TOKEN}\n")
    for name in ("tokens", "mine"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def serving(folder: Path, certificate: tuple[Path, Path]) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], str]]]:
    made: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[subprocess.Popen[bytes], str]:
        tls = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
        command = [sys.executable, "-m", "tacit", "encrypt", "serve", "vendor", "--listen", "127.0.0.1:0", "--token-file", "tokens", *tls, *options]
        with (folder / "stderr.txt").open("w") as said:
            made.append(subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=said))
        end = time.monotonic() + 120
        while not (found := re.search(r"listening: (https://\S+)\n", (folder / "stderr.txt").read_text())):
            assert made[-1].poll() is None, (folder / "stderr.txt").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        return made[-1], found[1]

    yield start
    for process in made:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.mark.slow
def test_a_hospital_scores_at_a_vendor_that_reads_nothing(
    folder: Path, serving: Callable[..., tuple[subprocess.Popen[bytes], str]], certificate: tuple[Path, Path]
) -> None:
    done = tacit(folder, "compile", "model.tacit", "records.parquet", "--output", "vendor", "--labels", "ill")
    assert done.returncode == 0, done.stderr
    assert "0 decisions differ" in done.stdout
    assert "128 bits of security" in done.stdout
    done = tacit(folder, "keygen", "vendor/public", "--output", "hospital.key")
    assert done.returncode == 0, done.stderr
    (folder / "hospital.pub").rename(folder / "vendor" / "clients" / "hospital.pub")
    process, url = serving("--budget", "600")
    ask = ("score", "records.parquet", "--url", url, "--ca", str(certificate[0]), "--key", "hospital.key", "--token-file", "mine")
    done = tacit(folder, *ask, "--model", "vendor/public", "--output", "scores.csv")
    assert done.returncode == 0, done.stderr
    scores = pl.read_csv(folder / "scores.csv")
    margins = load(folder / "model.tacit").margins(pl.read_parquet(folder / "records.parquet"))
    assert scores.columns == ["answer", "margin"]
    assert np.allclose(scores["margin"].to_numpy(), margins[:, 0], rtol=1e-5, atol=1e-6)
    assert np.array_equal(scores["answer"].to_numpy(), (margins[:, 0] > 0).astype(int))
    refused = tacit(folder, *ask, "--model", "vendor/public")
    assert refused.returncode == 3
    assert "at most 100 more records" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    wrong = tacit(folder, *ask, "--fingerprint", "00000-00000-00000-00000")
    assert wrong.returncode == 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    said = (folder / "stderr.txt").read_text()
    assert "what had begun was answered" in said
    assert len(said.splitlines()) == 3


@pytest.mark.slow
def test_a_server_reads_its_clients_again(
    folder: Path, serving: Callable[..., tuple[subprocess.Popen[bytes], str]], certificate: tuple[Path, Path]
) -> None:
    for arguments in (("compile", "model.tacit", "records.parquet", "--output", "vendor"), ("keygen", "vendor/public", "--output", "hospital.key")):
        assert tacit(folder, *arguments).returncode == 0
    process, url = serving("--budget", "0")
    ask = ("score", "records.parquet", "--url", url, "--ca", str(certificate[0]), "--key", "hospital.key", "--token-file", "mine",
           "--model", "vendor/public", "--output", "scores.csv")

    def told(text: str) -> None:
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while text not in (folder / "stderr.txt").read_text():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)

    assert "not admitted" in tacit(folder, *ask).stderr
    (folder / "vendor" / "clients" / "hospital.pub").write_bytes((folder / "hospital.pub").read_bytes()[:100])
    told("clients stay as they were: vendor/clients/hospital.pub")
    (folder / "hospital.pub").rename(folder / "vendor" / "clients" / "hospital.pub")
    told("\nclients: hospital ")
    done = tacit(folder, *ask)
    assert done.returncode == 0, done.stderr
    (folder / "tokens").write_text("hospital:ab\n")
    told("clients stay as they were: Expected tokens")
    assert TOKEN not in (folder / "stderr.txt").read_text()
    assert tacit(folder, *ask).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), [
    (("serve", "absent", "--token-file", "tokens", "--budget", "1"), "Cannot read absent/public"),
    (("serve", "absent", "--token-file", "tokens", "--budget", "1", "--listen", "0.0.0.0:0"), "--tls-cert"),
    (("serve", "absent", "--token-file", "tokens"), "--budget"),
    (("keygen", "model.tacit"), "Expected a message «model»"),
    (("score", "records.parquet", "--url", "https://127.0.0.1:1", "--key", "k", "--token-file", "mine"), "--fingerprint"),
    (("score", "records.parquet", "--url", "http://scores.example", "--key", "k", "--token-file", "mine", "--fingerprint", "x"), "https://"),
    (("compile", "model.tacit", "records.parquet", "--output", "v", "--labels", "nothing"), "nothing"),
])
def test_what_cannot_be_is_said_in_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = tacit(folder, *arguments)
    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "v").exists()
