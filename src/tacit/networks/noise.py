"""Gaussian noise for float sums that is exact after rounding: what leaves is round((S + N) / g), with N a real number.

The fast path computes each sample in float32 from the first bits of two uniform numbers. Where the computed value lies so near to the border of
two cells that its error could matter (once in about 1,000 samples), more bits of the same two uniforms are drawn and the value is computed
again, at last to 256 bits. So the answer is the rounded value of the exact sum of S and a Gaussian, up to the seed's own quality, and no
floating-point artefact of the noise is released (Mironov 2012). Rounding is post-processing: nothing is added to the sensitivity.
docs/decisions/0006-networks.md has the bounds.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import mpmath
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import UsageError
from tacit.randomness import SecureRandom

BAND = 2.0**-11
"""How near to a border, in cells, float32 decides nothing."""
_FINE_BAND = 2.0**-36
_NEAR = 2.0**10  # sums of so many cells meet the noise in one float32 addition: an error of 2^-14
_BITS = 31
_LEAST = 1 << 16  # below, the first bits say too little about a logarithm
_SPAN = np.uint32((1 << 31) - (1 << 13) - _LEAST)  # above: the radius is so small that its logarithm has lost its digits
CHUNK = 1 << 14
_EXACT_BITS = 256


def cell_of(sigma: float) -> float:
    """The cell of the released grid, a power of two with 16 <= σ / cell < 32.

    >>> cell_of(1.0), cell_of(3.0)
    (0.0625, 0.125)
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise UsageError(f"Expected sigma={sigma} > 0 and finite.")
    return float(2.0 ** (math.floor(math.log2(sigma)) - 4))


def noised(total: Tensor, sigma: float, source: SecureRandom) -> Tensor:
    """round((total + N) / g) · g with N ~ Gaussian(sigma²) for each coordinate and g = `cell_of` (sigma).

    Args:
        total: ``[d]``, float32 or float64, taken as exact real numbers.
        sigma: standard deviation.
        source: where the bits come from.

    Returns:
        ``[d]``, of the same type and device; multiples of the cell.

    >>> out = noised(torch.zeros(20_000), 1.0, SecureRandom.for_testing(1))
    >>> bool(0.97 < out.std() < 1.03), bool((out / cell_of(1.0) == (out / cell_of(1.0)).round()).all())
    (True, True)

    Raises:
        UsageError: for a sum that is not finite.
        EntropyError: without secure randomness.
    """
    return rounded(total, drawn(total.numel(), sigma, source), source)


@dataclass(frozen=True)
class Drawn:
    """Gaussian values whose first bits are drawn; may be drawn before the sum is known.

    Args:
        sigma: standard deviation.
        words: int32, the uniforms' first bits, two for every two samples.
        value: float32 ``[2 * half]``, in cells.
        beyond: samples whose logarithm float32 does not know well.
    """

    sigma: float
    words: Tensor
    value: Tensor
    beyond: NDArray[np.int64]


def drawn(size: int, sigma: float, source: SecureRandom) -> Drawn:
    """Draw ``size`` values, in pieces that stay in the processor's cache."""
    half, ratio = (size + 1) // 2, sigma / cell_of(sigma)
    words = torch.from_numpy(source.uint64(half).view(np.int32))
    value, room = torch.empty(2 * half), _room()
    for start in range(0, half, CHUNK):
        room.fill(words, value, slice(start, min(half, start + CHUNK)), ratio=ratio)
    return Drawn(sigma, words, value, _beyond(words[:half].numpy(), size))


def rounded(total: Tensor, noise: Drawn, source: SecureRandom) -> Tensor:
    """`noised` with noise that is drawn already; uses the noise up: it must not be used again."""
    cell, flat = cell_of(noise.sigma), total.detach().to("cpu").reshape(-1)
    largest = max(abs(float(end)) for end in torch.aminmax(flat))  # not a number where one of them is none
    if not math.isfinite(largest):
        raise UsageError("Expected a finite sum; got one that is not. Clip what is summed.")
    size, half, value = flat.numel(), noise.words.numel() // 2, noise.value[: flat.numel()]
    near = flat.dtype == torch.float32 and largest <= cell * _NEAR
    out = torch.round(value.add_(flat, alpha=1 / cell)) if near else _far_rounded(flat, value, cell)
    far = value.sub_(out if near else value.round()).abs_().numpy() > 0.5 - BAND
    far[noise.beyond] = True
    where = np.flatnonzero(far)
    if len(where):
        places, bits = torch.from_numpy(where), noise.words.numpy()
        steps = flat[places].double().numpy() / cell
        low, high = (bits[half * i + where % half].astype(np.int64) for i in range(2))
        first = _FirstBits(where % half, low & 0x7FFFFFFF, high, where >= half)
        whole = np.rint(steps)
        exact = _resolve(first, steps - whole, ratio=noise.sigma / cell, source=source) + whole
        out[places] = torch.from_numpy(exact).to(out.dtype)
    return out[:size].mul_(cell).to(total.device).view(total.shape)


def _far_rounded(flat: Tensor, value: Tensor, cell: float) -> Tensor:
    """The rounded sum in cells, by whole cells and what is left of them, which alone meets the noise; ``value`` then holds noise and rest."""
    steps = torch.mul(flat, 1 / cell)  # exact: the cell is a power of two
    whole = steps.round()
    value.add_(steps.sub_(whole))
    return whole.add_(value.round())


