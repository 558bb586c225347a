"""A hospital scores patients at a vendor that never sees them: what stays the same, how long it takes, how many bytes it costs.

    python examples/encrypted/hospital.py [--epsilon 8]

The vendor has learned from other patients, with differential privacy; the hospital has new ones. The records are the 569 of scikit-learn's breast
cancer data, 70 % the vendor's. The server is a process of its own, over TLS on this machine. Needs tacit[encrypted,serve].
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from vendor import Vendor, shown, visit

from tacit import Budget
from tacit.domain import Domain, Numeric
from tacit.encrypted import Settings, compile
from tacit.learn import BoostedTreesClassifier

LARGEST = {"radius": 30, "texture": 50, "perimeter": 200, "area": 3_000}
"""What a cell nucleus can measure in an image of this size; everything else lies between 0 and 1."""


def patients() -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    """The vendor's records, the hospital's, and what each patient had."""
    found = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in found.feature_names]
    train, test, known, truth = train_test_split(found.data, found.target, test_size=0.3, random_state=0, stratify=found.target)
    return {name: train[:, place] for place, name in enumerate(names)}, {name: test[:, place] for place, name in enumerate(names)}, known, truth


def domain(names: Any) -> Domain:
    """Public bounds of the features."""
    return Domain.of(**{name: Numeric(0, next((most for word, most in LARGEST.items() if word in name), 1)) for name in names})


def main(arguments: list[str] | None = None) -> int:
    """Print what the vendor proves, what the hospital sees, and that both agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epsilon", type=float, default=8.0, help="for a patient of the vendor's (default 8)")
    asked = parser.parse_args(arguments)
    train, test, known, truth = patients()
    fitted = BoostedTreesClassifier(Budget(asked.epsilon, 1e-5), domain=domain(train), classes=[0, 1]).fit(train, known)
    model = fitted.model_
    compiled = compile(model, train, settings=Settings("private-model", "single"), labels=known)
    print(f"vendor     {model.guarantee}\nvendor     {compiled.agreement}")
    with tempfile.TemporaryDirectory() as folder:
        found = visit(Vendor.of(compiled, Path(folder) / "vendor"), compiled, test)
    plain, ours = model.answers(model.margins(test)), compiled.public.answers(found.margins)
    right = (ours.astype(str) == truth.astype(str)).mean()
    print(f"hospital   {len(truth)} patients, {(plain == ours).sum()} decided as by the model in the clear, {right:.1%} rightly")
    print(f"hospital   {shown(found)}")
    return 0 if (plain == ours).all() else 1


if __name__ == "__main__":
    sys.exit(main())
