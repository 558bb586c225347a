"""Secret randomness and the integer noise made from it.

::

    source = SecureRandom()
    noise = rounded_gaussian(source, sigma=1200.0, size=1000)   # one owner
    noise = rounded_laplace(source, scale=4096.0, size=1000)    # one owner, where ε is asked for without δ
    share = skellam(source, variance=1.44e6 / 4, size=1000)     # one of four owners; the sum is Skellam(1.44e6)

Each sampler states how far a sample may be from its exact distribution; whoever accounts for a release charges that to delta.
"""

from __future__ import annotations

from tacit.randomness.bridge import skellam_gaussian_distance
from tacit.randomness.gaussian import rounded_gaussian, rounded_gaussian_distance
from tacit.randomness.laplace import LAPLACE_DISTANCE, laplace_deviation, rounded_laplace
from tacit.randomness.skellam import skellam, skellam_distance
from tacit.randomness.source import SecureRandom

__all__ = [
    "LAPLACE_DISTANCE",
    "SecureRandom",
    "laplace_deviation",
    "rounded_gaussian",
    "rounded_gaussian_distance",
    "rounded_laplace",
    "skellam",
    "skellam_distance",
    "skellam_gaussian_distance",
]