class Ahead:
    """Noise of one size and scale, drawn on another thread while the sum it will be added to is still computed.

    A test's source is drawn from in the caller's order instead: two threads would share its sequence out differently each time.

    Args:
        size: coordinates.
        sigma: standard deviation.
        source: where the bits come from.
    """

    def __init__(self, size: int, sigma: float, source: SecureRandom) -> None:
        self._size, self._sigma, self._source = size, sigma, source
        self._home, self._pool = os.getpid(), None if source.deterministic else ThreadPoolExecutor(1, thread_name_prefix="tacit-noise")
        self._next = None if self._pool is None else self._pool.submit(drawn, size, sigma, source)

    def __call__(self, total: Tensor) -> Tensor:
        """`noised`, and the next noise is begun."""
        if self._pool is None or self._next is None or os.getpid() != self._home or total.numel() != self._size:
            return noised(total, self._sigma, self._source)  # a forked child has no thread, and must not reuse its parent's noise
        out = rounded(total, self._next.result(), self._source)
        self._next = self._pool.submit(drawn, self._size, self._sigma, self._source)  # not before: its memory is that of the noise just used up
        return out


def _beyond(words: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Both samples of the pairs whose logarithm float32 does not know well."""
    first = np.flatnonzero(((words & 0x7FFFFFFF) - _LEAST).view(np.uint32) > _SPAN)
    both = np.concatenate([first, first + len(words)])
    return both[both < size]


class _Room:
    """Buffers that stay in the processor's cache."""

    def __init__(self, size: int) -> None:
        self.low, self.radius, self.angle = torch.empty(size, dtype=torch.int32), torch.empty(size), torch.empty(size)

    def fill(self, words: Tensor, value: Tensor, pairs: slice, *, ratio: float) -> None:
        """Box-Muller in float32 for some pairs: ``ratio`` · N."""
        half, size = words.numel() // 2, pairs.stop - pairs.start
        radius, angle, low = self.radius[:size], self.angle[:size], self.low[:size]
        torch.bitwise_and(words[pairs], 0x7FFFFFFF, out=low)
        radius.copy_(low).add_(0.5).mul_(2.0**-_BITS).log_().mul_(-2.0 * ratio * ratio).sqrt_()
        angle.copy_(words[half + pairs.start : half + pairs.stop]).mul_(math.pi * 2.0**-_BITS)
        torch.cos(angle, out=value[pairs]).mul_(radius)
        torch.sin(angle, out=value[half + pairs.start : half + pairs.stop]).mul_(radius)


_ROOMS = threading.local()


def _room() -> _Room:
    """This thread's buffers: fresh ones would cost more than the noise."""
    if not hasattr(_ROOMS, "room"):
        _ROOMS.room = _Room(CHUNK)
    room: _Room = _ROOMS.room
    return room


@dataclass(frozen=True)
class _FirstBits:
    """What is known of the uniforms of some samples: their pairs, 31 bits of the one, 32 (signed) of the other, and which of a pair each is."""

    pair: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    sine: NDArray[np.bool_]


def _resolve(of: _FirstBits, left: NDArray[np.float64], *, ratio: float, source: SecureRandom) -> NDArray[np.float64]:
    """round(left + ratio · N), with 64 more bits for either uniform of each pair, and 192 more where those do not decide either."""
    unique, place = np.unique(of.pair, return_inverse=True)
    more = source.uint64(2 * len(unique)).reshape(2, -1)[:, place]
    first, second = (more >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 2.0**-53
    radius = ratio * np.sqrt(-2 * np.log((of.low + first) * 2.0**-_BITS))
    angle = math.pi * (of.high + second) * 2.0**-_BITS
    value = radius * np.where(of.sine, np.sin(angle), np.cos(angle)) + left
    rounded: NDArray[np.float64] = np.rint(value)
    unsure = (np.abs(value - rounded) > 0.5 - _FINE_BAND) | (of.low < 1) | (radius < ratio * 2.0**-12)
    tails: dict[int, tuple[int, int]] = {}
    for i in np.flatnonzero(unsure):
        tail = tails.setdefault(int(place[i]), (_more_bits(source), _more_bits(source)))
        uniforms = [_point(int(bits[i]), int(more[j, i]), tail[j]) for j, bits in enumerate((of.low, of.high))]
        rounded[i] = _exactly(uniforms, ratio, float(left[i]), cosine=not bool(of.sine[i]))
    return rounded


def _more_bits(source: SecureRandom) -> int:
    return int.from_bytes(source.bytes(24), "big")


def _point(first: int, word: int, tail: int) -> Callable[[], mpmath.mpf]:
    """A uniform number's exact value in [first, first + 1) times 2^-31: 52 bits that were used, then 12 and 192 more."""
    return lambda: mpmath.ldexp(mpmath.mpf((first << _EXACT_BITS) + (word << 192) + tail), -_EXACT_BITS - _BITS)


def _exactly(uniforms: list[Callable[[], mpmath.mpf]], ratio: float, left: float, *, cosine: bool) -> float:
    with mpmath.workprec(_EXACT_BITS + 64):
        first, second = (point() for point in uniforms)
        turn = mpmath.cospi(second) if cosine else mpmath.sinpi(second)
        return float(mpmath.nint(mpmath.mpf(left) + mpmath.mpf(ratio) * mpmath.sqrt(-2 * mpmath.log(first)) * turn))
