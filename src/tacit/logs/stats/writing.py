"""Releases as files and text: Parquet, ECS metric documents, CSV, JSON, and a table for a terminal. The guarantee is in every one."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tacit.logs.stats.releasing import Release
from tacit.logs.stats.tables import FROM, LOWER, QUANTILE, RANK, RESERVED, TIME, TO, UPPER, VALUE, Columns, Table

MONTH_NOTE = "no figure for 30 days: see docs/log-statistics.md"
RECORD_NOTE = "every record is a unit: single events are protected, not the people who have many"
_WIDE = 28


def promises(release: Release, table: Table) -> dict[str, Any]:
    """What stands in the metadata of every file of a table: guarantee, provenance, and what the numbers are."""
    return {
        "guarantee": release.guarantee.to_dict(), "stated": str(release.guarantee), "epsilon_30": release.epsilon_30,
        "provenance": release.provenance.to_dict(), "tests": list(release.evidence), "release": table.describe(),
    }


def arrow_table(release: Release, table: Table) -> pa.Table:
    """A table with its promises as the schema's metadata, under ``tacit``."""
    arrays = {name: _array(name, column) for name, column in table.columns.items()}
    return pa.table(arrays).replace_schema_metadata({"tacit": json.dumps(promises(release, table), sort_keys=True)})


def _array(name: str, column: np.ndarray[Any, Any]) -> pa.Array:
    if name == TIME:
        return pa.array(column, pa.timestamp("ms", tz="UTC"))
    if column.dtype == object:
        return pa.array(column.tolist(), pa.string())
    return pa.array(column, from_pandas=True)


def write_parquet(release: Release, table: Table, file: BinaryIO) -> None:
    """One table as Parquet."""
    pq.write_table(arrow_table(release, table), file, compression="zstd")


def metric_documents(release: Release) -> Iterator[dict[str, Any]]:
    """ECS documents of ``event.kind`` «metric», flat names: for each table one about the release, then one for every row."""
    guarantee, origin = release.guarantee, release.provenance
    common = {
        "event.kind": "metric", "event.module": "tacit", "tacit.epsilon": guarantee.epsilon if guarantee.holds else None,
        "tacit.delta": guarantee.delta, "tacit.unit": str(guarantee.unit), "tacit.relation": guarantee.relation.value,
        "tacit.scope": str(guarantee.scope), "tacit.charge": origin.charge, "tacit.run": origin.run,
    }
    for table in release.tables:
        described = table.describe()
        about = {**common, "tacit.release": table.name, "tacit.metric": described["metric"]}
        yield _known({
            "@timestamp": origin.created, **about, "event.dataset": "tacit.release", "tacit.guarantee": str(guarantee),
            "tacit.epsilon_30": release.epsilon_30, **_flat("tacit.bounds", described["bounds"]), **_flat("tacit.bias", described["bias"] or {}),
            "tacit.noise.mechanism": described["noise"]["mechanism"], "tacit.noise.scale": described["noise"]["scale"],
            "tacit.post_processing": described["post_processing"], "tacit.cells": described["cells"],
        })
        for row in _rows(table.columns):
            yield _known({"@timestamp": origin.created, **about, "event.dataset": "tacit.statistics", **row})


