"""``tacit encrypt``."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.encrypt_sum import sum_
from tacit.cli.key_files import beside, passphrase
from tacit.cli.listening import check_exposure, endpoint, run, tls_files
from tacit.cli.specs import DATA_FORMAT, require_folder
from tacit.errors import DataError, StorageError, TacitError, UsageError

if TYPE_CHECKING:
    from tacit.encrypted import EncryptionKey, Parameters, PublicModel
    from tacit.encrypted.serving import Clients, Remote
    from tacit.web import WebServer

_SAMPLE = 10_000


@click.group()
def encrypt() -> None:
    """Score records that whoever owns the model cannot read: keys, compiled models, a server and its client."""


encrypt.add_command(sum_)


@encrypt.command()
@click.argument("public", type=click.Path(path_type=Path))
@click.option("--output", default="secret.key", show_default=True, type=click.Path(path_type=Path), help="Where to write the secret key.")
def keygen(public: Path, output: Path) -> None:
    """Make a key for the compiled model whose public half is PUBLIC: a secret one under a passphrase, and beside it one to send, NAME.pub.

    The passphrase comes from TACIT_PASSPHRASE, or is asked for.
    """
    from tacit.crypto.key_files import create_key_file
    from tacit.encrypted import SecretKey
    from tacit.encrypted.serving import load_public

    other = beside(output, ".pub")
    model = load_public(public)
    key = SecretKey.generate(model.plan.parameters)
    key.save(output, passphrase=passphrase(new=True))
    create_key_file(other, key.public.to_bytes(), mode=0o644)
    click.echo(f"{output}: keep it; whoever has it and its passphrase reads every request made with it")
    click.echo(f"{other}: send it to the model's owner; fingerprint {key.public.fingerprint}")
    click.echo(f"model {model.fingerprint}: compare both fingerprints over another way than the one they came")


@encrypt.command(name="compile")
@click.argument("model", type=click.Path())
@click.argument("sample", type=click.Path())
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A new folder for the server's files.")
@click.option("--plan", default="private-model", show_default=True, type=click.Choice(["throughput", "private-model"]),
              help="Whether the key holder is kept from the weights.")
@click.option("--packing", default="single", show_default=True, type=click.Choice(["batch", "single"]),
              help="Many records at a time, or one soon.")
@click.option("--weight-bits", default=12, show_default=True, type=click.IntRange(2, 24), help="Of the largest weight of a linear model.")
@click.option("--coarser", default=0, show_default=True, type=click.IntRange(0, 16), help="Round cells of trees to this many bits less; 0 is exact.")
@click.option("--labels", help="The column of SAMPLE that says what is right, for accuracy before and after.")
@DATA_FORMAT
def compile_(model: str, sample: str, output: Path, **options: Any) -> None:
    """Make MODEL ready to score what its owner cannot read, and prove on SAMPLE that it decides as before.

    What is printed of the sample was measured on records and is not private.
    """
    from tacit.encrypted import Settings
    from tacit.encrypted import compile as compiled_from
    from tacit.encrypted.serving import CLIENTS, PUBLIC, save_compiled
    from tacit.guard import Records
    from tacit.models import load
    from tacit.questions.encoding import texts

    artefact, labels = load(model), options["labels"]
    names = list(artefact.domain.names)
    with Records.open(sample, format=options["data_format"]) as records:
        records.require(names + ([labels] if labels else []))
        table = records.table(names + ([labels] if labels else [])).slice(0, _SAMPLE)
    truth = texts(table.column(labels).combine_chunks()).to_pylist() if labels else None
    settings = Settings(options["plan"], options["packing"], options["weight_bits"], options["coarser"])
    compiled = compiled_from(artefact, table.select(names), settings=settings, labels=truth)
    save_compiled(compiled, output)
    click.echo(str(compiled.agreement))
    click.echo(compiled.plan.explain())
    click.echo(f"{output / PUBLIC}: for clients; fingerprint {compiled.public.fingerprint}. Their public keys go to {output / CLIENTS}")


@encrypt.command()
@click.argument("file", type=click.Path())
@click.option("--url", required=True, help="The server, such as https://scores.example:8443.")
@click.option("--ca", type=click.Path(path_type=Path), help="Authorities the server's certificate is checked against. [default: the system's]")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Your secret key; TACIT_PASSPHRASE opens it, or you are asked.")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="Your token, or NAME:SECRET, mode 0600.")
@click.option("--model", "public", type=click.Path(path_type=Path), help="The public model you made the key for; the server's must be the same.")
@click.option("--fingerprint", help="Its fingerprint, instead of the file.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the scores; standard output if not given.")
@DATA_FORMAT
def score(file: str, **options: Any) -> None:
    """Encrypt the records of FILE, have them scored by a server that cannot read them, and decrypt: one line of CSV per record, in order."""
    from tacit.encrypted import Client, SecretKey
    from tacit.guard import Records

    require_folder(options["output"])
    expected = _expected(options["public"], options["fingerprint"])
    with closing(_remote(options)) as remote, Records.open(file, format=options["data_format"]) as records:
        model = remote.model(fingerprint=expected)
        records.require(model.columns.domain.names)
        key = SecretKey.load(options["key"], passphrase=passphrase())
        _write(_lines(model, remote.margins(Client(model, key), records)), options["output"])
        seen = remote.traffic
    click.echo(f"{seen.requests} requests, {seen.sent:,} bytes sent, {seen.received:,} received; decrypted here", err=True)


@encrypt.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--listen", default="127.0.0.1:8443", show_default=True, metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="NAME:SECRET per line, mode 0600: who may ask.")
@click.option("--budget", required=True, type=click.IntRange(0), help="Records that each client may have scored, ever; 0 for any number.")
@click.option("--rate", default=120, show_default=True, type=click.IntRange(1, 100_000), help="Requests of one client in a minute.")
@click.option("--most-body", type=click.IntRange(1, 1_024), metavar="MIB", help="Largest request. [default: 16, or one block of records]")
@click.option("--clients", type=click.Path(path_type=Path), help="Folder of public keys, NAME.pub for the token NAME. [default: FOLDER/clients]")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate (chain) as PEM. Needed beyond this machine.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key as PEM.")
@click.option("--plain", is_flag=True, help="Listen beyond this machine without TLS, since a proxy in front has it.")
def serve(folder: Path, **options: Any) -> None:
    """Score encrypted records with the compiled model in FOLDER; neither records nor scores can be read here.

    SIGTERM finishes what has begun, and stops. SIGHUP reads tokens and clients again, and changes nothing where one of them cannot be read.
    Budgets are kept in FOLDER and hold across restarts.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="tacit: %(message)s")
    with ExitStack() as stack:
        try:
            server, clients = _server(folder, options, stack)
        except StorageError as error:
            raise DataError(str(error)) from None  # at the beginning a file that cannot be read is a wrong option
        click.echo(f"listening: {server}", err=True)
        asyncio.run(run([server], again=lambda: _again(clients, folder, options)))
    click.echo("stopped; what had begun was answered", err=True)


