"""Sums of clipped gradients by book-keeping: one forward pass, one backward pass, one weighted product per layer."""

from __future__ import annotations

import copy
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.networks.capture import Recorder, gradients_of, replaced
from tacit.networks.flat import Flat
from tacit.networks.layers import Binding, bindings
from tacit.networks.sums import MARGIN, SPREAD
from tacit.networks.taps import GHOST, INSTANTIATE, GivenTap, LinearTap, Tap, Target

Loss = Callable[[Any, Any], Tensor]
_TUNING_ROUNDS = 3
PART_BYTES = 1 << 24
"""What layers keep at once (inputs, output gradients, gradients of single units), as far as equal parts of a batch allow."""
LEAST_PART = 16
"""Units of the smallest part."""


class BookKeeping:
    """Per-example, or per-unit, clipped gradient sums of a model.

    Args:
        model: any `torch.nn.Module` whose layers treat each record by itself. It is neither wrapped nor hooked; its parameters' storage is
            moved into one flat tensor.
        loss: from outputs and targets to one loss per record ``[B]``. One of torch's loss modules may keep its ``reduction``: it is called
            without.
        clip: the largest gradient norm of one unit.
        rows_per_unit: how many consecutive rows of a batch belong to one unit; every unit has exactly so many, padding included.

    Guarantees:
        What `clipped_sum` returns differs between batches that differ in one unit by at most ``clip`` times (1 + `sums.slack`), whatever the
        records and parameters are, as long as each layer computes a record's row from that record alone (`proof.prove` checks it).

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> engine = BookKeeping(model, nn.CrossEntropyLoss(), clip=0.5)
    >>> total = engine.clipped_sum(torch.randn(8, 3), torch.zeros(8, dtype=torch.long))
    >>> total.shape, bool(total.norm() <= 8 * 0.5)
    (torch.Size([26]), True)

    Raises:
        UsageError: for layers that mix records, a model without trained parameters, mixed types, or a bad ``clip``.
    """

    def __init__(self, model: nn.Module, loss: Loss, *, clip: float = 1.0, rows_per_unit: int = 1) -> None:
        if not 0 < clip < float("inf"):
            raise UsageError(f"Expected clip={clip} > 0 and finite; 1.0 is a common choice.")
        if rows_per_unit < 1:
            raise UsageError(f"Expected rows_per_unit={rows_per_unit} >= 1.")
        _require_plain(model)
        self.model, self.loss, self.clip, self.rows = model, _each_record(loss), float(clip), rows_per_unit
        self.bindings: tuple[Binding, ...] = tuple(bindings(model, _trained(model)))
        self.flat = Flat(model)
        self.modes: dict[str, str] = {}
        self.norms: Tensor | None = None
        self.pieces = 1  # parts of a batch; see `settle`

    def clipped_sum(self, x: Any, y: Any, *, present: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Σ over units of the gradient, shortened to ``clip``; float32 ``[parameters]``, the engine's buffer: overwritten by the next call.

        Args:
            x: inputs, a tensor or a tuple of tensors, records on the first axis.
            y: targets.
            present: ``[U]``, 1 for a unit that takes part and 0 for padding; everyone takes part if ``None``.
            weights: ``[B]``, public or per-record factors of the losses; 0 for a unit's padding rows.
        """
        self.flat.require_own()
        inputs: tuple[Tensor, ...] = x if isinstance(x, tuple) else (x,)
        norms: list[Tensor] = []
        units = -(-len(inputs[0]) // self.rows)
        for part in _parts(units, self.pieces):
            rows = slice(part.start * self.rows, part.stop * self.rows)
            here = tuple(each[rows] for each in inputs), y[rows], None if weights is None else weights[rows]
            norms.append(self._add(here, None if present is None else present[part], add=bool(norms)))
        self.norms = norms[0] if len(norms) == 1 else torch.cat(norms)
        return self.flat.gradient

    def _add(self, batch: tuple[Any, Any, Tensor | None], present: Tensor | None, *, add: bool) -> Tensor:
        """Put the clipped sum of a part of a batch into the flat gradient, or add it there; returns the units' squared norms."""
        taps = self.taps(*batch[:2], weights=batch[2])
        with torch.no_grad():
            c, norms = self._factors(taps, present)
            if not add and sum(target.view.numel() for tap in taps for target in tap.targets) < self.flat.size:
                self.flat.gradient.zero_()
            while taps:  # the last first: its input and gradient are still in the processor's cache, and are free when they are used
                taps.pop().put(c, add=add)
        return norms

    def taps(self, x: Any, y: Any, *, weights: Tensor | None = None) -> list[Tap]:
        """One forward and one backward pass; what each layer contributed."""
        inputs = x if isinstance(x, tuple) else (x,)
        recorder = self.recorder(len(inputs[0]), self.flat.targets)
        return self.recorded(recorder, lambda: self.model(*inputs), y, weights=weights)

    def recorder(self, batch: int, targets: dict[str, Target], *, traced: bool = False) -> Recorder:
        """What keeps one pass over ``batch`` rows.

        Raises:
            UsageError: unless the rows are those of whole units.
        """
        if batch == 0 or batch % self.rows:
            raise UsageError(f"Expected a multiple of rows_per_unit={self.rows} rows; got {batch}. Pad each unit to so many rows, with weight 0.")
        return Recorder(batch, self.rows, traced, targets, self.modes)

    def recorded(self, recorder: Recorder, forward: Callable[[], Any], y: Any, *, weights: Tensor | None) -> list[Tap]:
        """`taps`, for any way to run the model forward."""
        with torch.enable_grad():
            with replaced({binding.module: binding.wrap(binding, recorder) for binding in self.bindings}):
                losses = _per_record(self.loss(forward(), y), recorder.batch)
            found = gradients_of(losses if weights is None else losses * weights, recorder.captures)
        with torch.no_grad():
            made = [capture.make(g) for capture, g in zip(recorder.captures, found, strict=True) if g is not None]
            return merged(list(itertools.chain.from_iterable(made)), units=recorder.batch // self.rows)

    def _factors(self, taps: Sequence[Tap], present: Tensor | None) -> tuple[Tensor, Tensor]:
        norms, spreads = lengths(taps)
        finite = torch.isfinite(norms) & torch.isfinite(spreads)
        if not bool(finite.all()):
            _scrub(taps)
            norms, spreads = torch.where(finite, norms, 0), torch.where(finite, spreads, 0)
        c = factors(norms, spreads, self.clip)
        c = c if present is None else c * present
        return c * finite, norms

    def tune(self, x: Any, y: Any) -> dict[str, str]:
        """Choose for each layer with several rows per unit whichever way is faster here, measured on a few public units; returns the choice."""
        few = min(LEAST_PART, -(-len(y) // self.rows))
        for tap in self.taps(*self._few(x, y, units=few)):
            if isinstance(tap, LinearTap) and tap.g.dim() == 3:
                self.modes[tap.name] = min((GHOST, INSTANTIATE), key=lambda mode: _seconds(tap, mode))
        return dict(self.modes)


    def settle(self, x: Any, y: Any) -> int:
        """Choose in how many equal parts a batch of this size is taken, one after the other: what is kept of a part needs `PART_BYTES` or less.

        It follows from shapes alone, and costs no time: matrices of that size keep a processor busy. A model that cannot run on a few
        records keeps one part; `proof.prove` says what is wrong with it.
        """
        units = -(-len(y) // self.rows)
        few = min(units, LEAST_PART)
        try:
            taps = self.taps(*self._few(x, y, units=few))
            with torch.no_grad():
                lengths(taps)  # some keep each unit's gradient from here on
            kept = sum(_bytes(tap) for tap in taps) / few
        except (RuntimeError, UsageError):
            return self.pieces
        possible = [k for k in range(1, units // few + 1) if units % k == 0]
        self.pieces = next((k for k in possible if kept * units / k <= PART_BYTES), possible[-1])
        return self.pieces

    def part_of(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The first of the parts that this batch is taken in."""
        return self._few(x, y, units=_parts(-(-len(y) // self.rows), self.pieces)[0].stop)

    def _few(self, x: Any, y: Any, *, units: int) -> tuple[Any, Any]:
        rows = max(1, units) * self.rows
        return tuple(part[:rows] for part in x) if isinstance(x, tuple) else x[:rows], y[:rows]


def _bytes(tap: Tap) -> int:
    return sum(x.numel() * x.element_size() for x in vars(tap).values() if isinstance(x, Tensor))


def _parts(units: int, pieces: int) -> list[slice]:
    """So many equal parts of a batch, if it can be divided so; else all of it."""
    size = units if units % pieces else units // pieces
    return [slice(start, start + size) for start in range(0, max(1, units), max(1, size))]


def lengths(taps: Sequence[Tap]) -> tuple[Tensor, Tensor]:
    """Squared norm and squared spread of each unit's whole gradient, ``[U]``.

    Raises:
        UsageError: if nothing has a gradient.
    """
    found = [tap.norms() for tap in taps]
    if not found:
        raise UsageError("Expected a loss that depends on the trained parameters; none of them has a part in it. Check the model and the loss.")
    norms, spreads = (torch.stack([pair[i] for pair in found]).sum(0) for i in range(2))
    return norms, spreads


def factors(norms: Tensor, spreads: Tensor, clip: float) -> Tensor:
    """What each unit's gradient is multiplied by, ``[U]``: its norm stays within ``clip``, its spread within `sums.SPREAD` times that."""
    tiny = torch.finfo(norms.dtype).tiny
    longest = torch.maximum(norms, spreads / SPREAD**2).clamp(min=tiny)
    return (clip * longest.rsqrt()).clamp(max=1.0) * (1 - MARGIN)


def merged(taps: list[Tap], *, units: int) -> list[Tap]:
    """The taps, where those that meet in one parameter are made one: the norm of a sum is not the sum of norms."""
    counts = Counter(target.view.data_ptr() for tap in taps for target in tap.targets)
    parameters: dict[int, set[int]] = {}
    for tap in taps:
        for target in tap.targets:
            parameters.setdefault(id(target.parameter), set()).add(target.view.data_ptr())
    sizes = {target.view.data_ptr(): target.view.numel() for tap in taps for target in tap.targets}
    shared = {p for p, views in parameters.items() if any(counts[v] > 1 for v in views) or _overlap(views, sizes)}
    if not shared:
        return taps
    apart = [tap for tap in taps if not any(id(target.parameter) in shared for target in tap.targets)]
    together = [tap for tap in taps if any(id(target.parameter) in shared for target in tap.targets)]
    sums: dict[int, tuple[Target, Tensor]] = {}
    for tap in together:
        for target, gradient in zip(tap.targets, tap.each(), strict=True):
            whole = Target(target.parameter, target.whole, target.whole)
            _, total = sums.setdefault(id(target.parameter), (whole, gradient.new_zeros(units, whole.view.numel())))
            first = target.view.storage_offset() - whole.view.storage_offset()
            total[:, first : first + target.view.numel()] += gradient.reshape(units, -1)
    return [*apart, GivenTap("shared", tuple(target for target, _ in sums.values()), tuple(total for _, total in sums.values()))]


def _overlap(views: set[int], sizes: dict[int, int]) -> bool:
    ordered = sorted(views)
    return any(first + 4 * sizes[first] > second for first, second in itertools.pairwise(ordered))


def _scrub(taps: Sequence[Tap]) -> None:
    """Replace what is not finite by zero: those units are left out, and zero times infinity would not be zero."""
    for tap in taps:
        for value in vars(tap).values():
            for x in value if isinstance(value, tuple) else (value,):
                if isinstance(x, Tensor) and x.is_floating_point():
                    x.nan_to_num_(0.0, 0.0, 0.0)


def _seconds(tap: LinearTap, mode: str) -> float:
    best = float("inf")
    ones = torch.ones(tap.g.shape[0], dtype=tap.g.dtype, device=tap.g.device)
    for _ in range(_TUNING_ROUNDS):
        trial = LinearTap(tap.name, tap.weight, tap.bias, tap.a, tap.g, mode)
        began = time.perf_counter()
        trial.norms()
        trial.put(ones)
        best = min(best, time.perf_counter() - began)
    return best


def _each_record(loss: Loss) -> Loss:
    if isinstance(loss, nn.modules.loss._Loss) and loss.reduction != "none":
        each: Any = copy.copy(loss)
        each.reduction = "none"
        return each  # type: ignore[no-any-return]
    return loss


def _per_record(losses: Tensor, batch: int) -> Tensor:
    if losses.dim() == 0 or losses.shape[0] != batch:
        raise UsageError(
            f"Expected one loss per record, shape [{batch}]; got {list(losses.shape)}. Pass reduction='none': what is averaged over a batch cannot "
            "be clipped per record."
        )
    return losses if losses.dim() == 1 else losses.flatten(1).mean(1)


def _trained(model: nn.Module) -> list[str]:
    """Every name under which a trained parameter is known; one that is shared has several."""
    return [name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]


def _require_plain(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise UsageError("Expected a plain module; got a compiled one. Pass the module it was made from, with compiled=True.")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError("Expected at least one parameter with requires_grad=True; this model has none. Unfreeze a layer.")
    kinds = {(p.dtype, p.device) for p in trained}
    if len(kinds) != 1 or trained[0].dtype not in (torch.float32, torch.float64):
        names = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise UsageError(f"Expected trained parameters of one type, float32 or float64, on one device; got {names}. Call model.float().to(device).")
