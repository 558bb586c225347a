"""Certified lower and upper bounds on ε by Opacus' PRV accountant. ``python -m benchmarks.peers.opacus_accounting CASES``, a JSON list."""

from __future__ import annotations

import json
import sys
import warnings

from opacus.accountants import PRVAccountant

ERROR = 2e-3


def bounds(rate: float, noise: float, steps: int, delta: float) -> tuple[float, float]:
    """ε lies between these two (Gopi, Lee & Wutschitz 2021)."""
    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps)]
    whole = accountant._get_dprv(eps_error=ERROR, delta_error=delta / 1000)
    lower, _, upper = whole.compute_epsilon(delta, delta / 1000, ERROR)
    return float(lower), float(upper)


def main() -> None:
    warnings.simplefilter("ignore")
    sys.stdout.write(json.dumps([bounds(*case) for case in json.loads(sys.argv[1])]))


if __name__ == "__main__":
    main()
