"""Where alerts go: standard output, a file, or the outlets that events have too."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tacit.cli.outlets import Command, opened_outlets, outlet_options
from tacit.errors import StorageError

if TYPE_CHECKING:
    from tacit.logs.stages.outlets import Outlet

_OUTLETS = outlet_options("alerts", required=False)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path),
    help="Where to write alerts, one JSON object per line; standard output if neither this nor --to is given.",
)
_SHAPE = click.option("--format", "shape", type=click.Choice(["ecs", "ocsf"]), default="ecs", show_default=True, help="How alerts are written.")
_AT_ONCE = 500
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)


def alert_options(command: Command) -> Command:
    """``--output``, ``--to`` and what belongs to it, ``--format``."""
    return _OUTPUT(_OUTLETS(_SHAPE(command)))


def alerted(alerts: Iterable[dict[str, Any]], options: dict[str, Any]) -> int:
    """Write alerts where ``--output`` and ``--to`` say, standard output if neither does; gives how many.

    To an outlet each goes with its identifier as ``tacit.id``, so that what is sent again is one document where the outlet knows identifiers.

    Args:
        alerts: in ECS or OCSF.
        options: of the command: ``output``, ``to``, ``to_auth``, ``to_ca``.

    Raises:
        StorageError: an outlet takes nothing, tried for a quarter of a minute, or refuses some for good. The file is written only when all is well.
    """
    from tacit.logs.formats import with_member
    from tacit.replacing import replacing

    count = 0
    with ExitStack() as stack:
        outlets = opened_outlets(options, stack)
        file = None if options["output"] is None else stack.enter_context(replacing(options["output"]))
        if file is None and not outlets:
            file = sys.stdout.buffer
        waiting: list[str] = []
        for alert in alerts:
            count += 1
            if file is not None:
                text = json.dumps(alert, separators=(",", ":"), ensure_ascii=False)
                file.write(text.encode("utf-8", "surrogatepass") + b"\n")
            if outlets:
                waiting.append(with_member(json.dumps(alert, separators=(",", ":")), "tacit.id", json.dumps(_identifier(alert))))
            if len(waiting) >= _AT_ONCE:
                _sent(waiting, outlets)
                waiting = []
        _sent(waiting, outlets)
    return count


def _identifier(alert: dict[str, Any]) -> str:
    return str(alert["finding_info"]["uid"] if "finding_info" in alert else alert["event"]["id"])


def _sent(texts: list[str], outlets: list[Outlet]) -> None:
    for outlet in outlets if texts else ():
        refused = _delivered(texts, outlet)
        if refused:
            reasons = ", ".join(sorted({reason for _, reason in refused}))
            raise StorageError(f"The outlet {outlet.name} refuses {len(refused):,} of {len(texts):,} alerts for good: {reasons}. Look at its limits.")


def _delivered(texts: list[str], outlet: Outlet) -> list[tuple[int, str]]:
    from tacit.logs.stages.outlets import OutletError

    waits = iter(_WAITS)
    while True:
        try:
            return list(outlet.deliver(texts) or ())
        except OutletError as error:
            wait = next(waits, None)
            if wait is None:
                raise StorageError(f"The outlet {outlet.name} took no alerts: {error}. Run this again; identifiers stay the same.") from error
            time.sleep(wait)
