"""The application: the public model, scores of what it cannot read, health and metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tacit.encrypted.plan import Plan
from tacit.encrypted.serving.clients import Clients
from tacit.encrypted.serving.kept import KeptMeter
from tacit.encrypted.serving.metrics import Metrics
from tacit.encrypted.serving.refusals import Refusal, refusal_of, said
from tacit.encrypted.wire import Kind, count, field, parse
from tacit.errors import MissingExtra, StorageError, TacitError, UsageError, WrongKey
from tacit.web import Bodies, BodyError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger("tacit.encrypted.serving")
_MINUTE = 60.0
ENVELOPE = 1 << 16
"""Bytes of a request beside its ciphertexts, at most."""
BINARY = "application/octet-stream"
_ADVICE = {408: "send it again", 413: "send fewer records at a time", 415: "send it unpacked or as gzip", 429: "send it again later"}


@dataclass(frozen=True)
class Limits:
    """How much one server takes.

    Args:
        most_body: bytes of a request.
        most_held: bytes of all requests that are being read or scored.
        rate: requests of one client in a minute.
        workers: requests that are scored at once.
    """

    most_body: int
    most_held: int
    rate: int = 120
    workers: int = 2

    @classmethod
    def of(cls, plan: Plan, *, most_body: int | None = None, rate: int = 120, workers: int = 2) -> Limits:
        """Limits that hold at least one block of a plan.

        Raises:
            UsageError: ``most_body`` is too small for it.
        """
        least = plan.request_bytes(plan.records) + ENVELOPE
        size = max(least, 16 << 20) if most_body is None else most_body
        if size < least:
            raise UsageError(f"Expected at least {least:,} bytes for a request, got {size:,}: one block of records takes as much. Compile with "
                             "packing «single» for smaller ones")
        return cls(size, 4 * size, rate, workers)


def application(clients: Clients, *, limits: Limits | None = None, metrics: Metrics | None = None) -> FastAPI:
    """The application.

    Args:
        clients: who may ask, and the scorer that they ask; see `Clients.replace` for changing them while it runs.
        limits: how much is taken.
        metrics: where it is counted.

    Raises:
        MissingExtra: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
        from starlette.routing import Route
    except ImportError:
        raise MissingExtra("serve", purpose="listening for HTTP") from None
    desk = _Desk(clients, limits or Limits.of(clients.scorer.public.plan), metrics or Metrics())
    app = FastAPI(title="Tacit", docs_url=None, redoc_url=None, openapi_url=None, routes=[
        Route("/health/live", desk.live, methods=["GET"]),
        Route("/health/ready", desk.ready, methods=["GET"]),
        Route("/metrics", desk.known(desk.counted), methods=["GET"]),
        Route("/v1/model", desk.known(desk.model), methods=["GET"]),
        Route("/v1/about", desk.known(desk.about), methods=["GET"]),
        Route("/v1/score", desk.known(desk.score), methods=["POST"]),
    ])
    app.router.redirect_slashes = False
    return app


class _Desk:
    """What all paths share."""

    def __init__(self, clients: Clients, limits: Limits, metrics: Metrics) -> None:
        self._scorer, self._clients = clients.scorer, clients
        self._limits, self._metrics = limits, metrics
        self._bodies = Bodies(most_body=self._limits.most_body, most_held=self._limits.most_held)
        self._turns = asyncio.Semaphore(self._limits.workers)
        self._asked: dict[str, deque[float]] = {}
        self._ready = True

    def known(self, path: Callable[[Request, str], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """A path for those with a token, that answers every fault in one line and tells nobody else."""

        async def handle(request: Request) -> Response:
            name = self._clients.tokens.name_of(request.headers.get("authorization"))
            if name is None:
                return self._refused(said(status=401, reason="a token is required", advice="send «Authorization: Bearer SECRET»"))
            try:
                return await path(request, name)
            except BodyError as error:
                return self._refused(said(status=error.status, reason=str(error), advice=_ADVICE.get(error.status, "send it again")))
            except StorageError as error:
                self._ready = False
                _LOG.error("%s", error)
                return self._refused(refusal_of(error))
            except TacitError as error:
                return self._refused(refusal_of(error))
            except Exception as error:
                _LOG.error("a request failed with %s", type(error).__name__)
                return self._refused(Refusal(500, "Fault", "a fault of Tacit's own", "send it again; if it happens twice, report it"))

        return handle

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        return _json({"ready": self._ready}, 200 if self._ready else 503)

    async def counted(self, request: Request, name: str) -> Response:
        return _plain(self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def model(self, request: Request, name: str) -> Response:
        return _plain(self._scorer.public.to_bytes(), BINARY)

    async def about(self, request: Request, name: str) -> Response:
        public, meter = self._scorer.public, self._scorer.meter
        return _json({
            "client": name, "model": public.id, "fingerprint": public.fingerprint, "plan": public.plan.name, "packing": public.plan.packing,
            "most_body": self._limits.most_body, "rate": self._limits.rate, "left": meter.left(name) if isinstance(meter, KeptMeter) else None,
        })

    async def score(self, request: Request, name: str) -> Response:
        wait = self._late(name)
        if wait > 0:
            reason = f"more than {self._limits.rate:,} requests in a minute"
            return self._refused(said(status=429, reason=reason, advice=f"wait {wait:.0f} seconds, and send more records in one"), wait)
        if int(request.headers.get("content-length") or 0) > self._limits.most_body:
            raise BodyError(413, f"the body has more than {self._limits.most_body:,} bytes")
        with self._bodies.room() as held:
            body = await self._bodies.read(request, held)
            rows = self._own(body, name)
            self._metrics.working(1)
            began = time.monotonic()
            try:
                async with self._turns:
                    answer = await asyncio.to_thread(self._scorer.score, body)
            finally:
                self._metrics.working(-1)
        self._ready = True
        self._metrics.answered(time.monotonic() - began, rows=rows, received=len(body), sent=len(answer))
        return _plain(answer, BINARY)

    def _late(self, name: str) -> float:
        """Seconds until a client may ask again; counts the request if it may."""
        now, asked = time.monotonic(), self._asked.setdefault(name, deque())
        while asked and asked[0] <= now - _MINUTE:
            asked.popleft()
        if len(asked) >= self._limits.rate:
            return max(1.0, asked[0] + _MINUTE - now)
        asked.append(now)
        return 0.0

    def _own(self, body: bytes, name: str) -> int:
        """The records of a request, if its key belongs to whoever shows the token."""
        header = parse(body, Kind.REQUEST).header
        if self._clients.owners.get(field(header, "key", str)) != name:
            raise WrongKey("The request comes from a key that is not admitted for this token")
        return count(header, "rows", 1 << 40)

    def _refused(self, refusal: Refusal, wait: float = 1.0) -> Response:
        self._metrics.refused(refusal.error if refusal.status != 401 else "no token")
        headers = {"Retry-After": f"{wait:.0f}"} if refusal.status in (429, 503) else {}
        headers |= {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        return _json({"error": refusal.error, "reason": refusal.reason, "do": refusal.advice}, refusal.status, headers)


def _json(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _plain(json.dumps(content, ensure_ascii=False).encode(), "application/json", status, headers)


def _plain(content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(content, status_code=status, headers={"Cache-Control": "no-store"} | (headers or {}), media_type=kind)
