"""Counters for Prometheus of what a running pipeline does. Labels name parts of the pipeline and public reasons, never anything of a record."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tacit.errors import MissingExtra

_MOST_REASONS = 50
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """A registry of its own, so that two pipelines in one process do not mix.

    >>> metrics = Metrics()
    >>> metrics.read("bulk", events=2, size=90)
    >>> metrics.refused({"not JSON": 1})
    >>> print(metrics.text().decode())
    # HELP tacit...
    ...
    tacit_events_read_total{listener="bulk"} 2.0
    ...

    Raises:
        MissingExtra: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        client = _client()
        self.registry = client.CollectorRegistry()
        where = {"namespace": "tacit", "registry": self.registry}
        self._read = client.Counter("events_read", "Lines taken from a listener", ["listener"], **where)
        self._bytes = client.Counter("bytes_read", "Bytes of those lines", ["listener"], **where)
        self._busy = client.Counter("busy", "Times a listener was told to wait since the queue was full", ["listener"], **where)
        self._denied = client.Counter("denied", "Requests without a valid token", ["listener"], **where)
        self._written = client.Counter("events_written", "Events that every outlet holds", **where)
        self._refused = client.Counter("events_refused", "Records put aside in the dead letters", ["reason"], **where)
        self._unknown = client.Counter("fields_unknown", "Fields left out because the policy does not name them", **where)
        self._batch = client.Histogram("batch_seconds", "From a batch's first line to its answer", buckets=_SECONDS, **where)
        self._treat = client.Histogram("treat_seconds", "Treating a batch", buckets=_SECONDS, **where)
        self._size = client.Histogram("batch_events", "Events of a batch", buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 50_000), **where)
        self._queue = client.Gauge("queue_bytes", "Bytes that were taken and not yet answered for", **where)
        self._outlet = client.Histogram("outlet_seconds", "Until an outlet held a batch durably", ["outlet"], buckets=_SECONDS, **where)
        self._errors = client.Counter("outlet_errors", "Deliveries that failed and are tried again", ["outlet"], **where)
        self._checkpoint = client.Gauge("checkpoint_timestamp_seconds", "When a listener last stored how far it is", ["listener"], **where)
        self._reasons: set[str] = set()

    def read(self, listener: str, *, events: int, size: int) -> None:
        """Lines have come in."""
        self._read.labels(listener).inc(events)
        self._bytes.labels(listener).inc(size)

    def busy(self, listener: str) -> None:
        """A listener was told to wait."""
        self._busy.labels(listener).inc()

    def denied(self, listener: str) -> None:
        """Somebody had no valid token."""
        self._denied.labels(listener).inc()

    def refused(self, reasons: dict[str, int]) -> None:
        """Records were put aside. After fifty different reasons further ones count as «other»."""
        for reason, count in reasons.items():
            if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
                reason = "other"
            self._reasons.add(reason)
            self._refused.labels(reason).inc(count)

    def treated(self, seconds: float, *, events: int, unknown: Counter[str]) -> None:
        """A batch was treated."""
        self._treat.observe(seconds)
        self._size.observe(events)
        self._unknown.inc(unknown.total())

    def answered(self, seconds: float, *, written: int) -> None:
        """A batch is where it belongs."""
        self._batch.observe(seconds)
        self._written.inc(written)

    def queue(self, size: int) -> None:
        """Bytes that wait now."""
        self._queue.set(size)

    def delivered(self, outlet: str, seconds: float) -> None:
        """An outlet holds a batch."""
        self._outlet.labels(outlet).observe(seconds)

    def failed(self, outlet: str) -> None:
        """An outlet could not take a batch."""
        self._errors.labels(outlet).inc()

    def checkpoint(self, listener: str) -> None:
        """A listener stored how far it is."""
        self._checkpoint.labels(listener).set_to_current_time()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return bytes(_client().generate_latest(self.registry))


def _client() -> Any:
    try:
        import prometheus_client
    except ImportError:
        raise MissingExtra("serve", purpose="counting what a pipeline does") from None
    return prometheus_client
