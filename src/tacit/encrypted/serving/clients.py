"""Who may ask a server, changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from tacit.encrypted.keys import EncryptionKey
from tacit.encrypted.scorer import EncryptedScorer
from tacit.encrypted.serving.kept import KeptMeter
from tacit.errors import UsageError
from tacit.web import Tokens


class Clients:
    """The clients of one scorer: their tokens and their public keys.

    Args:
        scorer: admits the keys of these clients and of nobody else.
        tokens: who may ask.
        keys: a public key by the name of the token that it is of use with.

    Raises:
        UsageError: a key has no token, or is for another model.
    """

    def __init__(self, scorer: EncryptedScorer, *, tokens: Tokens, keys: Mapping[str, EncryptionKey]) -> None:
        self.scorer = scorer
        self.replace(tokens=tokens, keys=keys)

    def replace(self, *, tokens: Tokens, keys: Mapping[str, EncryptionKey]) -> None:
        """From now on these and nobody else. What was begun for somebody who is no longer among them may end or be refused.

        What each has spent, and which requests were answered, is remembered whoever comes and goes.

        Raises:
            UsageError: a key has no token, or is for another model; everything stays as it was.
        """
        if unknown := sorted(set(keys) - tokens.names):
            raise UsageError(f"Expected a token for every client; there is none for {', '.join(unknown[:5])}. Add NAME:SECRET lines to the tokens")
        owners = {key.id: name for name, key in keys.items()}
        self.scorer.admit_only(keys.values())
        if isinstance(self.scorer.meter, KeptMeter):
            self.scorer.meter.owned_by(owners)
        self.tokens, self.owners, self.keys = tokens, owners, dict(keys)

    def __str__(self) -> str:
        return ", ".join(f"{name} {key.fingerprint}" for name, key in self.keys.items()) or "none yet"
