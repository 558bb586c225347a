"""The vendor's side of both examples: a compiled model in a folder, served by a process of its own over TLS on this machine.

Everything in ``Vendor.folder`` is the vendor's. What a client gets is the public model, a token and a certificate; what it gives is its public key.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from numpy.typing import NDArray

from tacit.encrypted import Client, Compiled, EncryptionKey, SecretKey
from tacit.encrypted.serving import CLIENTS, Remote, save_compiled

_PATIENCE = 120.0


@dataclass(frozen=True)
class Vendor:
    """Where the vendor's files are, and what one client was given."""

    folder: Path
    token: str

    @classmethod
    def of(cls, compiled: Compiled, folder: Path) -> Vendor:
        """Write the compiled model, a certificate, and a token for one client."""
        save_compiled(compiled, folder)
        vendor = cls(folder, secrets.token_hex(32))
        (folder / "tokens").write_text(f"client:{vendor.token}\n")
        (folder / "tokens").chmod(0o600)
        certify(folder)
        return vendor

    @property
    def certificate(self) -> Path:
        """What the client trusts."""
        return self.folder / "cert.pem"

    def admit(self, key: EncryptionKey) -> None:
        """Let the owner of this key ask; fingerprints were compared by telephone."""
        (self.folder / CLIENTS / "client.pub").write_bytes(key.to_bytes())

    @contextlib.contextmanager
    def serving(self, *, budget: int) -> Iterator[str]:
        """Run ``tacit encrypt serve``; gives its URL."""
        command = [sys.executable, "-m", "tacit", "encrypt", "serve", str(self.folder), "--listen", "127.0.0.1:0", "--budget", str(budget),
                   "--token-file", str(self.folder / "tokens"), "--tls-cert", str(self.certificate), "--tls-key", str(self.folder / "key.pem")]
        log = self.folder / "log"
        with log.open("w") as said:
            process = subprocess.Popen(command, stderr=said)  # noqa: S603 - our own command
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _PATIENCE
    while not (found := re.search(r"listening: (\S+)\n", log.read_text())):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the server did not start: {log.read_text()}")
        time.sleep(0.05)
    return found[1]


def certify(folder: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself, for a day, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(private)


@dataclass(frozen=True)
class Visit:
    """What a client saw: margins of all its records, milliseconds of each single record, records in a second, kilobytes of a record."""

    margins: NDArray[np.float64]
    single: NDArray[np.float64]
    rate: float
    kilobytes: float


def visit(vendor: Vendor, compiled: Compiled, records: dict[str, Any], *, single: int = 20) -> Visit:
    """The client's side: fetch the public model, make a key, have it admitted, and score: some records one by one, then all of them."""
    public = compiled.public  # the client was handed this file; it compares what the server says with its fingerprint
    key = SecretKey.generate(public.plan.parameters)
    vendor.admit(key.public)
    rows = len(next(iter(records.values())))
    with vendor.serving(budget=rows + single) as url, contextlib.closing(Remote(url, token=vendor.token, ca=str(vendor.certificate))) as remote:
        client = Client(remote.model(fingerprint=public.fingerprint), key)
        took = []
        for row in range(single):
            begin = time.perf_counter()
            client.open(remote.score(client.request({name: values[row : row + 1] for name, values in records.items()})))
            took.append(1_000 * (time.perf_counter() - begin))
        before, begin = remote.traffic.sent + remote.traffic.received, time.perf_counter()
        margins = remote.margins(client, records)
        seconds = time.perf_counter() - begin
        size = remote.traffic.sent + remote.traffic.received - before
    return Visit(margins, np.array(took), rows / seconds, size / rows / 1_000)


def shown(found: Visit) -> str:
    """Latency, throughput and bytes in one line."""
    return (
        f"one record {np.median(found.single):.1f} ms (slowest of {len(found.single)}: {found.single.max():.1f}), "
        f"{found.rate:,.0f} records in a second, {found.kilobytes:,.1f} kB each"
    )
