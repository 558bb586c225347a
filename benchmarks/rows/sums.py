"""Masked sums over many sites: what a site computes and sends, against Flower's masks and NVFlare's encryption."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.contest import Failed, run
from benchmarks.environments import FLOWER, TENSEAL, Environment, Unavailable
from benchmarks.result import Check, Incomplete, Measured, Options, Row

SITES, SIZE = 10, 1_000_000
PEER_SIZE = 100_000
FLOAT32 = 4.0


def masked(_options: Options) -> Measured:
    """One site's part of a round of ten sites and a million parameters; peers on a tenth of that, per parameter."""
    try:
        wide, narrow = (_ours(SITES, SIZE, bits, 0) for bits in (32, 16))
        flower = _peer("benchmarks.peers.flower_masks", [str(SITES), str(PEER_SIZE)], FLOWER)
        ckks = _peer("benchmarks.peers.ckks_sum", [str(PEER_SIZE)], TENSEAL)
    except (Failed, Unavailable) as error:
        raise Incomplete(str(error)) from error
    bytes_each = {
        "32 bits": wide["up"] / SIZE, "16 bits": narrow["up"] / SIZE, "Flower": flower["up"] / PEER_SIZE, "NVFlare's CKKS": ckks["up"] / PEER_SIZE,
    }
    checks = (
        Check("sums equal to the plain integer sums", float(wide["exact"] and narrow["exact"]), 1.0),
        Check("bytes up per parameter and site, over float32, 32 bits", bytes_each["32 bits"] / FLOAT32, 1.05, at_least=False),
        Check("bytes up per parameter and site, over float32, 16 bits", bytes_each["16 bits"] / FLOAT32, 0.55, at_least=False),
        Check("bytes down per parameter and site, over float32, the question aside", wide["down"] / SIZE / FLOAT32, 0.05, at_least=False),
        Check("CPU seconds of a site, noise included, 1e6 parameters, 10 sites", wide["site_cpu"], 0.25, at_least=False),
        Check("bytes over Flower's", bytes_each["32 bits"] / bytes_each["Flower"], 0.55, at_least=False),
        Check("bytes over NVFlare's CKKS", bytes_each["32 bits"] / bytes_each["NVFlare's CKKS"], 0.1, at_least=False),
    )
    cpu = {"ours": wide["site_cpu"] / SIZE, "Flower": flower["cpu"] / PEER_SIZE, "NVFlare's CKKS": ckks["cpu"] / PEER_SIZE}
    details = {"bytes_each": bytes_each, "cpu_each": cpu, "wide": wide, "narrow": narrow}
    return Measured(bytes_each["32 bits"], "bytes per parameter and site", "Flower SecAgg+", bytes_each["Flower"], checks, details)


def scale(_options: Options) -> Measured:
    """Fifty sites, a million parameters, fifteen of them gone after sharing: what the server computes."""
    try:
        found, small = _ours(50, SIZE, 32, 15), _ours(SITES, SIZE, 32, 3)
    except Failed as error:
        raise Incomplete(str(error)) from error
    checks = (
        Check("sums equal to the plain integer sums", float(found["exact"] and small["exact"]), 1.0),
        Check("survivors", found["survivors"], 35),
        Check("CPU seconds of the server", found["server_cpu"], 1.0, at_least=False),
    )
    return Measured(found["server_cpu"], "CPU seconds", "ours, 10 sites and 3 dropouts", small["server_cpu"], checks, {"fifty": found, "ten": small})


def _ours(sites: int, size: int, bits: int, dropouts: int) -> dict[str, Any]:
    return dict(json.loads(run("benchmarks.workers.sums", [str(sites), str(size), str(bits), str(dropouts)])))


def _peer(module: str, arguments: list[str], environment: Environment) -> dict[str, Any]:
    return dict(json.loads(run(module, arguments, environment)))


ROWS = (
    Row("sums.masked", "One site's part of a masked sum against Flower's and NVFlare's", masked),
    Row("sums.scale", "A masked sum over fifty sites with fifteen dropouts", scale),
)
