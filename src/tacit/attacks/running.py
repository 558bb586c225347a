"""One call: any model, records it learned from and records it did not, and what an attacker learns from the difference."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.attribute import attack_attribute
from tacit.attacks.controls import ControlResult, alike_control, found_control, planted_control, records_control, split_control
from tacit.attacks.extraction import Thief, attack_extraction
from tacit.attacks.fusion import LEAST_SHADOWS, Fusion, fit_fusion, fusion_features
from tacit.attacks.judging import CHANCE, RateAt, Scores, evaluate, exact_interval, tail_p_value
from tacit.attacks.membership import SHADOWED, Moments, relative
from tacit.attacks.outcome import Outcome
from tacit.attacks.report import AttackReport, Described, GroupRisk
from tacit.attacks.sample import LEAST, Trials
from tacit.attacks.shadowing import Shadowing, Shadows
from tacit.attacks.signals import Answers, Labels, label_text, modified_entropy, seen
from tacit.attacks.structure import attack_structure
from tacit.attacks.tables import numeric, take
from tacit.attacks.targets import Target, as_target
from tacit.attacks.trainers import AdditiveTrainer, CloneTrainer, FunctionTrainer, ShadowData, Trainer, auto_trainer
from tacit.errors import UsageError
from tacit.guarantee import Guarantee

_CONTROL_ROWS = 4_000
_PLANTED_ROWS = 1_500
_QUERIES = 1_000
_COPIES, _WIDTHS, _FLIPS, _MOST_COPIED, _SMOOTH = 8, (0.06, 0.4), 0.05, 30_000, 0.1
_MOST_GROUPS = 60
_TURNS = 8
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0}
FUSION, RELATIVE, ALONE = "learned fusion", "relative confidence", "confidence alone"
ALSO = ("extraction", "structure")


@dataclass(frozen=True)
class AttackSettings:
    """What is rarely changed.

    Args:
        shadows: how many; as many as the budget allows if ``None``.
        top: how many answers an attacker with access ``top-k`` sees.
        cache: folder that keeps what shadows said, so that a second attack on the same records is fast. Owner-side.
        controls: whether the controls run; without them nothing is «not tested», and nothing is certain.
        also: other attacks on the same model and records: ``extraction``, ``structure``.
        sensitive: a column that the attacker does not know and tries to infer, by name or place.
        seed: of everything random in the attack; protects nothing.
    """

    shadows: int | None = None
    top: int = 3
    cache: Path | None = None
    controls: bool = True
    also: tuple[str, ...] = ()
    sensitive: str | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if set(self.also) - set(ALSO):
            raise UsageError(f"Expected other attacks among {', '.join(ALSO)}; got {', '.join(self.also)}.")


def attack(
    target: Any, members: Any, nonmembers: Any, *, trainer: Any = "auto", access: str = "logits", budget: str | float = "30s",
    claim: Guarantee | None = None, settings: AttackSettings | None = None,
) -> AttackReport:
    """Attack a model by membership inference, with the controls that tell whether the result means anything.

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(800, 5)), rng.integers(0, 2, 800)
    >>> forest = RandomForestClassifier(10, random_state=0).fit(X[:400], y[:400])
    >>> attack(forest, (X[:400], y[:400]), (X[400:], y[400:]), budget="1s").verdict
    'leak found'

    Args:
        target: see `as_target`.
        members: records that the target learned from: ``X``, ``(X, y)``, ``(X, y, unit)`` or a `Sample`.
        nonmembers: records of the same kind that it did not learn from, likewise.
        trainer: how shadows are trained: ``"auto"``, an estimator, a function ``(X, y) -> model`` that repeats the target's own training, or a
            `Trainer`.
        access: what the attacker sees: ``label``, ``top-k``, ``probabilities``, ``logits``, ``gradients`` or ``weights``.
        budget: time for shadows, such as ``"30s"`` or ``"5m"``; ``"0s"`` tries what needs none.
        claim: what the target promises; taken from a Tacit model itself.
        settings: what is rarely changed.

    Returns:
        The report. It was measured on records and is not private.

    Raises:
        UsageError: for a wrong parameter, or too few records.
        DataError: if the records or the target's answers cannot be used.
    """
    chosen, seconds = settings or AttackSettings(), seconds_of(budget)
    asked = as_target(target, access=access)
    trials = Trials.of(members, nonmembers)
    answers = asked.answers(trials.X, access=access, top=chosen.top)
    labels = asked.labels(trials.y, answers)
    run = _Run(asked, trials, labels, answers, access, chosen)
    return run.report(_given(trainer, access), seconds, claim or asked.guarantee)


def seconds_of(budget: str | float) -> float:
    """Seconds in a budget.

    >>> seconds_of("2m"), seconds_of(5)
    (120.0, 5.0)
    """
    if isinstance(budget, (int, float)) and not isinstance(budget, bool) and 0 <= budget < 1e7:
        return float(budget)
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)", str(budget))
    if parts is None:
        raise UsageError(f"Expected a budget of time such as 30s, 5m or 1h; got {budget!r}.")
    return float(parts[1]) * _UNITS[parts[2]]


def _given(trainer: Any, access: str) -> Trainer | None:
    """The trainer that was passed; ``None`` for ``"auto"``."""
    if isinstance(trainer, str) and trainer == "auto":
        return None
    if hasattr(trainer, "answers"):
        found: Trainer = trainer
        return found
    if hasattr(trainer, "fit") and hasattr(trainer, "get_params"):
        return CloneTrainer(trainer, access)
    if callable(trainer):
        return FunctionTrainer(trainer, access)
    raise UsageError(f"Expected trainer to be 'auto', an estimator, or a function (X, y) -> model; got {type(trainer).__name__}.")


@dataclass
class _Run:
    """One attack on one target."""

    target: Target
    trials: Trials
    labels: Labels
    answers: Answers
    access: str
    settings: AttackSettings
    copies: Any = None

    def report(self, trainer: Trainer | None, seconds: float, claim: Guarantee | None) -> AttackReport:
        """Everything."""
        started, trials, seed = time.perf_counter(), self.trials, self.settings.seed
        trainer, shadows = self._shadows(trainer, seconds)
        scores, alike = self._alone() if shadows is None else self._shadowed(shadows)
        count = 0 if shadows is None else shadows.count
        results = tuple(evaluate(name, values, trials.is_member, shadows=count, guarantee=claim, seed=seed) for name, values in scores.items())
        first = next(iter(scores.values()))
        controls = self._controls(first, alike, max(4, count)) if self.settings.controls else ()
        described, outcomes = self._described(trainer, shadows), self._others()
        took = time.perf_counter() - started
        return AttackReport(described, results, controls, self._groups(first), first, trials.is_member, claim, took, outcomes)

    # ------------------------------------------------------------------------------------------------------------------ shadows

    def _shadows(self, trainer: Trainer | None, seconds: float) -> tuple[Trainer | None, Shadows | None]:
        if seconds == 0 and self.settings.shadows is None:
            return None, None
        trials, labels, correct = self.trials, self.labels, self.labels.correct(self.answers)
        fit = None if correct is None else float(correct[trials.member_rows].mean())
        y = None if labels.kind == "none" else trials.y
        data = ShadowData(trials.X, y, labels.values if labels.kind == "classes" else None, labels.count, fit, self.settings.seed)
        trainer = trainer or auto_trainer(self.target, data, access=self.access)
        if self.access == "label" and not isinstance(trainer, AdditiveTrainer):
            self._look_around()
            data = replace(data, copies=self.copies)
        parts = (self.access, self.settings.top, self.labels.readings, self.labels.rounded, self.labels.names, self.copies is not None)
        shadowing = Shadowing(trainer, data, self._shadow_confidence, trials.owner, self.settings.cache, repr(parts))
        return trainer, shadowing.within(seconds, count=self.settings.shadows)

    def _look_around(self) -> None:
        """Bare labels still say how sure a model is: by how often they stay the same on slightly changed copies (Choquette-Choo et al. 2021)."""
        X = self.trials.X
        if self.labels.kind == "classes" and isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f" and len(X) <= _MOST_COPIED:
            self.copies = changed(X, _COPIES, np.random.default_rng([self.settings.seed, 15]))
            more = self.target.answers(self.copies, access=self.access, top=self.settings.top)
            self.answers = self._averaged(np.concatenate([self.answers, more]))
            self.labels = replace(self.labels, readings=("probabilities",), rounded=None)

    def _averaged(self, answers: Answers) -> Answers:
        """Labels of a record and its copies as shares ``[records, classes]``."""
        if answers.ndim == 1:
            places = {label_text(name): place for place, name in enumerate(self.labels.names)}
            answers = np.eye(len(self.labels.names), dtype=np.float32)[[places.get(label_text(value), 0) for value in answers.tolist()]]
        blocks = answers.reshape(-1, len(self.trials.X), answers.shape[1])
        return np.asarray((blocks.sum(axis=0) + _SMOOTH) / (len(blocks) + _SMOOTH * answers.shape[1]))

    def _shadow_confidence(self, answers: Answers) -> dict[str, Scores]:
        found = seen(np.asarray(answers), access=self.access, top=self.settings.top)
        found = found if self.copies is None else self._averaged(found)
        return {name: self.trials.per_unit(values) for name, values in self.labels.confidence(found, shadow=True).items()}

    def _confidences(self) -> dict[str, Scores]:
        return {name: self.trials.per_unit(values) for name, values in self.labels.confidence(self.answers).items()}

    # ------------------------------------------------------------------------------------------------------------------- scores

    def _alone(self) -> tuple[dict[str, Scores], Scores | None]:
        """What needs no shadows."""
        found = {f"{ALONE}, as {name}" if len(self.labels.readings) > 1 else ALONE: values for name, values in self._confidences().items()}
        if self.labels.kind == "classes" and self.trials.owner is None:
            reading = self.labels.readings[0]
            if self.answers.ndim == 2 and reading in ("probabilities", "logits"):
                found["entropy"] = modified_entropy(self.answers, self.labels.values, reading)
            found["confidence within its class"] = _within(next(iter(found.values())), self.labels.values)
            correct = self.labels.correct(self.answers)
            if correct is not None:
                found["correct or not"] = correct.astype(np.float64)
        return found, None

    def _shadowed(self, shadows: Shadows) -> tuple[dict[str, Scores], Scores | None]:
        """All attacks, the learned one first where there are enough shadows; and what the first says of models without the members."""
        reading = shadows.best_reading
        target, others = self._confidences()[reading], shadows.confidences[reading]
        moments, scores = Moments.of(others, shadows.membership), {}
        fusion: Fusion | None = None
        if shadows.count >= LEAST_SHADOWS:
            fusion = fit_fusion(others, shadows.membership, rng=np.random.default_rng([self.settings.seed, 5]))
            scores[FUSION] = fusion.score(fusion_features(target, others, shadows.membership))
        else:  # two shadows tell what is usual for a record, and little of how that varies
            scores[RELATIVE] = relative(target, others)
        names = [name for name in reversed(SHADOWED) if name != "likelihood ratio, per record" or shadows.count >= 8]
        scores |= {name: SHADOWED[name](target, moments) for name in names}
        if fusion is not None:
            scores[RELATIVE] = relative(target, others)
        scores[ALONE] = target
        return scores, self._alike(fusion, others, shadows)

    def _alike(self, fusion: Fusion | None, others: NDArray[np.float32], shadows: Shadows) -> Scores:
        """The first attack on shadows, mean over them: they had half of the members and half of the others."""
        total, turns = np.zeros(len(others)), min(shadows.count, _TURNS)
        for turn in range(turns):
            rest = [place for place in range(shadows.count) if place // 2 != turn // 2] or [turn ^ 1]
            one, kept, membership = np.asarray(others[:, turn], np.float64), others[:, rest], shadows.membership[:, rest]
            total += relative(one, kept) if fusion is None else fusion.score(fusion_features(one, kept, membership))
        return total / turns

    # ----------------------------------------------------------------------------------------------------------------- controls

    def _controls(self, scores: Scores, alike: Scores | None, shadows: int) -> tuple[ControlResult, ...]:
        trials, seed = self.trials, self.settings.seed
        matrix, inside = self._some_records()
        found = [split_control(scores, trials.is_member, seed=seed), records_control(matrix, inside, seed=seed)]
        if alike is not None:
            found.append(alike_control(alike, trials.is_member, seed=seed))
        rng = np.random.default_rng([seed, 7])
        rows = matrix[rng.permutation(len(matrix))[:_PLANTED_ROWS]].astype(np.float64)
        found.append(found_control(planted_control(np.hstack([rows, rng.random((len(rows), 3))]), shadows=shadows - shadows % 2, rng=rng)))
        return tuple(found)

    def _some_records(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A few thousand records as numbers with their labels, one per unit, and which are members."""
        trials, rng = self.trials, np.random.default_rng([self.settings.seed, 9])
        firsts = np.arange(len(trials.is_member)) if trials.owner is None else np.unique(trials.owner, return_index=True)[1]
        places = np.sort(rng.permutation(firsts)[:_CONTROL_ROWS])
        matrix = numeric(take(trials.X, places))
        if self.labels.kind != "none":
            matrix = np.hstack([matrix, np.asarray(self.labels.values, np.float32)[places, None]])
        return matrix, trials.member_rows[places]

    # ------------------------------------------------------------------------------------------------------------- other attacks

    def _others(self) -> tuple[Outcome, ...]:
        """Those that were asked for."""
        found: list[Outcome] = []
        if "structure" in self.settings.also:
            found.append(attack_structure(self.target.model))
        if "extraction" in self.settings.also:
            if self.labels.kind != "classes":
                raise UsageError("Expected a target of classes for extraction.")
            outside = np.flatnonzero(~self.trials.member_rows)
            own, test = np.array_split(np.random.default_rng([self.settings.seed, 13]).permutation(outside), 2)
            thief = Thief(queries=min(_QUERIES, max(20, len(own))), seed=self.settings.seed)
            sides = take(self.trials.X, own), take(self.trials.X, test)
            found.append(attack_extraction(self.target, *sides, thief=thief, access=self.access))
        if self.settings.sensitive is not None:
            inside = self.trials.member_rows
            both = [(take(self.trials.X, np.flatnonzero(side)), np.asarray(self.trials.y)[side]) for side in (inside, ~inside)]
            told = attack_attribute(self.target, both[0], both[1], sensitive=self.settings.sensitive, access=self.access, seed=self.settings.seed)
            found += [told.members, told.memorised]
        return tuple(found)

    # ------------------------------------------------------------------------------------------------------------------- groups

    def _groups(self, scores: Scores) -> tuple[GroupRisk, ...]:
        trials, groupings = self.trials, dict(self.trials.groups)
        if self.labels.kind == "classes" and trials.owner is None and self.labels.count <= _MOST_GROUPS:
            groupings["class"] = np.array([str(name) for name in self.labels.names], dtype=object)[self.labels.values]
        others = np.sort(scores[~trials.is_member])[::-1]
        threshold, found = float(others[min(len(others) - 1, int(0.01 * len(others)))]), []
        for grouping, values in groupings.items():
            texts = np.asarray(values).astype(str)
            for value in np.unique(texts)[:_MOST_GROUPS]:
                mine = texts == value
                if min((mine & trials.is_member).sum(), (mine & ~trials.is_member).sum()) >= LEAST:
                    found.append(_group(grouping, str(value), scores[mine], trials.is_member[mine], threshold=threshold))
        return tuple(_marked(found))

    def _described(self, trainer: Trainer | None, shadows: Shadows | None) -> Described:
        correct, inside = self.labels.correct(self.answers), self.trials.member_rows
        shares = None if correct is None else (float(correct[inside].mean()), float(correct[~inside].mean()))
        values = next(iter(self.labels.confidence(self.answers).values()))
        reading = self.labels.readings[0] if shadows is None else shadows.best_reading
        return Described(
            self.target.name, self.target.kind, self.access, self.labels.readings, reading, _saturation(values), shares,
            0 if shadows is None else shadows.count, "no shadows" if trainer is None else trainer.name, "" if trainer is None else trainer.assumption,
            0.0 if shadows is None else shadows.seconds, 0 if shadows is None else shadows.cached,
        )


