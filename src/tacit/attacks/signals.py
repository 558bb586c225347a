"""What answers mean: in which readings they can be taken, what an attacker of some access sees of them, and how sure they are of a record's label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from tacit.errors import DataError, UsageError

_ROWS = 65_536
_MOST_CLASSES = 50
_MOST_DECIMALS = 4

Answers = NDArray[Any]


def seen(answers: Answers, *, access: str, top: int) -> Answers:
    """What is left of answers for an attacker: all of them, only the highest (``top-k``), or only which is highest (``label``)."""
    if access == "label":
        return _hardened(answers)
    return _highest(answers, top) if access == "top-k" and answers.ndim == 2 else answers


def _hardened(answers: Answers) -> Answers:
    if answers.ndim == 2:
        return np.asarray(np.eye(answers.shape[1], dtype=np.float32)[answers.argmax(axis=1)])
    if answers.dtype.kind == "f" and not np.array_equal(answers, np.rint(answers)):
        inside = answers.min(initial=0) >= 0 and answers.max(initial=1) <= 1
        return (answers > (0.5 if inside else 0.0)).astype(np.float32)
    return answers


def _highest(answers: Answers, top: int) -> Answers:
    """All but the highest answers taken away: 0 among probabilities, far below the lowest of the highest among logits."""
    if top < 1:
        raise UsageError(f"Expected at least the highest answer; got top={top}.")
    if top >= answers.shape[1]:
        return answers
    bar = np.partition(answers, -top, axis=1)[:, [-top]]
    return np.where(answers >= bar, answers, 0.0 if "probabilities" in readings(answers) else bar - 10.0)


def decimals(answers: Answers) -> int | None:
    """To how many decimals answers were rounded, at most four; ``None`` if they were not.

    >>> decimals(np.array([0.25, 0.5])), decimals(np.array([0.3333333]))
    (2, None)
    """
    if answers.dtype.kind != "f" or not answers.size:
        return None
    part = np.asarray(answers[: _ROWS // 16], np.float64)
    return next((d for d in range(_MOST_DECIMALS + 1) if np.abs(part * 10**d - np.rint(part * 10**d)).max() < 1e-4), None)


def readings(answers: Answers) -> tuple[str, ...]:
    """What answers may mean, likeliest first: an attack that takes logits for probabilities finds nothing, so all of them are tried.

    >>> readings(np.array([[0.2, 0.8], [1.0, 0.0]]))
    ('probabilities',)
    >>> readings(np.array([[2.0, -8.0], [1.0, 0.3]]))
    ('logits',)
    >>> readings(np.array([0.2, 0.9]))
    ('probability', 'margin')
    """
    if answers.dtype.kind not in "biuf":
        return ("labels",)
    if answers.ndim == 2:
        return _matrix_readings(answers)
    if answers.dtype.kind in "biu":
        return ("labels",)
    inside = bool(np.nanmin(answers, initial=0) >= 0 and np.nanmax(answers, initial=0) <= 1)
    return ("probability", "margin") if inside else ("margin",)


def _matrix_readings(answers: Answers) -> tuple[str, ...]:
    if answers.min(initial=0) < 0 or answers.max(initial=0) > 1 + 1e-3:
        return ("logits",)
    sums = answers.sum(axis=1)
    if bool((np.abs(sums - 1) < 0.02).all()):
        return ("probabilities",)
    # Between 0 and 1 but not adding up: one sigmoid per class, what is left of the highest answers, or small logits.
    return ("probabilities", "logits") if sums.max(initial=0) <= 1.02 else ("sigmoids", "logits")


def own_label(answers: Answers, codes: NDArray[np.int64], reading: str) -> NDArray[np.float64]:
    """The log odds that a target gives to the records' own labels, or how near it comes to their numbers: float64 ``[records]``.

    The odds are taken against the other answers and not as p/(1-p), so that a probability that was rounded to 1 still says how sure the model is.

    Args:
        answers: as the target gave them.
        codes: place of each record's label among the answers.
        reading: one of `readings`.
    """
    if reading in ("probability", "margin"):
        signs = np.where(codes > 0, 1.0, -1.0)
        values = np.asarray(answers, np.float64)
        return signs * (log_odds(values) if reading == "probability" else values)
    found = np.empty(len(answers))
    for start in range(0, len(answers), _ROWS):
        rows = slice(start, start + _ROWS)
        found[rows] = _own_of_many(np.array(answers[rows], np.float64), codes[rows], reading)
    return found


def _own_of_many(values: NDArray[np.float64], codes: NDArray[np.int64], reading: str) -> NDArray[np.float64]:
    own = np.take_along_axis(values, codes[:, None], axis=1)[:, 0]
    if reading == "sigmoids":
        return log_odds(own)
    if reading == "probabilities":
        np.put_along_axis(values, codes[:, None], 0.0, axis=1)
        return np.asarray(np.log(np.maximum(own, 1e-12)) - np.log(np.maximum(values.sum(axis=1), 1e-12)))
    np.put_along_axis(values, codes[:, None], -np.inf, axis=1)
    top = values.max(axis=1)
    return np.asarray(own - top - np.log(np.exp(values - top[:, None]).sum(axis=1)))


def modified_entropy(answers: Answers, codes: NDArray[np.int64], reading: str) -> NDArray[np.float64]:
    """Certainty with regard to the record's own label, larger for «sure and right» (Song & Mittal 2021, section 4.1): float64 ``[records]``."""
    values = np.asarray(answers, np.float64)
    if reading == "logits":
        values = softmax(values, axis=1)
    p = np.clip(values, 1e-12, 1 - 1e-12)
    own = np.take_along_axis(p, codes[:, None], axis=1)[:, 0]
    rest = (p * np.log1p(-p)).sum(axis=1) - own * np.log1p(-own)
    return np.asarray((1 - own) * np.log(own) + rest)


