"""What stands between a model and whoever queries it: answers that say less, noise that does not average out, and a limit on how much is asked.

A defence changes answers, never the model. Each says what it is for and what it is not; what it is worth is measured by attacking it
(see `tacit.attacks`). None of them is a guarantee: that is what differential privacy in training is for.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tacit.errors import Refused, UsageError

Probabilities = NDArray[np.float64]
_LEAST = 1e-12


class Defence(Protocol):
    """Changes probabilities on their way out."""

    name: ClassVar[str]

    def apply(self, probabilities: Probabilities, records: Sequence[bytes]) -> Probabilities:
        """The answers that leave: float64 ``[rows, classes]``.

        Args:
            probabilities: as the model gives them, ``[rows, classes]``.
            records: a digest of each record, so that the same question can get the same answer.
        """
        ...


@dataclass(frozen=True)
class Rounding:
    """Answers rounded to a few decimals: cheap, and takes the tail away that the finest attacks live on. The class stays what it was.

    >>> Rounding(1).apply(np.array([[0.26, 0.74]]), [b""]).tolist()
    [[0.3, 0.7]]
    """

    decimals: int = 2
    name: ClassVar[str] = "rounding"

    def __post_init__(self) -> None:
        if isinstance(self.decimals, bool) or not isinstance(self.decimals, int) or not 0 <= self.decimals <= 6:
            raise UsageError(f"Expected from 0 to 6 decimals; got {self.decimals!r}.")

    def apply(self, probabilities: Probabilities, records: Sequence[bytes]) -> Probabilities:
        """See `Defence`."""
        return np.asarray(np.round(probabilities, self.decimals))


@dataclass(frozen=True)
class TopOnly:
    """Only the highest answers, the others 0; with ``labels`` only which is highest. A boundary attack still learns how sure the model is.

    >>> TopOnly(1).apply(np.array([[0.26, 0.74]]), [b""]).tolist(), TopOnly(labels=True).apply(np.array([[0.26, 0.74]]), [b""]).tolist()
    ([[0.0, 0.74]], [[0.0, 1.0]])
    """

    count: int = 1
    labels: bool = False
    name: ClassVar[str] = "top only"

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise UsageError(f"Expected at least one answer; got {self.count!r}.")

    def apply(self, probabilities: Probabilities, records: Sequence[bytes]) -> Probabilities:
        """See `Defence`."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : 1 if self.labels else self.count]
        kept = np.zeros_like(probabilities)
        np.put_along_axis(kept, order, 1.0 if self.labels else np.take_along_axis(probabilities, order, 1), 1)
        return kept


