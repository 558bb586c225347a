"""The server's side: it holds the model's values and public keys, and reads neither records nor scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import SealingKey
from tacit.encrypted.envelope import opened_request, sealed_answer
from tacit.encrypted.evaluate import BatchEvaluator, SingleEvaluator, hidden, switched
from tacit.encrypted.keys import EncryptionKey
from tacit.encrypted.library import ring
from tacit.encrypted.meter import Meter
from tacit.encrypted.public import PublicModel
from tacit.encrypted.wire import MOST_BODY, Kind, Message, count, field, parse
from tacit.encrypted.words import Weights, Words
from tacit.errors import MessageDamaged, PlanImpossible, UsageError, WrongKey, WrongModel

_LARGEST_NUMBER = (1 << 63) - 1


class EncryptedScorer:
    """Scores encrypted requests of admitted keys; `tacit.encrypted.compile` makes it.

    Args:
        public: the public half of the model.
        weights: int64 ``[outputs, columns]``.
        bias: int64 ``[outputs]``.
        sealing: the key that requests are sealed to.
        meter: what refuses replays and more records than a budget; one in memory without a budget by default. Enough scores give any linear
            model away.

    Raises:
        PlanImpossible: the plan hides the model, and this library's ciphertexts cannot be taken apart.
    """

    def __init__(
        self, public: PublicModel, weights: Weights, bias: NDArray[np.int64], *, sealing: SealingKey, meter: Meter | None = None
    ) -> None:
        self.public, self.meter, self._sealing = public, meter or Meter(), sealing
        self._ring = ring(public.plan.parameters)
        if public.plan.private and not self._ring.raw:
            raise PlanImpossible("The plan «private-model» needs seal-python 4.4, whose ciphertexts can be taken apart; use «throughput»")
        kind = BatchEvaluator if public.plan.batch else SingleEvaluator
        self._evaluate = kind(self._ring, weights, bias)
        self._keys: dict[str, EncryptionKey] = {}

    def admit(self, key: EncryptionKey) -> None:
        """Let the owner of this key ask from now on. Compare its fingerprint first.

        Raises:
            UsageError: it is for other parameters.
        """
        self._keys = {**self._keys, **self._fitting([key])}

    def admit_only(self, keys: Iterable[EncryptionKey]) -> None:
        """Let the owners of these keys ask from now on, and nobody else.

        Raises:
            UsageError: one is for other parameters; everything stays as it was.
        """
        self._keys = self._fitting(keys)

    def _fitting(self, keys: Iterable[EncryptionKey]) -> dict[str, EncryptionKey]:
        found = {key.id: key for key in keys}
        if any(key.parameters != self.public.plan.parameters for key in found.values()):
            raise UsageError("Expected a key for the plan's parameters; the client makes one with SecretKey.generate(model.plan.parameters)")
        return found

    @property
    def scored(self) -> Mapping[str, int]:
        """Records scored so far, by key, or by whoever the meter says pays."""
        return self.meter.scored

    def score(self, request: bytes) -> bytes:
        """The answer to one request.

        Raises:
            MessageDamaged: it is cut short, too long, or none.
            WrongModel: it is for another model, or another compilation of this one.
            WrongKey: its key is not admitted.
            SignatureInvalid: it was changed, or signed by somebody else.
            Replayed: it was answered before, or is older than the 4,096 newest of its key.
            BudgetExceeded: its key has no records left.
        """
        message = parse(request, Kind.REQUEST)
        key, rows = self._checked(message)
        number: int = field(message.header, "number", int)
        if not 0 <= number <= _LARGEST_NUMBER:  # which a database can hold
            raise MessageDamaged("Expected a request with a number from 0 to 2^63 - 1. Encrypt again")
        secret = opened_request(message, scorer=self._sealing, verify=key.verify)
        self.meter.charge(key.id, number=number, rows=rows)
        body = self._answer(message, key, rows)
        header = {"model": self.public.id, "key": key.id, "number": number, "whole": 1 if self._ring.raw else 2}
        return sealed_answer(header, body, secret=secret)

    def _checked(self, message: Message) -> tuple[EncryptionKey, int]:
        """Everything that needs no cryptography, so that a hostile message costs little."""
        plan = self.public.plan
        if field(message.header, "model", str) != self.public.id:
            raise WrongModel("The request is for another model, or for another compilation of this one. Fetch the public model again")
        key = self._keys.get(field(message.header, "key", str))
        if key is None:
            raise WrongKey("The request comes from a key that is not admitted. Send the public key first")
        rows = count(message.header, "rows", max(1, MOST_BODY // plan.request_bytes(plan.records)) * plan.records)
        if len(message.body) != plan.request_bytes(rows):
            raise MessageDamaged(f"Expected {plan.request_bytes(rows):,} bytes of ciphertexts for {rows:,} records, got {len(message.body):,}")
        return key, rows

    def _answer(self, message: Message, key: EncryptionKey, rows: int) -> list[bytes]:
        plan, made = self.public.plan, self._ring
        shape = (plan.blocks(rows), plan.ciphertexts, 2, plan.parameters.data_primes, plan.parameters.degree)
        words = np.frombuffer(message.body, "<u8").reshape(shape)
        parts = []
        for block in range(len(words)):
            if made.raw:
                made.require_reduced(words[block], made.moduli)  # just before its products, which then find it in the cache
            here = min(plan.records, rows - block * plan.records)
            kept = here if made.raw else plan.parameters.degree
            parts += [self._sent(score, kept, key) for score in self._evaluate(words[block])]
        return parts

    def _sent(self, score: Words, kept: int, key: EncryptionKey) -> bytes:
        """One ciphertext without the coefficients that hold no score."""
        plan = self.public.plan
        if plan.private:
            score = hidden(self._ring, score, kept=kept, plan=plan, key=key)
        score = switched(self._ring, score, plan.answer_primes)
        return b"".join(part.astype("<u8").tobytes() for part in (score[0, :, :kept], score[1]))

    def __reduce__(self) -> NoReturn:
        raise UsageError("A scorer was to be copied or pickled. Expected it to stay where the model is; compile the model again there")

    def __repr__(self) -> str:
        return f"EncryptedScorer({self.public.fingerprint}, {len(self._keys)} keys)"
