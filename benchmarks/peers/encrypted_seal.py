"""SEAL through seal-python, one ciphertext per feature and scalar products: ``python -m benchmarks.peers.encrypted_seal linear|squares FOLDER``.

The layout that a careful user of the library would choose, in CKKS with the smallest parameters that hold. Reads ``inputs.npz``, prints CPU
seconds per record, bytes and the largest error as one JSON line. Weights are encoded once, outside the measured time; ciphertexts stay in memory.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import seal

LINEAR, SQUARES = (4096, [54, 55]), (8192, [60, 38, 38, 60])
REPEATS, FINE = {"linear": 20, "squares": 3}, 2.0**14


class Peer:
    """Keys and encoders of one parameter set."""

    def __init__(self, degree: int, bits: list[int]) -> None:
        parameters = seal.EncryptionParameters(seal.scheme_type.ckks)
        parameters.set_poly_modulus_degree(degree)
        parameters.set_coeff_modulus(seal.CoeffModulus.Create(degree, bits))
        self.context = seal.SEALContext(parameters)
        keys = seal.KeyGenerator(self.context)
        self.slots = degree // 2
        self.encryptor = seal.Encryptor(self.context, keys.create_public_key())
        self.decryptor = seal.Decryptor(self.context, keys.secret_key())
        self.encoder, self.evaluator = seal.CKKSEncoder(self.context), seal.Evaluator(self.context)
        self.relin = keys.create_relin_keys() if len(bits) > 2 else None

    def encrypt(self, x: np.ndarray, scale: float) -> list[list[Any]]:
        """One ciphertext per feature, for each block of slots."""
        blocks = range(0, len(x), self.slots)
        encode = self.encoder.encode
        return [[self.encryptor.encrypt(encode(np.ascontiguousarray(x[b : b + self.slots, f]), scale)) for f in range(x.shape[1])] for b in blocks]

    def weighted(self, ciphers: list[Any], plains: list[Any]) -> Any:
        """A sum of scalar products."""
        total = None
        for cipher, plain in zip(ciphers, plains, strict=True):
            if plain is not None:
                product = self.evaluator.multiply_plain(cipher, plain)
                total = product if total is None else self.evaluator.add(total, product)
        return total

    def decrypt(self, ciphers: list[Any]) -> np.ndarray:
        """All slots, one block after the other."""
        return np.concatenate([self.encoder.decode(self.decryptor.decrypt(cipher)) for cipher in ciphers])


def linear(inputs: Any) -> tuple[list[float], float, float]:
    peer, scale = Peer(*LINEAR), 2.0**20
    plains = [peer.encoder.encode(float(w), FINE) if abs(w) > 1 / FINE else None for w in inputs["weights"]]
    def score(blocks: list[list[Any]]) -> list[Any]:
        return [peer.weighted(block, plains) for block in blocks]

    return measured(peer, inputs, scale, score, float(inputs["bias"]), repeats=REPEATS["linear"])


def squares(inputs: Any) -> tuple[list[float], float, float]:
    """Affine map, square, relinearise, weighted sum; units are the network's own."""
    peer, scale = Peer(*SQUARES), 2.0**38
    first = [[peer.encoder.encode(float(w), scale) for w in unit] for unit in inputs["w1"]]

    def score(blocks: list[list[Any]]) -> list[Any]:
        answers = []
        for block in blocks:
            hidden = []
            for unit, bias in zip(first, inputs["b1"], strict=True):
                total = peer.weighted(block, unit)
                peer.evaluator.add_plain_inplace(total, peer.encoder.encode(float(bias), total.scale()))
                peer.evaluator.rescale_to_next_inplace(total)
                peer.evaluator.square_inplace(total)
                peer.evaluator.relinearize_inplace(total, peer.relin)
                peer.evaluator.rescale_to_next_inplace(total)
                hidden.append(total)
            outer = []
            for w in inputs["w2"]:
                plain = peer.encoder.encode(float(w), FINE) if abs(w) > 1 / FINE else None
                if plain is not None:
                    peer.evaluator.mod_switch_to_inplace(plain, hidden[0].parms_id())
                outer.append(plain)
            answers.append(peer.weighted(hidden, outer))
        return answers

    return measured(peer, inputs, scale, score, float(inputs["b2"][0]), repeats=REPEATS["squares"])


def measured(peer: Peer, inputs: Any, scale: float, score: Any, bias: float, *, repeats: int) -> tuple[list[float], float, float]:
    """Least CPU seconds of each stage per record, bytes per record, largest error."""
    x, times = inputs["x"], []
    for _ in range(repeats):
        marks = [time.process_time()]
        blocks = peer.encrypt(x, scale)
        marks.append(time.process_time())
        answers = score(blocks)
        marks.append(time.process_time())
        found = peer.decrypt(answers)[: len(x)] + bias
        marks.append(time.process_time())
        times.append(np.diff(marks))
    up = sum(len(cipher.to_string(seal.compr_mode_type.none)) for block in blocks for cipher in block) / len(x)
    return (np.min(times, axis=0) / len(x)).tolist(), up, float(np.abs(found - inputs["margins"]).max())


def main(arguments: list[str]) -> int:
    way, folder = arguments
    (encrypt, server, decrypt), up, error = {"linear": linear, "squares": squares}[way](np.load(Path(folder) / "inputs.npz"))
    found = {
        "encrypt": encrypt, "server": server, "decrypt": decrypt, "whole": encrypt + server + decrypt, "up_bytes": up, "largest_error": error,
        "version": version("seal-python"),
    }  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
