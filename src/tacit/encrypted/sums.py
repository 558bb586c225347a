"""Sums over contributors who never meet: each encrypts, an evaluator without a key adds, a key holder opens the sum and nothing smaller.

This is a policy carried by three roles, and no cryptography keeps the key holder from opening a single contribution that the evaluator hands over:
the two must not work together. Where contributors can be online at once, masks need no such trust and a quarter of the bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import SigningKey, VerifyKey, hexdigest
from tacit.crypto.key_files import create_key_file, read_key_file
from tacit.encrypted.keys import EncryptionKey, SecretKey
from tacit.encrypted.library import ring
from tacit.encrypted.parameters import RINGS, Parameters, tail
from tacit.encrypted.wire import Kind, Message, field, parse, prefix_of
from tacit.encrypted.words import add
from tacit.errors import DataError, MessageDamaged, PlanImpossible, Refused, Replayed, UsageError, WrongKey, WrongModel

_CONTRIBUTION, _TOTAL = "tacit.encrypted.contribution@1", "tacit.encrypted.total@1"
_SIGNATURE, _AT_ONCE, _MOST = 64, 64, 1 << 16


@dataclass(frozen=True)
class SumPlan:
    """What is added up: public, and agreed on before anything is encrypted.

    Args:
        name: of this sum; no two sums under one key may share it.
        size: integers of a contribution.
        bound: the largest absolute value of one.
        contributors: how many there are at most.
        least: how many must be in a sum that is opened.

    Raises:
        UsageError: the numbers make no sum.
        PlanImpossible: no 128-bit parameters hold it.
    """

    name: str
    size: int
    bound: int
    contributors: int
    least: int

    def __post_init__(self) -> None:
        if not self.name or not (1 <= self.size <= 1 << 26 and self.bound >= 1 and 2 <= self.least <= self.contributors <= _MOST):
            raise UsageError("Expected a name, a size of 1 to 2^26, a bound of at least 1, and 2 <= least <= contributors <= 65,536")
        self.parameters  # noqa: B018  fails where no parameters fit

    @cached_property
    def parameters(self) -> Parameters:
        """The cheapest that hold the sum of all contributors, and the noise of as many public-key encryptions."""
        bits = (self.bound * self.contributors).bit_length() + 1
        for degree, primes in RINGS:
            try:
                found = Parameters(degree, primes, max(2, bits))
            except PlanImpossible:
                continue
            deviation = found.fresh_deviation(symmetric=False, product=False) * math.sqrt(self.contributors)
            if tail(deviation) + self.contributors / 2 + 1 <= found.room():
                return found
        raise PlanImpossible(f"Expected sums below 2^47; {self.contributors:,} contributions of {self.bound:,} are wider. Quantise more coarsely")

    @property
    def polynomials(self) -> int:
        """That hold one contribution."""
        return -(-self.size // self.parameters.degree)

    @property
    def bytes(self) -> int:
        """Of the ciphertexts of one contribution."""
        return self.polynomials * 2 * self.parameters.polynomial_bytes

    @cached_property
    def id(self) -> str:
        """SHA-256 of all of it, hex."""
        plain = {"name": self.name, "size": self.size, "bound": self.bound, "contributors": self.contributors, "least": self.least}
        return hexdigest(plain, domain="tacit.encrypted.sum")

    def explain(self) -> str:
        """What it costs, and whom it trusts."""
        return (
            f"sum         «{self.name}»: {self.size:,} integers up to ±{self.bound:,} of {self.least:,} to {self.contributors:,} contributors\n"
            f"scheme      BFV, N={self.parameters.degree}, plaintext of {self.parameters.plain_bits} bits, exact; 128 bits of security\n"
            f"message     {self.bytes:,} bytes, {self.bytes / self.size:,.1f} an integer, whatever the number of contributors\n"
            "trust       evaluator and key holder together read every contribution; each alone reads none"
        )


def contribute(plan: SumPlan, values: NDArray[np.int64], *, who: str, key: EncryptionKey, signing: SigningKey) -> bytes:
    """One contribution: encrypted for the key holder, signed by the contributor.

    Args:
        plan: of the sum.
        values: int64 ``[size]``, with whatever noise they need already in them.
        who: the contributor's name, known to the evaluator.
        key: the key holder's public key.
        signing: the contributor's key.

    Raises:
        DataError: there are too few or too many values, or one is beyond the bound.
        UsageError: the key is for other parameters.
    """
    if key.parameters != plan.parameters:
        raise UsageError("Expected a key for the plan's parameters; the key holder makes one with SecretKey.generate(plan.parameters)")
    if values.shape != (plan.size,) or values.dtype != np.int64 or int(values.max()) > plan.bound or int(values.min()) < -plan.bound:
        raise DataError(f"Expected {plan.size:,} integers (int64) of at most {plan.bound:,}; clip before encrypting")
    padded = np.zeros(plan.polynomials * plan.parameters.degree, np.int64)
    padded[: plan.size] = values
    polynomials = padded.reshape(plan.polynomials, plan.parameters.degree)
    parts = [key.encrypt(polynomials[begin : begin + _AT_ONCE]).astype("<u8").tobytes() for begin in range(0, plan.polynomials, _AT_ONCE)]
    body = b"".join(parts)
    prefix = prefix_of(Kind.CONTRIBUTION, {"plan": plan.id, "key": key.id, "who": who}, len(body))
    return b"".join([prefix, body, signing.sign(_signed(prefix, body), context=_CONTRIBUTION)])


class Evaluator:
    """Adds contributions; holds no key that opens anything.

    Args:
        plan: of the sum.
        key: the key holder's public key.
        contributors: their names and public signing keys.
        signing: the evaluator's own key, under which the total is sent.
    """

    def __init__(self, plan: SumPlan, *, key: EncryptionKey, contributors: Mapping[str, VerifyKey], signing: SigningKey) -> None:
        if key.parameters != plan.parameters or len(contributors) > plan.contributors:
            raise UsageError(f"Expected a key for the plan's parameters and at most {plan.contributors:,} contributors; got {len(contributors):,}")
        self.plan, self._key, self._contributors, self._signing = plan, key, dict(contributors), signing
        self._ring = ring(plan.parameters)
        self._total = np.zeros((plan.polynomials, 2, plan.parameters.data_primes, plan.parameters.degree), np.uint64)
        self._added: list[str] = []

    @property
    def added(self) -> tuple[str, ...]:
        """Whose contributions are in the sum."""
        return tuple(self._added)

    def add(self, contribution: bytes) -> None:
        """Add one contribution.

        Raises:
            MessageDamaged: it is cut short, or none.
            WrongModel: it is for another sum.
            WrongKey: it is for another key, or its contributor is not known.
            SignatureInvalid: it was changed, or somebody else signed it.
            Replayed: this contributor's is in the sum already.
        """
        message = parse(contribution, Kind.CONTRIBUTION)
        _require_same(message, self.plan, self._key)
        who = field(message.header, "who", str)
        verify = self._contributors.get(who)
        if verify is None:
            raise WrongKey("The contribution is from somebody who takes no part. Add their public key first")
        verify.verify(_signed(message.prefix, message.body), message.seal, context=_CONTRIBUTION)
        if who in self._added:
            raise Replayed("This contributor's values are in the sum already; each counts once")
        words = np.frombuffer(message.body, "<u8").reshape(self._total.shape)
        self._ring.require_reduced(words, self._ring.moduli)
        for place, modulus in enumerate(self._ring.moduli):
            self._total[:, :, place] = add(self._total[:, :, place], words[:, :, place], modulus)
        self._added.append(who)

    def total(self) -> bytes:
        """The encrypted sum, for the key holder.

        Raises:
            Refused: too few have contributed.
        """
        _require_enough(self.plan, len(self._added))
        body = self._total.astype("<u8").tobytes()
        prefix = prefix_of(Kind.TOTAL, {"plan": self.plan.id, "key": self._key.id, "who": sorted(self._added)}, len(body))
        return b"".join([prefix, body, self._signing.sign(_signed(prefix, body), context=_TOTAL)])


class KeyHolder:
    """Opens one sum of each plan.

    Two sums over different contributors would differ by a single one's values; therefore the second is refused.

    The same sum, byte for byte, may be opened again: it says nothing new.

    Args:
        key: made with ``SecretKey.generate(plan.parameters)``.
        evaluator: the evaluator's public signing key.
        kept: a file that remembers what was opened when the process is over; made by the first `open`. It is for one plan, and a key with such a
            file opens no other.
    """

    def __init__(self, key: SecretKey, *, evaluator: VerifyKey, kept: Path | None = None) -> None:
        self._key, self._evaluator, self._kept = key, evaluator, kept
        self._opened: dict[str, str] = {}

    def open(self, plan: SumPlan, total: bytes) -> NDArray[np.int64]:
        """The exact sum of all contributions, int64 ``[size]``.

        Raises:
            MessageDamaged: it is cut short, or none.
            WrongModel: it is another plan's.
            WrongKey: it is for another key.
            SignatureInvalid: it was changed, or is not the evaluator's.
            Refused: it is of too few contributors.
            Replayed: another sum of this plan was opened before.
            StorageError: what was opened cannot be read or written; nothing was opened then.
        """
        message = parse(total, Kind.TOTAL)
        _require_same(message, plan, self._key.public)
        self._evaluator.verify(_signed(message.prefix, message.body), message.seal, context=_TOTAL)
        who = field(message.header, "who", list)
        _require_enough(plan, len(set(map(str, who))))
        made = ring(plan.parameters)
        words = np.frombuffer(message.body, "<u8").astype(np.uint64).reshape(plan.polynomials, 2, len(made.moduli), plan.parameters.degree)
        made.require_reduced(words, made.moduli)
        self._remember(plan, hashlib.sha256(total).hexdigest())
        return np.concatenate([self._key.decrypt(one) for one in words])[: plan.size]

    def _remember(self, plan: SumPlan, total: str) -> None:
        """Before anything is decrypted: whether this is the one sum of its plan, durably if there is a file."""
        if self._opened.setdefault(plan.id, total) != total or (self._kept is not None and _kept(self._kept, f"{plan.id} {total}\n")):
            raise Replayed("Another sum was opened already; two of them would give a contributor away. Agree on a new plan")


def contributors_in(total: bytes) -> tuple[str, ...]:
    """Who is in a total, by what it says; believe it after `KeyHolder.open` only.

    Raises:
        MessageDamaged: it is no total.
    """
    return tuple(map(str, field(parse(total, Kind.TOTAL).header, "who", list)))


def _kept(path: Path, line: str) -> bool:
    """Whether a file holds something else than this line; it is written if it is not there."""
    try:
        create_key_file(path, line.encode(), mode=0o600)
    except UsageError:
        return read_key_file(path, private=False) != line.encode()
    return False


def _require_same(message: Message, plan: SumPlan, key: EncryptionKey) -> None:
    if field(message.header, "plan", str) != plan.id:
        raise WrongModel("The message belongs to another sum. Compare the plans")
    if field(message.header, "key", str) != key.id:
        raise WrongKey("The message is encrypted for another key. Fetch the key holder's public key again")
    if len(message.body) != plan.bytes or len(message.seal) != _SIGNATURE:
        found = len(message.body) + len(message.seal)
        raise MessageDamaged(f"Expected {plan.bytes + _SIGNATURE:,} bytes of ciphertexts and signature, got {found:,}; it was cut. Send it again")


def _require_enough(plan: SumPlan, count: int) -> None:
    if count < plan.least:
        raise Refused(f"Expected at least {plan.least:,} contributors in a sum that is opened, got {count:,}. Wait for more")


def _signed(prefix: bytes, body: bytes | memoryview) -> bytes:
    return prefix + hashlib.sha256(body).digest()
