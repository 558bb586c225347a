"""Modules that need PyTorch are not even imported where it is absent; their tests say so and skip."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["src/tacit/networks/*.py"]
