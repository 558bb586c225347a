"""Networks on PyTorch: clipped gradient sums by book-keeping, noise, plans, and the private step. Needs the extra «torch»."""

from __future__ import annotations

from tacit.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingExtra("torch", purpose="training networks") from error

from tacit.networks.engine import BookKeeping
from tacit.networks.plan import AdaptiveClip, TrainingPlan
from tacit.networks.step import PrivateStep, private_step, resume

__all__ = ["AdaptiveClip", "BookKeeping", "PrivateStep", "TrainingPlan", "private_step", "resume"]
