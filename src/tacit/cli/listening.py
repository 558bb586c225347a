"""What every command that listens has in common: addresses, TLS, and stopping."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tacit.errors import UsageError


class Listener(Protocol):
    """Where events come in."""

    async def serve(self) -> None:
        """Listen until `stop`; what has begun is finished."""

    def stop(self) -> None:
        """Take nothing more."""


async def run(listeners: Sequence[Listener], *, again: Callable[[], None] | None = None) -> None:
    """All listeners, until SIGTERM or SIGINT, or until one of them ends; ``again`` is called at each SIGHUP."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if again is not None and hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, again)
    tasks = [asyncio.create_task(listener.serve()) for listener in listeners]
    for task in tasks:
        task.add_done_callback(lambda task: stopping.set())
    await stopping.wait()
    for listener in listeners:
        listener.stop()
    await asyncio.gather(*tasks)


def endpoint(text: str, *, option: str) -> tuple[str, int]:
    """Host and port of an option.

    >>> endpoint("[::1]:9200", option="--http")
    ('::1', 9200)

    Raises:
        UsageError: it is no such pair.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"Expected {option} HOST:PORT, such as 127.0.0.1:9200; got «{text[:100]}».")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_exposure(host: str, *, option: str, tokens: bool, tls: bool) -> None:
    """Beyond this machine, only with tokens and TLS.

    Raises:
        UsageError: one of them is missing.
    """
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    if not own and not tokens:
        raise UsageError(f"{option} {host} can be reached from other machines. Expected --token-file, or an address such as 127.0.0.1.")
    if not own and not tls:
        raise UsageError(f"{option} {host} can be reached from other machines. Expected --tls-cert and --tls-key, or --plain behind a proxy.")


def tls_files(options: dict[str, Any]) -> tuple[Path, Path] | None:
    """Certificate and key of the options; ``None`` without.

    Raises:
        UsageError: one of them is missing.
    """
    certificate, key = options["tls_cert"], options["tls_key"]
    if (certificate is None) != (key is None):
        raise UsageError("Expected --tls-cert and --tls-key together.")
    return None if certificate is None else (certificate, key)