def changed(X: NDArray[np.floating], copies: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Copies of all records with noise on numbers, from little to much of their spread, and a few flips of bits: ``[copies · records, features]``."""
    bits = np.array([len(np.unique(column[:1_000])) <= 2 for column in X.T])
    low, high, spread, found = X.min(axis=0), X.max(axis=0), X.std(axis=0), []
    for width in np.geomspace(*_WIDTHS, copies):
        noise = X + width * spread * rng.standard_normal(X.shape)
        found.append(np.where(bits, np.where(rng.random(X.shape) < _FLIPS, low + high - X, X), noise).astype(X.dtype))
    return np.concatenate(found)


def _group(grouping: str, value: str, scores: Scores, is_member: NDArray[np.bool_], *, threshold: float) -> tuple[GroupRisk, float]:
    found = evaluate(value, scores, is_member, shadows=0)
    hits, members = int((scores[is_member] > threshold).sum()), int(is_member.sum())
    low, high = exact_interval(hits, members)
    rate = RateAt(0.01, hits / members, low, high, None, resolvable=True)
    return GroupRisk(grouping, value, found.auc, rate, members, found.nonmembers, leaks=False), tail_p_value(scores, is_member)


def _marked(found: list[tuple[GroupRisk, float]]) -> list[GroupRisk]:
    """Groups, with those marked whose members are told from others beyond chance, given how many groups were looked at."""
    return [replace(group, leaks=bool(p * len(found) <= CHANCE)) for group, p in found]


def _within(values: Scores, codes: NDArray[np.int64]) -> Scores:
    """Confidence in deviations from what is usual for records of the same class."""
    count = np.maximum(np.bincount(codes), 1)
    mean = np.bincount(codes, values) / count
    spread = np.sqrt(np.maximum(np.bincount(codes, (values - mean[codes]) ** 2) / count, 1e-12))
    return np.asarray((values - mean[codes]) / spread[codes])


def _saturation(values: Scores) -> float:
    """Share of the confidences that are the highest one, where several are."""
    top = values == values.max()
    return float(top.mean()) if top.sum() > 1 else 0.0
