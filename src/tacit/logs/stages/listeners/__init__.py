"""Where records come in: syslog over UDP, TCP and TLS, RELP, files that grow, Kafka and NATS."""

from __future__ import annotations

from tacit.logs.stages.listeners.base import Bounds, Door, Listener
from tacit.logs.stages.listeners.connections import Certificates, StreamListener, relp, tcp
from tacit.logs.stages.listeners.datagrams import UdpListener
from tacit.logs.stages.listeners.follow import FollowListener
from tacit.logs.stages.listeners.framing import Malformed, RelpStream, SyslogStream
from tacit.logs.stages.listeners.group import Listeners
from tacit.logs.stages.listeners.kafka import KafkaListener, properties
from tacit.logs.stages.listeners.nats import NatsListener, connection
from tacit.logs.stages.listeners.spec import FORMS, Setting, Spec, listener

__all__ = [
    "FORMS", "Bounds", "Certificates", "Door", "FollowListener", "KafkaListener", "Listener", "Listeners", "Malformed", "NatsListener", "RelpStream",
    "Setting", "Spec", "StreamListener", "SyslogStream", "UdpListener", "connection", "listener", "properties", "relp", "tcp",
]
