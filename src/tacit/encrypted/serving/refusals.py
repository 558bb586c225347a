"""What a server that scores says when it does not, and how a client gets its error back from that."""

from __future__ import annotations

from typing import NamedTuple

from tacit import errors
from tacit.errors import BudgetExceeded, MessageDamaged, Refused, Replayed, SignatureInvalid, StorageError, TacitError, WrongKey, WrongModel


class Refusal(NamedTuple):
    """HTTP status, the error's name, one line of reason, and what to do."""

    status: int
    error: str
    reason: str
    advice: str


_KINDS: tuple[tuple[type[TacitError], int, str], ...] = (
    (MessageDamaged, 400, "encrypt again and send the whole message"),
    (SignatureInvalid, 400, "encrypt again; if it happens twice, somebody changes messages on the way"),
    (WrongKey, 403, "send your public key to the model's owner, and compare its fingerprint"),
    (WrongModel, 409, "fetch /v1/model again, compare its fingerprint, and encrypt for it"),
    (Replayed, 409, "encrypt again; a message is answered once"),
    (BudgetExceeded, 403, "ask the model's owner for more"),
    (StorageError, 503, "try again later"),
)


def refusal_of(error: TacitError) -> Refusal:
    """How an error is said over HTTP.

    >>> refusal_of(Replayed("The request was answered before"))[:2]
    (409, 'Replayed')
    """
    for kind, status, advice in _KINDS:
        if isinstance(error, kind):
            return Refusal(status, kind.__name__, str(error), advice)
    return Refusal(500, "TacitError", "the request could not be scored", "try again; if it happens twice, report it")


def said(*, status: int, reason: str, advice: str) -> Refusal:
    """A refusal that has nothing to do with the message."""
    return Refusal(status, Refused.__name__, reason, advice)


def error_of(name: str, reason: str) -> TacitError:
    """The error that a server named; an unknown name is a refusal.

    >>> error_of("WrongModel", "The request is for another model")
    WrongModel('The request is for another model')
    """
    kind = getattr(errors, name, Refused) if name in {kind.__name__ for kind, _, _ in _KINDS} else Refused
    found: TacitError = kind(reason)
    return found
