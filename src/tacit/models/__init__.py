"""The artefact: public structure, private values, and the guarantee that travels with them."""

from __future__ import annotations

from tacit.models.additive import AdditiveModel
from tacit.models.anomaly import AnomalyModel, SubspaceModel
from tacit.models.artefact import Model, load, load_any, load_counts, load_synthetic, save, verify_against
from tacit.models.base import Artefact, Predictor, Provenance
from tacit.models.counts import CountSeries
from tacit.models.defences import AnswerNoise, Defence, Defended, ExtractionWatch, QueryLimit, Rounding, TopOnly
from tacit.models.explain import Explanation, Shape
from tacit.models.linear import LinearModel
from tacit.models.network import NetworkModel
from tacit.models.onnx_export import to_onnx
from tacit.models.sequence import SequenceModel, Tokens
from tacit.models.squares import SquareNetwork
from tacit.models.synthetic import SyntheticModel

__all__ = [
    "AdditiveModel", "AnomalyModel", "AnswerNoise", "Artefact", "CountSeries", "Defence", "Defended", "Explanation", "ExtractionWatch",
    "LinearModel", "Model", "NetworkModel", "Predictor", "Provenance", "QueryLimit", "Rounding", "SequenceModel", "Shape", "SquareNetwork",
    "SubspaceModel", "SyntheticModel", "Tokens", "TopOnly", "load", "load_any", "load_counts", "load_synthetic", "save", "to_onnx", "verify_against",
]
