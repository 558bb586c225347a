"""What one call of one layer contributes: each unit's squared gradient norm, and the weighted sum of the gradients.

A tap holds a layer's input ``a`` and the gradient ``g`` of the loss by the layer's output. No gradient of a parameter exists per unit unless
that is the cheaper way (Goodfellow 2015, arXiv:1510.01799; Bu et al. 2023, arXiv:2210.00038, for the ghost norm and for doing without a
second backward pass).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tacit.networks.sums import CHUNK, LONG_CHUNK, dot, products, squares, weighted

GHOST, INSTANTIATE = "ghost", "instantiate"


@dataclass
class Target:
    """A parameter, or the slice of one, with the place in the flat gradient that its sum goes to.

    Args:
        parameter: the parameter.
        view: of the flat gradient, with the shape of the slice.
        whole: of the flat gradient, with the shape of the parameter.
    """

    parameter: nn.Parameter
    view: Tensor
    whole: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of the slice."""
        return self.view.shape


class Tap(Protocol):
    """One call of one layer."""

    name: str

    @property
    def targets(self) -> tuple[Target, ...]:
        """The parameters it has a part in."""
        ...

    @property
    def length(self) -> int:
        """Rows of one unit that are summed together with those of others; 1 where each unit's gradient is formed first."""
        ...

    def norms(self) -> tuple[Tensor, Tensor]:
        """Squared gradient norm of each unit, and its squared spread (see `sums.SPREAD`); both ``[U]``."""
        ...

    def put(self, c: Tensor, *, add: bool = False) -> None:
        """Write Σ_u c_u · gradient_u into the targets' views, or add it to them; ``c`` is ``[U]``."""
        ...

    def each(self) -> tuple[Tensor, ...]:
        """Each unit's gradient, ``[U, *shape]`` per target."""
        ...


def by_unit(x: Tensor, rows: int, keep: int) -> Tensor:
    """``[U * rows, ..., *kept]`` as ``[U, T, *kept]``, where the last ``keep`` axes are kept; ``[U, *kept]`` where T is 1."""
    kept = x.shape[x.dim() - keep :]
    steps = x[0].numel() // max(1, kept.numel()) * rows
    units = x.shape[0] // rows
    return x.reshape(units, *kept) if steps == 1 else x.reshape(units, steps, *kept)


class _WeightAndBias:
    """A layer with either, both of which may be frozen."""

    weight: Target | None
    bias: Target | None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Weight and bias, as far as they are trained."""
        return tuple(target for target in (self.weight, self.bias) if target is not None)


class _Formed:
    """A tap that forms each unit's gradient, or sums in float64: units are summed one row each."""

    @property
    def length(self) -> int:
        """See `Tap`."""
        return 1


@dataclass
class LinearTap(_WeightAndBias):
    """y = x Wᵀ + b on the last axis, for any number of rows per unit."""

    name: str
    weight: Target | None
    bias: Target | None
    a: Tensor
    g: Tensor
    mode: str = GHOST
    _kept: Tensor | None = field(default=None, repr=False)
    _bias: Tensor | None = field(default=None, repr=False)

    @property
    def length(self) -> int:
        """See `Tap`."""
        return 1 if self.g.dim() == 2 else int(self.g.shape[1])

    def norms(self) -> tuple[Tensor, Tensor]:
        """See `Tap`."""
        if self.g.dim() == 2:
            return self._flat_norms()
        own = self._long_norms() if self.weight is not None else (self.g.new_zeros(self.g.shape[0]),) * 2
        if self.bias is None:
            return own
        self._bias = self.g.sum(1)
        extra = squares(self._bias)
        return own[0] + extra, own[1] + extra

    def _flat_norms(self) -> tuple[Tensor, Tensor]:
        factor: Tensor | float = squares(self.a) if self.weight is not None else 0.0
        total = squares(self.g) * (factor + 1 if self.bias is not None else factor)
        return total, total

    def _long_norms(self) -> tuple[Tensor, Tensor]:
        if self.mode == INSTANTIATE:
            self._kept = torch.bmm(self.g.mT, self.a)
            total = squares(self._kept)
            return total, total
        return gram(self.a, self.g)

    def put(self, c: Tensor, *, add: bool = False) -> None:
        """See `Tap`."""
        if self.bias is not None:
            weighted(self.g if self._bias is None else self._bias, c, self.bias.view, add=add)
        if self.weight is None:
            return
        if self._kept is not None:
            weighted(self._kept, c, self.weight.view, add=add)
            return
        a, g = self.a, self.g
        factor = c.view(-1, *[1] * (g.dim() - 1)).expand(*g.shape[:-1], 1).reshape(-1, 1)
        chunk = CHUNK if g.dim() == 2 else LONG_CHUNK
        products(g.reshape(-1, g.shape[-1]), a.reshape(-1, a.shape[-1]), self.weight.view, chunk=chunk, factor=factor, add=add)

    def each(self) -> tuple[Tensor, ...]:
        """See `Tap`."""
        a, g = (self.a[:, None], self.g[:, None]) if self.g.dim() == 2 else (self.a, self.g)
        found = [] if self.weight is None else [torch.bmm(g.mT, a)]
        return tuple(found if self.bias is None else [*found, g.sum(1)])


