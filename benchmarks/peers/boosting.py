"""DP-EBM (interpret-core) and XGBoost without privacy. ``python -m benchmarks.peers.boosting FOLDER``."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import version

import numpy as np
import xgboost
from interpret.privacy import DPExplainableBoostingClassifier

from benchmarks.peers.common import Job, cpu, read_job, serve

ROUNDS, DEPTH, STEP = 200, 6, 0.1


def dp_ebm(job: Job, epsilon: float | None, *, logarithmic: bool = False) -> tuple[np.ndarray, float]:
    """DP-EBM as it comes, one thread; bounds and feature types declared, numbers scaled by the public bounds."""
    train, test = job.scaled(logarithmic=logarithmic)
    names = [f"n{i}" for i in range(train.shape[1])] + [f"c{i}" for i in range(job.codes.shape[1])]
    model = DPExplainableBoostingClassifier(
        feature_names=names,
        feature_types=["continuous"] * train.shape[1] + ["nominal"] * job.codes.shape[1],
        epsilon=epsilon,
        delta=job.options["delta"],
        privacy_bounds={name: (0.0, 1.0) for name in names[: train.shape[1]]},
        random_state=None,  # a seed would replace its secure noise
        n_jobs=1,
    )
    x, x_test = np.hstack([train, job.codes]), np.hstack([test, job.codes_test])
    with cpu() as clock:
        model.fit(x, job.y)
    return model.predict_proba(x_test)[:, 1], clock.seconds


def xgboost_hist(job: Job, _epsilon: float | None) -> tuple[np.ndarray, float]:
    """200 histogram trees of depth 6 on one thread, without privacy."""
    kinds = ["float"] * job.x.shape[1] + ["c"] * job.codes.shape[1]
    x = np.hstack([job.x, job.codes.astype(np.float32)])
    x_test = np.hstack([job.x_test, job.codes_test.astype(np.float32)])
    options = {
        "objective": "binary:logistic", "tree_method": "hist", "max_depth": DEPTH, "eta": STEP, "nthread": 1, "seed": job.options["seed"],
    }  # fmt: skip
    with cpu() as clock:
        data = xgboost.QuantileDMatrix(x, job.y, feature_types=kinds, enable_categorical=True, nthread=1)
        model = xgboost.train(options, data, ROUNDS)
    return model.predict(xgboost.DMatrix(x_test, feature_types=kinds, enable_categorical=True, nthread=1)), clock.seconds


MODELS = {"dp_ebm": dp_ebm, "dp_ebm_log": partial(dp_ebm, logarithmic=True), "xgboost": xgboost_hist}

if __name__ == "__main__":
    asked = read_job(sys.argv[1])
    serve(asked, MODELS[asked.options["model"]], {name: version(name) for name in ("interpret-core", "xgboost-cpu", "scikit-learn", "numpy")})
