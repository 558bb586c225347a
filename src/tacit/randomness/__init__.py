"""Secret randomness and the integer noise made from it.

::

    source = SecureRandom()
    noise = rounded_gaussian(source, sigma=1200.0, size=1000)   # one owner
    share = skellam(source, variance=1.44e6 / 4, size=1000)     # one of four owners; the sum is Skellam(1.44e6)

Each sampler states how far a sample may be from its exact distribution; whoever accounts for a release charges that to delta.
"""

from __future__ import annotations

from tacit.randomness.bridge import skellam_gaussian_distance
from tacit.randomness.gaussian import rounded_gaussian, rounded_gaussian_distance
from tacit.randomness.skellam import skellam, skellam_distance
from tacit.randomness.source import SecureRandom

__all__ = [
    "SecureRandom",
    "rounded_gaussian",
    "rounded_gaussian_distance",
    "skellam",
    "skellam_distance",
    "skellam_gaussian_distance",
]
