"""An invitation: one line of text with all that a site needs to find the coordinator, to know it when it answers, and to be let in once."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass, field

from tacit.crypto import canonical_bytes, digest, from_canonical
from tacit.errors import UsageError, VerificationError
from tacit.federation.certificates import Address
from tacit.federation.roster import require_name

_PREFIX = "tacit-invite:"
_CONTEXT = "tacit.invite@1"
_LONGEST = 4096
_CHECK = 4
_SECRET = 16


@dataclass(frozen=True)
class Invite:
    """What the coordinator hands to one site, by a way that nobody else reads.

    >>> invite = Invite("heart", "anna", "hub.example.org:8443", bytes(32))
    >>> Invite.parse(invite.text) == invite
    True

    Guarantees:
        The fingerprint of the authority is all that the site trusts: who has another cannot pass for the coordinator, whatever names and
        certificates the network shows. The secret lets one key in, once, and only after a person has confirmed it.

    Args:
        federation: its public name.
        site: who is invited.
        address: host and port of the coordinator.
        authority: SHA-256 of the certificate that the federation's others are issued by (DER), 32 bytes.
        secret: 16 bytes, drawn afresh.
    """

    federation: str
    site: str
    address: str
    authority: bytes
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(_SECRET), repr=False)

    def __post_init__(self) -> None:
        require_name(self.site)
        Address.parse(self.address)
        if len(self.authority) != 32 or len(self.secret) != _SECRET or not self.federation.strip():
            raise UsageError("Expected an invitation with a federation's name, a fingerprint of 32 bytes and a secret of 16.")

    @property
    def text(self) -> str:
        """One line to print or send; `parse` reverses it."""
        content = canonical_bytes([1, self.federation, self.site, self.address, self.authority, self.secret])
        return _PREFIX + base64.urlsafe_b64encode(content + _check(content)).decode("ascii").rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Read a line that `text` wrote, spaces and line breaks aside.

        Raises:
            UsageError: if it is none, or a part of it is missing or changed.
        """
        plain = "".join(text.split())
        try:
            if not plain.startswith(_PREFIX) or len(plain) > _LONGEST:
                raise ValueError("no invitation")
            body = plain.removeprefix(_PREFIX)
            data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            content, check = data[:-_CHECK], data[-_CHECK:]
            if not hmac.compare_digest(check, _check(content)):
                raise ValueError("changed")
            version, *fields = from_canonical(content)
            if version != 1:
                raise ValueError("another version")
            return cls(*fields)
        except (binascii.Error, TypeError, ValueError, AttributeError, VerificationError) as error:
            raise UsageError(f"Expected an invitation: one line that begins with «{_PREFIX}», as a whole. Copy it again.") from error

    @property
    def receipt(self) -> str:
        """What the coordinator keeps of the secret, hex: enough to know it again, not to use it."""
        return receipt_of(self.secret)


def receipt_of(secret: bytes) -> str:
    """SHA-256 of a secret of full entropy, hex."""
    return digest(secret, domain=f"{_CONTEXT}.secret").hex()


def _check(content: bytes) -> bytes:
    return digest(content, domain=_CONTEXT)[:_CHECK]


def spelled(fingerprint: bytes) -> str:
    """Ten bytes of a fingerprint for people to compare over the phone, as `VerifyKey.fingerprint` writes them.

    >>> spelled(bytes(32))
    'AAAA-AAAA-AAAA-AAAA'
    """
    text = base64.b32encode(fingerprint[:10]).decode("ascii")
    return "-".join(text[place : place + 4] for place in range(0, 16, 4))


def same_fingerprint(typed: str, fingerprint: str) -> bool:
    """Whether what a person typed is the fingerprint, small letters, spaces and dashes aside. All 16 characters are needed.

    >>> same_fingerprint("aaaa aaaa aaaa-aaab", "AAAA-AAAA-AAAA-AAAB"), same_fingerprint("AAAA", "AAAA-AAAA-AAAA-AAAB")
    (True, False)
    """
    plain = re.sub(r"[\s-]", "", typed).upper()
    return hmac.compare_digest(plain.encode(), fingerprint.replace("-", "").encode())
