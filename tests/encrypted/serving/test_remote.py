from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.encrypted import Client, Compiled, SecretKey, Settings, compile
from tacit.encrypted.serving import Limits, Remote, load_clients, load_compiled, load_public, save_compiled
from tacit.errors import (
    BudgetExceeded,
    ConfigError,
    DataError,
    MessageDamaged,
    Refused,
    StorageError,
    TacitError,
    UsageError,
    WrongKey,
    WrongModel,
)

from ..conftest import Patients
from .conftest import OTHER, Vendor


def test_records_go_over_tls_in_as_many_requests_as_it_takes(
    vendor: Callable[..., Vendor], listening: Callable[[Vendor], str], remote: Callable[..., Remote], patients: Patients, compiled: Compiled
) -> None:
    one = vendor(budget=40, limits=Limits.of(compiled.plan, most_body=10 * compiled.plan.request_bytes(1)))
    there = remote(listening(one))
    client = Client(there.model(fingerprint=compiled.public.fingerprint), one.key)
    found = there.margins(client, patients.some(20))
    assert np.array_equal(found, compiled.simulate(patients.some(20)))
    assert there.traffic.requests == 3
    assert there.traffic.sent > 20 * compiled.plan.request_bytes(1)
    with pytest.raises(BudgetExceeded, match="ask the model's owner"):
        there.margins(client, patients.some(25))
    with pytest.raises(DataError, match="at least one"):
        there.margins(client, patients.some(0))
    with pytest.raises(WrongModel, match="fingerprint"):
        there.model(fingerprint="00000-11111-22222-33333")
    with pytest.raises(WrongKey):
        there.margins(Client(compiled.public, SecretKey.generate(compiled.plan.parameters)), patients.some(1))


def test_a_server_that_is_not_the_right_one_gets_no_token(
    vendor: Callable[..., Vendor], listening: Callable[[Vendor], str], remote: Callable[..., Remote]
) -> None:
    url = listening(vendor())
    with pytest.raises(StorageError, match="No answer"):
        remote(url, ca=None).about()
    with pytest.raises(StorageError, match="No answer"):
        remote(url.replace("https", "http")).about()
    with pytest.raises(Refused, match="a token is required"):
        remote(url, token="nobody" * 5).about()
    assert remote(url, token=OTHER).about()["client"] == "other"


@pytest.mark.parametrize("url", ["http://scores.example", "ftp://x", "https://", "https://a:b@x", "https://x:port"])
def test_urls_that_would_give_the_token_away_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Remote(url, token="x" * 20)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"error": 5, "reason": ["x\\n"], "do": null}', b"[" * 60_000, b'{"most_body": "x"}'])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_whatever_a_server_says_is_one_of_our_errors(content: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Said:
        will_close = True

        def __init__(self) -> None:
            self.status = status

        def read(self, most: int) -> bytes:
            return content[:most]

    there = Remote("http://127.0.0.1:9", token="x" * 20)
    monkeypatch.setattr(there, "_response", lambda *_: Said())
    for ask in (there.about, there.model):
        with pytest.raises(TacitError) as caught:
            ask()
        assert str(caught.value).isprintable()


def test_a_compiled_model_is_kept_in_a_folder(compiled: Compiled, tmp_path: Path, patients: Patients) -> None:
    place = tmp_path / "vendor"
    save_compiled(compiled, place)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in place.iterdir() if path.is_file()} == {
        "public": 0o044, "weights": 0, "sealing.pem": 0,
    }
    again = load_compiled(place)
    assert np.array_equal(again.simulate(patients.some(30)), compiled.simulate(patients.some(30)))
    assert load_public(place / "public").id == compiled.public.id
    with pytest.raises(UsageError, match="new folder"):
        save_compiled(compiled, place)


def test_folders_that_do_not_belong_together_are_refused(compiled: Compiled, linear: Any, patients: Patients, tmp_path: Path) -> None:
    other = compile(linear, patients.test, settings=Settings(packing="single"))
    for name, made in (("a", compiled), ("b", other)):
        save_compiled(made, tmp_path / name)
    for file in ("public", "weights", "sealing.pem"):
        mixed = tmp_path / f"mixed-{file}"
        shutil.copytree(tmp_path / "a", mixed)
        shutil.copy2(tmp_path / "b" / file, mixed / file)
        with pytest.raises(MessageDamaged, match="belong together"):
            load_compiled(mixed)
    weights = tmp_path / "a" / "weights"
    data = bytearray(weights.read_bytes())
    data[-24] ^= 0x40
    weights.write_bytes(data)
    with pytest.raises(MessageDamaged):
        load_compiled(tmp_path / "a")
    weights.write_bytes(data[:-1])
    with pytest.raises(MessageDamaged):
        load_compiled(tmp_path / "a")
    with pytest.raises(StorageError):
        load_compiled(tmp_path / "absent")


def test_clients_are_named_after_their_files(compiled: Compiled, tmp_path: Path) -> None:
    key = SecretKey.generate(compiled.plan.parameters)
    (tmp_path / "hospital.pub").write_bytes(key.public.to_bytes())
    (tmp_path / "notes.txt").write_text("x")
    assert load_clients(tmp_path, compiled.plan.parameters) == {"hospital": key.public}
    (tmp_path / "bad.pub").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"bad\.pub"):
        load_clients(tmp_path, compiled.plan.parameters)
    with pytest.raises(StorageError):
        load_clients(tmp_path / "absent", compiled.plan.parameters)