def gram(a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """|Σ_t g_t a_tᵀ|² and (Σ_t |a_t| |g_t|)² of each unit from T x T products, by two blocks: the blocks off the diagonal are equal.

    Args:
        a: ``[U, T, d]``.
        g: ``[U, T, p]``.
    """
    half = a.shape[1] // 2
    if a.shape[1] < 32:
        left, right = torch.bmm(a, a.mT), torch.bmm(g, g.mT)
        return dot(left, right), _spread([left], [right])
    a1, a2, g1, g2 = a[:, :half], a[:, half:], g[:, :half], g[:, half:]
    first, second = (torch.bmm(a1, a1.mT), torch.bmm(g1, g1.mT)), (torch.bmm(a2, a2.mT), torch.bmm(g2, g2.mT))
    total = dot(*first) + dot(*second) + 2 * dot(torch.bmm(a1, a2.mT), torch.bmm(g1, g2.mT))
    return total, _spread([first[0], second[0]], [first[1], second[1]])


def _spread(left: list[Tensor], right: list[Tensor]) -> Tensor:
    parts = [(x.diagonal(dim1=1, dim2=2) * y.diagonal(dim1=1, dim2=2)).clamp(min=0).sqrt().sum(1) for x, y in zip(left, right, strict=True)]
    return torch.stack(parts).sum(0).square()


@dataclass
class EmbeddingTap(_Formed):
    """Rows of a table by index; never a one-hot matrix."""

    name: str
    weight: Target
    index: Tensor
    g: Tensor

    @property
    def targets(self) -> tuple[Target, ...]:
        """The table."""
        return (self.weight,)

    def norms(self) -> tuple[Tensor, Tensor]:
        """See `Tap`. Two rows of one unit meet where their indices are equal."""
        same = self.index[:, :, None] == self.index[:, None, :]
        total = dot(torch.bmm(self.g, self.g.mT), same.to(self.g.dtype))
        return total, torch.linalg.vector_norm(self.g, dim=-1).sum(1).square()

    def put(self, c: Tensor, *, add: bool = False) -> None:
        """See `Tap`. Summed in float64, because any number of rows may meet in one."""
        rows = (self.g * c[:, None, None]).flatten(0, 1).double()
        table = self.weight.view.double() if add else torch.zeros(self.weight.shape, dtype=torch.float64, device=rows.device)
        self.weight.view.copy_(table.index_add_(0, self.index.flatten(), rows))

    def each(self) -> tuple[Tensor, ...]:
        """See `Tap`."""
        table = self.g.new_zeros(self.g.shape[0], *self.weight.shape)
        return (table.scatter_add_(1, self.index[:, :, None].expand_as(self.g), self.g),)


@dataclass
class GivenTap(_Formed):
    """A layer whose gradients per unit are small or cannot be avoided: they are computed and kept."""

    name: str
    given: tuple[Target, ...]
    gradients: tuple[Tensor, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the gradients belong to."""
        return self.given

    def norms(self) -> tuple[Tensor, Tensor]:
        """See `Tap`."""
        total = torch.stack([squares(gradient) for gradient in self.gradients]).sum(0) if len(self.gradients) > 1 else squares(self.gradients[0])
        return total, total

    def put(self, c: Tensor, *, add: bool = False) -> None:
        """See `Tap`."""
        for target, gradient in zip(self.given, self.gradients, strict=True):
            weighted(gradient, c, target.view, add=add)

    def each(self) -> tuple[Tensor, ...]:
        """See `Tap`."""
        return self.gradients


def scaled(name: str, targets: tuple[Target | None, Target | None], *, normal: Tensor, g: Tensor) -> GivenTap:
    """An affine map y = x̂ · w + b after a normalisation: ``normal`` and ``g`` are ``[U, T, *shape]`` or ``[U, *shape]``."""
    weight, bias = targets
    found: list[tuple[Target, Tensor]] = []
    for target, rows in ((weight, None if weight is None else g * normal), (bias, g)):
        if target is not None and rows is not None:
            found.append((target, rows if rows.dim() == len(target.shape) + 1 else rows.sum(1)))
    return GivenTap(name, tuple(target for target, _ in found), tuple(rows for _, rows in found))


def patches(module: nn.Conv1d | nn.Conv2d, a: Tensor) -> Tensor:
    """The inputs of each output position, ``[B, groups, channels / groups * kernel, T]``, by one strided copy."""
    two = isinstance(module, nn.Conv2d)
    kernel, stride, dilation = ((*x,) if two else (1, x[0]) for x in (module.kernel_size, module.stride, module.dilation))
    a = _padded(module, a)
    a = (a if two else a.unsqueeze(2)).contiguous()
    batch, channels, height, width = a.shape
    out = tuple((size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True))
    s0, s1, s2, s3 = a.stride()
    strides = (s0, s1, s2 * dilation[0], s3 * dilation[1], s2 * stride[0], s3 * stride[1])
    view = a.as_strided((batch, channels, *kernel, *out), strides)
    return view.reshape(batch, module.groups, -1, out[0] * out[1])


def _padded(module: nn.Conv1d | nn.Conv2d, a: Tensor) -> Tensor:
    reach = module._reversed_padding_repeated_twice
    if not any(reach):
        return a
    return F.pad(a, reach) if module.padding_mode == "zeros" else F.pad(a, reach, mode=module.padding_mode)


@dataclass
class ConvTap(_WeightAndBias, _Formed):
    """A convolution: patches make it a linear map with one row per output position."""

    name: str
    weight: Target | None
    bias: Target | None
    module: nn.Conv1d | nn.Conv2d
    a: Tensor
    g: Tensor
    rows: int
    _kept: Tensor | None = field(default=None, repr=False)
    _bias: Tensor | None = field(default=None, repr=False)

    def norms(self) -> tuple[Tensor, Tensor]:
        """See `Tap`."""
        kept = list(self.each())
        self._bias = kept.pop() if self.bias is not None else None
        self._kept = kept.pop() if self.weight is not None else None
        parts = [squares(x.flatten(1)) for x in (self._kept, self._bias) if x is not None]
        total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        return total, total

    def put(self, c: Tensor, *, add: bool = False) -> None:
        """See `Tap`."""
        for target, kept in ((self.weight, self._kept), (self.bias, self._bias)):
            if target is not None and kept is not None:
                weighted(kept, c, target.view, add=add)

    def each(self) -> tuple[Tensor, ...]:
        """See `Tap`."""
        g = self.g.flatten(2)
        found = []
        if self.weight is not None:
            a, groups = patches(self.module, self.a), self.module.groups
            left = g.view(g.shape[0] * groups, -1, g.shape[2])
            own = torch.bmm(left, a.flatten(0, 1).mT).view(g.shape[0], *self.weight.shape)
            found.append(own)
        if self.bias is not None:
            found.append(g.sum(2))
        if self.rows > 1:
            found = [x.view(-1, self.rows, *x.shape[1:]).sum(1) for x in found]
        return tuple(found)
