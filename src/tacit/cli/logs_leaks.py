"""``tacit logs leaks``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tacit.cli.logs_directory import directory_of


@click.command()
@click.argument("original", type=click.Path())
@click.argument("anonymised", type=click.Path())
@click.option("--policy", required=True, help="The policy that it was anonymised under: a file, or pack:ecs for one that comes with Tacit.")
@click.option("--directory", type=click.Path(path_type=Path),
              help="Names to look for beyond those that fields hold: one per line, or a CSV with columns user, email, host.")
@click.option("--records", default=20_000, show_default=True, type=click.IntRange(2), help="Look at so many records at most, the first ones.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page, too.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the report as JSON, too.")
@click.option("--format", "form", type=click.Choice(["text", "short", "json", "html"]), default="text", show_default=True,
              help="What goes to standard output.")
@click.option("--fail-on", type=click.Choice(["low", "medium", "high", "critical", "never"]), default="never", show_default=True,
              help="End with status 1 if a leak of this severity or a higher one was found.")
def leaks(original: str, anonymised: str, **options: Any) -> int:
    """Attack ANONYMISED (JSON lines or Parquet), which was made from ORIGINAL, without its key, and say what was found and what to do.

    Identities that can still be read are looked for; pseudonyms are matched with names by frequency, by events that an attacker caused, by a second
    log, and by known addresses; and fields are sought that single people out. It needs the records in the clear: run it where they are.
    """
    from tacit.logs.leaks import Sample, leak_report
    from tacit.logs.policies import SourcePolicy
    from tacit.replacing import replacing

    policy = SourcePolicy.load(options["policy"])
    directory = None if options["directory"] is None else directory_of(options["directory"])
    sample = Sample.read(original, anonymised, policy, records=options["records"])
    report = leak_report(sample, directory=directory)
    for path, form in ((options["html"], "html"), (options["as_json"], "json")):
        if path is not None:
            with replacing(path) as file:
                file.write(report.render(form).encode())
            click.echo(f"{path}: {report.verdict}", err=True)
    click.echo(report.render(options["form"]))
    return 1 if options["fail_on"] != "never" and report.at_least(options["fail_on"]) else 0
