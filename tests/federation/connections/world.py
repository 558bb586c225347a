"""A coordinator's and three sites' folders, sites as threads or as processes, and a network that can be cut."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tacit.crypto import SigningKey, VerifyKey
from tacit.federation.certificates import ROOT, Address, Connection, issue, lay_out_coordinator, lay_out_site, new_authority, request
from tacit.federation.transports import SiteOptions, WebSocketTransport, serve

NAMES = ("anna", "bergen", "st.clara")
LONG = 120.0
SITE = Path(__file__).with_name("site_process.py")
REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}", "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], *, seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


class Site:
    """Does what the stage says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.go_on = threading.Event()

    def handle(self, stage: str, message: bytes) -> bytes:
        self.asked.append((stage, message))
        if stage == "slow":
            time.sleep(float(message))
        elif stage == "wait":
            self.go_on.wait(LONG)
        elif stage == "fail":
            raise ValueError("a secret of the site")
        elif stage == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif stage == "large":
            return bytes(int(message))
        return message


class World:
    """Folders with certificates for a coordinator and its sites."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.coordinator = folder, folder / "coordinator"
        self.coordinator.mkdir()
        self.key = SigningKey.generate()
        self.address = Address("127.0.0.1", free_port())
        self.members: dict[str, VerifyKey] = {}
        new_authority(self.coordinator)
        lay_out_coordinator(self.coordinator, hosts=["127.0.0.1"], member=self.key.public)
        for name in NAMES:
            self.members[name] = SigningKey.generate().public
            self.lay_out(name)
        self.ends: list[Callable[[], None]] = []

    def site(self, name: str) -> Path:
        return self.folder / name

    def lay_out(self, name: str, *, member: VerifyKey | None = None, address: Address | None = None) -> Path:
        folder = self.site(name)
        folder.mkdir(exist_ok=True)
        member = member or self.members[name]
        certificate = issue(self.coordinator, request(folder, name, member=member), name, member=member)
        connection = Connection(name, address or self.address, self.key.public)
        lay_out_site(folder, certificate, root=(self.coordinator / ROOT).read_bytes(), connection=connection)
        return folder

    def listen(self, **options: Any) -> WebSocketTransport:
        transport = WebSocketTransport(self.coordinator, self.members, listen=self.address, **{"patience": LONG, **options})
        self.ends.append(transport.close)
        return transport

    def thread(self, name: str, **options: Any) -> Thread:
        thread = Thread(self.site(name), **options)
        self.ends.append(thread.end)
        return thread

    def process(self, name: str, engine: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(SITE), str(self.site(name)), engine]
        process = subprocess.Popen(command, env=ENVIRONMENT, text=True, stderr=subprocess.DEVNULL)
        self.ends.append(lambda: end(process))
        return process

    def close(self) -> None:
        for finish in reversed(self.ends):
            finish()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


class Thread:
    """A site in a thread, with what it reported and what it raised."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.site, self.reports, self.raised = Site(), [], None  # type: ignore[var-annotated]
        self.options = SiteOptions(report=self.reports.append, **options)
        self._thread = threading.Thread(target=self._run, args=(folder,), daemon=True)
        self._thread.start()

    def _run(self, folder: Path) -> None:
        try:
            serve(self.site, folder, options=self.options)
        except BaseException as error:
            self.raised = error

    def end(self) -> None:
        self.site.go_on.set()
        self.options.stop.set()
        self._thread.join(LONG)
        assert not self._thread.is_alive()

    def ended(self) -> BaseException | None:
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        return self.raised


class Relay:
    """Carries bytes between sites and the coordinator, until it is cut: then connections stay open and nothing arrives, as with a pulled cable.

    With ``rate`` it carries so many bytes a second, and keeps few back.
    """

    def __init__(self, target: Address, *, rate: float | None = None) -> None:
        self._rate = rate
        self.address = Address("127.0.0.1", free_port())
        self._target, self._listener = target, socket.create_server(("127.0.0.1", self.address.port))
        if rate:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut: set[socket.socket] = set()
        self._stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                near, _ = self._listener.accept()
                far = socket.socket()
                if self._rate:
                    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                far.connect((self._target.host, self._target.port))
            except OSError:
                continue
            self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        while near not in self._cut:
            ready, _, _ = select.select([near, far], [], [], 0.05)
            for source in ready:
                try:
                    data = source.recv(65536) if near not in self._cut else b""
                    if not data and near not in self._cut:
                        return self._hang_up(near, far)
                    (far if source is near else near).sendall(data)
                    time.sleep(len(data) / self._rate if self._rate else 0)
                except OSError:
                    return self._hang_up(near, far)
        return None

    def _hang_up(self, *ends: socket.socket) -> None:
        for one in ends:
            one.close()

    def cut(self) -> None:
        """Everything that is connected now stays so and is dead; new connections live."""
        self._cut |= {near for near, _ in self._pairs}

    def close(self) -> None:
        self._stopping = True
        self._listener.close()
        self.cut()
        for pair in self._pairs:
            self._hang_up(*pair)
