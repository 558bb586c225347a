"""One byte string per value: what is hashed, signed and stored.

The encoding, version 1, is JSON text (RFC 8259) in UTF-8 that a person can read, with one spelling for every value:

=================  =================================================================================================
value              text
=================  =================================================================================================
None, bool, str    as in JSON; no escapes beyond the ones JSON requires; text that is not valid Unicode is refused
int                decimal digits, up to 4,300 of them
float              Python's ``repr``, the shortest text that reads back as the same double; NaN and infinity are refused
list, tuple        array, without spaces; a tuple reads back as a list
dict               object, keys are strings in code-point order; a key that starts with ``$`` gets a second ``$``
bytes              ``{"$b64":"..."}``
integer ndarray    ``{"$array":{"b64":"...","dtype":"<i8","shape":[2,3]}}``, C order, little endian
=================  =================================================================================================

NumPy integers, floats and booleans are written as Python's. Nothing else is accepted, and no two values of different type share a text.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tacit.errors import UsageError, VerificationError

CANONICAL_VERSION = 1
MAX_DEPTH = 64
_MAX_DIGITS = 4300
_INTEGER_END = 10**_MAX_DIGITS
_DTYPES = ("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8")


def canonical_bytes(obj: object) -> bytes:
    """Encode ``obj`` as the one text that stands for it.

    >>> canonical_bytes({"b": [1, 1.0, None], "a": b"hi"})
    b'{"a":{"$b64":"aGk="},"b":[1,1.0,null]}'

    Raises:
        UsageError: the value, or something inside it, is of another kind, not finite, or nested deeper than 64 levels.
    """
    try:
        text = json.dumps(_plain(obj, 0), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("Expected text that is valid Unicode; a lone surrogate was found. Encode such text as bytes") from None


def from_canonical(data: bytes) -> Any:
    """Decode what ``canonical_bytes`` wrote, and nothing else: any other spelling of the same value is refused.

    >>> from_canonical(b'{"a":{"$b64":"aGk="},"b":[1,1.0,null]}')
    {'a': b'hi', 'b': [1, 1.0, None]}
    >>> from_canonical(b'{"a": 1}')
    Traceback (most recent call last):
    tacit.errors.VerificationError: Expected canonical text; another spelling of the same value was found. Encode with canonical_bytes

    Raises:
        VerificationError: the bytes are not canonical.
    """
    try:
        value = _value(json.loads(data.decode("utf-8"), parse_constant=_no_constant))
        same = canonical_bytes(value) == data
    except (ValueError, OverflowError, RecursionError, UsageError) as error:
        raise VerificationError(f"Expected canonical text of version {CANONICAL_VERSION}; it cannot be read. Fetch it again") from error
    if not same:
        raise VerificationError("Expected canonical text; another spelling of the same value was found. Encode with canonical_bytes")
    return value


def _plain(obj: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise UsageError(f"Expected nesting of at most {MAX_DEPTH} levels; flatten the value")
    if isinstance(obj, Mapping):
        return {_key(key): _plain(value, depth + 1) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value, depth + 1) for value in obj]
    if isinstance(obj, bytes):
        return {"$b64": _b64(obj)}
    if isinstance(obj, np.ndarray):
        return {"$array": _array(obj)}
    return _scalar(obj)


def _scalar(obj: object) -> object:
    if isinstance(obj, bool | np.bool_):
        return bool(obj)
    if isinstance(obj, int | np.integer):
        return _integer(int(obj))
    if isinstance(obj, float | np.floating):
        return _finite(float(obj))
    if obj is None or isinstance(obj, str):
        return None if obj is None else str(obj)
    raise UsageError(f"Cannot encode a {type(obj).__name__}; expected None, bool, int, float, str, bytes, list, tuple, dict or an array of integers")


def _integer(value: int) -> int:
    if abs(value) >= _INTEGER_END:
        raise UsageError(f"Expected an integer of at most {_MAX_DIGITS} digits; encode it as bytes")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise UsageError("Expected a finite number; NaN and infinity have no canonical text. Encode them as None")
    return value


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise UsageError(f"Cannot encode a key of type {type(key).__name__}; expected str")
    return "$" + key if key.startswith("$") else str(key)


def _array(array: np.ndarray[Any, Any]) -> dict[str, object]:
    if array.dtype.kind not in "iu":
        raise UsageError(f"Cannot encode an array of {array.dtype}; expected integers")
    little = np.asarray(array, array.dtype.newbyteorder("<"))
    return {"b64": _b64(little.tobytes()), "dtype": little.dtype.str, "shape": list(array.shape)}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _value(node: object) -> object:
    if isinstance(node, list):
        return [_value(item) for item in node]
    if isinstance(node, dict):
        return _object(node)
    return node


def _object(node: dict[str, Any]) -> object:
    if node.keys() == {"$b64"}:
        return _unb64(node["$b64"])
    if node.keys() == {"$array"}:
        return _unarray(node["$array"])
    return {_unkey(key): _value(value) for key, value in node.items()}


def _unkey(key: str) -> str:
    if key.startswith("$$"):
        return key[1:]
    if key.startswith("$"):
        raise ValueError("an unknown kind of value")
    return key


def _unb64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 that is not text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _unarray(node: object) -> np.ndarray[Any, Any]:
    if not isinstance(node, dict) or node.keys() != {"b64", "dtype", "shape"} or node["dtype"] not in _DTYPES:
        raise ValueError("not an array")
    shape = node["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("not a shape")
    return np.frombuffer(_unb64(node["b64"]), node["dtype"]).reshape(shape).copy()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not canonical")
