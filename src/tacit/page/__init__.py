"""Pages that need nothing else: one file without script, whose style is allowed by its own hash and nothing else by its content policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from tacit.page.numbers import tie

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["environment", "style"]


@cache
def environment(package: str) -> Environment:
    """Templates of a package, with the base page and the macros that all pages share; everything is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("tacit.page", ".")])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["tie"] = tie
    return made


@cache
def style() -> tuple[Markup, str]:
    """The style sheet and the hash by which the content security policy allows it (CSP level 2, §4.2.5)."""
    from markupsafe import Markup

    text = files("tacit.page").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"  # noqa: S704 - a file of this package
