"""The web side of a pipeline: existing shippers send to it as they would to Elasticsearch or to Splunk."""

from __future__ import annotations

from tacit.logs.stages.web.app import WebLimits, application

__all__ = ["WebLimits", "application"]
