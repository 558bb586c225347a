"""Many guards, one sum."""

from __future__ import annotations

from tacit.federation.local import LocalFederation

__all__ = ["LocalFederation"]
