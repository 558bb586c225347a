"""What is computed how: the parameters of one model's scores, chosen so that nothing overflows and nothing is insecure, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tacit.encrypted.flooding import flood_bits_for, reach
from tacit.encrypted.parameters import FAILURE_BITS, FLOOD_BITS, RINGS, SECURITY_BITS, Parameters, tail
from tacit.encrypted.words import Weights, limb_bits
from tacit.errors import PlanImpossible, UsageError

PLANS = ("throughput", "private-model")
PACKINGS = ("batch", "single")

_MICROSECONDS = {2048: (171, 63, 75), 4096: (400, 160, 150), 8192: (1313, 634, 700)}
"""Of one encryption, one decryption and one product of polynomials, on one core of a 2026 server."""

_NANOSECONDS_A_WORD = 1.2


@dataclass(frozen=True)
class Plan:
    """Parameters of one compiled model. Public.

    Args:
        name: «throughput» or «private-model»: what it protects.
        packing: «batch», one ciphertext per column and N records; or «single», one record in as few ciphertexts as hold its columns.
        parameters: of the scheme.
        columns: integers of one record.
        outputs: scores of one record.
        flood_bits: log2 of the width of the flooding noise; 0 for none.
        answer_primes: primes that an answer keeps.
        spare_bits: log2 of the room for noise over the largest noise there can be.
    """

    name: str
    packing: str
    parameters: Parameters
    columns: int
    outputs: int
    flood_bits: int
    answer_primes: int
    spare_bits: float

    @property
    def private(self) -> bool:
        """Whether answers hide the model."""
        return self.name == "private-model"

    @property
    def batch(self) -> bool:
        """Whether many records share a ciphertext."""
        return self.packing == "batch"

    @property
    def ciphertexts(self) -> int:
        """That one block of records, or one record, takes."""
        return self.columns if self.batch else -(-self.columns // self.parameters.degree)

    @property
    def records(self) -> int:
        """That share the ciphertexts of one block."""
        return self.parameters.degree if self.batch else 1

    def blocks(self, rows: int) -> int:
        """Groups of ciphertexts that so many records take."""
        return -(-rows // self.records)

    def request_bytes(self, rows: int) -> int:
        """Of the ciphertexts of a request."""
        return self.blocks(rows) * self.ciphertexts * 2 * self.parameters.polynomial_bytes

    def answer_words(self, rows: int, *, whole: bool = False) -> int:
        """Words of an answer: of each ciphertext one polynomial, and of the other no more coefficients than there are records in it."""
        degree = self.parameters.degree
        kept = self.blocks(rows) * degree if whole else rows
        return self.outputs * self.answer_primes * (self.blocks(rows) * degree + kept)

    def explain(self, rows: int | None = None) -> str:
        """What the plan protects, costs and leaves, for a request of so many records (default: a full block)."""
        rows = rows or self.records
        p = self.parameters
        encrypt, decrypt, server = self._microseconds(rows)
        protects = _PROTECTS[self.name]
        up, down = self.request_bytes(rows) / rows, 8 * self.answer_words(rows) / rows
        lines = (
            f"plan        {self.name}, packing {self.packing}: {protects}",
            f"scheme      BFV, N={p.degree}, modulus of {sum(p.bits)} bits, plaintext of {p.plain_bits}: {SECURITY_BITS} bits of security",
            f"exactness   integers below 2^{p.plain_bits - 1}; {self.spare_bits:.1f} bits of noise to spare, a wrong score below 2^-{FAILURE_BITS}",
            f"model       {self._hidden}",
            f"message     {up:,.0f} bytes up and {down:,.0f} down a record ({rows:,} at a time)",
            f"time        about {encrypt:,.3g} µs to encrypt, {server:,.3g} to score and {decrypt:,.3g} to decrypt a record, one core",
        )
        return "\n".join(lines)

    @property
    def _hidden(self) -> str:
        if not self.private:
            return "weights are not hidden from whoever holds the secret key; structure, bits of score and unit are public"
        flooded = f"flooded with 2^{self.flood_bits}, statistical distance 2^-{FLOOD_BITS}"
        return f"{flooded}, for a key holder who keeps to the protocol; structure is public"

    def _microseconds(self, rows: int) -> tuple[float, float, float]:
        encrypt, decrypt, product = _MICROSECONDS[self.parameters.degree]
        primes, blocks = self.parameters.data_primes, self.blocks(rows)
        ciphers = blocks * self.ciphertexts
        words = ciphers * 2 * self.parameters.degree * primes
        server = words * self.outputs * _NANOSECONDS_A_WORD / 1e3 if self.batch else ciphers * self.outputs * product * primes
        fixed = blocks * self.outputs * (1_200 * primes if self.private else 30)
        return ciphers * encrypt * primes / rows, blocks * self.outputs * decrypt / rows, (server + fixed) / rows

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "name": self.name, "packing": self.packing, "parameters": self.parameters.to_dict(), "columns": self.columns, "outputs": self.outputs,
            "flood_bits": self.flood_bits, "answer_primes": self.answer_primes, "spare_bits": self.spare_bits,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described.

        Raises:
            KeyError, TypeError, ValueError, TacitError: it is none.
        """
        parameters = Parameters.from_dict(data["parameters"])
        made = cls(**{**data, "parameters": parameters})
        numbers = (made.columns, made.outputs, made.flood_bits, made.answer_primes)
        if made.name not in PLANS or made.packing not in PACKINGS or not all(type(number) is int for number in numbers):
            raise ValueError("no plan")
        if not (made.columns > 0 and made.outputs > 0 and made.flood_bits >= 0 and 1 <= made.answer_primes <= parameters.data_primes):
            raise ValueError("no plan")
        if made.flood_bits and reach(made.flood_bits) >= parameters.room():
            raise ValueError("no plan")
        return made


