"""What to listen to, as one word: ``tcp://0.0.0.0:514``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from tacit.errors import UsageError
from tacit.logs.formats import LineFormat
from tacit.logs.stages.delivery import Delivery
from tacit.logs.stages.listeners.base import Bounds, Listener
from tacit.logs.stages.listeners.connections import Certificates, relp, tcp
from tacit.logs.stages.listeners.datagrams import UdpListener
from tacit.logs.stages.listeners.follow import FollowListener
from tacit.logs.stages.metrics import Metrics

FORMS = {
    "udp": "udp://HOST:PORT", "tcp": "tcp://HOST:PORT", "tls": "tls://HOST:PORT", "relp": "relp://HOST:PORT", "relp+tls": "relp+tls://HOST:PORT",
    "follow": "follow:/PATH", "kafka": "kafka://HOST:PORT/TOPIC?group=NAME&config=FILE",
    "nats": "nats://HOST:PORT/STREAM/SUBJECT?durable=NAME&creds=FILE&ca=FILE",
}
"""How each kind is written."""

_OPTIONS = {"kafka": {"group", "config"}, "nats": {"durable", "creds", "ca"}}
_PORTS = {"kafka": 9092, "nats": 4222}
_OUTGOING = ("follow", "kafka", "nats")
_PATHS = {"kafka": 1, "nats": 2}


@dataclass(frozen=True)
class Spec:
    """One source.

    >>> Spec.parse("tcp://0.0.0.0:514")
    Spec(kind='tcp', host='0.0.0.0', port=514, parts=(), options={})
    >>> Spec.parse("nats://broker/LOGS/logs.>?durable=tacit").parts
    ('LOGS', 'logs.>')

    Args:
        kind: one of `FORMS`.
        host: to listen on, or of the server.
        port: of it.
        parts: the path of a file; a topic; a stream and a subject.
        options: what stood behind the question mark.
    """

    kind: str
    host: str = ""
    port: int = 0
    parts: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read one.

        Raises:
            UsageError: with the forms that are known.
        """
        kind, colon, rest = text.partition(":")
        if not colon or kind not in FORMS:
            raise UsageError(f"Expected --listen as one of {', '.join(FORMS.values())}; got «{text}».")
        if kind == "follow":
            if not Path(rest).is_absolute():
                raise UsageError(f"Expected the full path of a file in --listen follow:/PATH; got «{text}».")
            return cls(kind, parts=(rest,))
        return _address(kind, text)

    @property
    def tls(self) -> bool:
        """Whether the server's certificate is needed."""
        return self.kind in ("tls", "relp+tls")

    def exposed(self, *, authenticated: bool) -> bool:
        """Whether anybody beyond this machine can send: it listens on more than this machine's own address, and asks for no certificate."""
        if authenticated or self.kind in _OUTGOING:
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


@dataclass(frozen=True)
class Setting:
    """What all listeners of a pipeline share.

    Args:
        delivery: where records go.
        form: how they are written.
        metrics: where it is counted.
        bounds: of each listener.
        tls: certificate of those under TLS.
        state: folder of checkpoints.
    """

    delivery: Delivery
    form: LineFormat
    metrics: Metrics
    bounds: Bounds = field(default_factory=Bounds)
    tls: Certificates | None = None
    state: Path | None = None


def listener(spec: Spec, setting: Setting) -> Listener:
    """What listens as a spec says.

    Raises:
        UsageError: it lacks a certificate or a folder for its state.
        MissingExtra: Kafka's or NATS' client is not installed.
    """
    if spec.tls and setting.tls is None:
        raise UsageError(f"Listening on {spec.kind}:// needs a certificate; name it with --tls-cert and --tls-key.")
    if 2 * setting.bounds.longest > setting.delivery.limits.most_bytes:
        raise UsageError(f"Expected a queue of at least {2 * setting.bounds.longest:,} bytes, for two of the longest records.")
    address = (spec.host, spec.port)
    delivery, form, metrics, bounds = setting.delivery, setting.form, setting.metrics, setting.bounds
    match spec.kind:
        case "udp":
            return UdpListener(address, delivery, form, metrics=metrics, bounds=bounds)
        case "tcp" | "tls":
            return tcp(address, delivery, form, metrics=metrics, bounds=bounds, tls=setting.tls if spec.tls else None)
        case "relp" | "relp+tls":
            return relp(address, delivery, form, metrics=metrics, bounds=bounds, tls=setting.tls if spec.tls else None)
        case "follow":
            if setting.state is None:
                raise UsageError("Following a file needs a folder for its checkpoint; name it with --state.")
            return FollowListener(spec.parts[0], delivery, form, state=setting.state, metrics=metrics, bounds=bounds)
        case "kafka":
            from tacit.logs.stages.listeners.kafka import kafka

            return kafka(spec, setting)
        case _:
            from tacit.logs.stages.listeners.nats import nats

            return nats(spec, setting)


def _address(kind: str, text: str) -> Spec:
    expected = f"Expected --listen {FORMS[kind]}; got «{text}»"
    try:
        url = urlsplit(text)
        port = url.port
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query), max_num_fields=8))
    except ValueError:
        raise UsageError(f"{expected}.") from None
    if url.username is not None or url.password is not None:
        raise UsageError(f"Expected --listen {FORMS[kind]} without a user and a password, which every process could read; name a file.")
    if url.fragment or not text.startswith(f"{kind}://") or not url.hostname:
        raise UsageError(f"{expected}.")
    if port is None and kind not in _PORTS:
        raise UsageError(f"{expected}: the port is missing.")
    parts = tuple(unquote(part) for part in url.path.split("/")[1:]) if url.path not in ("", "/") else ()
    if len(parts) != _PATHS.get(kind, 0) or not all(parts):
        raise UsageError(f"{expected}.")
    if wrong := set(options) - _OPTIONS.get(kind, set()):
        raise UsageError(f"{expected}: there is no option «{min(wrong)}».")
    return Spec(kind, url.hostname, _PORTS[kind] if port is None else port, parts, options)
