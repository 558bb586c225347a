"""Any model as one callable: what it answers, in which readings, and what an attacker of some access sees of it."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tacit.attacks.signals import Answers, Labels, seen
from tacit.attacks.tables import rows_of, take
from tacit.errors import DataError, MissingExtra, TacitError, UsageError
from tacit.guarantee import Guarantee
from tacit.models import Predictor

ACCESS = ("label", "top-k", "probabilities", "logits", "gradients", "weights")
"""What an attacker sees, from least to most. Whoever has gradients or weights has the logits as well."""

_HTTP_ROWS = 512
_HTTP_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Target:
    """A model under attack.

    Args:
        name: for people.
        kind: what it is: ``function``, ``scikit-learn``, ``pytorch``, ``onnx``, ``tacit`` or ``http``.
        ask: gives the answers to some records, ``[records]`` or ``[records, classes]``.
        classes: the labels in the order of the answers; ``None`` if nobody says.
        model: what was passed, for attacks that look inside.
        guarantee: what the model promises, if it says so.
        positive: the label that the model tells from all others; ``None`` if it names its classes.
    """

    name: str
    kind: str
    ask: Callable[[Any], Answers]
    classes: tuple[Any, ...] | None = None
    model: Any = None
    guarantee: Guarantee | None = None
    positive: str | None = None

    def labels(self, y: Any, answers: Answers) -> Labels:
        """What records' labels are to the target; see `Labels`."""
        return Labels.of(y, answers, self.classes, positive=self.positive)

    def answers(self, X: Any, *, access: str = "logits", top: int = 3) -> Answers:
        """What an attacker with this access sees; see `seen`.

        Raises:
            DataError: if the target does not answer with one row per record.
        """
        found = np.asarray(_asked(self.ask, X))
        found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
        if found.ndim not in (1, 2) or len(found) != rows_of(X):
            raise DataError(f"Expected the target to answer with one row per record; got the shape {found.shape} for {rows_of(X)} records.")
        if found.dtype.kind == "f" and np.isnan(found).any():
            raise DataError(f"Expected numbers as answers; {int(np.isnan(found).sum())} of them are none.")
        return seen(_bounded(found), access=access, top=top)


def _asked(ask: Callable[[Any], Any], X: Any) -> Any:
    """Answers, or `DataError` that says which kind of error there was: its text may hold what stands in records."""
    try:
        return ask(X)
    except TacitError:
        raise
    except Exception as error:
        raise DataError(
            f"Expected the target to answer; it raised {type(error).__name__}. Ask it about these records yourself to see why, and check that they "
            "have the columns it learned from."
        ) from error