def _server(folder: Path, options: dict[str, Any], stack: ExitStack) -> tuple[WebServer, Clients]:
    """Everything that can be wrong, before anything is taken."""
    from tacit.encrypted.serving import SPENT, Clients, KeptMeter, Limits, application, load_compiled
    from tacit.web import Tokens, WebServer

    host, port = endpoint(options["listen"], option="--listen")
    tls = tls_files(options)
    check_exposure(host, option="--listen", tokens=True, tls=tls is not None or options["plain"])
    tokens, compiled = Tokens.load(options["token_file"]), load_compiled(folder)
    keys = _client_keys(folder, options, compiled.plan.parameters)
    most = None if options["most_body"] is None else options["most_body"] << 20
    limits = Limits.of(compiled.plan, most_body=most, rate=options["rate"])
    meter = KeptMeter(folder / SPENT, budget=options["budget"] or None, owners={})
    stack.callback(meter.close)
    clients = Clients(compiled.scorer(meter=meter), tokens=tokens, keys=keys)
    server = WebServer(application(clients, limits=limits), host, port, tls=tls, connections=256)
    stack.callback(server.close)
    click.echo(f"model {compiled.public.fingerprint}, {compiled.plan.name}; clients: {clients}", err=True)
    return server, clients


def _client_keys(folder: Path, options: dict[str, Any], parameters: Parameters) -> dict[str, EncryptionKey]:
    from tacit.encrypted.serving import CLIENTS, load_clients

    return load_clients(options["clients"] or folder / CLIENTS, parameters)


def _again(clients: Clients, folder: Path, options: dict[str, Any]) -> None:
    """Tokens and public keys as they are in the files now; all of them, or none."""
    from tacit.web import Tokens

    try:
        tokens = Tokens.load(options["token_file"])
        clients.replace(tokens=tokens, keys=_client_keys(folder, options, clients.scorer.public.plan.parameters))
    except TacitError as error:
        click.echo(f"clients stay as they were: {error}", err=True)
        return
    click.echo(f"clients: {clients}", err=True)


def _remote(options: dict[str, Any]) -> Remote:
    from tacit.encrypted.serving import Remote
    from tacit.web import read_private

    lines = [line.strip() for line in read_private(options["token_file"], "token").splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise UsageError(f"Expected one line in {options['token_file']}: your token, or NAME:SECRET.")
    ca = options["ca"]
    return Remote(options["url"], token=lines[0].rpartition(":")[2], ca=None if ca is None else str(ca))


def _expected(public: Path | None, fingerprint: str | None) -> str:
    """The fingerprint of the model to encrypt for."""
    from tacit.encrypted.serving import load_public

    if (public is None) == (fingerprint is None):
        raise UsageError("Expected --model FILE or --fingerprint TEXT: whoever answers could else make you encrypt for a model of their own.")
    return load_public(public).fingerprint if public is not None else str(fingerprint)


def _lines(model: PublicModel, margins: Any) -> str:
    """CSV: what the model says, and its margins; for a number the number alone."""
    answers = model.answers(margins)
    if model.target.bounds:
        return "value\n" + "".join(f"{value:.6g}\n" for value in answers.tolist())
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["answer", *(["margin"] if margins.shape[1] == 1 else [f"margin_{name}" for name in model.target.classes])])
    writer.writerows([answer, *(f"{value:.6g}" for value in row)] for answer, row in zip(answers.tolist(), margins.tolist(), strict=True))
    return text.getvalue()


def _write(text: str, output: Path | None) -> None:
    from tacit.replacing import replacing

    if output is None:
        sys.stdout.write(text)
        return
    with replacing(output) as target:
        target.write(text.encode())
