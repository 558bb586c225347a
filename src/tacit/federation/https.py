"""Short questions over HTTPS to a coordinator that is known by its authority's fingerprint alone."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

from tacit.errors import Unreachable, VerificationError
from tacit.federation.certificates import Address, root_fingerprint
from tacit.federation.enrolment import AUTHORITY, LONGEST, replied

_TIMEOUT = 20.0


@dataclass(frozen=True)
class Caller:
    """Asks one coordinator.

    Guarantees:
        Nothing but the authority's certificate, which no connection authenticates, is taken from a peer that has no certificate of that authority
        for its address.

    Args:
        address: where it listens.
        root: the authority's certificate, PEM.
        timeout: seconds for one question.
    """

    address: Address
    root: bytes
    timeout: float = _TIMEOUT

    @classmethod
    def pinned(cls, address: Address, fingerprint: bytes, *, timeout: float = _TIMEOUT) -> Caller:
        """Fetch the authority's certificate, and hold it against the fingerprint of the invitation.

        Raises:
            VerificationError: if it is another: the invitation is of another federation, or somebody stands in between.
            Unreachable: if nobody answers.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is believed that the fingerprint does not confirm
        status, root = _exchange(address, context, AUTHORITY, None, timeout=timeout)
        if status != 200 or root_fingerprint(root) != fingerprint.hex():
            raise VerificationError(
                f"refused: who answers at {address} is not the coordinator that made the invitation. Something between may break the encryption (a "
                "proxy that inspects TLS), or the address is another's. Ask your network's people to let this address through untouched."
            )
        return cls(address, root, timeout)

    @property
    def context(self) -> ssl.SSLContext:
        """Trusts this one authority, and checks the host's name."""
        context = ssl.create_default_context(cadata=self.root.decode("ascii"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def get(self, path: str) -> bytes:
        """The answer to a question without content.

        Raises:
            VerificationError: if the peer has no certificate of the authority.
            Unreachable: if nobody answers.
        """
        return self._ask(path, None)

    def post(self, path: str, body: bytes) -> bytes:
        """The answer to a question; raises as `get` does, and `VerificationError` with the coordinator's words where it refuses."""
        return self._ask(path, body)

    def _ask(self, path: str, body: bytes | None) -> bytes:
        status, data = _exchange(self.address, self.context, path, body, timeout=self.timeout)
        if status == 200:
            return data
        said = str(replied(data, error=str)["error"]) if status in (403, 503) else f"the coordinator answered with status {status}"
        said = "".join(sign for sign in said if sign.isprintable())[:500]
        raise VerificationError(said) if status == 403 else Unreachable(f"{self.address}: {said}")


def _exchange(address: Address, context: ssl.SSLContext, path: str, body: bytes | None, *, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=context)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        data = answer.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise VerificationError(f"Expected an answer of at most {LONGEST:,} bytes from {address}.")
        return answer.status, data
    except ssl.SSLCertVerificationError as error:
        raise VerificationError(
            f"{address} shows a certificate that the federation's authority did not issue for it ({error.verify_message}). A proxy that inspects "
            "TLS may stand in between: ask your network's people to let this address through untouched."
        ) from None
    except ssl.SSLError as error:
        if "CERTIFICATE_REQUIRED" in (error.reason or ""):
            raise Unreachable(f"{address} is in the middle of a study, and lets nobody else in until it is over. Try again then.") from None
        raise Unreachable(f"{address} does not speak TLS 1.3 as the coordinator does ({error.reason}). Check the address and port.") from None
    except socket.gaierror:
        raise Unreachable(f"The name «{address.host}» cannot be resolved. Check the invitation's address, and the site's name service.") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{address} does not answer ({type(error).__name__}). Is the coordinator running, and may this machine go out?") from None
    finally:
        connection.close()
