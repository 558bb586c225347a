"""How shadows of a target are trained: by its own recipe where that can be known, by a stand-in where it cannot; which of the two is always said."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tacit.attacks.perceptrons import NetworkRecipe, Networks, train_networks
from tacit.attacks.shadows import Pool, batched_linear_shadows, batched_shadows
from tacit.attacks.signals import Answers
from tacit.attacks.tables import numeric, rows_of, stack, take
from tacit.attacks.targets import Target, as_target
from tacit.errors import DataError, TacitError, UsageError
from tacit.guarantee import Budget
from tacit.guard import gdp_mu
from tacit.learn.regression import ITERATIONS, Pace, usual_length
from tacit.models import AdditiveModel, AnomalyModel, LinearModel, NetworkModel, Predictor, SequenceModel, SubspaceModel
from tacit.models.base import as_columns
from tacit.questions.linear import DESIGN_UNIT, design

_EPOCHS = (4, 8, 16, 32, 64, 128)
_NEAR = 0.01
_SLOW = 1.5
_LEARNING_SHARE = 0.9
_DEFAULTS = "trained anew with the defaults of its kind, at the budget of its guarantee"
_STAND_IN = "how the target was trained is not known; its shadows are "
_ROWS = 8_192


@dataclass(frozen=True, eq=False)
class ShadowData:
    """What shadows are trained on: all records that are guessed about.

    Args:
        X: the records, as the target takes them.
        y: their labels as the target's trainer takes them; ``None`` where there are none.
        codes: the labels as class numbers; ``None`` unless there are classes.
        classes: how many classes; 0 for none.
        fit: share of correct answers that the target gives to its members; ``None`` if it cannot be told.
        seed: of everything random; protects nothing.
        copies: slightly changed copies of all records, one table after the other, that shadows are asked about as well; ``None`` for none.
    """

    X: Any
    y: NDArray[Any] | None
    codes: NDArray[np.int64] | None
    classes: int
    fit: float | None
    seed: int
    copies: Any = None

    @property
    def asked(self) -> Any:
        """What shadows are asked about: all records, then their copies."""
        return self.X if self.copies is None else stack(self.X, self.copies)

    def part(self, members: NDArray[np.bool_]) -> tuple[Any, NDArray[Any] | None]:
        """Records and labels of some members."""
        places = np.flatnonzero(members)
        return take(self.X, places), None if self.y is None else self.y[places]


class Trainer(Protocol):
    """Trains shadows."""

    @property
    def name(self) -> str:
        """Of the recipe, for people."""

    @property
    def assumption(self) -> str:
        """What is not known about the target's own training and was assumed; empty if nothing."""

    @property
    def key(self) -> str | None:
        """Identifies the recipe among cached shadows; ``None`` if nothing can, so that nothing is cached."""

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """Answers of one shadow after the other to all records.

        Args:
            data: the records.
            members: bool ``[records, shadows]``.
            first: number of the first of these shadows, so that each has a seed of its own.
        """


@dataclass
class FunctionTrainer:
    """Shadows by a function ``(X, y) -> model``; what it returns may be anything that `as_target` takes."""

    train: Callable[[Any, Any], Any]
    access: str = "logits"
    name: str = "the given trainer"
    assumption: str = ""
    label: str | None = None

    @property
    def key(self) -> str | None:
        """Only a name that the caller chose can identify a function."""
        return None if self.label is None else f"function {self.label}"

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """See `Trainer`."""
        for column in members.T:
            X, y = data.part(column)
            yield as_target(_trained(self.train, X, y), access=self.access).answers(data.asked)


