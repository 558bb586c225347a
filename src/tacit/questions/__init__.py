"""What may be asked of records: bounded sums as frozen, public data, and how each is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tacit.errors import UsageError
from tacit.questions.base import GRID, Batch, Bounds, Question, RecordSource, Sample, SessionCache
from tacit.questions.cells import CellSums, Frame, Update, restore
from tacit.questions.contributions import Contributions
from tacit.questions.counts import CountByKey, Histogram, Profile, UnitCount
from tacit.questions.dense import DenseGradient
from tacit.questions.distinct import DistinctTally
from tacit.questions.encoding import Target
from tacit.questions.grid import Condition, Grid, KeyAxis, TimeAxis, ValueAxis
from tacit.questions.keyselect import SelectKeys
from tacit.questions.linear import LinearGradient, Moments
from tacit.questions.marginals import Marginals
from tacit.questions.occupancy import CellCounts, MarginCounts
from tacit.questions.select import Select
from tacit.questions.spread import SpreadCounts
from tacit.questions.structure import Binning, Partition
from tacit.questions.tally import Bounding, Tally
from tacit.questions.timecounts import TimeCounts, UnitLengths

_CLASSES = (
    UnitCount, Profile, Histogram, CountByKey, CellSums, CellCounts, MarginCounts, LinearGradient, Moments, Select, TimeCounts, UnitLengths,
    Marginals, SpreadCounts, Tally, DistinctTally, Contributions, SelectKeys, DenseGradient,
)
_KINDS: dict[str, Callable[[dict[str, Any]], Question | Select | SelectKeys]] = {kind.kind: kind.from_dict for kind in _CLASSES}

KINDS = tuple(sorted(_KINDS))
"""Every kind of question there is, as ``name@version``."""


def is_known(question: object) -> bool:
    """Whether this is a question of the closed list, and no class of somebody's own that looks like one."""
    return type(question) in _CLASSES


def parse(data: dict[str, Any]) -> Question | Select | SelectKeys:
    """The question that a canonical plain form describes.

    Raises:
        UsageError: if the kind or its version is unknown, or if a field is missing or of the wrong type.
    """
    build = _KINDS.get(str(data.get("kind")))
    if build is None:
        raise UsageError(f"Expected a question out of {', '.join(KINDS)}; got «{data.get('kind')}».")
    try:
        return build(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"Expected a complete «{data['kind']}» question; {type(error).__name__} while reading it.") from None


__all__ = [
    "GRID", "KINDS", "Batch", "Binning", "Bounding", "Bounds", "CellCounts", "CellSums", "Condition", "Contributions", "CountByKey",
    "DenseGradient", "DistinctTally", "Frame", "Grid", "Histogram", "KeyAxis", "LinearGradient", "MarginCounts", "Marginals", "Moments",
    "Partition", "Profile", "Question", "RecordSource", "Sample", "Select", "SelectKeys", "SessionCache", "SpreadCounts", "Tally", "Target",
    "TimeAxis", "TimeCounts", "UnitCount", "UnitLengths", "Update", "ValueAxis", "is_known", "parse", "restore",
]
