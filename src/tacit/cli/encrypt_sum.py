"""``tacit encrypt sum``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.key_files import beside, passphrase
from tacit.cli.ledger import FORMAT
from tacit.cli.specs import DATA_FORMAT, POLICY, TIME, require_folder
from tacit.errors import DataError, UsageError, WrongKey

if TYPE_CHECKING:
    from tacit.encrypted import Statistics, Survey

_MOST = 1 << 30
_STATISTICS = ("count", "mean", "covariance", "histogram")


@click.group(name="sum")
def sum_() -> None:
    """Statistics over contributors who never meet and upload when they can: a survey, contributions, their sum, and what it says."""


@sum_.command()
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write the key, mode 0600.")
def keygen(output: Path) -> None:
    """Make a contributor's or an evaluator's key, and beside it the half to send, NAME.pub."""
    from tacit.crypto import SigningKey

    other = beside(output, ".pub")
    key = SigningKey.generate()
    key.save(output)
    key.public.save(other)
    click.echo(f"{output}: keep it")
    click.echo(f"{other}: send it to whoever makes the survey; fingerprint {key.public.fingerprint}")


@sum_.command()
@click.argument("domain", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the survey is about; contributors read it in their ledgers.")
@click.option("--of", "what", required=True, type=click.Choice(_STATISTICS), help="Means bring the count with them, covariances means and variances.")
@click.option("--column", "columns", multiple=True, help="A column of DOMAIN; may be given more than once. [default: all]")
@click.option("--bins", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Bars of a number's histogram, of equal width.")
@click.option("--epsilon", required=True, type=float, help="What the sum costs each contributor's records.")
@click.option("--delta", default=1e-6, show_default=True, type=float, help="Likewise.")
@click.option("--unit", default="record", show_default=True, metavar="NAME[=COLUMN]", help="Who is protected, and the column that tells them apart.")
@click.option("--rows", default=1, show_default=True, type=click.IntRange(1), help="Rows of a unit that has a column, as publicly assumed.")
@click.option("--relation", default="add/remove", show_default=True, type=click.Choice(["add/remove", "replace", "zero-out"]),
              help="As in the contributors' policies.")
@click.option("--contributor", "contributors", multiple=True, required=True, metavar="NAME=FILE.pub", help="Who may contribute; several.")
@click.option("--evaluator", required=True, type=click.Path(path_type=Path), help="Public key of who adds.")
@click.option("--least", required=True, type=click.IntRange(2), help="A sum of fewer contributors is not opened.")
@click.option("--colluding", default=0, show_default=True, type=click.IntRange(0), help="Contributors who may help whoever sees the sum.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The survey, for everybody; beside it NAME.key, which opens the sum.")
def plan(domain: Path, output: Path, **options: Any) -> None:
    """Make a survey of the columns in DOMAIN, and the secret key that opens its one sum.

    The passphrase of the key comes from TACIT_PASSPHRASE, or is asked for.
    """
    from tacit.crypto import VerifyKey
    from tacit.crypto.key_files import create_key_file
    from tacit.encrypted import Survey

    secret = beside(output, ".key")
    survey, key = Survey.make(_terms(domain, options), evaluator=VerifyKey.load(options["evaluator"]), contributors=_keys(options["contributors"]))
    key.save(secret, passphrase=passphrase(new=True))
    create_key_file(output, survey.to_bytes(), mode=0o644)
    click.echo(survey.explain())
    click.echo(f"{output}: send it to all; fingerprint {survey.fingerprint}, to be compared over another way")
    click.echo(f"{secret}: keep it from the evaluator; whoever has both it and a contribution reads that contribution")


@sum_.command()
@click.argument("survey", type=click.Path(path_type=Path))
@FORMAT
def show(survey: Path, form: str) -> None:
    """Show what a survey asks, what it costs, and whom it trusts."""
    found = _survey(survey)
    if form == "json":
        plain = {"fingerprint": found.fingerprint, "epsilon": found.guarantee.epsilon, "epsilon_alone": found.alone.epsilon}
        click.echo(json.dumps(found.terms.to_dict() | plain | {"contributors": list(found.contributors)}, ensure_ascii=False))
        return
    click.echo(found.explain())
    click.echo(f"fingerprint {found.fingerprint}")


@sum_.command()
@click.argument("survey", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path())
@click.option("--as", "who", required=True, metavar="NAME", help="Your name in the survey.")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Your key.")
@click.option("--fingerprint", required=True, help="The survey's, as its maker told you: another one would be encrypted for somebody else.")
@POLICY
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write the contribution, for the evaluator.")
@TIME
@DATA_FORMAT
def contribute(survey: Path, file: str, output: Path, **options: Any) -> None:
    """Answer a survey about the records of FILE: charged to the policy's ledger, noised, encrypted and signed."""
    from tacit.cli.specs import curator_of, opened
    from tacit.crypto import SigningKey
    from tacit.crypto.key_files import create_key_file
    from tacit.guard import Policy

    found, signing = _survey(survey), SigningKey.load(options["key"])
    if found.fingerprint != options["fingerprint"]:
        raise WrongKey(f"Expected a survey with the fingerprint {options['fingerprint']}, got {found.fingerprint}. Ask its maker which is right")
    require_folder(output)
    if output.exists():
        raise UsageError(f"The file {output} exists. Expected a new name: a contribution is made and charged once")
    policy = Policy.load(options["policy"])
    with opened(file, policy, time=options["when"], data_format=options["data_format"]) as records:
        curator, ledger = curator_of(records, policy)
        upload = found.contribute(curator.guard, who=options["who"], signing=signing)
    create_key_file(output, upload, mode=0o644)
    click.echo(f"{output}: {len(upload):,} bytes for the evaluator; {found.guarantee}; ledger head {ledger.head[:16]}")
    click.echo(f"for whoever is both evaluator and key holder: epsilon {found.alone.epsilon:.4g}")