@dataclass
class CloneTrainer:
    """Shadows of an estimator with scikit-learn's interface: unfitted copies with other random states, in processes where one takes long.

    Args:
        estimator: fitted or not; left as it is.
        access: what the attacker sees of answers.
        assumption: see `Trainer`.
        names: of the classes, if the estimator is to learn these in place of the labels as they were passed.
        seconds: that one shadow took; measured.
    """

    estimator: Any
    access: str = "logits"
    assumption: str = ""
    names: tuple[Any, ...] = ()
    seconds: float | None = None

    @property
    def name(self) -> str:
        """What is copied."""
        return f"copies of {type(self.estimator).__name__}"

    @property
    def key(self) -> str | None:
        """Class, parameters and the version of the library that has it."""
        import importlib

        library = type(self.estimator).__module__.partition(".")[0]
        version = getattr(importlib.import_module(library), "__version__", "")
        return f"{type(self.estimator).__module__}.{type(self.estimator).__qualname__} {library} {version} {self.estimator.get_params()!r}"

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """See `Trainer`."""
        import time

        if self.names and data.codes is not None:
            data = replace(data, y=np.array(self.names, dtype=object)[data.codes])
        jobs = [(self._fresh(data.seed + first + place), column) for place, column in enumerate(members.T)]
        if self.seconds is not None and self.seconds > _SLOW and len(jobs) > 1:
            from joblib import Parallel, cpu_count, delayed

            run = Parallel(n_jobs=min(len(jobs), cpu_count()), return_as="generator")
            yield from run(delayed(_fitted)(model, data, column, self.access) for model, column in jobs)
            return
        for model, column in jobs:
            before = time.perf_counter()
            found = _fitted(model, data, column, self.access)
            self.seconds = time.perf_counter() - before
            yield found

    def _fresh(self, seed: int) -> Any:
        from sklearn.base import clone

        copied = clone(self.estimator)
        known = copied.get_params()
        changes: dict[str, Any] = {name: seed for name in known if name.rpartition("__")[2] == "random_state"}
        if "ledger" in known:  # the owner's ledger must not pay for shadows, which nobody ever sees
            changes["ledger"] = None
        return copied.set_params(**changes)


def _trained(train: Callable[..., Any], *given: Any) -> Any:
    """What training returns, or `DataError` that says which kind of error there was."""
    try:
        return train(*given)
    except TacitError:
        raise
    except Exception as error:
        raise DataError(
            f"Expected a shadow to be trained on half of the records; {type(error).__name__} was raised. Train on them yourself to see why, or pass "
            "another trainer."
        ) from error


def _fitted(model: Any, data: ShadowData, members: NDArray[np.bool_], access: str) -> Answers:
    X, y = data.part(members)
    with warnings.catch_warnings(action="ignore"):
        _trained(model.fit, X) if y is None else _trained(model.fit, X, y)
    return as_target(model, access=access).answers(data.asked)


@dataclass
class NetworksTrainer:
    """Shadows that are multi-layer perceptrons, all trained in one batched product.

    Args:
        recipe: layers and training; the number of epochs is that of the target, or is found by trying until a shadow fits as well as the target.
        assumption: see `Trainer`.
        search: whether to look for the number of epochs.
        scaled: whether records are brought to mean 0 and spread 1 first.
    """

    recipe: NetworkRecipe = field(default_factory=NetworkRecipe)
    assumption: str = ""
    search: bool = True
    scaled: bool = True
    _inputs: NDArray[np.float32] | None = None

    @property
    def name(self) -> str:
        """Shape and length of training."""
        return f"perceptrons with {' and '.join(map(str, self.recipe.hidden)) or 'no'} hidden units, {self.recipe.epochs} epochs"

    @property
    def key(self) -> str | None:
        """The recipe."""
        return f"{self.recipe!r} search={self.search} scaled={self.scaled}"

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """See `Trainer`."""
        if data.codes is None:
            raise UsageError("Expected classes for shadows that are perceptrons.")
        inputs = self._prepared(data)
        if self.search:
            self.recipe, self.search = _long_enough(self.recipe, inputs[: len(data.codes)], data, members=members[:, :1]), False
        for start in range(0, members.shape[1], 8):
            part = members[:, start : start + 8]
            rng = np.random.default_rng([data.seed, first + start])
            own = inputs[: len(data.codes)]
            networks = train_networks(own, data.codes, members=part, classes=data.classes, recipe=self.recipe, rng=rng)
            for place in range(part.shape[1]):
                yield _logits(networks, place, inputs)

    def _prepared(self, data: ShadowData) -> NDArray[np.float32]:
        if self._inputs is None:
            self._inputs = numeric(data.asked) if self.scaled else np.asarray(data.asked, np.float32).reshape(rows_of(data.asked), -1)
        return self._inputs


def _long_enough(recipe: NetworkRecipe, inputs: NDArray[np.float32], data: ShadowData, *, members: NDArray[np.bool_]) -> NetworkRecipe:
    """The recipe with the fewest epochs after which a shadow answers its members as correctly as the target does."""
    goal = 1.0 if data.fit is None else data.fit
    for epochs in _EPOCHS:
        recipe = replace(recipe, epochs=epochs)
        rng = np.random.default_rng(data.seed)
        codes = np.zeros(len(inputs), np.int64) if data.codes is None else data.codes
        networks = train_networks(inputs, codes, members=members, classes=data.classes, recipe=recipe, rng=rng)
        if (_logits(networks, 0, inputs).argmax(axis=1) == codes)[members[:, 0]].mean() >= goal - _NEAR:
            break
    return recipe


