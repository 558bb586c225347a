"""Pure-ε logistic regression and naive Bayes. ``python -m benchmarks.peers.diffprivlib FOLDER``."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version

import numpy as np
from diffprivlib.models import GaussianNB, LogisticRegression

from benchmarks.peers.common import Job, cpu, read_job, serve


def logistic(job: Job, epsilon: float | None) -> tuple[np.ndarray, float]:
    """Logistic regression by objective perturbation; the norm bound follows from the scaling: one per number, one per category."""
    x, x_test = job.one_hot()
    model = LogisticRegression(epsilon=epsilon, data_norm=float(np.sqrt(job.x.shape[1] + job.codes.shape[1])), max_iter=500)
    with cpu() as clock:
        model.fit(x, job.y)
    return model.predict_proba(x_test)[:, 1], clock.seconds


def naive_bayes(job: Job, epsilon: float | None) -> tuple[np.ndarray, float]:
    """Gaussian naive Bayes on columns within [0, 1]; the log odds are the scores, since probabilities saturate."""
    x, x_test = job.one_hot()
    model = GaussianNB(epsilon=epsilon, bounds=(0.0, 1.0))
    with cpu() as clock:
        model.fit(x, job.y)
    log = np.nan_to_num(model.predict_log_proba(x_test), nan=0.0, neginf=-1e300, posinf=1e300)
    return log[:, 1] - log[:, 0], clock.seconds


MODELS = {"diffprivlib_lr": logistic, "diffprivlib_gnb": naive_bayes}

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # convergence is reported by the utility itself
    asked = read_job(sys.argv[1])
    serve(asked, MODELS[asked.options["model"]], {name: version(name) for name in ("diffprivlib", "scikit-learn", "numpy")})
