"""All checks, in the order in which one depends on another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tacit.errors import TacitError
from tacit.federation.site.preflight import books, machine, network, papers, rehearsing
from tacit.federation.site.preflight.outcome import FAILED, PASSED, SKIPPED, Bench, Failed, Outcome, Skipped

CHECKS: Mapping[str, Callable[[Bench], str]] = {
    "name": network.name, "encryption": network.encryption, "clock": network.clock, "certificate": network.certificate, "disk": machine.disk,
    "versions": machine.versions, "roster": papers.roster, "policy": papers.policy, "records": books.records, "ledger": books.ledger,
    "dry run": rehearsing.dry_run,
}


def preflight(bench: Bench) -> Iterator[Outcome]:
    """The outcome of every check, as it comes."""
    for name, check in CHECKS.items():
        yield _outcome(name, check, bench)


def _outcome(name: str, check: Callable[[Bench], str], bench: Bench) -> Outcome:
    try:
        return Outcome(name, PASSED, check(bench))
    except Skipped as reason:
        return Outcome(name, SKIPPED, str(reason))
    except Failed as found:
        return Outcome(name, FAILED, str(found), found.fix)
    except TacitError as error:
        return Outcome(name, FAILED, str(error), "Correct that, then run tacit site preflight again.")
