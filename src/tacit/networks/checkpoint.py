"""A run that was stopped goes on: model, optimiser and place in one signed file, and in the ledger how far answers may have been given.

Before a step is taken it is *reserved*: the ledger says durably that answers up to a certain step may have left. A run that is resumed begins after
what was reserved, with fresh noise; steps between the file and the reservation are lost, never repeated. So the charge is what it was, and no
noise is used twice, whether the process was killed or an old file was put back.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, from_canonical, hexdigest
from tacit.errors import DataError, Refused, TacitError, UsageError, VerificationError
from tacit.guard import Guard, Ledger, Plan
from tacit.networks.optimisers import restore, tensors_of
from tacit.networks.step import PrivateStep
from tacit.replacing import replacing

CONTEXT = "tacit.checkpoint@1"
RESERVED = "network.reserved"
FORMAT = 1
_FIELDS = {"tacit", "signature", "public_key"}


def reserved(guard: Guard, plan: Plan) -> int:
    """How many of the plan's steps may have been answered, as the ledger says."""
    return max((int(entry.body["through"]) for entry in guard.ledger.find(RESERVED, guard.scope) if entry.body["plan"] == plan.digest), default=0)


class Checkpoints:
    """Keeps a run's file and reservations.

    Args:
        step: the running step.
        path: the file.
        every: steps between two files; a killed run loses at most so many.

    Raises:
        UsageError: without a `tacit.guard.Ledger` with a signing key: what is kept in memory cannot be resumed.
    """

    def __init__(self, step: PrivateStep, path: str | os.PathLike[str], *, every: int) -> None:
        if every < 1:
            raise UsageError(f"Expected every={every} >= 1; it is the number of steps between two checkpoints.")
        ledger = step.guard.ledger
        if not isinstance(ledger, Ledger) or not ledger.writable:
            raise UsageError("Expected a ledger that outlives the process: private_step(..., ledger=Ledger.open(PATH)); got one in memory.")
        self._step, self._path, self._every, self._key = step, Path(path), every, ledger.signing_key
        self._through = step.done

    def before(self) -> None:
        """Called before each step: saves and reserves where it is time."""
        if self._step.done < self._through:
            return
        save(self._step, self._path, self._key)
        self._through = min(self._step.plan.steps, self._step.done + self._every)
        self._step.guard.ledger.record(RESERVED, self._step.guard.scope, {"plan": self._step.charged.digest, "through": self._through})

    def finish(self) -> None:
        """Save the last state."""
        save(self._step, self._path, self._key)


def save(step: PrivateStep, path: str | os.PathLike[str], key: SigningKey) -> None:
    """Write the run's state as one signed file, all or nothing. It stays on the owner's side."""
    from safetensors.torch import save as to_bytes

    tensors = _tensors(step)
    manifest = canonical_bytes({
        "format": FORMAT, "plan": step.charged.to_dict(), "step": step.done, "charge": list(step.charge), "ledger_head": step.guard.ledger.head,
        "tensors": {name: _digest(tensor) for name, tensor in tensors.items()},
    })  # fmt: skip
    metadata = {"tacit": manifest.decode(), "signature": key.sign(manifest, context=CONTEXT).hex(), "public_key": key.public.hex}
    with replacing(path) as file:
        file.write(to_bytes(tensors, metadata))


def _tensors(step: PrivateStep) -> dict[str, Tensor]:
    found = {"values": step.engine.flat.values.detach().clone(), "clip": torch.tensor(step.engine.clip, dtype=torch.float64)}
    found |= {f"buffer.{name}": buffer.detach().clone() for name, buffer in step.engine.model.named_buffers()}
    found |= {f"optimiser.{name}": tensor.detach().clone() for name, tensor in tensors_of(step.optimiser).items()}
    if step.drawer.groups is not None:
        found["groups"] = torch.from_numpy(step.drawer.groups.copy())
    return found


def _digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().numpy()
    return hexdigest(f"{plain.dtype.str}{plain.shape}".encode() + plain.tobytes(), domain="tacit.checkpoint")


def load(path: str | os.PathLike[str], *, trusted: VerifyKey) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest and tensors of a checkpoint, every byte of it checked.

    Raises:
        DataError: if there is no such file, or it is no checkpoint.
        VerificationError: if it was changed, or another key signed it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        content = Path(path).read_bytes()
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        tensors = from_bytes(content)
        if set(metadata) != _FIELDS:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        raise DataError(f"Expected a checkpoint at «{path}»; there is none, or it is cut short. Begin a new run.") from None
    trusted.verify(metadata["tacit"].encode(), _hex(metadata["signature"]), context=CONTEXT)
    manifest = dict(from_canonical(metadata["tacit"].encode()))
    if manifest.get("format") != FORMAT or {name: _digest(tensor) for name, tensor in tensors.items()} != manifest.get("tensors"):
        raise VerificationError("Expected tensors with the digests that were signed; at least one was changed. Take another copy.")
    return manifest, tensors


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise VerificationError("Expected a signature in hex; it is damaged. Take another copy.") from None


def state_of(path: str | os.PathLike[str], guard: Guard, plan: Plan) -> tuple[int, dict[str, Tensor], tuple[int, str]]:
    """Where a charged run goes on, its tensors, and its charge.

    Raises:
        Refused: if the ledger does not hold the charge, or nothing of the plan is left.
    """
    if not isinstance(guard.ledger, Ledger):
        raise UsageError("Expected the ledger that the run was charged to; got one in memory.")
    manifest, tensors = load(path, trusted=guard.ledger.public_key)
    sequence, digest = int(manifest["charge"][0]), str(manifest["charge"][1])
    try:
        same = Plan.from_dict(manifest["plan"]).digest == plan.digest
    except TacitError:
        same = False
    charges = guard.ledger.find("charge", guard.scope)
    held = any((e.sequence, e.digest, e.body.get("plan_digest")) == (sequence, digest, plan.digest) for e in charges)
    if not (same and held):
        raise Refused("refused: the ledger does not hold the charge that the checkpoint names, for this plan. Resume with the same plan and ledger.")
    first = max(int(manifest["step"]), reserved(guard, plan))
    if first >= plan.total_steps:
        raise Refused(f"refused: all {plan.total_steps} steps of the plan may have been answered. What the checkpoint holds is the result.")
    return first, tensors, (sequence, digest)


def put_back(step: PrivateStep, tensors: dict[str, Tensor], first: int) -> None:
    """Set a new step to the state of a checkpoint."""
    with torch.no_grad():
        step.engine.flat.values.copy_(tensors["values"])
        for name, buffer in step.engine.model.named_buffers():
            buffer.copy_(tensors[f"buffer.{name}"])
    restore(step.optimiser, {name.removeprefix("optimiser."): t for name, t in tensors.items() if name.startswith("optimiser.")})
    if "groups" in tensors:
        step.drawer.groups = np.asarray(tensors["groups"].numpy(), np.int64)
    step.engine.clip = float(tensors["clip"])
    step.done = first
