"""``tacit logs serve``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.listening import Listener, check_exposure, endpoint, run, tls_files
from tacit.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from tacit.logs.formats import LineFormat
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.stages import Delivery
    from tacit.logs.stages.outlets import Outlet

_DRAIN = 30.0


@click.command()
@click.option("--policy", required=True, help="The policy of the source: a file, or pack:ecs for one that comes with Tacit.")
@click.option("--keys", required=True, type=click.Path(path_type=Path), help="The keyring; it may be rotated meanwhile.")
@click.option("--http", multiple=True, metavar="HOST:PORT", help="Listen for Elasticsearch's _bulk and Splunk's HEC, with health and metrics.")
@click.option("--listen", multiple=True, metavar="SPEC",
              help="Listen for udp://HOST:PORT, tcp://, tls://, relp://, relp+tls://; read follow:/PATH, kafka://HOST/TOPIC, nats://HOST/STREAM/SUBJECT.")
@click.option("--client-ca", type=click.Path(path_type=Path), help="Authorities of which tls:// and relp+tls:// senders must show a certificate.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder for how far followed files were read.")
@click.option("--token-file", type=click.Path(path_type=Path), help="NAME:SECRET per line, mode 0600. Needed beyond this machine.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate (chain) as PEM, for every listener. Needed beyond this machine.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key as PEM.")
@click.option("--plain", is_flag=True, help="Listen beyond this machine without TLS, since a proxy in front has it.")
@click.option("--to", multiple=True, required=True, metavar="OUTLET",
              help="Where events go: file:PATH, bulk:URL/INDEX, hec:URL, syslog:HOST:PORT, syslog+tls:HOST:PORT, kafka:HOST:PORT/TOPIC, "
                   "nats:HOST:PORT/SUBJECT. Several get every event each.")
@click.option("--to-auth", type=click.Path(path_type=Path), help="Lines of an outlet's name and its Authorization header, such as: bulk ApiKey AbC==")
@click.option("--to-ca", type=click.Path(path_type=Path), help="Authorities that outlets' certificates are checked against. [default: the system's]")
@click.option("--rotate", default=0, type=click.IntRange(0), metavar="MIB", help="Begin a new output file at this size. [default: never]")
@click.option("--dead-letters", type=click.Path(path_type=Path), default=Path("dead-letters.jsonl"), show_default=True,
              help="Where records go that cannot be treated.")
@click.option("--directory", type=click.Path(path_type=Path), help="Names to look for in texts: one per line, or a CSV: user, email, host.")
@click.option("--vault", type=click.Path(path_type=Path), help="Where what a pseudonym stands for is kept, sealed, for «tacit logs reveal».")
@click.option("--queue", default=64, show_default=True, type=click.IntRange(1, 4_096), metavar="MIB", help="Lines that may wait before senders must.")
def serve(**options: Any) -> None:
    """Take events from shippers, treat them, and give them on; each is acknowledged when every outlet holds it.

    Shippers need nothing but the new address. SIGTERM delivers what was taken, and stops. A sender that repeats what was not acknowledged loses
    nothing, whatever happens to this process; what comes twice has the same tacit.id.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="tacit: %(message)s")
    with ExitStack() as stack:
        try:
            delivery, listeners = _ready(options, stack)
        except StorageError as error:
            raise DataError(str(error)) from None  # at the beginning a file that cannot be read is a wrong option
        for listener in listeners:
            click.echo(f"listening: {listener}", err=True)
        asyncio.run(run(listeners))
        done = delivery.close(timeout=_DRAIN)
    click.echo("everything that was taken is delivered" if done else "stopped; what was not delivered was not acknowledged", err=True)
    if not done:
        sys.exit(3)


def _ready(options: dict[str, Any], stack: ExitStack) -> tuple[Delivery, list[Listener]]:
    """Everything that can be wrong, before anything is taken."""
    from tacit.cli.logs_directory import know
    from tacit.cli.logs_keys import opened
    from tacit.logs.formats import by_name
    from tacit.logs.keys import Vault
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.stages import DeadLetters, Delivery, Limits
    from tacit.logs.stages.renewing import Renewing

    if not options["http"] and not options["listen"]:
        raise UsageError("Expected a listener; give --http 127.0.0.1:9200 or --listen tcp://127.0.0.1:514")
    rules = SourcePolicy.load(options["policy"])
    form = by_name(rules.format)
    directory = options["directory"]
    ring = opened(options["keys"])
    vault = None if options["vault"] is None else Vault.of(options["vault"], ring)
    renewing = Renewing(rules, ring, know=(lambda anonymiser: know(anonymiser, directory)) if directory else None, vault=vault)
    renewing()
    outlets = _outlets(options, stack)
    letters = stack.enter_context(DeadLetters(options["dead_letters"]))
    letters.open()
    delivery = Delivery(renewing, outlets, dead=letters, limits=Limits(most_bytes=options["queue"] << 20))
    stack.callback(delivery.close, timeout=0)
    return delivery, [*_listeners(options, stack, delivery, (rules, form)), *_others(options, delivery, form)]


def _listeners(options: dict[str, Any], stack: ExitStack, delivery: Delivery, source: tuple[SourcePolicy, LineFormat]) -> list[Listener]:
    from tacit.logs.stages.web import WebLimits, application
    from tacit.web import Tokens, WebServer

    rules, form = source
    tls = tls_files(options)
    tokens = Tokens.load(options["token_file"]) if options["token_file"] else None
    size = options["queue"] << 20
    limits = WebLimits(most_body=min(WebLimits.most_body, size // 4), most_held=size)
    envelope = any(path == "hec" or path.startswith("hec.") for path in rules.fields)
    app = application(delivery, form, tokens=tokens, limits=limits, envelope=envelope)
    found: list[Listener] = []
    for address in options["http"]:
        host, port = endpoint(address, option="--http")
        check_exposure(host, option="--http", tokens=tokens is not None, tls=tls is not None or options["plain"])
        server = WebServer(app, host, port, tls=tls)
        stack.callback(server.close)
        found.append(server)
    return found


def _others(options: dict[str, Any], delivery: Delivery, form: LineFormat) -> list[Listener]:
    """What ``--listen`` names, listening."""
    from tacit.logs.stages.listeners import Certificates, Listeners, Setting, Spec, listener

    if not options["listen"]:
        return []
    tls = tls_files(options)
    specs = [Spec.parse(text) for text in options["listen"]]
    for spec in specs:
        if spec.exposed(authenticated=spec.tls and options["client_ca"] is not None) and not options["plain"]:
            raise UsageError(f"--listen {spec.kind}://{spec.host} can be reached from other machines by anybody. Expected tls:// or relp+tls:// with "
                             "--client-ca, an address such as 127.0.0.1, or --plain in a network that only senders reach.")
    setting = Setting(delivery, form, delivery.metrics, tls=None if tls is None else Certificates(*tls, options["client_ca"]), state=options["state"])
    titles = [text.partition("?")[0] for text in options["listen"]]
    group = Listeners([listener(spec, setting) for spec in specs], titles=titles)
    group.start()
    return [group]


def _outlets(options: dict[str, Any], stack: ExitStack) -> list[Outlet]:
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
        return FileOutlet(rest, most_bytes=options["rotate"] << 20, name=name)
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
