"""A site's first policy: the commented default with the few decisions that a study card has to meet filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tacit.errors import UsageError
from tacit.federation.folders import write_bytes
from tacit.guard import Policy
from tacit.guard.policy import default_policy_text


@dataclass(frozen=True)
class FirstPolicy:
    """What is filled in; the owner can change every word of the file afterwards.

    Args:
        dataset: public name of the records.
        source: the file with them.
        unit: what reports call whom they protect.
        column: the column that identifies the unit; empty if every record is one.
        epsilon: for everything ever asked.
        delta: likewise.
        approval: ``"automatic"``, or ``"owner"``: every study waits for `tacit site approve`.
    """

    dataset: str = "my-records"
    source: str = ""
    unit: str = "record"
    column: str = ""
    epsilon: float = 1.0
    delta: float = 1e-6
    approval: str = "automatic"

    @property
    def text(self) -> str:
        r"""The file.

        >>> print(FirstPolicy(dataset="heart", unit="patient", source="a.csv").text.splitlines()[5])
        name = "heart"             # public name; budgets, charges and guarantees are about it

        Raises:
            ConfigError: if it would be no policy.
        """
        text = default_policy_text()
        text = _set(text, "dataset", "name", json.dumps(self.dataset, ensure_ascii=False))
        text = _set(text, "unit", "name", json.dumps(self.unit, ensure_ascii=False))
        if self.column:
            text = _set(text, "unit", "column", json.dumps(self.column, ensure_ascii=False))
        for key, value in (("epsilon", self.epsilon), ("delta", self.delta)):
            text = _set(text, "privacy", key, repr(float(value)))
        text = _set(text, "limits", "approval", json.dumps(self.approval))
        if self.source:
            text = _set(text.replace("# [files]", "[files]"), "files", "source", json.dumps(self.source, ensure_ascii=False))
        Policy.parse(text)
        return text

    def write(self, path: Path) -> bool:
        """Write it, unless there is a policy already, which stays as it is; whether it was written.

        Raises:
            UsageError: if the records are not there.
        """
        if path.exists():
            return False
        if self.source and not (path.parent / self.source).is_file():
            raise UsageError(f"Expected a file with records at «{self.source}»; there is none. Name it from the site's folder.")
        write_bytes(path, self.text.encode())
        return True


def _set(text: str, table: str, key: str, value: str) -> str:
    """One key of one table, commented out or not; the comment behind it stays where it was, if there is room."""
    begin = text.index(f"[{table}]")
    pattern = re.compile(rf"^(?:# )?{key} = (?:\"[^\"]*\"|\S+)( *)(?=#|$)", re.MULTILINE)
    found = pattern.search(text, begin)
    if found is None:
        raise UsageError(f"Expected {key} in [{table}] of the default policy.")
    line = f"{key} = {value}"
    room = max(len(found[0]), len(line) + (1 if found[1] else 0))
    padded = line.ljust(room) if text[found.end() : found.end() + 1] == "#" else line
    return text[: found.start()] + padded + text[found.end() :]
