"""Records as tensors, for the curator's own training loop. Nothing of it leaves the owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.questions import RecordSource, Target
from tacit.randomness import SecureRandom

Inputs = Callable[[Mapping[str, pa.Array], int], NDArray[Any]]


def tensors_of(
    records: RecordSource, inputs: Inputs, target: Target, *, columns: tuple[str, ...], rows_per_unit: int, source: SecureRandom,
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and row weights; each unit has ``rows_per_unit`` rows side by side, its own chosen at random or padded with weight 0.

    Args:
        records: grouped by unit, or one row per unit.
        inputs: from columns to numbers ``[rows, width]``.
        target: what is predicted; rows whose label is not known get weight 0.
        columns: that inputs need.
        rows_per_unit: public; 1 where every row is a unit.
        source: decides which rows of a unit are kept.

    Returns:
        inputs ``[n, width]``; labels ``[n]``, int64 for classes and float32 in [-1, 1] for a number; float32 ``[n]``, the weights of one unit's
        rows adding up to one.
    """
    pieces: list[tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]]] = []
    for batch in records.batches((*columns, target.column)):
        labels = target.labels(batch.columns[target.column])
        known = target.known(labels).astype(np.float32)
        x = inputs(batch.columns, batch.rows)
        pieces.append((x, labels, known) if batch.units is None else _grouped(x, labels, known, units=batch.units, rows=rows_per_unit, source=source))
    if not pieces:
        return torch.zeros(0, 1), torch.zeros(0, dtype=torch.long), torch.zeros(0)
    x, labels, weights = (np.concatenate([piece[i] for piece in pieces]) for i in range(3))
    if target.bounds:
        y = torch.from_numpy(np.where(weights > 0, labels / 4096.0, 0.0).astype(np.float32))
    else:
        y = torch.from_numpy(np.where(weights > 0, labels, 0).astype(np.int64))
    return torch.from_numpy(x), y, torch.from_numpy(weights)


def _grouped(
    x: NDArray[Any], labels: NDArray[np.int32], known: NDArray[np.float32], *, units: NDArray[np.int64], rows: int, source: SecureRandom,
) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]]:
    """Rows of each unit in random order, the first ``rows`` of them in its places."""
    order = np.lexsort((source.uint64(len(units)), units))
    owner = units[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = rank < rows
    _, unit = np.unique(owner[kept], return_inverse=True)
    place, chosen = unit * rows + rank[kept], order[kept]
    count = (int(unit.max()) + 1) * rows
    out_x, out_labels, out_weights = np.zeros((count, x.shape[1]), x.dtype), np.zeros(count, np.int32), np.zeros(count, np.float32)
    out_x[place], out_labels[place] = x[chosen], labels[chosen]
    share = np.bincount(unit, known[chosen]).clip(min=1)
    out_weights[place] = known[chosen] / share[unit]
    return out_x, out_labels, out_weights
