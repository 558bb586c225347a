"""What happens to the values of one field: keyed pseudonyms that keep structure, search in free text, rounding, local differential privacy."""

from __future__ import annotations

from tacit.logs.treatments.addresses import Addresses
from tacit.logs.treatments.base import FIRST, SECOND, Rows, Scalar, Text, Tools, Treatment
from tacit.logs.treatments.identities import COMMON, Identities
from tacit.logs.treatments.names import Names
from tacit.logs.treatments.numbers import Numbers
from tacit.logs.treatments.places import Places
from tacit.logs.treatments.pseudonyms import WRITTEN, Key, Note, Pseudonyms
from tacit.logs.treatments.registry import KEPT, LOCAL, PSEUDONYM, TREATMENTS, build
from tacit.logs.treatments.scrub import ROUNDS, SIGNS, Scrubber
from tacit.logs.treatments.services import PROTOCOLS, SERVICES

__all__ = [
    "COMMON", "FIRST", "KEPT", "LOCAL", "PROTOCOLS", "PSEUDONYM", "SECOND", "SERVICES", "TREATMENTS", "WRITTEN", "Addresses", "Identities", "Key",
    "Names", "Note", "Numbers", "Places", "Pseudonyms", "ROUNDS", "Rows", "SIGNS", "Scalar", "Text", "Scrubber", "Tools", "Treatment", "build",
]