def _logits(networks: Networks, place: int, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    one = networks.only(place)
    return np.concatenate([one.logits(inputs[start : start + _ROWS])[0] for start in range(0, len(inputs), _ROWS)])


@dataclass
class AdditiveTrainer:
    """Shadows of one of Tacit's own models of two classes: its public structure, the values learned anew, all at once.

    Args:
        model: an `AdditiveModel` or a `LinearModel`.
        noise_multiplier: of the target's training; worked out from its guarantee if ``None``.
    """

    model: AdditiveModel | LinearModel
    noise_multiplier: float | None = None
    name: str = "the target's own structure with values learned anew"

    @property
    def assumption(self) -> str:
        """What was worked out."""
        known = self.noise_multiplier is not None or not self.model.guarantee.holds
        return "" if known else "the scale of the noise was worked out from the guarantee; a plan that spent much on other questions had more"

    @property
    def key(self) -> str | None:
        """The model and the noise."""
        return f"{self.model.digest} {self.noise_multiplier}"

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """See `Trainer`."""
        if data.codes is None or data.classes != 2:
            raise UsageError("Expected labels of two classes for shadows of this model.")
        columns, rows = as_columns(data.X, self.model.domain)
        rng = np.random.default_rng([data.seed, first])
        if isinstance(self.model, AdditiveModel):
            pool = Pool(self.model.frame.binning.bins(columns, rows), data.codes)
            margins = batched_shadows(self.model, pool, membership=members, noise_multiplier=self._noise(), rng=rng)
        else:
            matrix = (design(columns, rows, self.model.domain) / DESIGN_UNIT).astype(np.float32)
            pace, clip, sigma = self._pace(float(members.sum(axis=0).mean()))
            pool = Pool(matrix, data.codes, clip=clip)
            margins = batched_linear_shadows(self.model, pool, membership=members, iterations=pace.iterations, sigma=sigma, rng=rng)
        yield from margins.T

    def _pace(self, size: float) -> tuple[Pace, float | None, float]:
        """Steps, clip and noise of a linear model's training with so many records."""
        columns = self.model.domain.columns
        whole = math.sqrt(1 + len(columns))
        usual, loudest = usual_length("logistic", [kind for _, kind in columns]), (self._noise() or 0.0) * whole
        pace = Pace.at(loudest / max(size, 1.0), most=ITERATIONS, clip=usual / whole, parts=1 + len(columns))
        sigma = loudest * math.sqrt(pace.iterations / ITERATIONS)
        return (pace, usual, sigma * usual / whole) if pace.clipped else (pace, None, sigma)

    def _noise(self) -> float | None:
        """Noise of one step, as a multiple of one unit's bound: together the steps make most of the guarantee's μ (Dong et al. 2022, section 2.3)."""
        promise = self.model.guarantee
        if self.noise_multiplier is not None or not promise.holds:
            return self.noise_multiplier
        steps = len(self.model.updates) if isinstance(self.model, AdditiveModel) else ITERATIONS
        return math.sqrt(steps / _LEARNING_SHARE) / gdp_mu(promise.epsilon, promise.delta)


@dataclass
class ModuleTrainer:
    """Shadows of a PyTorch module: its layers with fresh parameters, trained by Adam one after the other until they fit as well as the target.

    Args:
        module: the target; left as it is.
        epochs: passes over the members; found by trying if ``None``.
        batch: records per step.
        rate: learning rate.
    """

    module: Any
    epochs: int | None = None
    batch: int = 64
    rate: float = 1e-3

    @property
    def name(self) -> str:
        """What is trained."""
        return f"{type(self.module).__name__} with fresh parameters" + ("" if self.epochs is None else f", {self.epochs} epochs")

    assumption: str = "trained by Adam until a shadow fits its members as well as the target does; pass trainer= if the target was trained otherwise"

    @property
    def key(self) -> str | None:
        """Layers and training."""
        return f"{self.module!r} {self.epochs} {self.batch} {self.rate}"

    def answers(self, data: ShadowData, members: NDArray[np.bool_], *, first: int) -> Iterator[Answers]:
        """See `Trainer`."""
        for place, column in enumerate(members.T):
            model = self._trained(data, column, data.seed + first + place)
            yield as_target(model).answers(data.asked)

    def _trained(self, data: ShadowData, members: NDArray[np.bool_], seed: int) -> Any:
        import torch

        model = _fresh_module(self.module, seed)
        inputs = torch.as_tensor(data.X)[torch.from_numpy(np.flatnonzero(members))]
        inputs = inputs.to(next(model.parameters()).dtype) if inputs.is_floating_point() else inputs
        labels = torch.from_numpy(np.asarray(data.codes)[members])
        optimiser, generator = torch.optim.Adam(model.parameters(), lr=self.rate), torch.Generator().manual_seed(seed)
        goal = 1.0 if data.fit is None else data.fit
        for epoch in range(self.epochs or _EPOCHS[-1]):
            correct = 0
            for chosen in torch.randperm(len(labels), generator=generator).split(self.batch):
                logits = model(inputs[chosen])
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(logits, labels[chosen]).backward()
                optimiser.step()
                correct += int((logits.argmax(dim=1) == labels[chosen]).sum())
            if self.epochs is None and correct >= (goal - _NEAR) * len(labels):
                self.epochs = epoch + 1
        return model


def _fresh_module(module: Any, seed: int) -> Any:
    """A copy with parameters drawn anew, leaving the process's own generator as it was."""
    import torch

    copied = copy.deepcopy(module).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in copied.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
    return copied.requires_grad_(True)


def auto_trainer(target: Target, data: ShadowData, *, access: str = "logits") -> Trainer:
    """The trainer that fits a target best.

    Raises:
        UsageError: if nothing can be trained: records without labels and a target that cannot be copied.
    """
    model = target.model
    if type(model) in (AdditiveModel, LinearModel) and model.loss == "logistic" and data.codes is not None:
        return AdditiveTrainer(model)
    if isinstance(model, Predictor) and model.guarantee.holds and (again := _again(model)) is not None:
        return CloneTrainer(again, access, _DEFAULTS, model.classes)
    if hasattr(model, "get_params") and hasattr(model, "fit"):
        return CloneTrainer(model, access)
    if target.kind == "pytorch" and data.codes is not None:
        recipe = _perceptron(model)
        return ModuleTrainer(model) if recipe is None else NetworksTrainer(recipe, assumption=ModuleTrainer.assumption, scaled=False)
    if data.codes is not None:
        return NetworksTrainer(assumption=_STAND_IN + "stand-ins, and a better informed attacker may reach more")
    if data.y is not None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return CloneTrainer(HistGradientBoostingRegressor(), assumption=_STAND_IN + "boosted trees, and a better informed attacker may reach more")
    raise UsageError("Expected labels, or a target that can be copied, for shadows. Pass trainer=a function (X, y) -> model, or budget='0s'.")


def _again(model: Predictor) -> Any:
    """An estimator that learns a model of the same kind at the same budget, in memory; ``None`` for kinds that have none."""
    from tacit import learn

    budget, domain = Budget(model.guarantee.epsilon, model.guarantee.delta), model.domain
    if isinstance(model, (AnomalyModel, SubspaceModel)):
        return learn.AnomalyDetector(budget, domain=domain, method="components" if isinstance(model, SubspaceModel) else "trees")
    if isinstance(model, SequenceModel):
        return learn.SequenceClassifier(budget, classes=list(model.classes))
    kinds = {
        AdditiveModel: (learn.BoostedTreesClassifier, learn.BoostedTreesRegressor), LinearModel: (learn.LinearClassifier, learn.LinearRegressor),
        NetworkModel: (learn.NetworkClassifier, learn.NetworkRegressor),
    }
    pair = kinds.get(type(model))
    if pair is None:
        return None
    if model.target.bounds:
        return pair[1](budget, domain=domain, bounds=model.target.bounds)
    return pair[0](budget, domain=domain, classes=list(model.classes))


def _perceptron(module: Any) -> NetworkRecipe | None:
    """The recipe of a module that is a chain of linear layers with one kind of activation; ``None`` if it is not."""
    import torch.nn as nn

    chain = [part for part in module.children() if not isinstance(part, nn.Flatten)] if isinstance(module, nn.Sequential) else []
    if len(chain) % 2 == 0:
        return None
    linear, between = chain[::2], {type(part) for part in chain[1::2]}
    if not all(isinstance(part, nn.Linear) and part.bias is not None for part in linear) or between not in ({nn.ReLU}, {nn.Tanh}, set()):
        return None
    return NetworkRecipe(tuple(part.out_features for part in linear[:-1]), "tanh" if between == {nn.Tanh} else "relu")
