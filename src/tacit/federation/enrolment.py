"""What is said before a site has a certificate, and about the roster: bytes in, bytes out, the same forms on both sides.

Five questions, each one HTTPS request to the coordinator: ``/enrol`` (the invitation's secret, the site's key and its request for a certificate),
``/roster`` (who takes part so far), ``/sign`` (the site's signature under the roster), ``/held`` (the site has kept it with all signatures) and
``/study`` (the signed card, for a preflight). The first is admitted by the secret, the others by a signature with the key that was enrolled.
Connections are trusted because the invitation pins the authority; nothing here depends on a name service or a public authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, from_canonical
from tacit.errors import UsageError, VerificationError
from tacit.federation.roster import require_name

LONGEST = 1 << 20
_ASKS, _ENROLS = "tacit.desk@1", "tacit.enrol@1"
FRESH_SECONDS = 300
"""How old a signed question may be: two clocks may differ by this much. What a replayed one gets, its sender got before."""

AUTHORITY, TIME, ENROL, ROSTER, SIGN, HELD, STUDY = "/authority", "/time", "/enrol", "/roster", "/sign", "/held", "/study"
WAITING, ADMITTED = "waiting", "admitted"


@dataclass(frozen=True)
class Enrolment:
    """A site's application: its name, the invitation's secret, its key, its request for a certificate, and a signature under both.

    Args:
        site: its name.
        secret: of the invitation.
        key: of the site, as the roster will have it.
        request: for a certificate (PKCS #10, PEM).
        signature: with the key, over name and request: whoever has the secret alone cannot enrol another's key.
    """

    site: str
    secret: bytes
    key: VerifyKey
    request: bytes
    signature: bytes

    @classmethod
    def make(cls, site: str, secret: bytes, *, key: SigningKey, request: bytes) -> Enrolment:
        """Sign one."""
        return cls(site, secret, key.public, request, key.sign(canonical_bytes([site, request]), context=_ENROLS))

    def to_bytes(self) -> bytes:
        """Canonical text."""
        return canonical_bytes({"site": self.site, "secret": self.secret, "key": self.key.raw, "request": self.request, "signature": self.signature})

    @classmethod
    def from_bytes(cls, data: bytes) -> Enrolment:
        """Read and verify one.

        Raises:
            VerificationError: if it is none, or the signature is wrong.
        """
        fields = _fields(data, {"site", "secret", "key", "request", "signature"})
        try:
            found = cls(
                require_name(fields["site"]), bytes(fields["secret"]), VerifyKey.from_bytes(fields["key"]), bytes(fields["request"]),
                bytes(fields["signature"]),
            )
        except (TypeError, ValueError, UsageError) as error:
            raise _wrong("an application to join") from error
        found.key.verify(canonical_bytes([found.site, found.request]), found.signature, context=_ENROLS)
        return found


@dataclass(frozen=True)
class Asked:
    """A question of an enrolled site, signed with its key.

    Args:
        path: which question.
        site: who asks.
        at: when, UTC, whole seconds since 1970.
        body: what goes with it.
    """

    path: str
    site: str
    at: int
    body: bytes

    @classmethod
    def now(cls, path: str, site: str, body: bytes = b"") -> Asked:
        """A question asked now."""
        return cls(path, site, int(datetime.now(UTC).timestamp()), body)

    def sign(self, key: SigningKey) -> bytes:
        """The question with the site's signature."""
        content = canonical_bytes({"path": self.path, "site": self.site, "at": self.at, "body": self.body})
        return canonical_bytes({"content": content, "signature": key.sign(content, context=_ASKS)})

    @classmethod
    def claimed(cls, data: bytes) -> Asked:
        """What a signed question says, unverified: to find the key to verify it with.

        Raises:
            VerificationError: if it is none.
        """
        fields = _fields(_fields(data, {"content", "signature"})["content"], {"path", "site", "at", "body"})
        try:
            return cls(str(fields["path"]), require_name(fields["site"]), int(fields["at"]), bytes(fields["body"]))
        except (TypeError, ValueError, UsageError) as error:
            raise _wrong("a signed question") from error

    def require(self, data: bytes, key: VerifyKey, *, path: str, now: datetime) -> None:
        """Return if ``data`` is this question, signed with ``key``, for ``path``, and fresh.

        Raises:
            VerificationError: otherwise.
        """
        outer = _fields(data, {"content", "signature"})
        key.verify(outer["content"], outer["signature"], context=_ASKS)
        if self.path != path:
            raise VerificationError("A signed question was sent to another place than it was signed for.")
        if abs(now.timestamp() - self.at) > FRESH_SECONDS:
            raise VerificationError(f"The site's clock and the coordinator's differ by more than {FRESH_SECONDS // 60} minutes. Set both by NTP.")


def reply(**fields: Any) -> bytes:
    """An answer in canonical text."""
    return canonical_bytes(fields)


def replied(data: bytes, **kinds: type) -> dict[str, Any]:
    """The fields of an answer, each of its kind.

    >>> replied(reply(state="waiting", at=3), state=str, at=int)
    {'at': 3, 'state': 'waiting'}

    Raises:
        VerificationError: if it has other fields than these, or of other kinds.
    """
    fields = _fields(data, set(kinds))
    if any(type(fields[name]) is not kind for name, kind in kinds.items()):
        raise _wrong("an answer of the coordinator")
    return fields


def _fields(data: object, names: set[str]) -> dict[str, Any]:
    if not isinstance(data, bytes) or len(data) > LONGEST:
        raise _wrong("a message of at most 1 MiB")
    fields = from_canonical(data)
    if not isinstance(fields, dict) or fields.keys() != names:
        raise _wrong("other fields")
    return fields


def _wrong(what: str) -> VerificationError:
    return VerificationError(f"Expected {what}; got something else. Compare the versions of Tacit on both sides: tacit --version.")
