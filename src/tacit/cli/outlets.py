"""Outlets as options of a command: ``--to``, ``--to-auth`` and ``--to-ca``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tacit.cli.listening import endpoint
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.logs.stages.outlets import Outlet

Command = TypeVar("Command", bound=Callable[..., Any])


def outlet_options(what: str, *, required: bool) -> Callable[[Command], Command]:
    """The three options, with ``what`` goes there in their help."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--to-ca", type=click.Path(path_type=Path),
                         help="Authorities that outlets' certificates are checked against. [default: the system's]"),
            click.option("--to-auth", type=click.Path(path_type=Path),
                         help="Lines of an outlet's name and its Authorization header, such as: bulk ApiKey AbC=="),
            click.option("--to", multiple=True, required=required, metavar="OUTLET",
                         help=f"Where {what} go: file:PATH, bulk:URL/INDEX, hec:URL, syslog:HOST:PORT, syslog+tls:HOST:PORT, "
                              "kafka:HOST:PORT/TOPIC, nats:HOST:PORT/SUBJECT. Several get all of them each."),
        ):
            command = option(command)
        return command

    return add


def opened_outlets(options: dict[str, Any], stack: ExitStack) -> list[Outlet]:
    """What ``--to`` names, closed when the stack is left.

    Raises:
        UsageError: one of them is wrong, or ``--to-auth`` is.
    """
    authorizations = _authorizations(options["to_auth"])
    kinds: Counter[str] = Counter()
    found: list[Outlet] = []
    for spec in options["to"]:
        kind, _, rest = spec.partition(":")
        name = kind.partition("+")[0]
        kinds[name] += 1
        name += f"-{kinds[name]}" if kinds[name] > 1 else ""
        found.append(_outlet(kind, rest, name, options, authorizations.get(name)))
        stack.callback(found[-1].close)
    names = {outlet.name for outlet in found}
    unused = authorizations.keys() - names
    if unused:
        raise UsageError(f"Expected names of outlets in {options['to_auth']}: {', '.join(sorted(names))}; line(s) for none of them: {len(unused)}.")
    return found


def _outlet(kind: str, rest: str, name: str, options: dict[str, Any], authorization: str | None) -> Outlet:
    from tacit.logs.stages.outlets import BulkOutlet, FileOutlet, HecOutlet, SyslogOutlet, Wire
    from tacit.web import context_for

    ca = None if options["to_ca"] is None else str(options["to_ca"])
    if kind == "file" and rest:
        return FileOutlet(rest, most_bytes=options.get("rotate", 0) << 20, name=name)
    if kind == "bulk":
        base, _, index = rest.rstrip("/").rpartition("/")
        if "://" not in base:
            raise UsageError("Expected --to bulk:URL/INDEX, such as bulk:https://siem.example:9200/logs-tacit")
        return BulkOutlet(Wire(base, authorization=authorization, ca=ca), index=index, name=name)
    if kind == "hec":
        return HecOutlet(Wire(rest, authorization=authorization, ca=ca), name=name)
    if kind in ("syslog", "syslog+tls"):
        host, port = endpoint(rest, option=f"--to {kind}:")
        return SyslogOutlet(host, port, tls=context_for(ca) if kind == "syslog+tls" else None, name=name)
    if kind in ("kafka", "nats"):
        return _broker(kind, rest, name)
    raise UsageError("Expected --to file:PATH, bulk:URL/INDEX, hec:URL, syslog:HOST:PORT, syslog+tls:HOST:PORT, kafka:HOST:PORT/TOPIC or "
                     f"nats:HOST:PORT/SUBJECT; got «{kind[:20]}:».")


def _broker(kind: str, rest: str, name: str) -> Outlet:
    """``kafka:HOST:PORT/TOPIC?config=FILE`` or ``nats:HOST:PORT/SUBJECT?creds=FILE&ca=FILE``."""
    from tacit.logs.stages.listeners import connection, properties
    from tacit.logs.stages.outlets import KafkaOutlet, NatsOutlet

    place, _, query = rest.partition("?")
    address, _, target = place.partition("/")
    host, port = endpoint(address, option=f"--to {kind}:")
    options = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    known = {"config"} if kind == "kafka" else {"creds", "ca"}
    if not target or set(options) - known:
        form = "kafka:HOST:PORT/TOPIC?config=FILE" if kind == "kafka" else "nats:HOST:PORT/SUBJECT?creds=FILE&ca=FILE"
        raise UsageError(f"Expected --to {form}, where what follows the question mark may be absent.")
    server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if kind == "kafka":
        return KafkaOutlet(server, target, more=properties(Path(options["config"])) if options else None, name=name)
    return NatsOutlet(f"nats://{server}", target, options=connection(options), name=name)


def _authorizations(path: Path | None) -> dict[str, str]:
    """Headers by name of the outlet, from a file that only its owner can read."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"Others may read {path}. Expected mode 0600: chmod 600 {path}")
            lines = [line.strip() for line in file.read(1 << 20).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}. Check the path.") from None
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}