def log_odds(probabilities: Any) -> NDArray[np.float64]:
    """Margins from probabilities of the second class, safe where they saturate: float64 ``[records]``."""
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


@dataclass(frozen=True, eq=False)
class Labels:
    """What the records' own labels are to the target.

    Args:
        kind: ``classes``, ``number`` or ``none``.
        values: class numbers int64, numbers float64, or nothing.
        count: number of classes.
        names: of the classes, in order.
        readings: of the target's answers.
        rounded: decimals of the target's answers, which an attacker repeats on shadows; ``None`` if they are not rounded.
    """

    kind: str
    values: NDArray[Any]
    count: int
    names: tuple[Any, ...]
    readings: tuple[str, ...]
    rounded: int | None

    @classmethod
    def of(cls, y: NDArray[Any] | None, answers: Answers, classes: tuple[Any, ...] | None, *, positive: str | None = None) -> Labels:
        """From labels, the target's answers, the classes it names, and the label that it tells from all others, where it does.

        Raises:
            DataError: if labels do not fit the answers.
        """
        rounded = decimals(answers)
        if y is None:
            if answers.ndim != 1:
                raise DataError(f"Expected labels for a target that answers with {answers.shape[1]} values per record.")
            return cls("none", np.zeros(len(answers)), 0, (), ("score", "score, reversed"), rounded)
        numbers = y.dtype.kind == "f" and not np.array_equal(y, np.rint(y))
        if classes is None and answers.ndim == 1 and answers.dtype.kind in "biuf" and (numbers or len(np.unique(y)) > _MOST_CLASSES):
            return cls("number", np.asarray(y, np.float64), 0, (), ("number",), rounded)
        if positive is not None and classes is not None:
            hits = np.array([label_text(value) == positive for value in y.tolist()], np.int64)
            return cls("classes", hits, 2, classes, readings(answers), rounded)
        names = _class_names(y, answers, classes)
        places = {label_text(name): place for place, name in enumerate(names)}
        found, inverse = np.unique(y, return_inverse=True)
        unknown = [value for value in found.tolist() if label_text(value) not in places]
        if unknown:
            raise DataError(f"Expected labels among the target's {len(names)} classes; {len(unknown)} of the labels are not among them.")
        codes = np.array([places[label_text(value)] for value in found.tolist()], np.int64)[inverse]
        return cls("classes", codes, len(names), names, readings(answers), rounded)

    def confidence(self, answers: Answers, *, shadow: bool = False) -> dict[str, NDArray[np.float64]]:
        """How sure answers are of the records' own labels, in every reading of the target: float64 ``[records]`` each.

        Args:
            answers: of the target, or of a shadow that may answer in another form.
            shadow: whether they are a shadow's, so that the target's rounding is repeated on probabilities.
        """
        if self.kind == "none":
            return {"score": np.asarray(answers, np.float64), "score, reversed": -np.asarray(answers, np.float64)}
        if self.kind == "number":
            return {"number": -np.log(np.abs(np.asarray(answers, np.float64) - self.values) / _scale(self.values) + 1e-3)}
        own = readings(answers)
        if shadow and self.rounded is not None and own[0] in ("probabilities", "probability", "sigmoids"):
            answers = np.round(answers, self.rounded)
        return {name: self._one(answers, name if name in own else own[0]) for name in self.readings}

    def _one(self, answers: Answers, reading: str) -> NDArray[np.float64]:
        if reading == "labels":
            names = np.array([label_text(name) for name in self.names], dtype=object)[self.values]
            given = np.array([label_text(value) for value in np.asarray(answers).tolist()], dtype=object)
            return np.asarray(given == names, np.float64)
        return own_label(answers, self.values, reading)

    def correct(self, answers: Answers) -> NDArray[np.bool_] | None:
        """Which records are answered correctly; ``None`` unless there are classes."""
        return None if self.kind != "classes" else next(iter(self.confidence(answers).values())) > 0


def _scale(values: NDArray[np.float64]) -> float:
    return float(values.std()) or 1.0


def label_text(value: Any) -> str:
    """One form for labels that are equal in meaning: 1, 1.0, True and «1»."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _class_names(y: NDArray[Any], answers: Answers, classes: tuple[Any, ...] | None) -> tuple[Any, ...]:
    width = answers.shape[1] if answers.ndim == 2 else 2
    if classes is not None and len(classes) >= width:
        return classes
    found = np.unique(y)
    if answers.ndim == 1 and answers.dtype.kind not in "f":
        return tuple(sorted({label_text(value) for value in (*found.tolist(), *np.unique(answers).tolist())}))
    whole = y.dtype.kind in "biu" or (y.dtype.kind == "f" and np.array_equal(y, np.rint(y)))
    if whole and len(found) <= width and found.min() >= 0 and found.max() < width:
        return tuple(range(width))
    if len(found) != width:
        raise DataError(f"Expected labels of {width} classes, as the target answers; got {len(found)}. Pass labels from 0 to {width - 1}.")
    return tuple(found.tolist())
