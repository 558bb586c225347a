"""``tacit logs serve``."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.listening import Listener, check_exposure, endpoint, run, tls_files
from tacit.cli.outlets import opened_outlets, outlet_options
from tacit.errors import DataError, StorageError, UsageError

if TYPE_CHECKING:
    from tacit.logs.formats import LineFormat
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.stages import Delivery

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
@outlet_options("events", required=True)
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
    from tacit.logs.stages.steady import steady

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="tacit: %(message)s")
    with ExitStack() as stack:
        try:
            delivery, listeners = _ready(options, stack)
        except StorageError as error:
            raise DataError(str(error)) from None  # at the beginning a file that cannot be read is a wrong option
        with steady():
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
    outlets = opened_outlets(options, stack)
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
