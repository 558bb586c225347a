"""Attack × defence × utility: what each defence costs and what it stops, measured on one's own records by attackers who know of it.

Whoever attacks a defended model trains shadows the same way and puts the same defence in front of them; and tries a second attack that was made to
get round it: asking about slightly changed copies of each record and averaging, which undoes noise on answers and reads confidence out of bare
labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.extraction import Thief, attack_extraction
from tacit.attacks.fusion import fit_fusion, fusion_features
from tacit.attacks.judging import AttackResult, evaluate
from tacit.attacks.perceptrons import NetworkRecipe, Networks, train_networks
from tacit.attacks.shadows import paired_membership
from tacit.attacks.signals import Labels
from tacit.errors import UsageError
from tacit.guarantee import Budget
from tacit.models import AnswerNoise, Defence, Defended, Rounding, TopOnly
from tacit.models.base import probabilities

SHADOWS = 6
_LEAST, _MOST = 400, 8_000
_COPIES, _WIDTH = 8, 0.25
_TEACHERS = 8
_RECIPE = NetworkRecipe((128,), epochs=60)

Matrix = NDArray[np.float32]
Labelled = tuple[Matrix, NDArray[np.int64]]
Ask = Callable[[Any], NDArray[np.float64]]
_Answers = tuple[str, Callable[[], Defence]]


@dataclass(frozen=True)
class DefenceRow:
    """What one defence costs and stops.

    Args:
        name: of the defence.
        kind: ``none``, ``answers`` or ``training``.
        accuracy: share of right answers on records that were not trained on.
        membership: the attack that puts the same defence before its shadows.
        around: the attack by slightly changed copies.
        extraction: agreement of a copied model, less what is reached without asking.
        note: what a reader must know.
    """

    name: str
    kind: str
    accuracy: float
    membership: AttackResult
    around: AttackResult
    extraction: float
    note: str = ""

    @property
    def worst(self) -> AttackResult:
        """The attack that recognised more."""
        return max((self.membership, self.around), key=lambda result: result.at(0.01).tpr)

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {**asdict(self), "membership": self.membership.to_dict(), "around": self.around.to_dict()}


@dataclass(frozen=True)
class DefenceTable:
    """All defences on one set of records. Owner-side: not private."""

    rows: tuple[DefenceRow, ...]
    records: int

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {"format": "tacit.defences@1", "released": False, "records": self.records, "rows": [row.to_dict() for row in self.rows]}


@dataclass(frozen=True)
class _Training:
    """A way to train: ``models`` gives one function from records to probabilities per column of members."""

    name: str
    models: Callable[[NDArray[np.bool_]], list[Ask]]
    note: str = ""


@dataclass
class _Bench:
    pool: Labelled
    spare: Labelled
    test: Labelled
    classes: int
    rng: np.random.Generator

    def trainings(self, epsilons: Sequence[float]) -> list[_Training]:
        """Without defence, regularised, distilled, and private."""
        few = max(2, _RECIPE.epochs // 12)
        return [
            _Training("none", self._networks(_RECIPE)), _Training("weight decay", self._networks(replace(_RECIPE, decay=2.0))),
            _Training("label smoothing", self._networks(replace(_RECIPE, smoothing=0.3))),
            _Training("early stopping", self._networks(replace(_RECIPE, epochs=few)), f"{few} of {_RECIPE.epochs} passes"),
            _Training("votes of an ensemble, distilled", self._distilled, f"{_TEACHERS} teachers on parts of the records; a student of votes"),
            *(_Training(f"DP training, ε = {epsilon:g}", self._private(epsilon), "boosted trees, δ = 1e-5") for epsilon in epsilons),
        ]

    def _networks(self, recipe: NetworkRecipe) -> Callable[[NDArray[np.bool_]], list[Ask]]:
        def models(masks: NDArray[np.bool_]) -> list[Ask]:
            found = train_networks(*self.pool, members=masks, classes=self.classes, recipe=recipe, rng=self.rng)
            return [_asked(found, place) for place in range(masks.shape[1])]

        return models

    def _distilled(self, masks: NDArray[np.bool_]) -> list[Ask]:
        X, y = self.pool
        students = []
        for mask in masks.T:
            part = self.rng.integers(0, _TEACHERS, len(y))
            teachers = mask[:, None] & (part[:, None] == np.arange(_TEACHERS))
            votes = train_networks(X, y, members=teachers, classes=self.classes, recipe=_RECIPE, rng=self.rng).logits(self.spare[0]).argmax(axis=2)
            winners = np.array([np.bincount(column, minlength=self.classes).argmax() for column in votes.T])
            everybody = np.ones((len(winners), 1), bool)
            student = train_networks(self.spare[0], winners, members=everybody, classes=self.classes, recipe=_RECIPE, rng=self.rng)
            students.append(_asked(student, 0))
        return students

    def _private(self, epsilon: float) -> Callable[[NDArray[np.bool_]], list[Ask]]:
        def models(masks: NDArray[np.bool_]) -> list[Ask]:
            from tacit.learn import BoostedTreesClassifier

            X, y = self.pool
            fits = (BoostedTreesClassifier(Budget(epsilon, 1e-5), classes=list(range(self.classes))).fit(X[mask], y[mask]) for mask in masks.T)
            return [fit.predict_proba for fit in fits]

        return models

    def row(self, training: _Training, models: list[Ask], masks: NDArray[np.bool_], *, defence: _Answers | None) -> DefenceRow:
        """One line of the table: the last model is the target, the others are shadows, behind the same defence with secrets of their own."""
        served: list[Any] = [model if defence is None else Defended(model, (defence[1](),)).predict_proba for model in models]
        target, (X, y) = served[-1], self.test
        half = len(y) // 2
        stolen = attack_extraction(target, X[:half], X[half:], thief=Thief(queries=min(500, half), recipe=NetworkRecipe((64,), epochs=30)))
        name = training.name if defence is None else defence[0]
        kind = "answers" if defence is not None else "none" if training.name == "none" else "training"
        direct, around = (self._membership(served, masks, copies=copies) for copies in (0, _COPIES))
        accuracy = float((np.asarray(target(X)).argmax(axis=1) == y).mean())
        return DefenceRow(name, kind, accuracy, direct, around, stolen.figure - stolen.control, training.note if defence is None else "")

    def _membership(self, served: list[Any], masks: NDArray[np.bool_], *, copies: int) -> AttackResult:
        X, y = self.pool
        near = [X + _WIDTH * self.rng.standard_normal(X.shape).astype(np.float32) for _ in range(copies)]
        answers = [np.mean([np.asarray(model(rows)) for rows in near or [X]], axis=0) for model in served]
        labels = Labels.of(y, answers[-1], tuple(range(self.classes)))
        signals = np.stack([next(iter(labels.confidence(part).values())) for part in answers], axis=1)
        shadows, membership = signals[:, :-1], masks[:, :-1]
        fusion = fit_fusion(shadows, membership, rng=self.rng)
        name = "by changed copies" if copies else "membership"
        return evaluate(name, fusion.score(fusion_features(signals[:, -1], shadows, membership)), masks[:, -1], shadows=shadows.shape[1])


def _asked(networks: Networks, place: int) -> Ask:
    one = networks.only(place)

    def ask(rows: Any) -> NDArray[np.float64]:
        return probabilities(one.logits(np.asarray(rows, np.float32))[0].astype(np.float64))

    return ask


def compare_defences(X: Matrix, y: NDArray[np.int64], *, epsilons: Sequence[float] = (8.0, 1.0), seed: int = 0) -> DefenceTable:
    """Train, defend and attack models of some records; a minute or two.

    Args:
        X: records as numbers, float32 ``[records, features]``, scaled (see `tacit.attacks.tables.numeric`); at most 8,000 are used.
        y: class numbers from 0, ``[records]``.
        epsilons: of private training, at δ = 1e-5.
        seed: of splits and attacks.

    Raises:
        UsageError: for fewer than 400 records, or labels that are no class numbers.
    """
    y = np.asarray(y)
    if len(X) < _LEAST or len(X) != len(y):
        raise UsageError(f"Expected at least {_LEAST} records with a label each; got {len(X)} and {len(y)}.")
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() > 99 or y.max() < 1:
        raise UsageError("Expected class numbers from 0, of 2 to 100 classes.")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))[:_MOST]
    cut = len(order) * 3 // 5
    parts = [(np.asarray(X[rows], np.float32), y[rows].astype(np.int64)) for rows in (order[:cut], *np.array_split(order[cut:], 2))]
    bench = _Bench(parts[0], parts[1], parts[2], int(y.max()) + 1, rng)
    masks = np.column_stack([paired_membership(cut, SHADOWS, rng=rng), rng.random(cut) < 0.5])
    rows = []
    with warnings.catch_warnings(action="ignore"):
        for training in bench.trainings(epsilons):
            models = training.models(masks)
            rows.append(bench.row(training, models, masks, defence=None))
            if training.name == "none":
                rows += [bench.row(training, models, masks, defence=defence) for defence in _ANSWERS]
    return DefenceTable(tuple(rows), len(order))


_ANSWERS: tuple[_Answers, ...] = (
    ("rounding to 2 decimals", lambda: Rounding(2)), ("rounding to 1 decimal", lambda: Rounding(1)), ("highest answer only", lambda: TopOnly(1)),
    ("labels only", lambda: TopOnly(labels=True)), ("memoised noise", lambda: AnswerNoise(1.0)),
    ("memoised noise, strong", lambda: AnswerNoise(3.0)),
)
