"""One policy per source: which field is kept, dropped, pseudonymised, scrubbed, rounded or noised; packs for the usual sources."""

from __future__ import annotations

from tacit.logs.policies.policy import PACKS, FieldRule, SourcePolicy, schema
from tacit.logs.policies.proposing import propose

__all__ = ["PACKS", "FieldRule", "SourcePolicy", "propose", "schema"]
