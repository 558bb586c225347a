"""``tacit doctor``."""

from __future__ import annotations

import importlib.util
import sys

import click

EXTRAS = (
    ("seal", "encrypted"), ("websockets", "federation"), ("statsmodels", "forecast"), ("confluent_kafka", "kafka"), ("orjson", "logs"),
    ("nats", "nats"), ("nvflare", "nvflare"), ("onnx", "onnx"), ("psycopg", "postgres"), ("fastapi", "serve"), ("pyspark", "spark"),
    ("mbi", "synthetic"), ("torch", "torch"),
)
"""The module that shows that an optional part is installed, and the name of the part."""


@click.command()
def doctor() -> int:
    """Check this installation: Python, parts, entropy, noise, signatures, and the optional extras."""
    from tacit.crypto import SigningKey
    from tacit.guard import Ledger
    from tacit.randomness import SecureRandom, rounded_gaussian

    click.echo(f"ok    Python {sys.version.split()[0]}")
    noise = rounded_gaussian(SecureRandom(), 1000.0, 20_000)
    good = abs(float(noise.std()) / 1000 - 1) < 0.05
    click.echo(f"{'ok  ' if good else 'FAIL'}  noise from the operating system's entropy")
    key = SigningKey.generate()
    key.public.verify(b"doctor", key.sign(b"doctor", context="tacit.doctor"), context="tacit.doctor")
    click.echo("ok    signatures")
    Ledger.ephemeral().verify()
    click.echo("ok    ledger")
    for module, extra in EXTRAS:
        there = importlib.util.find_spec(module) is not None
        click.echo(f"{'ok  ' if there else '--  '}  {extra}" + ("" if there else f": optional, pip install 'tacit[{extra}]'"))
    click.echo(_compiled())
    return 0 if good else 3


def _compiled() -> str:
    """Whether logs are read by compiled code, or by an old build of it that is passed over."""
    if importlib.util.find_spec("tacit_kernel") is None:
        return "--    compiled reader of logs: optional, pip install ./kernel in Tacit's sources"
    try:
        from tacit.logs.anonymise import has_kernel

        used = has_kernel()
    except ImportError:
        used = False
    if used:
        return "ok    compiled reader of logs"
    return "--    compiled reader of logs: of another version, not used; pip install --force-reinstall ./kernel"
