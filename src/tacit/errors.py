"""Every exception Tacit raises on purpose, in one tree.

Each class carries the exit code the command line uses for it: 2 for usage, configuration and input, 3 for work that could not be completed.

::

    TacitError
    ├── UsageError                 a parameter or an option is wrong                          2
    │   ├── ConfigError            a policy, a domain or another configuration file is wrong  2
    │   ├── DataError              a file, a column or a record layout cannot be used         2
    │   ├── PlanImpossible         an encrypted plan would be insecure or would overflow      2
    │   └── MissingExtra           an optional part is not installed                          2
    ├── GuaranteeMismatch          two guarantees that cannot be compared were compared       2
    ├── Refused                    the guard says no; nothing was answered                    3
    │   ├── BudgetExceeded         the plan costs more than is left                           3
    │   ├── PolicyViolation        the owner's policy does not allow it                       3
    │   └── OffPlan                a question that the charged plan does not contain          3
    ├── NeedsContext               a session has lost what it remembered; send the model      3
    ├── RoundAborted               too few sites were left; nothing was released              3
    ├── Unreachable                the other side of a federation is not there yet, or gone   3
    ├── EntropyError               no secure randomness                                       3
    ├── StorageError               a disk or a database failed; nothing is half-written       3
    └── VerificationError          something is not what it claims to be                      3
        ├── SignatureInvalid       a signature does not belong to the content or the key      3
        ├── ProtocolViolation      a message breaks the rules of a masked round               3
        ├── MessageDamaged         a message is cut short, too long, or of another version    3
        ├── WrongKey               a message is for, or from, another key                     3
        ├── WrongModel             a message is for another model                             3
        ├── Replayed               a message was seen before, or answers nothing asked        3
        ├── DecisionsDiffer        encrypted and plain decisions are not the same             3
        ├── LedgerCorrupted        an entry of the ledger was changed, removed or reordered   3
        └── RollbackDetected       the ledger is older than a head held elsewhere             3
"""

from __future__ import annotations


class TacitError(Exception):
    """Base of all deliberate errors; ``exit_code`` is what the command line returns for it."""

    exit_code = 3


class UsageError(TacitError):
    """A parameter or an option is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A policy, a domain or another configuration file is wrong."""


class DataError(UsageError):
    """A file, a column or a record layout cannot be used."""


class PlanImpossible(UsageError):
    """An encrypted plan would be insecure, or its numbers would overflow."""


class MissingExtra(UsageError):
    """An optional part of Tacit is not installed.

    >>> str(MissingExtra("onnx", purpose="export to ONNX"))
    "export to ONNX needs the extra «onnx»: pip install 'tacit[onnx]'"
    """

    def __init__(self, extra: str, *, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra «{extra}»: pip install 'tacit[{extra}]'")
        self.extra = extra


class GuaranteeMismatch(TacitError):
    """Two guarantees that cannot be compared were compared."""

    exit_code = 2


class Refused(TacitError):
    """The guard says no. Nothing was answered, nothing beyond the ledger's charges was spent."""


class BudgetExceeded(Refused):
    """The plan costs more than is left."""


class PolicyViolation(Refused):
    """The owner's policy does not allow it."""


class OffPlan(Refused):
    """A question that the charged plan does not contain at this step."""


class NeedsContext(TacitError):
    """A session no longer remembers the public model a question builds on; supply it and ask again."""


class RoundAborted(TacitError):
    """Too few sites were left in a masked round. Nothing was released; what was charged for it stays charged."""


class Unreachable(TacitError):
    """The other side of a federation does not answer, or is not ready; trying again later may help, and loses nothing."""


class EntropyError(TacitError):
    """The operating system gave no secure randomness; Tacit does not fall back to anything weaker."""


class StorageError(TacitError):
    """A disk or a database failed; what was there before is unchanged."""


class VerificationError(TacitError):
    """Something is not what it claims to be."""


class SignatureInvalid(VerificationError):
    """A signature does not belong to this content or this key."""


class ProtocolViolation(VerificationError):
    """A message that breaks the rules of a masked round: the site refuses it and gives nothing away."""


class MessageDamaged(VerificationError):
    """An encrypted message is cut short, too long, of another version, or not one at all."""


class WrongKey(VerificationError):
    """An encrypted message, or a passphrase, belongs to another key."""


class WrongModel(VerificationError):
    """An encrypted message belongs to another model, or to the same model compiled at another time."""


class Replayed(VerificationError):
    """An encrypted message was seen before, or answers no request that is open."""


class DecisionsDiffer(VerificationError):
    """An encrypted model decides otherwise than the plain one, by more than its stated quantisation explains."""


class LedgerCorrupted(VerificationError):
    """An entry of the ledger was changed, removed or reordered; ``sequence`` says which, where it is known."""

    def __init__(self, message: str, *, sequence: int | None = None) -> None:
        super().__init__(message)
        self.sequence = sequence


class RollbackDetected(VerificationError):
    """The ledger is older than, or not a continuation of, a head that was held elsewhere."""
