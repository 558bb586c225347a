"""The client's side: encrypt records, send a request, open the answer. Records never leave in the clear; they are used here, and nothing else is."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.encrypted.columns import Table
from tacit.encrypted.envelope import check_answer, sealed_request
from tacit.encrypted.keys import SecretKey
from tacit.encrypted.library import ring
from tacit.encrypted.pool import Encryptors
from tacit.encrypted.public import PublicModel
from tacit.encrypted.wire import MOST_BODY, Kind, count, field, parse
from tacit.encrypted.words import Weights, Words
from tacit.errors import DataError, MessageDamaged, Replayed, UsageError, WrongKey, WrongModel

_OPEN = 1_024


@dataclass(frozen=True)
class _Asked:
    secret: bytes
    rows: int


class Client:
    """Encrypts for one compiled model with one key.

    Args:
        model: the public half of the model.
        key: made for the model's parameters (`SecretKey.generate(model.plan.parameters)`).
        pool: other processes to encrypt in; they get the public key only.

    Raises:
        UsageError: the key is for other parameters, or the plan needs the secret key and a pool was given.
    """

    def __init__(self, model: PublicModel, key: SecretKey, *, pool: Encryptors | None = None) -> None:
        if key.parameters != model.plan.parameters:
            raise UsageError("Expected a key for the plan's parameters; make one with SecretKey.generate(model.plan.parameters)")
        if pool is not None and (model.plan.private or pool.key != key.public):
            raise UsageError("Expected a pool for this key's public half, and the plan «throughput»; «private-model» encrypts with the secret key")
        self.model, self.key, self._pool = model, key, pool
        self._open: OrderedDict[int, _Asked] = OrderedDict()
        self._number = time.time_ns()

    @property
    def most_rows(self) -> int:
        """Records that one request can hold."""
        plan = self.model.plan
        return max(1, MOST_BODY // plan.request_bytes(plan.records)) * plan.records

    def request(self, data: Any) -> bytes:
        """Records, encrypted and sealed; keep the client until the answer is opened.

        Args:
            data: as in `tacit.models.Predictor.margins`; at most `most_rows` records.

        Raises:
            DataError: there are no records, too many, or a feature is absent.
        """
        tables = list(self.model.read(data))
        rows = sum(table.rows for table in tables)
        if not 1 <= rows <= self.most_rows:
            raise DataError(f"Expected 1 to {self.most_rows:,} records in a request, got {rows:,}; send them in parts")
        body = [np.ascontiguousarray(self._encrypt(some), "<u8").tobytes() for some in _polynomials(tables, self.model, rows)]
        self._number = max(self._number + 1, time.time_ns())
        header = {"model": self.model.id, "key": self.key.public.id, "number": self._number, "rows": rows}
        message, secret = sealed_request(header, body, scorer=self.model.scorer, signing=self.key.signing)
        self._open[self._number] = _Asked(secret, rows)
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return message

    def _encrypt(self, polynomials: NDArray[np.int64]) -> Words:
        return self.key.encrypt(polynomials) if self._pool is None else self._pool.encrypt(polynomials)

    def open(self, answer: bytes) -> NDArray[np.float64]:
        """The margins in an answer, ``[rows, outputs]``: the same numbers as `Compiled.simulate` gives.

        Raises:
            MessageDamaged: it is cut short or none.
            WrongModel, WrongKey: it belongs to another.
            Replayed: it answers no request that is open; each is opened once.
            SignatureInvalid: it was changed, or the scorer did not make it.
        """
        return self.model.margins(self.open_integers(answer))

    def open_integers(self, answer: bytes) -> Weights:
        """The integers in an answer, int64 ``[rows, outputs]``; otherwise as `open`."""
        message = parse(answer, Kind.ANSWER)
        if field(message.header, "model", str) != self.model.id:
            raise WrongModel("The answer comes from another model. Open it with the client that asked")
        if field(message.header, "key", str) != self.key.public.id:
            raise WrongKey("The answer is for another key. Open it with the client that asked")
        number = field(message.header, "number", int)
        asked = self._open.get(number)
        if asked is None:
            raise Replayed("The answer belongs to no request that is open here: it was opened before, or never asked for")
        check_answer(message, secret=asked.secret)
        found = self._scores(message.body, asked.rows, whole=bool(count(message.header, "whole", 2) - 1))
        del self._open[number]
        return found

    def _scores(self, body: memoryview, rows: int, *, whole: bool) -> Weights:
        plan, degree = self.model.plan, self.model.plan.parameters.degree
        if len(body) != 8 * plan.answer_words(rows, whole=whole):
            raise MessageDamaged("Expected an answer of the size of the question; it was cut short or lengthened. Fetch it again")
        data, place = np.frombuffer(body, "<u8").astype(np.uint64), 0
        made, primes = ring(plan.parameters), plan.answer_primes
        found = np.empty((rows, plan.outputs), np.int64)
        for block in range(plan.blocks(rows)):
            begin = block * plan.records
            here = min(plan.records, rows - begin)
            kept = degree if whole else here
            for output in range(plan.outputs):
                words = np.zeros((2, primes, degree), np.uint64)
                words[0, :, :kept] = data[place : place + primes * kept].reshape(primes, kept)
                place += primes * kept
                words[1] = data[place : place + primes * degree].reshape(primes, degree)
                place += primes * degree
                made.require_reduced(words, made.moduli[:primes])
                found[begin : begin + here, output] = self.key.decrypt(words)[:here]
        return found


def _polynomials(tables: list[Table], model: PublicModel, rows: int) -> Iterator[NDArray[np.int64]]:
    """All polynomials of a request, some at a time, in the order in which they are sent: int64 ``[count, N]``."""
    plan, degree = model.plan, model.plan.parameters.degree
    if not plan.batch:
        for table in tables:
            for row in range(table.rows):
                padded = np.zeros(plan.ciphertexts * degree, np.int64)
                padded[: plan.columns] = table.record(row)
                yield padded.reshape(plan.ciphertexts, degree)
        return
    for block in range(plan.blocks(rows)):
        for first in range(0, plan.columns, _AT_ONCE):
            columns = range(first, min(first + _AT_ONCE, plan.columns))
            yield np.stack([_column(tables, column, block * degree, degree) for column in columns])


_AT_ONCE = 256


def _column(tables: list[Table], column: int, begin: int, degree: int) -> NDArray[np.int64]:
    """Coefficients of one column: the records from ``begin`` on, zeros after the last."""
    found, place, start = np.zeros(degree, np.int64), 0, 0
    for table in tables:
        low, high = max(begin, start), min(begin + degree, start + table.rows)
        if low < high:
            values = table.column(column)[low - start : high - start]
            found[place : place + len(values)] = values
            place += len(values)
        start += table.rows
    return found
