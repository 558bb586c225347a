"""Security events: a simulated enterprise with labelled intrusions, and features per entity and window."""

from __future__ import annotations

from tacit.logs.addresses import AddressPseudonyms
from tacit.logs.ecs import EVENT_SCHEMA, LABEL_SCHEMA
from tacit.logs.feature_schema import FEATURE_SCHEMA, GROUP_SCHEMA, ROWS_PER_UNIT, FeatureSpec, feature_domain
from tacit.logs.features import entity_window_features
from tacit.logs.intrusions import Campaign
from tacit.logs.simulator import Simulation, simulate
from tacit.logs.spec import SimulationSpec

__all__ = [
    "EVENT_SCHEMA",
    "FEATURE_SCHEMA",
    "GROUP_SCHEMA",
    "LABEL_SCHEMA",
    "ROWS_PER_UNIT",
    "AddressPseudonyms",
    "Campaign",
    "FeatureSpec",
    "Simulation",
    "SimulationSpec",
    "entity_window_features",
    "feature_domain",
    "simulate",
]
