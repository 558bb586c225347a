"""Learners: conversations of bounded sums that return a model, and scikit-learn estimators over them."""

from __future__ import annotations

from tacit.learn.anomaly import UNLABELLED, AnomalyShape, fit_anomaly
from tacit.learn.boosting import BoostingShape
from tacit.learn.counting import CountSpec, count_over_time
from tacit.learn.dense import SharedShape, fit_shared_network
from tacit.learn.detector import AnomalyDetector
from tacit.learn.driver import converse
from tacit.learn.estimators import (
    AdditiveClassifier,
    AdditiveRegressor,
    BoostedTreesClassifier,
    BoostedTreesRegressor,
    DetectionClassifier,
    LinearClassifier,
    LinearRegressor,
    NetworkClassifier,
    NetworkRegressor,
)
from tacit.learn.forecaster import CountForecaster
from tacit.learn.fullbatch import FullBatchShape, fit_full_batch
from tacit.learn.graphical import OTHER, sample_records
from tacit.learn.means import Means, fit_means
from tacit.learn.network import NetworkShape, fit_network
from tacit.learn.regression import fit_linear
from tacit.learn.seasonal import Forecast, History, forecast
from tacit.learn.sequence import SequenceShape, fit_sequence
from tacit.learn.subspace import fit_subspace
from tacit.learn.survival import SurvivalCurve, SurvivalCurves, SurvivalSpec, fit_survival
from tacit.learn.synthesis import EVERY_COLUMN, SynthesisShape, fit_synthetic
from tacit.learn.synthesizer import Synthesizer
from tacit.learn.text_classifier import SequenceClassifier
from tacit.learn.training import LearnSpec, TargetSpec, fit_boosted

__all__ = [
    "AdditiveClassifier", "AdditiveRegressor", "AnomalyDetector", "AnomalyShape", "BoostedTreesClassifier", "BoostedTreesRegressor",
    "BoostingShape", "CountForecaster", "CountSpec", "DetectionClassifier", "EVERY_COLUMN", "Forecast", "FullBatchShape", "History",
    "LearnSpec", "LinearClassifier", "LinearRegressor", "Means", "NetworkClassifier", "NetworkRegressor", "NetworkShape", "OTHER",
    "SequenceClassifier", "SequenceShape", "SharedShape", "SurvivalCurve", "SurvivalCurves", "SurvivalSpec", "SynthesisShape", "Synthesizer",
    "TargetSpec", "UNLABELLED", "converse", "count_over_time", "fit_anomaly", "fit_boosted", "fit_full_batch", "fit_linear", "fit_means",
    "fit_network", "fit_sequence", "fit_shared_network", "fit_subspace", "fit_survival", "fit_synthetic", "forecast", "sample_records",
]
