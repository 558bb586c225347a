"""Where treated events go, once and durably, or again until they are there."""

from __future__ import annotations

from tacit.logs.stages.outlets.base import Outlet, OutletError

__all__ = ["Outlet", "OutletError"]
