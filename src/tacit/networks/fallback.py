"""Any other module: the gradients of its own parameters, one record at a time, by `torch.func`; right for every module, but not fast."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.func import functional_call, vjp, vmap

from tacit.errors import UsageError
from tacit.networks.capture import Forward, Recorder
from tacit.networks.taps import GivenTap, Tap

if TYPE_CHECKING:
    from tacit.networks.layers import Binding

CHUNK = 32
"""Records at once: small enough for the processor's cache."""


def forward_of(binding: Binding, recorder: Recorder) -> Forward:
    """What runs in place of the module's ``forward``."""
    original = binding.module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        if not isinstance(output, Tensor) or output.dim() == 0 or output.shape[0] != recorder.batch:
            raise UsageError(
                f"Expected module «{binding.name or type(binding.module).__name__}», which has parameters of its own, to return one tensor with "
                "the records on its first axis. Move the parameters into a submodule that does."
            )
        inputs = [_plain(x) for x in args], {key: _plain(x) for key, x in kwargs.items()}
        return recorder.keep(binding.name, output, lambda g: [_tap(binding, recorder, inputs, g)])

    return forward


def _plain(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _tap(binding: Binding, recorder: Recorder, inputs: tuple[list[Any], dict[str, Any]], g: Tensor) -> Tap:
    targets = {name: target for name in binding.own if (target := recorder.target(name)) is not None}
    skip = len(binding.name) + 1 if binding.name else 0
    own = {name[skip:]: target.parameter.detach() for name, target in targets.items()}
    args, kwargs = inputs

    def batched(x: Any) -> bool:
        return isinstance(x, Tensor) and x.dim() > 0 and x.shape[0] == recorder.batch

    moving = [x for x in (*args, *kwargs.values()) if batched(x)]

    def one(g_: Tensor, *rows: Tensor) -> Any:
        left = iter(rows)
        here = [next(left).unsqueeze(0) if batched(x) else x for x in args]
        named = {k: next(left).unsqueeze(0) if batched(x) else x for k, x in kwargs.items()}
        _, back = vjp(lambda parameters: functional_call(binding.module, parameters, tuple(here), named), own)
        return back(g_.unsqueeze(0))[0]

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # this way is known to be slow; it is the exception
            each = vmap(one, randomness="different", chunk_size=CHUNK)(g, *moving)
    except RuntimeError as error:
        raise UsageError(
            f"Expected a module that can be run on one record; «{binding.name}» ({type(binding.module).__name__}) cannot "
            f"({str(error).splitlines()[0][:200]}). Build it from known layers, or freeze its parameters."
        ) from error
    found = [each[name[skip:]] for name in targets]
    if recorder.rows > 1:
        found = [x.view(-1, recorder.rows, *x.shape[1:]).sum(1) for x in found]
    return GivenTap(binding.name, tuple(targets.values()), tuple(x if x.dim() > 1 else x[:, None] for x in found))
