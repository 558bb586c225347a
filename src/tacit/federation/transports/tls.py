"""TLS 1.3 between members of a federation and nobody else: both sides show a certificate of the federation's own authority."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from tacit.errors import ConfigError, VerificationError
from tacit.federation.certificates import (
    CLIENT,
    CLIENT_KEY,
    ROOT,
    SERVER,
    SERVER_KEY,
    Member,
    member_of,
    read_certificate,
    require_issued,
    valid,
)

_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED", "DECRYPT_ERROR")


def listening(folder: Path) -> ssl.SSLContext:
    """What the coordinator listens with: nobody gets past the handshake without a certificate of its authority for connecting.

    Raises:
        ConfigError: a file is missing or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    return _filled(context, folder, SERVER, SERVER_KEY)


def connecting(folder: Path) -> ssl.SSLContext:
    """What a site connects with: only the federation's authority is trusted, and the host's name must be the certificate's.

    Raises:
        ConfigError: a file is missing or does not fit the others.
    """
    return _filled(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), folder, CLIENT, CLIENT_KEY)


def require_valid(folder: Path) -> None:
    """Return if the site's certificate is of the authority it has, and has not expired: the coordinator would hang up without a word.

    Raises:
        VerificationError: it is not, or has.
    """
    own, root = read_certificate(folder / CLIENT), read_certificate(folder / ROOT)
    begin, end = valid(own)
    now = datetime.now(UTC)
    if not begin <= now <= end:
        raise VerificationError(
            f"This site's certificate holds from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: it has expired, or the clock is wrong "
            f"({now:%Y-%m-%d %H:%M} here). Set the clock, or join again for a new one: tacit site join."
        )
    require_issued(own, root)


def peer(found: ssl.SSLObject | None) -> Member:
    """Who is on the other side.

    Raises:
        VerificationError: there is no TLS, or the certificate names no member.
    """
    certificate = found.getpeercert(binary_form=True) if found is not None else None
    if not certificate:
        raise VerificationError("A connection without a certificate. Expected one of a member of the federation.")
    return member_of(certificate)


def refusal(error: BaseException) -> str | None:
    """Why TLS refused one of the two certificates, if that is what an error is about."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the coordinator's certificate does not verify ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError) and "ALERT" in (seen.reason or "") and any(word in str(seen.reason) for word in _REFUSALS):
            return f"the coordinator refused this site's certificate ({str(seen.reason).lower().replace('_', ' ')})"
        seen = seen.__cause__ or seen.__context__
    return None


def _filled(context: ssl.SSLContext, folder: Path, certificate: str, key: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(folder / ROOT)
        context.load_cert_chain(folder / certificate, folder / key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"Cannot use {ROOT}, {certificate} and {key} in {folder} ({error.strerror or 'they do not fit'}). Join, or begin, the federation again."
        ) from None
    return context
