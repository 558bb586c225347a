"""Where treated events go, once and durably, or again until they are there."""

from __future__ import annotations

from tacit.logs.stages.outlets.base import Outlet, OutletError
from tacit.logs.stages.outlets.bulk import BulkOutlet
from tacit.logs.stages.outlets.file import FileOutlet
from tacit.logs.stages.outlets.hec import HecOutlet
from tacit.logs.stages.outlets.kafka import KafkaOutlet
from tacit.logs.stages.outlets.nats import NatsOutlet
from tacit.logs.stages.outlets.syslog import SyslogOutlet
from tacit.logs.stages.outlets.wire import Wire, basic

__all__ = [
    "BulkOutlet", "FileOutlet", "HecOutlet", "KafkaOutlet", "NatsOutlet", "Outlet", "OutletError", "SyslogOutlet", "Wire", "basic",
]
