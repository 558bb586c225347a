"""TensorFlow Privacy's membership tests on logits and labels: ``python -m benchmarks.peers.mia_tf_privacy FOLDER``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import membership_inference_attack as mia
from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack.data_structures import AttackInputData, AttackType, SlicingSpec

KINDS = (AttackType.THRESHOLD_ATTACK, AttackType.THRESHOLD_ENTROPY_ATTACK, AttackType.LOGISTIC_REGRESSION, AttackType.MULTI_LAYERED_PERCEPTRON)


def main(arguments: list[str]) -> int:
    data = np.load(Path(arguments[0]) / "targets.npz")
    y, found = data["y"], []
    for place, member in enumerate(data["masks"].T):
        logits, line = data["logits"][place].astype(np.float64), {}
        given = AttackInputData(logits_train=logits[member], logits_test=logits[~member], labels_train=y[member], labels_test=y[~member])
        for kind in KINDS:
            before = time.process_time()
            (result,) = mia.run_attacks(given, SlicingSpec(), attack_types=(kind,)).single_attack_results
            curve = result.roc_curve
            fpr, tpr = np.asarray(curve.fpr), np.asarray(curve.tpr)
            line[f"TF Privacy, {kind.value}"] = {
                **{f"tpr_at_{limit:g}": float(tpr[fpr <= limit].max(initial=0.0)) for limit in (0.01, 0.001)}, "auc": float(result.get_auc()),
                "cpu_seconds": time.process_time() - before,
            }
        found.append(line)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
