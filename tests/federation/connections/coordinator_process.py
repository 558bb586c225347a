"""A coordinator as a process of its own, which a test drives through a socket and can kill: ``python coordinator_process.py SOCKET``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

from tests.federation.connections.world import ENVIRONMENT, free_port

from tacit.crypto import VerifyKey
from tacit.federation.certificates import Address
from tacit.federation.transports import Missing, WebSocketTransport


def run(path: str) -> None:
    """Do what comes through the socket."""
    pipe = Client(path)
    engine, folder, members, listen, options = pipe.recv()
    kind: Any = WebSocketTransport
    if engine == "nvflare":
        from tacit.federation.transports.nvflare import NVFlareTransport as kind  # noqa: N813
    keys = {name: VerifyKey.from_bytes(raw) for name, raw in members.items()}
    transport = kind(Path(folder), keys, listen=Address.parse(listen), **options)
    pipe.send(transport.sites)
    while True:
        method, arguments, keywords = pipe.recv()
        try:
            pipe.send(getattr(transport, method)(*arguments, **keywords))
        except Exception as error:
            pipe.send(error)
        if method == "close":
            return


class Remote:
    """A `Transport` in another process."""

    def __init__(self, engine: str, folder: Path, members: Mapping[str, VerifyKey], listen: Address, **options: Any) -> None:
        path = str(folder / f"pipe-{free_port()}")
        with Listener(path) as listener:
            self.process = subprocess.Popen([sys.executable, __file__, path], env=ENVIRONMENT)
            self._pipe = listener.accept()
        self._pipe.send((engine, str(folder), {name: key.raw for name, key in members.items()}, str(listen), options))
        self.sites: tuple[str, ...] = self._received()

    def _received(self) -> Any:
        while not self._pipe.poll(0.1):
            assert self.process.poll() is None, "the coordinator has ended"
        found = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def call(self, stage: str, messages: Mapping[str, bytes], *, timeout: float) -> dict[str, bytes | Missing]:
        self._pipe.send(("call", (stage, dict(messages)), {"timeout": timeout}))
        found: dict[str, bytes | Missing] = self._received()
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self._pipe.send(("close", (), {}))
            self._received()
            self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    run(sys.argv[1])
