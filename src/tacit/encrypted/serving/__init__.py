"""Encrypted scoring as a service: one process that holds a model and reads neither records nor scores, and the client's way to it.

::

    save_compiled(compiled, "vendor")                                                # the model's owner, once
    tacit encrypt serve vendor --listen 0.0.0.0:8443 --token-file tokens --tls-cert cert.pem --tls-key key.pem

    remote = Remote("https://scores.example:8443", token=secret, ca="ca.pem")        # the client
    client = Client(remote.model(fingerprint="0a1b2-..."), key)
    margins = remote.margins(client, records)
"""

from __future__ import annotations

from tacit.encrypted.serving.app import Limits, application
from tacit.encrypted.serving.clients import Clients
from tacit.encrypted.serving.kept import CLIENTS, PUBLIC, SPENT, KeptMeter, load_clients, load_compiled, load_public, save_compiled
from tacit.encrypted.serving.metrics import Metrics
from tacit.encrypted.serving.remote import Remote, Traffic

__all__ = [
    "CLIENTS", "PUBLIC", "SPENT", "Clients", "KeptMeter", "Limits", "Metrics", "Remote", "Traffic", "application", "load_clients", "load_compiled",
    "load_public", "save_compiled",
]
