"""Weighted sums over the units of a batch, in an order whose rounding error is bounded by shapes alone.

A float32 sum is not exact. What it may be off by is part of what one unit can change, so every sum over units is taken in chunks: the
error of `slack` then stays below a few thousandths of the clipping bound, whatever the numbers are. The proof sketch is
docs/decisions/0006-networks.md.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 128
"""Units per chunk."""
LONG_CHUNK = 128
"""Rows per chunk where a unit has several rows (time steps, patches)."""
SPREAD = 8.0
"""A unit's Σ_t |a_t| |g_t| is kept within this many clipping bounds, wherever rows are summed that a unit has several of."""
BLOCK = 512
"""Terms of one inner product."""
MARGIN = 2.0**-10
"""Clipping factors are made smaller by this: it covers the float32 errors of norms, roots and products."""
_U = 2.0**-24


def weighted(rows: Tensor, c: Tensor, out: Tensor, *, add: bool = False) -> None:
    """Put Σ_b c_b · rows_b into ``out``, or add it there.

    Args:
        rows: ``[B, ...]``.
        c: ``[B]``.
        out: ``[...]``, of as many elements as one row.
        add: to what is in ``out``.
    """
    flat = rows.reshape(rows.shape[0], -1)
    whole = flat.shape[0] // CHUNK * CHUNK
    if flat.shape[0] <= CHUNK:
        out.view(-1).addmv_(flat.t(), c, beta=float(add))  # with beta 0 what was there is not read
        return
    k = whole // CHUNK
    parts = torch.bmm(c[:whole].view(k, 1, CHUNK), flat[:whole].view(k, CHUNK, -1)).view(k, -1)
    total = parts.sum(0)
    if whole < flat.shape[0]:
        total += flat[whole:].t().mv(c[whole:])
    out.view(-1).add_(total) if add else out.view(-1).copy_(total)


def products(left: Tensor, right: Tensor, out: Tensor, *, chunk: int, factor: Tensor, add: bool = False) -> None:
    """Put leftᵀ · diag(factor) · right into ``out``, or add it there, ``chunk`` rows at a time.

    Args:
        left: ``[n, p]``.
        right: ``[n, d]``.
        out: ``[p, d]``.
        chunk: rows per matrix product.
        factor: ``[n, 1]``, multiplied into the narrower side a chunk at a time, so that no scaled copy of it all is kept.
        add: to what is in ``out``.
    """
    narrow = left.shape[1] <= right.shape[1]
    for start in range(0, left.shape[0], chunk):
        a, b, own = (part[start : start + chunk] for part in (left, right, factor))
        a, b = (a * own, b) if narrow else (a, b * own)
        if start or add:
            out.addmm_(a.t(), b)
        else:
            torch.mm(a.t(), b, out=out)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Σ over all but the first axis of the product, ``[B]``: inner products of at most `BLOCK` terms, then their sum; no product is kept."""
    batch, length = left.shape[0], left[0].numel()
    block = math.gcd(length, BLOCK) if length > BLOCK else length
    if block < BLOCK // 8 and length > BLOCK:
        return (left * right).sum(-1).flatten(1).sum(1)
    parts = torch.bmm(left.reshape(-1, 1, block), right.reshape(-1, block, 1))
    return parts.view(batch, -1).sum(1)


def squares(x: Tensor) -> Tensor:
    """Squared Euclidean length of each of the ``[B, ...]``, as ``[B]``; the last axis first, which keeps the error small."""
    inner = torch.linalg.vector_norm(x, dim=-1)
    return (torch.linalg.vector_norm(inner.flatten(1), dim=1) if inner.dim() > 1 else inner).square()


def slack(units: int, rows: int = 1, batches: int = 1, *, pieces: int = 1) -> float:
    """How much further than the clipping bound one unit can move the float32 sum, as a fraction of the bound.

    A partial sum over m units is at most m bounds long (m · `SPREAD` where a unit has several rows), and adding to it errs by at most 2^-24
    of that. The partial sums of c rows, in whatever order, have c (c + 1) / 2 rows together. Both of two neighbouring sums err.

    Args:
        units: the most units of one physical batch.
        rows: the most rows that one unit has in a layer.
        batches: physical batches of one answer, which are added in float64.
        pieces: equal parts of a physical batch, each in chunks of its own.

    >>> 0 < slack(1024) < 0.01, slack(128, 64) < 0.02, slack(1024, pieces=4) == slack(1024)
    (True, True, True)
    """
    spread, chunk = (1.0, CHUNK) if rows == 1 else (SPREAD, LONG_CHUNK)
    own = math.ceil(units / pieces) * rows
    chunk = min(chunk, own)
    chunks = pieces * math.ceil(own / chunk)
    inside = chunks * (chunk * (chunk + 1) / 2 + chunk) / rows
    across = chunk / rows * chunks * (chunks + 1) / 2
    return 2 * _U * batches * spread * (inside + across) * (1 + 2.0**-10)


__all__ = ["CHUNK", "LONG_CHUNK", "MARGIN", "SPREAD", "dot", "products", "slack", "squares", "weighted"]
