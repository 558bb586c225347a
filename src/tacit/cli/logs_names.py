"""``tacit logs names``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.logs.finding import Finder
    from tacit.logs.formats import Event

_AT_ONCE = 20_000


@click.command()
@click.argument("file", type=click.Path())
@click.option("--policy", required=True, help="The policy of the source: a file, or pack:ecs for one that comes with Tacit.")
@click.option("--finder", default="presidio", show_default=True,
              help="presidio, or module:name of a function from a list of texts to pairs of a kind (user, email, host) and a name.")
@click.option("--model", default="en_core_web_lg", show_default=True, help="Of presidio: an installed spaCy model, or its folder.")
@click.option("--language", default="en", show_default=True, help="Of presidio: the language of the texts.")
@click.option("--least-score", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Of presidio: finds below it do not count.")
@click.option("--least-texts", default=1, show_default=True, type=click.IntRange(1), help="Leave out names found in fewer texts.")
@click.option("--format", "form", help="How FILE is written, if not as the policy says, such as zeek or nginx.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the directory; standard output if not given.")
def names(file: str, policy: str, finder: str, output: Path | None, **options: Any) -> None:
    """Look for names in the free texts of FILE with a recogniser of language, and write them as a directory.

    Read the directory, delete what is no name, and give it to anonymise, serve or leaks as --directory. It names people in the clear: keep it as
    you keep the log.
    """
    import csv
    import io

    from tacit.logs.finding import KINDS, find_names, texts_of
    from tacit.logs.policies import SourcePolicy
    from tacit.replacing import replacing

    rules = SourcePolicy.load(policy)
    found = find_names(texts_of(_events(file, options["form"] or rules.format), rules), _finder(finder, options))
    rows = [
        [name if kind == column else "" for column in KINDS]
        for kind in KINDS for name, count in sorted(found[kind].items(), key=lambda pair: (-pair[1], pair[0])) if count >= options["least_texts"]
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([KINDS, *rows])
    if output is None:
        sys.stdout.write(text.getvalue())
    else:
        with replacing(output) as target:
            target.write(text.getvalue().encode())
    click.echo(f"{len(rows):,} names; read them before you use them: what is no name would be hidden everywhere", err=True)


def _events(file: str, form: str) -> Iterator[Event]:
    from tacit.logs.formats import by_name, records

    reader = by_name(form)
    for lines in records(file, lines=_AT_ONCE):
        yield from reader.parse(lines).events


def _finder(name: str, options: dict[str, Any]) -> Finder:
    from tacit.attacks.targets import imported
    from tacit.logs.finding import presidio

    if name == "presidio":
        return presidio(options["model"], language=options["language"], least=options["least_score"])
    if not all(name.partition(":")):
        raise UsageError(f"Expected --finder as presidio or module:name; got «{name[:60]}».")
    finder: Finder = imported(name)
    return finder
