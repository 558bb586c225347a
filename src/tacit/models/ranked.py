"""Anomaly scores as ranks: how usual a margin is among the records that a model was learned from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import UsageError
from tacit.models.base import Margins, Predictor
from tacit.questions.losses import MARGIN_UNIT

ALARM = 0.99


class Ranked(Predictor):
    """What models of anomalies share: margins in nats, and the noisy share of training records below each of some margins.

    ``edges``, int32, increase; ``below``, float64 of the same length, do not fall. `predict_proba` gives the share for «unusual»: 0.999 means that
    one training record in a thousand was as unusual. It is no probability of an attack. `predict` says «unusual» from 0.99 on.
    """

    edges: NDArray[np.int32]
    below: NDArray[np.float64]

    def require_ranks(self) -> None:
        """Raise `UsageError` unless edges and shares belong together."""
        shares = np.concatenate([[0.0], self.below, [1.0 + 1e-9]])
        if self.edges.dtype != np.int32 or self.edges.shape != self.below.shape or not len(self.edges):
            raise UsageError("Expected one share below each edge of the margins.")
        if (np.diff(self.edges.astype(np.int64)) <= 0).any() or not (np.diff(shares) >= -1e-9).all():
            raise UsageError("Expected edges that increase, and shares that do not fall, between 0 and 1.")
        if self.target.outputs != 1 or self.target.bounds:
            raise UsageError("Expected a target that is usual or unusual.")

    def probabilities_at(self, margins: Margins) -> NDArray[np.float64]:
        """The share of training records that are more, and less, unusual: float64 ``[rows, 2]``, the second is the score."""
        place = np.searchsorted(self.edges, np.rint(margins[:, 0] * MARGIN_UNIT), side="right")
        rank = np.concatenate([[0.0], self.below])[place]
        return np.column_stack([1 - rank, rank])

    def margin_at(self, share: float) -> float:
        """The smallest margin, in nats, below which at least this share of the training records lies; infinite if there is none.

        Raises:
            UsageError: unless the share is between 0 and 1.
        """
        if not 0 < share < 1:
            raise UsageError(f"Expected a share between 0 and 1; got {share!r}.")
        place = int(np.searchsorted(self.below, share))
        return float(self.edges[place]) / MARGIN_UNIT if place < len(self.edges) else math.inf

    def answers(self, margins: Margins) -> NDArray[Any]:
        """«unusual» where at most one training record in a hundred was as unusual."""
        return np.array(self.classes).take((self.probabilities_at(margins)[:, 1] >= ALARM).astype(np.intp))
