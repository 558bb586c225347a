"""``tacit logs spark``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.logs_directory import directory_of
from tacit.cli.logs_keys import opened as keyring
from tacit.errors import MissingExtra, StorageError, UsageError

if TYPE_CHECKING:
    from tacit.logs.stages import Tally

_PYTHON = "spark.pyspark.python"
_SETTINGS = {
    "spark.io.encryption.enabled": "true", "spark.hadoop.fs.permissions.umask-mode": "077", "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
"""Unless `--conf` says otherwise: what workers put on their disks is encrypted, and what is written nobody else may read."""


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--output", required=True, help="A folder that does not exist yet, as every worker can write it: treated lines, a file per partition.")
@click.option("--policy", required=True, help="The policy of the source: a file, or pack:ecs for one that comes with Tacit.")
@click.option("--keys", required=True, type=click.Path(path_type=Path), help="The keyring, on this machine.")
@click.option("--worker-keys", help="The same file as each worker sees it. [default: as --keys]")
@click.option("--dead-letters", help="A folder for records that cannot be treated, in the clear. [default: beside the output]")
@click.option("--master", help="The cluster: spark://HOST:7077, yarn, k8s://…, local[4]. [default: as Spark is configured]")
@click.option("--conf", multiple=True, metavar="NAME=VALUE", help="A setting of Spark; may be repeated.")
@click.option("--format", "form", help="How the lines are written, if not as the policy says.")
@click.option("--output-format", type=click.Choice(["same", "json"]), default="same", show_default=True,
              help="The format that was read, or JSON lines.")
@click.option("--directory", type=click.Path(path_type=Path),
              help="Names to look for in texts: one per line, or a CSV with columns user, email, host.")
@click.option("--learn/--no-learn", default=True, show_default=True, help="Read twice, and look in texts for names of all other records too.")
@click.option("--epoch", help="Use the key of this epoch, not the newest.")
def spark(files: tuple[str, ...], **options: Any) -> None:
    """Treat the lines of FILES on a Spark cluster: files, folders or patterns, wherever Spark can read them.

    Each worker reads the keyring from a file of its own; no key travels with the job.
    """
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.spark import SparkJob, anonymise_frame

    rules = SourcePolicy.load(options["policy"])
    ring = keyring(options["keys"])
    names = None if options["directory"] is None else directory_of(options["directory"])
    path = options["worker_keys"] or options["keys"].absolute()
    job = SparkJob.of(rules, ring, keys=path, epoch=options["epoch"], form=options["form"], same=options["output_format"] == "same")
    dead = options["dead_letters"] or options["output"].rstrip("/") + ".dead-letters"
    with _session(options["master"], options["conf"]) as session:
        lines = session.read.option("lineSep", "\n").text(list(files))
        with anonymise_frame(lines, job, ring=ring, names=names, learning=options["learn"]) as treated:
            # Letters first: where there is an output, nothing is missing from it that is not there.
            treated.dead.write.text(dead)
            treated.events.write.text(options["output"])
            for line in told(treated.tally(), job.epoch, rules.source):
                click.echo(line, err=True)


@contextmanager
def _session(master: str | None, settings: tuple[str, ...]) -> Iterator[Any]:
    """A session of Spark that ends with the block, whose errors are told in a line."""
    import warnings

    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise MissingExtra("spark", purpose="treating logs on a Spark cluster") from None
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    chosen = _SETTINGS | dict(map(_pair, settings))
    if _PYTHON not in chosen:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("tacit logs")
    if master is not None:
        builder = builder.master(master)
    for name, value in chosen.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        yield session
    except PySparkException as error:
        raise _told(error) from None
    finally:
        session.stop()


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.startswith("spark."):
        raise UsageError(f"Expected --conf as spark.NAME=VALUE; got «{name[:60]}».")
    return name, value


def _told(error: Any) -> UsageError | StorageError:
    """What Spark could not do. Its own words may hold values; only what Tacit said on a worker, and Spark's name of the fault, are repeated."""
    from tacit import errors

    lines = str(error).splitlines()
    for line in lines:
        name, sign, message = line.strip().partition(": ")
        kind = getattr(errors, name.removeprefix("tacit.errors."), None)
        if sign and name.startswith("tacit.errors.") and kind is not None:
            return UsageError(f"On a worker: {message}")
    for line in lines:
        if "internal fault (" in line:
            return StorageError(f"On a worker: {line[line.index('internal fault ('):]}. Please report it")
    condition = error.getCondition() or "no name"
    hint = {"PATH_NOT_FOUND": "check FILES", "PATH_ALREADY_EXISTS": "name another folder with --output"}.get(condition.split(".")[0])
    if hint is not None:
        return UsageError(f"Spark cannot do this ({condition}): {hint}.")
    return StorageError(f"Spark could not finish ({condition}); its own logs say more. Nothing under --output is complete without the file _SUCCESS.")


def told(tally: Tally, epoch: str, source: str) -> Iterator[str]:
    """What became of the records, for people."""
    yield f"{tally.read:,} lines read, {tally.written:,} records written, epoch {epoch}, policy «{source}»"
    yield from (f"dead letters: {count:,} × {reason}" for reason, count in tally.refused.most_common())
    if tally.unknown:
        yield "left out, since the policy does not name them: " + ", ".join(f"{path} ({count:,})" for path, count in tally.unknown.most_common(8))
