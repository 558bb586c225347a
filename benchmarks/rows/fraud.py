"""Card fraud with the customer as the unit, against the same learner without privacy, and against peers that are given every advantage."""

from __future__ import annotations

import dataclasses
import json
import statistics

from benchmarks.contest import PEERS, Failed, compete, run
from benchmarks.datasets import FEW_ROWS, MissingData
from benchmarks.environments import Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

EPSILON = 3.0
SHARE = 0.8
FITS = 4
"""Fits of ours per seed: the noise of one moves the figure by several per cent."""
CONTESTANTS = ("dp_ebm", "dp_ebm_log", "diffprivlib_lr")


def customer(options: Options) -> Measured:
    try:
        found = json.loads(run("benchmarks.workers.fraud", [str(FITS * options.seeds)]))
        peers = {f"{name}, {rows} rows a customer": peer(name, rows, options) for name in CONTESTANTS for rows in FEW_ROWS}
    except (Failed, MissingData, Unavailable) as error:
        raise Incomplete(str(error)) from error
    names = list(dict.fromkeys(item["name"] for item in found))
    ap = {name: statistics.fmean(item["ap"] for item in found if item["name"] == name) for name in names} | peers
    best = {kind: max(value for name, value in ap.items() if name.startswith(kind)) for kind in ("dp_ebm", "diffprivlib_lr", "linear")}
    checks = (
        Check("average precision over that of the same learner without privacy", ap["private"] / ap["without privacy"], SHARE),
        Check("average precision, against the best DP-EBM", ap["private"], best["dp_ebm"]),
        Check("average precision, against a DP linear model (diffprivlib)", ap["private"], best["diffprivlib_lr"]),
        Check("average precision, against Tacit's own linear model", ap["private"], best["linear"], decides=False),
    )
    details = {
        "epsilon": EPSILON, "fits": FITS * options.seeds, "average_precision": ap,
        "spread": {name: statistics.stdev([item["ap"] for item in found if item["name"] == name]) for name in names},
        "notes": "Peers protect records: one row of each customer at ε=3, or three at ε=1, frauds first; three would need a smaller δ.",
    }  # fmt: skip
    return Measured(ap["private"], "average precision at ε=3 per customer", "DP-EBM", best["dp_ebm"], checks, details)


def peer(name: str, rows: int, options: Options) -> float:
    """Mean average precision of a peer on so many rows of each customer, at an ε for records that amounts to ours for customers."""
    contestant = dataclasses.replace(next(peer for peer in PEERS if peer.name == name), epsilons=(EPSILON / rows,))
    scores = [compete(contestant, FEW_ROWS[rows], seed, reuse=options.reuse)[0] for seed in range(options.seeds)]
    return statistics.fmean(score.ap for fits in scores for score in fits)


ROWS = (Row("fraud.customer", "average precision of card fraud at ε=3 per customer, against no privacy, DP-EBM, linear models", customer),)
