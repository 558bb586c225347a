"""TLS as a client uses it."""

from __future__ import annotations

import ssl

from tacit.errors import ConfigError


def context_for(ca: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, with the server's name checked.

    Raises:
        ConfigError: the file of authorities cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"Cannot read the authorities {ca}. Expected a file of certificates as PEM.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