@dataclass(frozen=True)
class AnswerNoise:
    """Noise on the log odds of every answer, the same whenever the same record is asked about, so that asking again does not average it out.

    Whoever asks about slightly changed records gets new noise, so that averaging over neighbours still works: limit how much is asked, too.

    Args:
        scale: standard deviation of the noise on log probabilities.
        key: of the noise; drawn if ``None``. Who has it can take the noise away.
    """

    scale: float = 1.0
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    name: ClassVar[str] = "memoised noise"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0) or len(self.key) < 16:
            raise UsageError(f"Expected a scale above 0 and a key of at least 16 bytes; got scale={self.scale!r}.")

    def apply(self, probabilities: Probabilities, records: Sequence[bytes]) -> Probabilities:
        """See `Defence`."""
        noise = np.stack([self._noise(record, probabilities.shape[1]) for record in records]) if len(records) else np.zeros_like(probabilities)
        moved = np.log(np.maximum(probabilities, _LEAST)) + self.scale * noise
        odds = np.exp(moved - moved.max(axis=1, keepdims=True)) if len(moved) else moved
        return np.asarray(odds / odds.sum(axis=1, keepdims=True)) if len(moved) else odds

    def _noise(self, record: bytes, count: int) -> NDArray[np.float64]:
        """Standard normal numbers that follow from record and key alone, by a keyed hash (Box & Muller 1958)."""
        need, words = 2 * ((count + 1) // 2), b""
        for block in range(-(-8 * need // 64)):
            words += hmac.new(self.key, record + block.to_bytes(4, "big"), hashlib.sha512).digest()
        uniform = (np.frombuffer(words[: 8 * need], np.uint64) >> np.uint64(11)).astype(np.float64) / 2.0**53
        radius, angle = np.sqrt(-2 * np.log1p(-uniform[::2])), 2 * math.pi * uniform[1::2]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


@dataclass
class QueryLimit:
    """At most so many different records per client: extraction and boundary attacks need many. Asking again about the same record is free.

    Args:
        most: different records per client.
        clients: how many clients are remembered; the one that was quiet longest is forgotten first.
    """

    most: int
    clients: int = 10_000
    _seen: OrderedDict[str, set[bytes]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:
            raise UsageError(f"Expected a limit of at least one record; got {self.most!r}.")

    def charge(self, client: str, records: Sequence[bytes]) -> int:
        """Count the records a client asks about; returns how many are left.

        Raises:
            Refused: if they would be too many; none of them is counted then.
        """
        with self._lock:
            seen = self._seen.setdefault(client, set())
            self._seen.move_to_end(client)
            new = set(records) - seen
            if len(seen) + len(new) > self.most:
                raise Refused(
                    f"Expected at most {self.most:,} different records per client; {len(seen):,} were asked about and {len(new):,} more are not "
                    "allowed. Ask the owner of the model for a higher limit."
                )
            seen |= new
            while len(self._seen) > self.clients:
                self._seen.popitem(last=False)
            return self.most - len(seen)


@dataclass
class ExtractionWatch:
    """Tells queries that explore a model from queries that use it (after Juuti et al. 2019): records that people have are not spread evenly.

    The share of a client's records that lie outside of what the model's public domain calls usual, or on which the model hesitates, is compared with
    what it is for everybody; a client far above is named. It does not stop anybody.

    Args:
        usual: share of hesitant answers (top probability below ``margin``) among ordinary queries.
        margin: below which an answer hesitates.
        least: records before a client is judged.
    """

    usual: float
    margin: float = 0.75
    least: int = 200
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    def see(self, client: str, probabilities: Probabilities) -> float:
        """Note answers; returns how many standard deviations the client's share of hesitant ones lies above the usual share."""
        asked, hesitant = self._counts.get(client, (0, 0))
        asked, hesitant = asked + len(probabilities), hesitant + int((probabilities.max(axis=1) < self.margin).sum())
        self._counts[client] = (asked, hesitant)
        if asked < self.least:
            return 0.0
        share = min(max(self.usual, 1e-3), 1 - 1e-3)
        return (hesitant - asked * share) / math.sqrt(asked * share * (1 - share))

    def suspicious(self, *, deviations: float = 6.0) -> tuple[str, ...]:
        """Clients that explore."""
        return tuple(client for client in self._counts if self.see(client, np.zeros((0, 2))) > deviations)


@dataclass(frozen=True)
class Defended:
    """A model behind defences, with the model's own interface: what is served, and what is attacked.

    >>> class Sure:
    ...     classes_ = np.array(["no", "yes"])
    ...     def predict_proba(self, X): return np.tile([[0.123456, 0.876544]], (len(X), 1))
    >>> Defended(Sure(), (Rounding(2), TopOnly(1))).predict_proba(np.zeros((1, 3))).tolist()
    [[0.0, 0.88]]

    Args:
        model: has ``predict_proba``, or is a function that gives probabilities.
        defences: in the order in which answers pass them.
        limit: of queries per client.
        watch: over queries.
    """

    model: Any
    defences: tuple[Defence, ...] = ()
    limit: QueryLimit | None = None
    watch: ExtractionWatch | None = None

    @property
    def classes_(self) -> Any:
        """Of the model; ``None`` if it names none."""
        found = getattr(self.model, "classes_", getattr(self.model, "classes", None))
        return None if found is None else np.asarray(found)

    @property
    def guarantee(self) -> Any:
        """Of the model; defences add none."""
        return getattr(self.model, "guarantee", getattr(self.model, "guarantee_", None))

    def predict_proba(self, data: Any, *, client: str = "") -> Probabilities:
        """Defended probabilities ``[rows, classes]``.

        Raises:
            Refused: if the client has asked about too many records.
        """
        records = digests(data)
        if self.limit is not None:
            self.limit.charge(client, records)
        ask: Callable[[Any], Any] = getattr(self.model, "predict_proba", self.model)
        found = np.asarray(ask(data), np.float64)
        found = np.column_stack([1 - found, found]) if found.ndim == 1 else found
        if self.watch is not None:
            self.watch.see(client, found)
        for defence in self.defences:
            found = defence.apply(found, records)
        return found

    def predict(self, data: Any, *, client: str = "") -> NDArray[Any]:
        """The class that is highest after all defences."""
        found = np.asarray(self.predict_proba(data, client=client).argmax(axis=1))
        return found if self.classes_ is None else np.asarray(self.classes_)[found]


def digests(data: Any) -> list[bytes]:
    """A digest of every record: equal records have equal ones, in whatever table they come."""
    if isinstance(data, pa.Table):
        columns = [column.to_numpy(zero_copy_only=False) for column in data.columns]
    elif hasattr(data, "columns"):
        columns = [np.asarray(data[name]) for name in data.columns]
    else:
        matrix = np.asarray(data.detach().cpu().numpy() if hasattr(data, "detach") else data)
        matrix = matrix.reshape(len(matrix), -1)
        if matrix.dtype.kind in "biuf":
            rows = np.ascontiguousarray(matrix.astype(np.float64) + 0.0)
            return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        columns = list(matrix.T)
    return [hashlib.blake2b("\x1f".join(map(str, row)).encode(), digest_size=16).digest() for row in zip(*columns, strict=True)]
