"""Counters for Prometheus of what a scoring server does. No label names a client, a key or anything of a message."""

from __future__ import annotations

from typing import Any

from tacit.errors import MissingExtra

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """A registry of its own.

    >>> metrics = Metrics()
    >>> metrics.refused("Replayed")
    >>> print(metrics.text().decode())
    # HELP tacit...
    ...
    tacit_encrypted_refused_total{error="Replayed"} 1.0
    ...

    Raises:
        MissingExtra: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        client = _client()
        self._registry = client.CollectorRegistry()
        where = {"namespace": "tacit_encrypted", "registry": self._registry}
        self._records = client.Counter("records", "Records scored without being read", **where)
        self._requests = client.Counter("requests", "Requests that were answered", **where)
        self._bytes = client.Counter("bytes", "Bytes of messages, by direction", ["direction"], **where)
        self._refused = client.Counter("refused", "Requests that were not answered, by error", ["error"], **where)
        self._seconds = client.Histogram("score_seconds", "From a whole request to its answer", buckets=_SECONDS, **where)
        self._working = client.Gauge("working", "Requests that are being scored or wait for it", **where)

    def answered(self, seconds: float, *, rows: int, received: int, sent: int) -> None:
        """A request was answered."""
        self._requests.inc()
        self._records.inc(rows)
        self._bytes.labels("in").inc(received)
        self._bytes.labels("out").inc(sent)
        self._seconds.observe(seconds)

    def refused(self, error: str) -> None:
        """A request was not answered; ``error`` is a public name."""
        self._refused.labels(error).inc()

    def working(self, change: int) -> None:
        """A request begins or ends to wait."""
        self._working.inc(change)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return bytes(_client().generate_latest(self._registry))


def _client() -> Any:
    try:
        import prometheus_client
    except ImportError:
        raise MissingExtra("serve", purpose="counting what a scoring server does") from None
    return prometheus_client
