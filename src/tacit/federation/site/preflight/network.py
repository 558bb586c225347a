"""The way to the coordinator: name, address, encryption, clock, certificate."""

from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cryptography import x509

from tacit.errors import TacitError
from tacit.federation.certificates import Address, Member, member_of, valid
from tacit.federation.enrolment import FRESH_SECONDS, TIME
from tacit.federation.roster import COORDINATOR
from tacit.federation.site.preflight.outcome import RENEW, Bench, Failed
from tacit.federation.transports import tls

_SOON = timedelta(days=21)


def name(bench: Bench) -> str:
    """Whether the coordinator's name resolves."""
    address = bench.connection.address
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)}
    except OSError:
        raise Failed(
            f"«{address.host}» cannot be resolved", "Ask your network's people for a DNS entry or forwarding; no other name service is asked.",
        ) from None
    return f"{address.host} is {', '.join(sorted(found)[:3])}"


def encryption(bench: Bench) -> str:
    """Whether the one who answers has a certificate of the pinned authority, for this address and the coordinator's key."""
    connection = bench.connection
    try:
        with _connected(bench) as secured:
            peer, version = member_of(secured.getpeercert(binary_form=True) or b""), secured.version()
    except ssl.SSLCertVerificationError as error:
        shown = _issuer(connection.address, bench.timeout)
        raise Failed(
            f"{connection.address} shows a certificate of «{shown}», not of the federation ({error.verify_message})",
            "A proxy opens the encryption, or a clock is wrong. Ask for an exception from TLS inspection for this address.",
        ) from None
    except OSError as error:
        raise Failed(
            f"{connection.address} does not answer ({type(error).__name__})",
            f"Let this machine open connections to {connection.address} (TCP, outbound only), and ask whether the coordinator is running.",
        ) from None
    if peer != Member(COORDINATOR, connection.coordinator):
        raise Failed(f"{connection.address} is a member of the federation, but not its coordinator", "Ask the coordinator for its address.")
    return f"{connection.address} is the coordinator, {version}, nobody in between"


def clock(bench: Bench) -> str:
    """Whether this clock and the coordinator's agree."""
    try:
        with _connected(bench) as secured:
            secured.sendall(f"GET {TIME} HTTP/1.1\r\nHost: {bench.connection.address}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(secured, method="GET")
            answer.begin()
            theirs = parsedate_to_datetime(answer.headers["Date"])
    except (OSError, TypeError, ValueError, http.client.HTTPException) as error:
        raise Failed(f"the coordinator's time cannot be read ({type(error).__name__})", "See the check «encryption»; then run this again.") from None
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew > FRESH_SECONDS / 5:
        raise Failed(f"this clock and the coordinator's differ by {skew:.0f} s", "Set both by NTP; signed questions are good for a few minutes only.")
    return f"{skew:.0f} s from the coordinator's"


def certificate(bench: Bench) -> str:
    """Whether the site's certificate holds, and for how long."""
    _ = bench.connection
    begins, ends = valid(bench.folder.certificate)
    now = datetime.now(UTC)
    if not begins <= now < ends:
        raise Failed(f"the site's certificate holds from {begins.date()} until {ends.date()}", RENEW)
    if ends - now < _SOON:
        raise Failed(f"the site's certificate ends on {ends.date()}", RENEW)
    return f"holds until {ends.date()}"


def _connected(bench: Bench) -> ssl.SSLSocket:
    """A verified connection, with the site's certificate for a coordinator that asks for it.

    Raises:
        OSError: if there is none.
    """
    address = bench.connection.address
    try:
        context = tls.connecting(bench.folder.path)
    except TacitError as error:
        raise Failed(str(error), "Restore the site's folder, or join again in a new one.") from None
    plain = socket.create_connection((address.host, address.port), timeout=bench.timeout)
    try:
        return context.wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


def _issuer(address: Address, timeout: float) -> str:
    """Who issued what is shown instead; for the message alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address.host, address.port), timeout=timeout) as plain, context.wrap_socket(plain) as secured:
            shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"").issuer.rfc4514_string()
    except (OSError, ValueError):
        return "somebody else"
    return "".join(sign for sign in shown if sign.isprintable())[:120]
