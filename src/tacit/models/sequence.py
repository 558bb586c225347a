"""A small transformer over the pieces of a text: command lines, URLs, sequences of events. Runs without PyTorch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.domain import Category, Domain
from tacit.errors import DataError, UsageError
from tacit.guarantee import Guarantee
from tacit.models.base import Margins, Predictor, Provenance, require_honest, require_loss
from tacit.questions import Target
from tacit.questions.encoding import texts

Array = NDArray[np.float64]
_EPSILON = 1e-5
_ROWS = 4_096


@dataclass(frozen=True)
class Tokens:
    """How a text becomes numbers. Public, and the same for every text: nothing is counted or learned.

    Args:
        kind: ``"grams"``: every three bytes that follow each other; ``"words"``: what white space divides.
        length: the first so many are kept.
        size: different numbers there are; pieces share one by a public hash. 0 stands for nothing.

    >>> Tokens("words", 4, 1000).of(pa.array(["net user /add", None])).tolist()[1]
    [0, 0, 0, 0]
    """

    kind: str = "grams"
    length: int = 64
    size: int = 2048

    def __post_init__(self) -> None:
        if self.kind not in ("grams", "words") or not 1 <= self.length <= 4096 or not 2 <= self.size <= 1 << 20:
            got = f"{self.kind!r}, {self.length}, {self.size}"
            raise UsageError(f"Expected tokens «grams» or «words», length 1 to 4096 and size 2 to 2^20; got {got}.")

    def of(self, column: pa.Array) -> NDArray[np.int64]:
        """int64 ``[rows, length]``."""
        values = [(text or "").encode("utf-8", "replace") for text in texts(column).to_pylist()]
        return self._words(values) if self.kind == "words" else self._grams(values)

    def _words(self, values: list[bytes]) -> NDArray[np.int64]:
        out = np.zeros((len(values), self.length), np.int64)
        for row, value in enumerate(values):
            found = value.split()[: self.length]
            out[row, : len(found)] = [zlib.crc32(word) % (self.size - 1) + 1 for word in found]
        return out

    def _grams(self, values: list[bytes]) -> NDArray[np.int64]:
        width = self.length + 2
        bytes_ = np.frombuffer(b"".join(value[:width].ljust(width, b"\0") for value in values), np.uint8).reshape(len(values), width).astype(np.int64)
        mixed = (bytes_[:, :-2] * 7919 + bytes_[:, 1:-1] * 104_729 + bytes_[:, 2:] * 1_299_709) % 2_147_483_647
        return np.where(bytes_[:, :-2] > 0, mixed % (self.size - 1) + 1, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"kind": self.kind, "length": self.length, "size": self.size}


def text_domain(column: str) -> Domain:
    """The domain of one column of free text: no value of it is declared."""
    return Domain(((column, Category(("(any text)",))),))


@dataclass(frozen=True, eq=False)
class SequenceModel(Predictor):
    """Embeddings, blocks of attention and feed-forward maps, and the mean over the pieces.

    Args:
        to: what is predicted.
        loss: logistic or softmax.
        column: the text's column.
        tokens: how it becomes numbers.
        heads: of the attention.
        weights: float64 arrays by name, as the training module's parameters.
        guarantee: what they promise the units they were learned from.
        provenance: where the model came from.
        evidence: measurements made on it, in plain form.

    Raises:
        UsageError: if the weights do not fit, or a model made with a test seed claims a guarantee.
    """

    to: Target
    loss: str
    column: str
    tokens: Tokens
    heads: int
    weights: Mapping[str, Array]
    guarantee: Guarantee
    provenance: Provenance
    evidence: tuple[Mapping[str, Any], ...] = ()
    kind: ClassVar[str] = "sequence@1"

    def __post_init__(self) -> None:
        require_honest(self.guarantee, self.provenance)
        require_loss(self.to, self.loss)
        if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in self.weights.values()):
            raise UsageError("Expected finite float64 weights; at least one array is not.")
        width = self.weights["pieces.weight"].shape[1]
        shapes = {"pieces.weight": (self.tokens.size, width), "places.weight": (self.tokens.length, width), "head.weight": (self.to.outputs, width)}
        if width % self.heads or any(self.weights[name].shape != shape for name, shape in shapes.items()):
            raise UsageError("Expected weights that fit the tokens, the heads and the target; they do not.")

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.to

    @property
    def domain(self) -> Domain:
        """The one column it reads."""
        return text_domain(self.column)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return sum(name.endswith(".up.weight") for name in self.weights)

    def batch_margins(self, columns: Mapping[str, pa.Array], rows: int) -> Margins:
        """Margins float64 ``[rows, outputs]``."""
        if self.column not in columns:
            raise DataError(f"Expected a column «{self.column}»; the records do not have it.")
        tokens = self.tokens.of(columns[self.column])
        pieces = [self._margins(tokens[start : start + _ROWS]) for start in range(0, rows, _ROWS)]
        return np.concatenate(pieces) if pieces else np.zeros((0, self.to.outputs))

    def _margins(self, tokens: NDArray[np.int64]) -> Array:
        present = tokens > 0
        present[:, 0] = True
        x = self.weights["pieces.weight"][tokens] + self.weights["places.weight"]
        for block in range(self.blocks):
            x = x + self._attention(f"blocks.{block}", self._norm(f"blocks.{block}.before", x), present)
            inner = np.maximum(self._linear(f"blocks.{block}.up", self._norm(f"blocks.{block}.between", x)), 0)
            x = x + self._linear(f"blocks.{block}.down", inner)
        mean = (x * present[:, :, None]).sum(1) / present.sum(1, keepdims=True)
        return self._linear("head", self._norm("norm", mean))

    def _linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + _EPSILON)
        return np.asarray(centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])

    def _attention(self, name: str, x: Array, present: NDArray[np.bool_]) -> Array:
        size = x.shape[2] // self.heads
        whole = x @ self.weights[f"{name}.attend.in_proj_weight"].T + self.weights[f"{name}.attend.in_proj_bias"]
        q, k, v = (part.reshape(*x.shape[:2], self.heads, size).transpose(0, 2, 1, 3) for part in np.split(whole, 3, axis=2))
        scores = np.where(present[:, None, None, :], q @ k.transpose(0, 1, 3, 2) / np.sqrt(size), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ v
        return self._linear(f"{name}.attend.out_proj", mixed.transpose(0, 2, 1, 3).reshape(x.shape))

    def structure(self) -> dict[str, Any]:
        """Everything that is no array."""
        return {"target": self.to.to_dict(), "loss": self.loss, "column": self.column, "tokens": self.tokens.to_dict(), "heads": self.heads}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights."""
        return dict(self.weights)

    @classmethod
    def from_parts(
        cls, structure: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, guarantee: Guarantee, provenance: Provenance,
        evidence: tuple[Mapping[str, Any], ...] = (),
    ) -> SequenceModel:
        """The model that `structure` and `arrays` described.

        Raises:
            ValueError, KeyError, UsageError: if the parts do not belong together.
        """
        tokens = Tokens(**structure["tokens"])
        target = Target.from_dict(structure["target"])
        return cls(target, str(structure["loss"]), str(structure["column"]), tokens, int(structure["heads"]), arrays, guarantee, provenance, evidence)
