"""Faces that load what they show when it is asked for: a command that reads a ledger need not import what learns over a network."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def face(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562).

    Args:
        package: its name.
        homes: by module within it, the names that it lends to the face.

    >>> shown = face("tacit.federation", {"table": ("Parties",)})
    >>> shown("Parties").__module__
    'tacit.federation.table'
    """
    found = {name: module for module, names in homes.items() for name in names}

    def shown(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{found[name]}"), name)

    return shown
