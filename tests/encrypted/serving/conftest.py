"""A vendor's server and a hospital's client, in one process or in two."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tacit.encrypted import Client, Compiled, SecretKey
from tacit.encrypted.serving import Clients, KeptMeter, Limits, Metrics, Remote, application
from tacit.web import Tokens, WebServer

from ..conftest import lacking, skipped

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of these tests alone
OTHER = "fedcba9876543210fedcba9876543210"


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    missing = lacking("seal", "fastapi", "uvicorn", "httpx", "prometheus_client")
    return skipped(module_path, parent, f"needs {missing}: the extras «encrypted» and «serve»") if missing else None


class Vendor:
    """An application over one compiled model with one client, the hospital; another has a token and no key."""

    def __init__(
        self, compiled: Compiled, folder: Path, *, budget: int | None = None, limits: Limits | None = None, key: SecretKey | None = None
    ) -> None:
        self.key = key or SecretKey.generate(compiled.plan.parameters)
        self.compiled, owners = compiled, {self.key.public.id: "hospital"}
        self.meter = KeptMeter(folder / "spent.db", budget=budget, owners=owners)
        self.scorer, self.metrics = compiled.scorer(meter=self.meter), Metrics()
        self.client = Client(compiled.public, self.key)
        self.clients = Clients(self.scorer, tokens=Tokens({"hospital": TOKEN, "other": OTHER}), keys={"hospital": self.key.public})
        self.app = application(self.clients, limits=limits, metrics=self.metrics)

    def ask(self, method: str, path: str, *, token: str | None = TOKEN, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}

        async def asked() -> Any:
            import httpx

            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://vendor") as client:
                return await client.request(method, path, headers=headers | more.pop("headers", {}), **more)

        return asyncio.run(asked())

    def post_all(self, bodies: list[bytes]) -> list[Any]:
        """All at the same time."""

        async def asked() -> list[Any]:
            import httpx

            transport = httpx.ASGITransport(app=self.app)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://vendor", headers=headers) as client:
                return await asyncio.gather(*(client.post("/v1/score", content=body) for body in bodies))

        return asyncio.run(asked())

    def post(self, body: bytes, **more: Any) -> Any:
        return self.ask("POST", "/v1/score", content=body, **more)


@pytest.fixture
def vendor(compiled: Compiled, tmp_path: Path) -> Iterator[Callable[..., Vendor]]:
    made: list[Vendor] = []

    def start(**more: Any) -> Vendor:
        made.append(Vendor(compiled, tmp_path, **more))
        return made[-1]

    yield start
    for one in made:
        one.meter.close()


@pytest.fixture
def listening(certificate: tuple[Path, Path]) -> Iterator[Callable[[Vendor], str]]:
    """Serve an application over TLS in a thread; gives its URL."""
    running: list[tuple[WebServer, threading.Thread]] = []

    def start(one: Vendor) -> str:
        server = WebServer(one.app, "127.0.0.1", 0, tls=certificate)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        running.append((server, thread))
        while not server._server.started:
            time.sleep(0.01)
        return str(server)

    yield start
    for server, thread in running:
        server.stop()
        thread.join(30)
        server.close()


@pytest.fixture
def remote(certificate: tuple[Path, Path]) -> Iterator[Callable[..., Remote]]:
    made: list[Remote] = []

    def reach(url: str, **more: Any) -> Remote:
        made.append(Remote(url, **{"token": TOKEN, "ca": str(certificate[0])} | more))
        return made[-1]

    yield reach
    for one in made:
        one.close()