def write_metrics(release: Release, file: BinaryIO) -> None:
    """All tables as JSON lines of `metric_documents`."""
    for document in metric_documents(release):
        file.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _known(document: dict[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in document.items() if value is not None and not (isinstance(value, float) and not math.isfinite(value))}


def _rows(columns: Columns) -> Iterator[dict[str, Any]]:
    """Plain rows: times as ISO 8601, numbers to six significant digits."""
    plain = {name: _plain(column) for name, column in columns.items()}
    for row in zip(*plain.values(), strict=True):
        yield dict(zip(plain, row, strict=True))


def _plain(column: np.ndarray[Any, Any]) -> list[Any]:
    if column.dtype.kind == "M":
        return [f"{moment}Z" for moment in column.astype("datetime64[s]").astype(str)]
    if column.dtype.kind == "f":
        return [float(f"{value:.6g}") for value in column.tolist()]
    return list(column.tolist())


def as_json(release: Release) -> str:
    """Everything as one JSON document."""
    tables = [{**promises(release, table)["release"], "rows": [_known(row) for row in _rows(table.columns)]} for table in release.tables]
    rest = {name: value for name, value in promises(release, release.tables[0]).items() if name != "release"}
    return json.dumps({**rest, "tables": tables}, ensure_ascii=False) + "\n"


def as_csv(table: Table) -> str:
    """One table as CSV; the guarantee is not in it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(row.values() for row in _rows(table.columns))
    return text.getvalue()


def as_text(release: Release, most: int) -> str:
    """For a terminal: of each table what it is, what it may be off by, and its ``most`` largest rows."""
    lines: list[str] = []
    for table in release.tables:
        lines += [*_heading(table), *_body(table, most), ""]
    month = MONTH_NOTE if release.epsilon_30 is None else f"30 of them of one person: epsilon {release.epsilon_30:.4g}"
    unit = release.guarantee.unit
    notes = [month] if unit.window is not None else [RECORD_NOTE] if unit.is_record else []
    return "\n".join([*lines, str(release.guarantee), *notes]) + "\n"


def _heading(table: Table) -> list[str]:
    described = table.describe()
    noise, bias = described["noise"], described["bias"]
    bounds = ", ".join(f"{name} {value:g}" for name, value in described["bounds"].items()) or "none were needed"
    lines = [
        f"{table.name}: {described['metric']}, {described['cells']:,} cells, "
        f"noise {noise['standard_deviation']:.3g} (95 %: {noise['margin_95']:.3g})",
        f"  one unit adds at most: {bounds}",
    ]
    if bias is not None and max(bias["rows"], bias["deviation"], bias["hidden_units"]) >= 1:
        lines += [
            f"  cut off by that: {bias['rows']:,.0f} (give or take {2 * bias['deviation']:,.0f}), {bias['share']:.1%} of all, "
            f"{bias['per_cell']:.3g} a cell",
            f"  not in that figure: up to {bias['hidden_units']:,.0f} units beyond {bias['hidden_above']:,.0f}, too few to stand out of the noise",
        ]
    if described["post_processing"] != "none":
        lines.append(f"  afterwards: {described['post_processing']}")
    return lines


def _body(table: Table, most: int) -> list[str]:
    if not table.rows:
        return ["  no key is common enough to be shown"]
    ranked = RANK in table.columns or QUANTILE in table.columns
    order = np.arange(table.rows) if ranked else np.argsort(-table.columns[VALUE], kind="stable")
    shown = order[:most]
    names = [name for name in table.columns if name not in RESERVED or name in (TIME, FROM, TO, QUANTILE, RANK)]
    heads = [*(name.removeprefix("tacit.") for name in names), "value", "95 % interval"]
    cells = [_texts(table.columns[name][shown]) for name in names]
    cells.append([_figure(value) for value in table.columns[VALUE][shown].tolist()])
    limits = zip(table.columns[LOWER][shown].tolist(), table.columns[UPPER][shown].tolist(), strict=True)
    cells.append(["" if math.isnan(low) else f"{_figure(low)} to {_figure(high)}" for low, high in limits])
    widths = [max(map(len, [head, *column])) for head, column in zip(heads, cells, strict=True)]
    rows = [heads, *map(list, zip(*cells, strict=True))]
    lines = ["  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rest = table.rows - len(shown)
    return [*(lines if len(shown) else []), *([f"  and {rest:,} more"] if rest else [])]


def _texts(column: np.ndarray[Any, Any]) -> list[str]:
    if column.dtype.kind == "M":
        return [str(moment)[:16].replace("T", " ") for moment in column.astype("datetime64[s]")]
    if column.dtype.kind in "fi":
        return [f"{value:g}" for value in column.tolist()]
    return [_printable(str(value)) for value in column.tolist()]


def _printable(text: str) -> str:
    """Without what could steer a terminal, and not too long."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= _WIDE else clean[: _WIDE - 3] + "..."


def _figure(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:,.1f}" if abs(value) < 1e6 else f"{value:,.4g}"
