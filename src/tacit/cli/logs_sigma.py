"""``tacit logs sigma-check``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.logs_keys import opened as keyring
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.logs.content import Rules, Translation
    from tacit.logs.formats import Event
    from tacit.logs.keys import EpochKey
    from tacit.logs.policies import SourcePolicy
    from tacit.logs.treatments import Identities

_WIDE = 60
_SHOWN = 20


@click.command("sigma-check")
@click.argument("rules", type=click.Path(path_type=Path))
@click.option("--policy", required=True, help="The policy of the source: a file, or pack:windows for one that comes with Tacit.")
@click.option("--keys", required=True, type=click.Path(path_type=Path), help="The keyring; make one with: tacit logs keys init")
@click.option("--epoch", help="Use the key of this epoch, not the newest.")
@click.option("--events", type=click.Path(), help="Records before treatment: every rule is also tried on them, before and after.")
@click.option("--indicators", type=click.Path(path_type=Path), help="A list of indicators, one per line or CSV with the columns type and value.")
@click.option("--fields", type=click.Path(path_type=Path), help="YAML: what fields that rules name are called in the records.")
@click.option("--output", type=click.Path(path_type=Path), help="A folder for the translated rules, as Sigma rules again.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="A file for the whole report.")
@click.option("--all", "everything", is_flag=True, help="Show the rules that work too.")
@click.option("--fail-on", type=click.Choice(["never", "lost", "weaker"]), default="never", show_default=True, help="When the exit status is 1.")
def sigma_check(rules: Path, policy: str, keys: Path, **options: Any) -> None:
    """Translate the Sigma rules in RULES for records treated under a policy and a key, and say which keep working, which lose what, and why.

    Without --events the dictionary of names is empty: what a text of a rule says stays as it is.
    """
    from tacit.logs.content import Rules
    from tacit.logs.policies import SourcePolicy

    source = SourcePolicy.load(policy)
    ring = keyring(keys)
    key = ring.epoch(options["epoch"]) if options["epoch"] else ring.active()
    found = Rules.load(rules, format=source.format, names=names_in(options["fields"]))
    before, after, identities = _treated(options["events"], source, key)
    translation = found.translate(source, key, identities)
    hits = None if options["events"] is None else _hits(found, translation, before, after)
    _show(translation, hits, everything=options["everything"])
    body = _report(translation, hits)
    if options["indicators"]:
        body["indicators"] = _indicators(options["indicators"], source, key, identities)
    if options["report"]:
        _save(options["report"], json.dumps(body, ensure_ascii=False, indent=1) + "\n")
    if options["output"]:
        _write(translation, options["output"])
    bad = {"never": 0, "lost": translation.counts["lost"], "weaker": translation.counts["lost"] + translation.counts["weaker"]}[options["fail_on"]]
    if bad:
        raise SystemExit(1)


def names_in(path: Path | None) -> dict[str, str] | None:
    """What fields that rules name are called elsewhere, from a YAML file.

    Raises:
        UsageError: it cannot be read, or is no mapping of names.
    """
    if path is None:
        return None
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise UsageError(f"Expected --fields {path} as a YAML file that can be read.") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) and isinstance(other, str) for name, other in found.items()):
        raise UsageError(f"Expected --fields {path} as a mapping of names to names, such as: Image: process.executable")
    return found


def _treated(file: str | None, policy: SourcePolicy, key: EpochKey) -> tuple[list[Event], dict[int, Event], Identities | None]:
    """Records, what became of those that passed (by place), and the dictionary."""
    if file is None:
        return [], {}, None
    from tacit.logs.anonymise import Anonymiser
    from tacit.logs.formats import by_name, records
    from tacit.logs.stages import LINES

    form, events, damaged = by_name(policy.format), [], 0
    for lines in records(file, lines=LINES):
        parsed = form.parse(lines)
        events += parsed.events
        damaged += len(parsed.damaged)
    anonymiser = Anonymiser(policy, key)
    anonymiser.learn(events)
    treated = anonymiser.batch(events)
    click.echo(f"{len(events):,} records, {damaged:,} damaged, {len(treated.refused):,} held back by the policy", err=True)
    return events, dict(zip(treated.places, treated.events, strict=True)), anonymiser.tools.identities


def _hits(found: Rules, translation: Translation, before: list[Event], after: dict[int, Event]) -> dict[str, dict[str, int]]:
    """For each rule that fires: on how many records before, on how many of these after, and on how many others after."""
    places = list(after)
    raw = {rule: set(rows) for rule, rows in found.match(before).items()}
    now = {rule: {places[row] for row in rows} for rule, rows in translation.match(list(after.values())).items()}
    return {
        rule: {
            "before": len(raw.get(rule, ())), "kept": len(raw.get(rule, set()) & now.get(rule, set())),
            "new": len(now.get(rule, set()) - raw.get(rule, set())),
        }
        for rule in sorted(raw.keys() | now.keys())
    }  # fmt: skip


def _show(translation: Translation, hits: Mapping[str, Mapping[str, int]] | None, *, everything: bool) -> None:
    for report in translation.reports:
        own = hits.get(report.rule) if hits is not None else None
        notable = report.verdict in ("weaker", "lost") or (own is not None and (own["kept"] < own["before"] or own["new"]))
        if notable or (everything and report.verdict == "works"):
            told = "" if own is None else f"  before {own['before']}, kept {own['kept']}, new {own['new']}"
            click.echo(f"{report.verdict:9}  {report.title[:_WIDE]:{_WIDE}}{told}")
            for field, reason in report.reasons:
                click.echo(f"{'':11}{field or 'anywhere'}: {reason}")
    click.echo("")
    for field, reason, count in list(translation.losses())[:_SHOWN]:
        click.echo(f"{count:6,}  {field or 'anywhere'}: {reason}")
    counts = translation.counts
    click.echo(", ".join(f"{count:,} {verdict}" for verdict, count in counts.items()) + f", {len(translation.rules.broken):,} files not read")
    if hits is not None:
        sums = {name: sum(own[name] for own in hits.values()) for name in ("before", "kept", "new")}
        click.echo(f"hits: {sums['before']:,} before, {sums['kept']:,} of them after, {sums['new']:,} new ones")


def _report(translation: Translation, hits: Mapping[str, Mapping[str, int]] | None) -> dict[str, Any]:
    rules = [
        {
            "rule": report.rule, "title": report.title, "verdict": report.verdict,
            "reasons": [{"field": field, "reason": reason} for field, reason in report.reasons],
            **({} if hits is None or report.rule not in hits else {"hits": dict(hits[report.rule])}),
        }
        for report in translation.reports
    ]  # fmt: skip
    broken = [{"file": file, "reason": reason} for file, reason in translation.rules.broken]
    return {"counts": translation.counts, "rules": rules, "broken": broken}


def _indicators(path: Path, policy: SourcePolicy, key: EpochKey, identities: Identities | None) -> dict[str, Any]:
    from tacit.logs.content import Indicators

    found = Indicators.load(path).translate(policy, key, identities)
    kinds = {kind: count["works"] for kind, count in found.counts().items() if kind != "lost"}
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "none"
    click.echo(f"indicators: {told}; {len(found.lost):,} lost, {len(found.refused):,} lines not understood")
    return {
        "translated": [{"type": entry.kind, "values": list(entry.values), "line": entry.line} for entry in found.entries],
        "lost": _lines(found.lost), "refused": _lines(found.refused),
    }  # fmt: skip


def _lines(some: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"line": line, "reason": reason} for line, reason in some]


def _write(translation: Translation, folder: Path) -> None:
    from tacit.logs.content import to_yaml

    folder.mkdir(parents=True, exist_ok=True)
    for number, rule in enumerate(translation.rules.rules):
        plain = all(sign.isalnum() or sign in "-_" for sign in rule.id) and len(rule.id) < 80
        _save(folder / f"{rule.id if plain else f'rule-{number}'}.yml", to_yaml(rule))


def _save(path: Path, text: str) -> None:
    from tacit.errors import StorageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}. Check the folder.") from error
