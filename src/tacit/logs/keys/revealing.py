"""Who is behind a pseudonym, under dual control: shares of several holders, a reason, and an entry in the ledger before the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tacit.crypto import SealingKey, Share
from tacit.errors import Refused, StorageError, UsageError, VerificationError
from tacit.guarantee import Scope
from tacit.logs.keys.epochs import ALPHABET, EpochKey
from tacit.logs.keys.keyring import Keyring
from tacit.logs.keys.vault import Opened, Vault

if TYPE_CHECKING:
    from tacit.guard import Ledger

REVEALED, REFUSED = "reveal", "reveal.refused"
MOST = 100
"""Pseudonyms in one question: each is named in the ledger."""

_SHORTEST_REASON, _LONGEST_REASON = 10, 500
_WRITTEN = re.compile(rf"(?<![0-9A-Za-z])[a-z]-([{ALPHABET}]{{2}})-[0-9a-f]{{20}}(?![0-9A-Za-z])")
_PLACED = re.compile(rf"([{ALPHABET}]{{2}})/(.+)", re.DOTALL)


def reveal(
    vault: Vault, pseudonyms: Iterable[str], *, shares: Iterable[Share], reason: str, ledger: Ledger, keyring: Keyring | None = None
) -> list[Opened]:
    """Who or what pseudonyms stand for. What was asked is in the ledger, durably, before this returns anything.

    The shares are put together in memory only. An entry of kind «reveal» holds the pseudonyms, the numbers of the shares, the reason, and never an
    identity; a refusal is an entry of kind «reveal.refused».

    ==================================================  ===========================================================
    too few shares, one twice, changed, of another set  refused, noted
    shares of another vault's key                       refused, noted
    no reason, or one of less than 10 characters        refused, noted
    a pseudonym that the vault does not know            refused, noted; nothing of the others is shown
    the ledger cannot be written                        `StorageError`, nothing is shown
    two identities with one pseudonym                   both are shown
    ==================================================  ===========================================================

    Args:
        vault: where identities are kept.
        pseudonyms: up to 100, as they stand in the output: ``u-k7-...``; a text that holds some, such as an e-mail address, stands for each of them.
            One that carries no epoch, such as an address, may be given with it: ``k7/10.3.7.1``.
        shares: of the reveal key.
        reason: why, for whoever audits the ledger; without names.
        ledger: where it is noted.
        keyring: tells whether entries are genuine.

    Raises:
        Refused: see above.
        StorageError: the ledger or the vault cannot be used.
        VerificationError: an entry of the vault was changed.
    """
    if keyring is not None and keyring.tenant != vault.tenant:
        raise UsageError("The keyring is that of another tenant than the vault. Name the one that the pipeline used.")
    if not ledger.writable:
        raise StorageError(f"ledger {ledger.name}: its signing key is not here, so nothing can be noted, and nothing is revealed. Name it.")
    held, asked = list(shares), _asked(pseudonyms)
    note: dict[str, Any] = {
        "vault": vault.id, "reveal_key": vault.public.hex, "reason": reason.strip()[:_LONGEST_REASON] if reason.isprintable() else "",
        "shares": sorted({share.index for share in held}), "share_sets": sorted({share.set_id.hex() for share in held}),
    }
    try:
        _require_question(asked, reason)
        private = _private(vault, held)
        _require_known(vault, asked)
    except (UsageError, VerificationError) as error:
        named = [_spelt(epoch, name) for epoch, name in asked[:MOST] if _WRITTEN.fullmatch(name) or name in vault]
        entry = ledger.record(REFUSED, Scope(vault.tenant), note | {"pseudonyms": named, "others": len(asked) - len(named), "refusal": str(error)})
        raise Refused(f"refused: {error} Entry {entry.sequence} of the ledger notes the attempt.") from error
    ledger.record(REVEALED, Scope(vault.tenant), note | {"pseudonyms": [_spelt(epoch, name) for epoch, name in asked]})
    epochs = {} if keyring is None else _keys(keyring)
    return [found for epoch, name in asked for found in vault.opened(name, private, epoch=epoch, epochs=epochs)]


def _asked(pseudonyms: Iterable[str]) -> list[tuple[str | None, str]]:
    """(epoch, pseudonym) of everything that is asked, each once."""
    asked: dict[tuple[str | None, str], None] = {}
    for text in pseudonyms:
        inside = [found.group() for found in _WRITTEN.finditer(text)]
        placed = _PLACED.fullmatch(text)
        if inside:
            asked.update(((None, name), None) for name in inside)
        else:
            asked[(placed.group(1), placed.group(2)) if placed else (None, text)] = None
    return list(asked)


def _spelt(epoch: str | None, name: str) -> str:
    return name if epoch is None else f"{epoch}/{name}"


def _require_question(asked: Sequence[tuple[str | None, str]], reason: str) -> None:
    if not 1 <= len(asked) <= MOST:
        raise UsageError(f"Expected 1 to {MOST} pseudonyms in one question, got {len(asked):,}.")
    words = reason.strip()
    if not _SHORTEST_REASON <= len(words) <= _LONGEST_REASON or not words.isprintable() or not any(sign.isalpha() for sign in words):
        raise UsageError(f"Expected a reason of {_SHORTEST_REASON} to {_LONGEST_REASON} characters in one line, such as the number of a case.")


def _private(vault: Vault, shares: Sequence[Share]) -> SealingKey:
    try:
        private = SealingKey.from_shares(shares)
    except (UsageError, VerificationError) as error:
        raise type(error)(f"{str(error).rstrip('.')}.") from None
    if private.public != vault.public:
        raise VerificationError(f"These shares give the key {private.public.fingerprint}; the vault is sealed to {vault.public.fingerprint}.")
    return private


def _require_known(vault: Vault, asked: Sequence[tuple[str | None, str]]) -> None:
    for number, (epoch, name) in enumerate(asked, start=1):
        known = vault.epochs_of(name)
        if not known or (epoch is not None and epoch not in known):
            raise UsageError(f"The vault does not know pseudonym {number} of {len(asked)}. Check its spelling, and whether its epoch was purged.")
        if epoch is None and len(known) > 1:
            raise UsageError(f"Pseudonym {number} of {len(asked)} stands in the epochs {', '.join(known)}. Write which: {known[-1]}/ before it.")


def _keys(keyring: Keyring) -> dict[str, EpochKey]:
    return {epoch.id: keyring.epoch(epoch.id) for epoch in keyring.epochs if not epoch.destroyed}
