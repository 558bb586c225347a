"""The application: ``_bulk``, the Event Collector, health and metrics, over one `Delivery`."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tacit.errors import MissingExtra, UsageError
from tacit.logs.formats import JsonLines, LineFormat
from tacit.logs.stages.delivery import Busy, Closed, Delivery
from tacit.logs.stages.submissions import Receipt
from tacit.logs.stages.web import elastic, splunk
from tacit.web import LARGE, Bodies, BodyError, Tokens

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger("tacit.logs.stages")
Handler = Callable[["Request"], Awaitable["Response"]]


@dataclass(frozen=True)
class WebLimits:
    """How much the web side takes at once.

    Args:
        most_body: bytes of a body, unpacked.
        most_held: bytes of all bodies that are being read.
        longest_wait: seconds until a sender is told to come again, if the outlets have not taken its events by then.
    """

    most_body: int = 16 << 20
    most_held: int = 64 << 20
    longest_wait: float = 30.0


def application(
    delivery: Delivery, form: LineFormat, *, tokens: Tokens | None = None, limits: WebLimits | None = None, envelope: bool = False
) -> FastAPI:
    """The application.

    Args:
        delivery: where events go.
        form: of the policy. Documents of ``_bulk`` are JSON objects whatever it is.
        tokens: who may send; ``None`` lets everybody.
        limits: how much is taken at once.
        envelope: whether what an Event Collector's envelope says goes with the event.

    Raises:
        MissingExtra: FastAPI is not installed.
        UsageError: a body could be larger than the delivery's queue.
    """
    try:
        from fastapi import FastAPI
        from starlette.routing import Route
    except ImportError:
        raise MissingExtra("serve", purpose="listening for HTTP") from None
    limits = limits or WebLimits()
    if limits.most_body * 2 > delivery.limits.most_bytes:
        raise UsageError(f"Expected most_body={limits.most_body:,} to be at most half of the queue's {delivery.limits.most_bytes:,} bytes.")
    taker = _Taker(delivery, tokens, limits)
    bulk, hec, plain = _Bulk(taker, form), _Hec(taker, form, envelope), _Plain(taker)
    app = FastAPI(title="Tacit", docs_url=None, redoc_url=None, openapi_url=None, routes=[
        Route("/", bulk.info, methods=["GET", "HEAD"]),
        Route("/_cluster/health", bulk.health, methods=["GET", "HEAD"]),
        Route("/_cat/health", bulk.health, methods=["GET", "HEAD"]),
        Route("/health/live", plain.live, methods=["GET"]),
        Route("/health/ready", plain.ready, methods=["GET"]),
        Route("/metrics", plain.metrics, methods=["GET"]),
        Route("/_bulk", bulk.take, methods=["POST", "PUT"]),
        *(Route(f"/services/collector{path}", hec.events, methods=["POST"]) for path in ("", "/event", "/event/1.0")),
        *(Route(f"/services/collector{path}", hec.raw, methods=["POST"]) for path in ("/raw", "/raw/1.0")),
        *(Route(f"/services/collector{path}", hec.health, methods=["GET"]) for path in ("/health", "/health/1.0")),
        Route("/services/collector/ack", hec.ack, methods=["POST"]),
        Route("/{index}/_bulk", bulk.take, methods=["POST", "PUT"]),
        Route("/{index}/{kind}/_bulk", bulk.take, methods=["POST", "PUT"]),
    ])
    app.router.redirect_slashes = False
    return app


class _Taker:
    """What every path has in common."""

    def __init__(self, delivery: Delivery, tokens: Tokens | None, limits: WebLimits) -> None:
        self.delivery, self.limits = delivery, limits
        self._tokens = tokens
        self.bodies = Bodies(most_body=limits.most_body, most_held=limits.most_held)

    def allows(self, request: Request, listener: str) -> bool:
        """Whether the request shows a token."""
        allowed = self._tokens is None or self._tokens.allow(request.headers.get("authorization"))
        if not allowed:
            self.delivery.metrics.denied(listener)
        return allowed

    async def read(self, request: Request, split: Callable[[bytes], Any]) -> Any:
        """What a body is made of; its bytes are counted until it has been taken apart.

        Raises:
            BodyError: see `Bodies.read`; or what ``split`` says.
        """
        with self.bodies.room() as held:
            body = await self.bodies.read(request, held)
            return split(body) if len(body) <= LARGE else await asyncio.to_thread(split, body)

    async def deliver(self, lines: list[bytes], form: LineFormat, listener: str, marks: list[bytes] | None = None) -> Receipt:
        """The receipt, once everything is durable.

        Raises:
            BodyError: 429 if the queue is full, 503 if the outlets took too long or the pipeline is being closed, 413 if it is too much at once.
        """
        if not lines:
            return Receipt(0)
        try:
            future = self.delivery.submit(lines, form, listener=listener, marks=marks)
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.longest_wait)
        except Closed:
            raise BodyError(503, "the pipeline is being closed; send this again later") from None
        except Busy:
            raise BodyError(429, "the queue is full; send this again later") from None
        except UsageError:
            raise BodyError(413, "too much at once; send less") from None
        except TimeoutError:
            raise BodyError(503, "the outlets do not take it now; send this again later") from None


class _Plain:
    """Health and metrics."""

    def __init__(self, taker: _Taker) -> None:
        self._taker = taker

    async def live(self, request: Request) -> Response:
        return _json(b'{"live":true}')

    async def ready(self, request: Request) -> Response:
        ready = self._taker.delivery.ready
        return _json(b'{"ready":true}' if ready else b'{"ready":false}', 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        if not self._taker.allows(request, "metrics"):
            return _json(b'{"error":"a token is required"}', 401, {"WWW-Authenticate": "Bearer"})
        return Response(self._taker.delivery.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Bulk:
    """As Elasticsearch."""

    def __init__(self, taker: _Taker, form: LineFormat) -> None:
        self._taker = taker
        self._form: LineFormat = form if isinstance(form, JsonLines) else JsonLines("bulk")

    async def info(self, request: Request) -> Response:
        from tacit.logs.formats.jsontext import library

        return self._denied() if not self._taker.allows(request, "bulk") else _json(library().dumps(elastic.info()), 200, elastic.HEADERS)

    async def health(self, request: Request) -> Response:
        if not self._taker.allows(request, "bulk"):
            return self._denied()
        status = "green" if self._taker.delivery.ready else "red"
        return _json(f'{{"cluster_name":"tacit","status":"{status}","number_of_nodes":1}}'.encode(), 200, elastic.HEADERS)

    async def take(self, request: Request) -> Response:
        if not self._taker.allows(request, "bulk"):
            return self._denied()
        began = time.monotonic()
        index = request.path_params.get("index")
        try:
            if index is not None and not elastic.acceptable(index):
                raise BodyError(400, "the name of the index is none")
            items, lines, marks = await self._taker.read(request, lambda body: _bulk(body, index))
            receipt = await self._taker.deliver(lines, self._form, "bulk", marks)
        except BodyError as error:
            return self._failed(error.status, str(error))
        except Exception as error:
            _LOG.error("a bulk request failed with %s", type(error).__name__)
            return self._failed(500, "a fault of Tacit's own; send this again")
        took = int(1000 * (time.monotonic() - began))
        return _json(elastic.answered(items, dict(receipt.refused), took=took, prefix=secrets.token_hex(8)), 200, elastic.HEADERS)

    def _denied(self) -> Response:
        return self._failed(401, "a token is required", {"WWW-Authenticate": 'Basic realm="tacit" charset="UTF-8", Bearer, ApiKey'})

    def _failed(self, status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
        again = {"Retry-After": "1"} if status in (429, 503) else {}
        return _json(elastic.failed(status, reason), status, elastic.HEADERS | again | (headers or {}))


class _Hec:
    """As Splunk's Event Collector."""

    def __init__(self, taker: _Taker, form: LineFormat, envelope: bool) -> None:
        self._taker, self._form = taker, form
        self._envelopes = splunk.Envelopes(form, about=envelope)

    async def events(self, request: Request) -> Response:
        return await self._take(request, splunk.envelopes, self._envelopes)

    async def raw(self, request: Request) -> Response:
        return await self._take(request, _lines, self._form)

    async def health(self, request: Request) -> Response:
        ready = self._taker.delivery.ready
        return _json(splunk.answer(17 if ready else 18), 200 if ready else 503)

    async def ack(self, request: Request) -> Response:
        return self._denied(request) if not self._taker.allows(request, "hec") else _json(splunk.answer(14), 400)

    async def _take(self, request: Request, split: Callable[[bytes], list[bytes]], form: LineFormat) -> Response:
        if not self._taker.allows(request, "hec"):
            return self._denied(request)
        try:
            await self._taker.deliver(await self._taker.read(request, split), form, "hec")
        except splunk.HecError as error:
            return _json(splunk.answer(error.code, number=error.number), error.status)
        except BodyError as error:
            code = {413: 24, 429: 9, 503: 9}.get(error.status, 6)
            status = 503 if error.status == 429 else error.status  # what the collector says when it is busy
            return _json(splunk.answer(code), status, {"Retry-After": "1"} if status == 503 else {})
        except Exception as error:
            _LOG.error("a request to the collector failed with %s", type(error).__name__)
            return _json(splunk.answer(8), 500)
        return _json(splunk.answer(0))

    def _denied(self, request: Request) -> Response:
        header = request.headers.get("authorization")
        if header is None:
            return _json(splunk.answer(2), 401)
        known = header.split(" ")[0].lower() in ("splunk", "bearer", "basic", "apikey")
        return _json(splunk.answer(4), 403) if known else _json(splunk.answer(3), 401)


def _bulk(body: bytes, index: str | None) -> tuple[list[elastic.Item], list[bytes], list[bytes]]:
    """Actions, documents, and the mark of each: the sender's own identifier.

    Without one a document is known by its bytes alone, since senders repeat events in other requests: rsyslog sends a batch that failed one by one.
    """
    items, lines = elastic.parsed(body, index)
    marks = [b""] * len(lines)
    for item in items:
        if item.line is not None and item.id is not None:
            marks[item.line] = json.dumps([item.index, item.id]).encode()
    return items, lines, marks


def _lines(body: bytes) -> list[bytes]:
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise splunk.HecError(5)
    return lines


def _json(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(content, status_code=status, headers=headers, media_type="application/json")