_PROTECTS = {
    "throughput": "the server learns nothing of records; the key holder could learn the weights",
    "private-model": "the server learns nothing of records; the key holder learns the scores and nothing else",
}


def choose(weights: Weights, span: int, *, name: str, packing: str) -> Plan:
    """The cheapest plan that is secure, never overflows, and bears the noise.

    >>> choose(np.array([[3, -4]]), 7 * 1024, name="throughput", packing="batch").parameters
    Parameters(degree=2048, bits=(54,), plain_bits=14)

    Args:
        weights: int64 ``[outputs, columns]``.
        span: the largest absolute score that any record can have.
        name: «throughput» or «private-model».
        packing: «batch» or «single».

    Raises:
        UsageError: there is no such plan.
        PlanImpossible: none of the parameter sets can do it, or an output has no weight that is not zero.
    """
    if name not in PLANS or packing not in PACKINGS:
        raise UsageError(f"Expected a plan of {PLANS} and a packing of {PACKINGS}; got {name!r} and {packing!r}")
    if not weights.any(axis=1).all():
        raise PlanImpossible("Expected weights that are not all zero; one output gives every record the same score. Use more weight_bits")
    if packing == "batch":
        limb_bits(weights)
    found = [plan for degree, bits in RINGS if (plan := _fitting(weights, span, name, packing, (degree, bits)))]
    if not found:
        raise PlanImpossible(f"Expected scores that some 128-bit parameters can hold; 2^{span.bit_length()} is too wide here. Use fewer weight_bits")
    return min(found, key=_cost)


def _cost(plan: Plan) -> tuple[float, int]:
    """Of one block for the client and the server, then bytes."""
    return sum(plan._microseconds(plan.records)), plan.request_bytes(1)


def _fitting(weights: Weights, span: int, name: str, packing: str, ring: tuple[int, tuple[int, ...]]) -> Plan | None:
    try:
        parameters = Parameters(*ring, plain_bits=max(2, span.bit_length() + 1))
    except PlanImpossible:
        return None
    flood_bits, noise = _noise(weights, parameters, private=name == "private-model", product=packing == "single")
    spare = _spare(parameters.room(), noise)
    if spare < 0:
        return None
    primes, spare = _switched(parameters, noise, spare)
    return Plan(name, packing, parameters, weights.shape[1], len(weights), flood_bits, primes, round(spare, 2))


def _noise(weights: Weights, parameters: Parameters, *, private: bool, product: bool) -> tuple[int, float]:
    """log2 of the flooding's width, and the largest noise before primes are dropped: with probability 2^-60 none is larger.

    Each column brings its fresh noise and half a unit of rounding, times its weight; the constant another half.
    """
    length = math.sqrt(float((weights.astype(np.float64) ** 2).sum(axis=1).max(initial=0.0)))
    total = float(np.abs(weights).sum(axis=1).max(initial=0))
    noise = tail(parameters.fresh_deviation(symmetric=private, product=product) * length) + total / 2 + 1
    if not private:
        return 0, noise
    flooded = flood_bits_for(noise if product else noise * math.sqrt(parameters.degree))
    return flooded, noise + reach(flooded) + tail(parameters.fresh_deviation(symmetric=False, product=False)) + 1


def _switched(parameters: Parameters, noise: float, spare: float) -> tuple[int, float]:
    """As few primes as an answer can do with, and the room that then is spare."""
    primes = parameters.data_primes
    while primes > 1:
        noise = noise / 2.0 ** (parameters.bits[primes - 1] - 1) + tail(parameters.rounding_deviation) + 1
        left = _spare(parameters.room(primes - 1), noise)
        if left < 0:
            break
        primes, spare = primes - 1, left
    return primes, spare


def _spare(room: float, noise: float) -> float:
    return math.log2(room / noise) if room > 0 else -1.0


