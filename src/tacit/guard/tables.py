"""Tables of a TOML file held against a JSON schema: the first thing that is wrong, in one line, with the key and what was expected."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import Any

from tacit.errors import ConfigError


def require_schema(data: dict[str, Any], *, name: str, schema: tuple[str, str], example: str) -> None:
    """Return if the tables fit.

    Args:
        data: as read from the file.
        name: of the file, for the message.
        schema: the package and the file in it.
        example: where a person finds one that is right.

    Raises:
        ConfigError: with the first key, in alphabetical order, that does not.
    """
    for path, value in _leaves(data):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}: {_key(path)} = {value}: expected a finite number. Correct the value.")
    errors = sorted(_validator(*schema).iter_errors(data), key=lambda error: [str(part) for part in error.absolute_path])
    if errors:
        raise ConfigError(f"{name}: {_explain(errors[0], example)}")


@lru_cache(maxsize=8)
def _validator(package: str, file: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(resources.files(package).joinpath(file).read_text(encoding="utf-8")))


def _leaves(data: dict[str, Any], *path: str) -> Iterator[tuple[list[str], Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, *path, key)
        else:
            yield [*path, key], value


def _explain(error: Any, example: str) -> str:
    path = [str(part) for part in error.absolute_path]
    where = _key(path)
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        return f"{_key([*path, unknown])} is unknown; expected one of {', '.join(known)}. Correct or delete it."
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_key([*path, missing])} is missing. Add it; {example}."
    return f"{where} = {_shown(error.instance)}: expected {_expected(error)}. Correct the value."


def _key(path: list[str]) -> str:
    if len(path) == 1:
        return path[0] if path[0] == "version" else f"[{path[0]}]"
    return f"[{path[0]}] {'.'.join(path[1:])}" if path else "the file"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    kinds = {str: "text", bool: "true/false", int: "whole number", float: "number", list: "list", dict: "table"}
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kinds.get(type(value), type(value).__name__)})"


_LIMITS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
_OTHER = {"minLength": "a text that is not empty", "minItems": "a list that is not empty", "uniqueItems": "a list without repetitions"}
_TYPES = {"string": "text in quotes", "number": "a number", "integer": "a whole number", "array": "a list", "object": "a table"}


def _expected(error: Any) -> str:
    rule, value = error.validator, error.validator_value
    if rule == "enum":
        return "one of " + ", ".join(json.dumps(item) for item in value)
    if rule == "const":
        return json.dumps(value)
    if rule in _LIMITS:
        return f"{_TYPES[error.schema['type']]} {_LIMITS[rule]} {value}"
    if rule == "type":
        bounds = " and ".join(f"{sign} {error.schema[name]}" for name, sign in _LIMITS.items() if name in error.schema)
        return f"{_TYPES[value]} {bounds}".strip()
    if rule == "pattern":
        return str(error.schema.get("description", f"text that matches {value}"))
    return _OTHER.get(rule, f"{rule} {value}")
