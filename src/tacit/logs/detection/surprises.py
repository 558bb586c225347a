"""Counts that came otherwise than forecast, as alerts. Everything here is post-processing of released counts: it sees no event and costs nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.errors import UsageError
from tacit.learn import forecast
from tacit.logs.detection.alerts import ecs_alert, iso, milliseconds, ocsf_finding

if TYPE_CHECKING:
    from tacit.models import CountSeries

_FAR = 2.0
_MEDIUM, _HIGH = (3, "Medium", 50), (4, "High", 75)
_DAY = 86_400


@dataclass(frozen=True)
class Surprise:
    """A released count outside the interval that earlier counts let expect.

    Args:
        series: whose count, such as a class of hosts or a kind of event; «all» if they were not counted apart.
        by: the field that was counted by; empty if none was.
        begin: of the bin.
        end: of the bin.
        released: the count, noise included.
        expected: the forecast.
        lower: lower end of the interval of released counts.
        upper: upper end.
        coverage: of the interval.
        counts: digest of the release.
        guarantee: of the release, in words; the alert has the same.
    """

    series: str
    by: str
    begin: dt.datetime
    end: dt.datetime
    released: float
    expected: float
    lower: float
    upper: float
    coverage: float
    counts: str
    guarantee: str

    @property
    def more(self) -> bool:
        """Whether there was more than expected, not less."""
        return self.released > self.upper

    @property
    def distance(self) -> float:
        """How far from the forecast, in half widths of the interval on that side: above one by definition.

        >>> Surprise("web", "", dt.datetime(2026, 1, 5), dt.datetime(2026, 1, 5, 1), 40, 20, 15, 30, 0.999, "", "").distance
        2.0
        """
        return abs(self.released - self.expected) / max(self.upper - self.expected if self.more else self.expected - self.lower, 1e-9)

    @property
    def uid(self) -> str:
        """The same for the same release, series and bin, so that a repeated delivery can be told."""
        return hashlib.sha256("\0".join((self.counts, self.series, self.begin.isoformat())).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """What an analyst reads first."""
        about = f"{self.by} «{self.series}»" if self.by else "events"
        kind = "More" if self.more else "Fewer"
        return f"{kind} of {about} than forecast on {self.begin:%Y-%m-%d %H:%M} UTC: {self.released:,.0f}, expected {self.expected:,.0f}"


def surprises(
    release: CountSeries, history: Sequence[CountSeries], *, coverage: float = 0.999, alerts_per_day: float | None = None
) -> Iterator[Surprise]:
    """Bins of a release outside their interval, in order of time.

    Args:
        release: the counts to judge.
        history: the windows before it.
        coverage: share of bins that an interval holds; of 1,000 counts as usual, one lies outside 0.999.
        alerts_per_day: at most so many for each day of the release, the farthest from their forecast.

    Raises:
        UsageError: the release does not end after the history, or counts something else.
        MissingExtra: without statsmodels.
    """
    end = max(part.end for part in history)
    if release.end <= end:
        raise UsageError("Expected counts to judge that end after the history; they do not.")
    if alerts_per_day is not None and not (math.isfinite(alerts_per_day) and alerts_per_day > 0):
        raise UsageError(f"Expected alerts_per_day={alerts_per_day} > 0.")
    found = forecast(history, -(-(release.end - end) // release.width), coverage=coverage, sigma=release.sigma)
    outside = found.outside(release)
    alerts = []
    for moment, series, released in zip(outside["time"].astype(np.int64).tolist(), outside["series"], outside["released"], strict=True):
        place = (moment - found.begin) // found.width, found.names.index(series)
        begin = dt.datetime.fromtimestamp(moment, dt.UTC)
        alerts.append(Surprise(
            str(series), release.by, begin, begin + dt.timedelta(seconds=found.width), float(released), float(found.expected[place]),
            float(found.released_lower[place]), float(found.released_upper[place]), coverage, release.digest, str(release.guarantee),
        ))
    if alerts_per_day is not None:
        days = max(1.0, (release.end - max(release.begin, end)) / _DAY)
        alerts = sorted(alerts, key=lambda alert: -alert.distance)[: math.ceil(days * alerts_per_day)]
    yield from sorted(alerts, key=lambda alert: alert.begin)


def surprise_to_ecs(alert: Surprise) -> dict[str, Any]:
    """As an alert of the Elastic Common Schema 8."""
    document = ecs_alert(uid=alert.uid, title=alert.title, dataset="tacit.forecast", severity=_level(alert)[2])
    document["@timestamp"] = iso(alert.end)
    document["event"] |= {"start": iso(alert.begin), "end": iso(alert.end)}
    document["rule"] = {"name": "Tacit forecast", "uuid": alert.counts[:32], "ruleset": "tacit"}
    document["tacit"] = {"forecast": _own(alert)}
    return document


def surprise_to_ocsf(alert: Surprise) -> dict[str, Any]:
    """As an OCSF Detection Finding (class 2004)."""
    finding = ocsf_finding(uid=alert.uid, title=alert.title, level=_level(alert)[:2], time=milliseconds(alert.end))
    finding |= {"start_time": milliseconds(alert.begin), "end_time": milliseconds(alert.end), "unmapped": {"tacit": _own(alert)}}
    finding["finding_info"] |= {
        "types": ["anomaly"],
        "analytic": {"type_id": 3, "type": "Statistical", "name": "Tacit forecast", "uid": alert.counts[:32]},
    }
    return finding


def _level(alert: Surprise) -> tuple[int, str, int]:
    return _HIGH if alert.distance >= _FAR else _MEDIUM


def _own(alert: Surprise) -> dict[str, Any]:
    return {
        "series": alert.series, "by": alert.by, "direction": "more" if alert.more else "fewer", "released": round(alert.released, 3),
        "expected": round(alert.expected, 3), "lower": round(alert.lower, 3), "upper": round(alert.upper, 3), "coverage": alert.coverage,
        "distance": round(alert.distance, 3), "counts": alert.counts, "guarantee": alert.guarantee,
    }