@sum_.command()
@click.argument("survey", type=click.Path(path_type=Path))
@click.argument("uploads", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The evaluator's key.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Where to write the sum, for the key holder.")
def add(survey: Path, uploads: tuple[Path, ...], key: Path, output: Path) -> None:
    """Add contributions without being able to read one of them, or their sum."""
    from tacit.crypto import SigningKey
    from tacit.replacing import replacing

    found = _survey(survey)
    require_folder(output)
    total = found.total(map(_read, uploads), signing=SigningKey.load(key))
    with replacing(output) as target:
        target.write(total)
    click.echo(f"{output}: the sum of {len(uploads)} contributions, for the key holder")


@sum_.command(name="open")
@click.argument("survey", type=click.Path(path_type=Path))
@click.argument("total", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The survey's secret key; TACIT_PASSPHRASE opens it, or you are asked.")
@FORMAT
def open_(survey: Path, total: Path, key: Path, form: str) -> None:
    """Open the sum of a survey, and no second one: two that differ by one contributor would give that one away.

    Which sum was opened is kept beside the key, in NAME.key.opened.
    """
    from tacit.encrypted import SecretKey

    found, content = _survey(survey), _read(total)
    secret = SecretKey.load(key, passphrase=passphrase())
    who, said = found.open(content, key=secret, kept=key.with_name(f"{key.name}.opened"))
    if form == "json":
        click.echo(json.dumps({"survey": found.fingerprint, "contributors": list(who), "guarantee": str(found.guarantee), **said.to_dict()},
                              ensure_ascii=False))
        return
    click.echo(f"{', '.join(who)}: {found.guarantee}")
    for line in _lines(said):
        click.echo(line)


def _terms(domain: Path, options: dict[str, Any]) -> Any:
    from tacit.domain import Domain
    from tacit.encrypted import Terms, statistic
    from tacit.guarantee import Budget, PrivacyUnit, Relation

    unit, _, column = options["unit"].partition("=")
    columns = Domain.load(domain)
    asked = statistic(
        options["what"], columns.select(options["columns"]) if options["columns"] else columns, bins=options["bins"],
        rows=options["rows"] if column else None,
    )
    protected = (PrivacyUnit(unit, column or None), Relation(options["relation"]))
    return Terms(options["name"], asked, Budget(options["epsilon"], options["delta"]), protected, options["least"], options["colluding"])


def _keys(given: tuple[str, ...]) -> dict[str, Any]:
    from tacit.crypto import VerifyKey

    pairs = [pair.partition("=") for pair in given]
    if not all(name and path for name, _, path in pairs) or len({name for name, _, _ in pairs}) != len(pairs):
        raise UsageError("Expected --contributor NAME=FILE.pub, each name once.")
    return {name: VerifyKey.load(path) for name, _, path in pairs}


def _survey(path: Path) -> Survey:
    from tacit.encrypted import Survey

    return Survey.from_bytes(_read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Expected a readable file; check the path") from error
    if len(content) > _MOST:
        raise DataError(f"Expected at most {_MOST:,} bytes in {path}. Check the path")
    return content


def _lines(said: Statistics) -> list[str]:
    """A line for each number, with the standard deviation of its noise."""
    lines = [] if said.count is None else [f"count  {said.count.value:,.1f} ± {said.count.error:,.1f}"]
    lines += [f"mean of {name}  {found.value:.6g} ± {found.error:.2g}" for name, found in said.means.items()]
    lines += [f"variance of {name}  {found.value:.6g} ± {found.error:.2g}" for name, found in said.variances.items()]
    lines += [f"covariance of {one} and {other}  {found.value:.6g} ± {found.error:.2g}" for (one, other), found in said.covariances.items()]
    for name, bars in said.histograms.items():
        lines += [f"{name} {label}  {count:,.1f} ± {bars.error:,.1f}" for label, count in zip(bars.labels, bars.counts, strict=True)]
    return lines
