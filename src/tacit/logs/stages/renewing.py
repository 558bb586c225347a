"""The anonymiser of now: when the keyring changes, the next batch is treated under the new key."""

from __future__ import annotations

from collections.abc import Callable

from tacit.logs.anonymise import Anonymiser
from tacit.logs.keys import Keyring, Recorder, Vault
from tacit.logs.policies import SourcePolicy


class Renewing:
    """Gives the anonymiser of the epoch that the time and the keyring demand; the dictionary of names moves with it.

    Args:
        policy: of the source.
        ring: read again whenever its file has changed.
        know: called with each new anonymiser, to enter names from a directory.
        vault: where what a pseudonym stands for is kept, sealed.
    """

    def __init__(
        self, policy: SourcePolicy, ring: Keyring, *, know: Callable[[Anonymiser], None] | None = None, vault: Vault | None = None
    ) -> None:
        self._vault = vault
        self._policy, self._ring = policy, ring
        self._know = know or (lambda anonymiser: None)
        self._now: Anonymiser | None = None
        self._epochs: tuple[str, str | None] | None = None

    def __call__(self) -> Anonymiser:
        """The one to use for the next batch.

        Raises:
            TacitError: the keyring cannot be used; see `Keyring`.
        """
        self._ring.refresh()
        key, prior = self._ring.active(), self._ring.prior()
        epochs = (key.id, None if prior is None else prior.id)
        if self._now is None or epochs != self._epochs:
            made = Anonymiser(self._policy, key, prior=prior, recorder=None if self._vault is None else Recorder(self._vault, key))
            self._know(made)
            if self._now is not None:
                _move(self._now, made)
            self._now, self._epochs = made, epochs
        return self._now


def _move(old: Anonymiser, new: Anonymiser) -> None:
    """Names that were learned stay known under the new key."""
    names = list(old.tools.identities.items())
    users = [name for name, pseudonym in names if "@" in name or pseudonym.startswith("u")]
    known = set(users)
    new.know(users=users, hosts=[name for name, _ in names if name not in known])