def _bounded(answers: Answers) -> Answers:
    """Infinite answers just beyond the finite ones: more than anything else, and no more than that."""
    if answers.dtype.kind != "f" or np.isfinite(answers).all():
        return answers
    known = answers[np.isfinite(answers)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return np.clip(answers, low - 1.0, high + 1.0)


def as_target(model: Any, *, access: str = "logits") -> Target:
    """The target that ``model`` is.

    Args:
        model: a function of records; a scikit-learn, XGBoost or LightGBM estimator; a PyTorch module; a Tacit model or estimator; the path of a Tacit
            model or an ONNX file; an ``http(s)`` address that answers ``{"instances": [...]}`` with ``{"predictions": [...]}``; or ``module:name``.
        access: one of `ACCESS`; decides whether margins or probabilities are asked for.

    Raises:
        UsageError: if it is none of these.
    """
    if access not in ACCESS:
        raise UsageError(f"Expected access to be one of {', '.join(ACCESS)}; got {access!r}.")
    if isinstance(model, Target):
        return model
    if isinstance(model, (str, os.PathLike)):
        return _from_name(os.fspath(model), access)
    if isinstance(model, Predictor):
        return _of_tacit(model, access)
    if type(model).__module__.startswith("onnxruntime"):
        return _of_onnx(model, "ONNX session")
    if any(base.__module__.startswith("torch.nn") for base in type(model).__mro__):
        return _of_torch(model)
    if hasattr(model, "predict"):
        return _of_estimator(model, access)
    if callable(model):
        return Target(getattr(model, "__name__", type(model).__name__), "function", model, model=model)
    raise UsageError(f"Expected a model that has predict, or a function of records, or a path or an address; got {type(model).__name__}.")


def imported(name: str) -> Any:
    """What ``module:name`` stands for.

    Raises:
        UsageError: if there is no such thing.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        raise UsageError(f"Expected «{name}» to be an importable module:name; {problem}.") from None


def _from_name(name: str, access: str) -> Target:
    if name.startswith(("http://", "https://")):
        return Target(name, "http", lambda X: _ask_http(name, X))
    if name.endswith(".onnx"):
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnx", purpose="attacking an ONNX file") from None
        if not Path(name).is_file():
            raise DataError(f"Expected an ONNX file at «{name}»; there is none.")
        return _of_onnx(onnxruntime.InferenceSession(name), Path(name).name)
    if Path(name).suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth"):
        raise UsageError(
            f"Expected no pickle; opening «{Path(name).name}» would run whatever code is in it. Load it yourself in a module that you trust and pass "
            "module:name, or export the model to ONNX."
        )
    if ":" in name and not Path(name).exists():
        return as_target(imported(name), access=access)
    from tacit.models import load

    return _of_tacit(load(name), access, name=Path(name).name)


def _of_tacit(model: Predictor, access: str, *, name: str | None = None) -> Target:
    inside = access in ("logits", "gradients", "weights") or bool(model.target.bounds)
    if model.target.bounds:
        ask: Callable[[Any], Answers] = model.predict
    else:
        ask = model.decision_function if inside else model.predict_proba
    return Target(name or f"a {type(model).__name__}", "tacit", ask, model.classes or None, model, model.guarantee, model.target.positive)


def _of_estimator(model: Any, access: str) -> Target:
    own = getattr(model, "model_", None)
    guarantee = getattr(model, "guarantee_", None)
    classes = getattr(model, "classes_", None)
    wanted = ("decision_function", "predict_proba") if access in ("logits", "gradients", "weights") else ("predict_proba", "decision_function")
    if own is None or not hasattr(model, "decision_function"):
        wanted = ("predict_proba", "decision_function")
    method = next((name for name in (*wanted, "score_samples", "predict") if hasattr(model, name)), "predict")
    ask = getattr(model, method)
    listed = None if classes is None or method in ("predict", "score_samples") else tuple(np.asarray(classes).tolist())
    return Target(type(model).__name__, "tacit" if own is not None else "scikit-learn", ask, listed, model, guarantee)


def _of_onnx(session: Any, name: str) -> Target:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    chosen = next((item.name for item in outputs if "prob" in item.name.lower()), outputs[-1].name)
    types = {"tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(float)": np.float32}

    def ask(X: Any) -> Answers:
        if len(inputs) == 1:
            matrix = X if isinstance(X, np.ndarray) else np.column_stack([np.asarray(column) for column in _named(X).values()])
            feed = {inputs[0].name: matrix.astype(types.get(inputs[0].type, np.float32))}
        else:
            columns = _named(X, [item.name for item in inputs])
            feed = {item.name: np.asarray(columns[item.name]).astype(types.get(item.type, object)).reshape(-1, 1) for item in inputs}
        found = session.run([chosen], feed)[0]
        if isinstance(found, list):  # a sequence of maps from class to probability
            return np.array([list(row.values()) for row in found])
        return np.asarray(found)

    return Target(name, "onnx", ask, model=session)


def _named(X: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    if isinstance(X, np.ndarray):
        return dict(zip(names or [f"x{i}" for i in range(X.shape[1])], X.T, strict=True))
    if isinstance(X, pa.Table):
        return {name: X.column(name).to_numpy(zero_copy_only=False) for name in X.column_names}
    return {str(name): X[name].to_numpy() for name in X.columns}


def _of_torch(module: Any) -> Target:
    import torch

    def ask(X: Any) -> Answers:
        rows = torch.as_tensor(X) if not isinstance(X, torch.Tensor) else X
        own = next((item for item in module.parameters() if item.is_floating_point()), None)
        if own is not None and rows.is_floating_point():
            rows = rows.to(own.dtype)
        training = module.training
        module.eval()
        try:
            with torch.inference_mode():
                return np.asarray(torch.cat([module(part) for part in rows.split(8_192)]).float().numpy())
        finally:
            module.train(training)

    return Target(type(module).__name__, "pytorch", ask, model=module)


def _ask_http(address: str, X: Any) -> Answers:
    """Answers of an endpoint, a few hundred records at a time.

    Raises:
        DataError: if it does not answer as expected; names the address and the status, no record.
    """
    rows = np.arange(rows_of(X))
    return np.concatenate([_post(address, take(X, rows[start : start + _HTTP_ROWS])) for start in range(0, len(rows), _HTTP_ROWS)])


def _post(address: str, X: Any) -> Answers:
    import urllib.error
    import urllib.request

    rows = X.tolist() if isinstance(X, np.ndarray) else _as_dicts(X)
    body = json.dumps({"instances": rows}, default=str).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json", "Accept": "application/json"})  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_SECONDS) as reply:  # noqa: S310
            return np.asarray(json.loads(reply.read())["predictions"])
    except urllib.error.HTTPError as problem:
        raise DataError(f"Expected predictions from {address}; it answered with status {problem.code}.") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as problem:
        raise DataError(f"Expected an answer from {address}; {getattr(problem, 'reason', problem)}.") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f'Expected {address} to answer {{"predictions": [...]}}, one per instance; it answered something else.') from None


def _as_dicts(X: Any) -> list[dict[str, Any]]:
    if isinstance(X, pa.Table):
        return list(X.to_pylist())
    return list(X.to_dict(orient="records")) if hasattr(X, "iloc") else list(X.to_dicts())
