"""One row per entity and window (a *user-day* by default), computed from the events of that entity in that window and nothing else.

Guarantees:
    A row depends on the events of exactly one (entity, window); no column looks back, ahead, or at another entity. Adding, removing or
    replacing all events of one unit therefore changes one row (``ROWS_PER_UNIT``). The rows themselves are not private and not released.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from tacit.errors import DataError, UsageError
from tacit.logs.ecs import EVENT_SCHEMA, LABELS, TIME
from tacit.logs.feature_schema import FEATURE_SCHEMA, GROUP_SCHEMA
from tacit.logs.vocabulary import ADMIN_TOOLS, DOCUMENT_APPS, SHELLS

UNIT = "_unit"
_WINDOWS = ("1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")
_ENTITIES = ("user.name", "host.name")
_REMOTE_PORTS = (22, 445, 3389, 5985, 5986)
_UNUSED = ("event.id", "event.kind", "event.dataset", "service.name", "network.bytes")
_COLUMNS = tuple(name for name in EVENT_SCHEMA if name not in _UNUSED)
_DEFAULTS = {"beacon_jitter": 2.0}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LARGE_UPLOAD = 5_000_000
RANDOM_LABEL = (12, 2.8)  # at least so many characters, and bits of entropy per character
STEADY = 0.3  # irregularity below which a rhythm counts as steady
MIN_CONTACTS = 6  # contacts from which a rhythm can be told


def entity_window_features(
    events: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame],
    *,
    entity: str = "user.name",
    window: str = "1d",
    directory: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Features of every entity in every window in which it has an event.

    Args:
        events: A frame, a lazy frame (evaluated window by window) or batches. Batches may cut windows anywhere, but windows must follow one
            another: no batch may go back to a window that ended before an earlier batch began. Events without the entity are left out.
        entity: ``user.name`` or ``host.name``.
        window: ``1d``, or a number of hours that divides a day such as ``6h`` or ``12h``; windows begin at UTC midnight.
        directory: One row per entity with columns of ``GROUP_SCHEMA``; they are appended, for comparing groups.

    Returns:
        Columns entity, ``window``, those of ``FEATURE_SCHEMA`` (in order, numbers as Float64), ``malicious`` and ``attack_kind`` (``none``
        or the attack with most events) where events carry labels, group columns with a directory. Sorted by window and entity.

    Raises:
        UsageError: for an unknown entity or window.
        DataError: if a column is missing, a type is wrong, or batches are not in order of windows.
    """
    if entity not in _ENTITIES:
        raise UsageError(f"Expected entity in {_ENTITIES}, got {entity!r}.")
    if window not in _WINDOWS:
        raise UsageError(f"Expected window in {_WINDOWS}, got {window!r}.")
    rows = [_features(chunk, entity) for chunk in _chunks(events, entity, window)]
    table = pl.concat(rows) if rows else _features(_prepare(pl.DataFrame(schema=EVENT_SCHEMA), entity, window), entity)
    table = table.sort("window", entity)
    return table if directory is None else _with_groups(table, directory, entity)


def _with_groups(table: pl.DataFrame, directory: pl.DataFrame, entity: str) -> pl.DataFrame:
    names = [spec.name for spec in GROUP_SCHEMA if spec.name in directory.columns]
    if entity not in directory.columns or directory[entity].n_unique() != directory.height:
        raise DataError(f"Expected a directory with a column {entity!r} that names every entity once; its columns are {directory.columns}.")
    return table.join(directory.select(entity, *names), on=entity, how="left", maintain_order="left")


def _chunks(events: pl.DataFrame | pl.LazyFrame | Iterable[pl.DataFrame], entity: str, window: str) -> Iterator[pl.DataFrame]:
    """Prepared events in pieces that hold whole windows."""
    if isinstance(events, pl.DataFrame):
        yield _prepare(events, entity, window)
    elif isinstance(events, pl.LazyFrame):
        yield from _lazy(events, entity, window)
    else:
        yield from _batched(events, entity, window)


def _lazy(events: pl.LazyFrame, entity: str, window: str) -> Iterator[pl.DataFrame]:
    _check(events.collect_schema())
    start = pl.col(TIME).dt.truncate(window)
    for begin in events.select(start.unique()).collect()[TIME].drop_nulls().sort():
        yield _prepare(events.filter(start == pl.lit(begin, EVENT_SCHEMA[TIME])).collect(), entity, window)


def _batched(batches: Iterable[pl.DataFrame], entity: str, window: str) -> Iterator[pl.DataFrame]:
    """Hold back the newest windows until a batch begins after their end."""
    held: list[pl.DataFrame] = []
    closed = None
    for batch in batches:
        fresh = _prepare(batch, entity, window)
        if not fresh.height:
            continue
        first = fresh["window"].min()
        if closed is not None and first <= closed:
            raise DataError(
                "A batch goes back to a window that was already complete; sort the events by time, or pass one frame or a lazy frame."
            )
        ready = [piece.filter(pl.col("window") < first) for piece in held]
        if any(piece.height for piece in ready):
            done = pl.concat(ready)
            closed = done["window"].max()
            held = [piece for piece in (piece.filter(pl.col("window") >= first) for piece in held) if piece.height]
            yield done
        held.append(fresh)
    if held:
        yield pl.concat(held)


def _check(schema: pl.Schema) -> None:
    for name in _COLUMNS:
        if name not in schema:
            raise DataError(f"Expected the event column {name!r}; events of other systems need it too, empty if need be.")
    if not isinstance(schema[TIME], pl.Datetime):
        raise DataError(f"Expected {TIME!r} as a time stamp, got {schema[TIME]}; convert it, for example with str.to_datetime.")


def _prepare(events: pl.DataFrame, entity: str, window: str) -> pl.DataFrame:
    _check(events.schema)
    labels = [name for name in LABELS[:2] if name in events.columns]
    zone = pl.col(TIME).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC") if events.schema[TIME].time_zone is None else pl.col(TIME)
    frame = events.select(zone.dt.convert_time_zone("UTC").cast(EVENT_SCHEMA[TIME]), *(n for n in _COLUMNS if n != TIME), *labels)
    return frame.filter(pl.col(entity).is_not_null() & pl.col(TIME).is_not_null()).with_columns(
        pl.col(TIME).dt.truncate(window).alias("window")
    )


def _features(events: pl.DataFrame, entity: str) -> pl.DataFrame:
    keys = [entity, "window"]
    units = events.select(keys).unique(maintain_order=True).with_row_index(UNIT)
    events = events.join(units, on=keys, how="left", maintain_order="left").with_columns(pl.col(TIME).dt.hour().alias("hour"))
    table = units
    for family in (_rhythm, _logons, _traffic, _destinations, _web, _files, _names, _beacons, _programs, _firewall):
        table = table.join(family(events), on=UNIT, how="left", maintain_order="left")
    table = table.with_columns(
        pl.col("window").dt.weekday().replace_strict(dict(enumerate(_WEEKDAYS, 1)), return_dtype=pl.String).alias("weekday")
    )
    numbers = [_number(spec.name, spec.upper) for spec in FEATURE_SCHEMA if spec.kind == "numeric"]
    table = table.with_columns(numbers)
    labelled = LABELS[0] in events.columns and LABELS[1] in events.columns
    if labelled:
        table = table.join(_labels(events), on=UNIT, how="left", maintain_order="left")
        table = table.with_columns(pl.col("attack_kind").fill_null("none"), (pl.col("attack_kind").is_not_null()).alias("malicious"))
    return table.select(*keys, *(spec.name for spec in FEATURE_SCHEMA), *(("malicious", "attack_kind") if labelled else ()))


def _number(name: str, upper: float) -> pl.Expr:
    column = pl.col(name).cast(pl.Float64)
    return column.fill_nan(None).fill_null(_DEFAULTS.get(name, 0.0)).clip(0.0, upper)


def _labels(events: pl.DataFrame) -> pl.DataFrame:
    bad = events.filter(pl.col(LABELS[0])).group_by(UNIT, LABELS[1]).len().sort([UNIT, "len", LABELS[1]], descending=[False, True, False])
    return bad.group_by(UNIT, maintain_order=True).agg(pl.col(LABELS[1]).first().alias("attack_kind"))


def _night() -> pl.Expr:
    return (pl.col("hour") >= 20) | (pl.col("hour") < 5)


def _rhythm(events: pl.DataFrame) -> pl.DataFrame:
    hours = events.group_by(UNIT, "window", pl.col(TIME).dt.truncate("1h").alias("clock"), "hour").len()
    total = pl.col("len").sum()
    return hours.group_by(UNIT).agg(
        total.alias("events"),
        pl.len().alias("active_hours"),
        (pl.col("len").filter(_night()).sum() / total).alias("night_share"),
        (pl.col("len").filter(pl.col("len") < 0.03 * total).sum() / total).alias("quiet_hour_share"),
    )


def _outside() -> pl.Expr:
    """Addresses that are neither private (RFC 1918) nor local."""
    return pl.col("source.ip").str.contains(r"^(10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|127\.|::1|f[cd])").not_()


def _most_per_hour(events: pl.DataFrame, name: str) -> pl.DataFrame:
    return events.group_by(UNIT, pl.col(TIME).dt.truncate("1h").alias("clock")).len().group_by(UNIT).agg(pl.col("len").max().alias(name))


def _logons(events: pl.DataFrame) -> pl.DataFrame:
    auth = events.filter(pl.col("event.category") == "authentication").with_columns(
        (pl.col("event.outcome") == "failure").alias("failed"),
        _outside().fill_null(False).alias("outside"),
        pl.col("destination.port").is_in(_REMOTE_PORTS).fill_null(False).alias("remote"),
    )
    counts = auth.group_by(UNIT).agg(
        pl.col("failed").not_().sum().alias("logons"),
        pl.col("failed").sum().alias("logons_failed"),
        pl.col("failed").mean().alias("logon_failure_ratio"),
        pl.col("host.name").drop_nulls().n_unique().alias("logon_hosts"),
        (pl.col("failed") & pl.col("outside")).sum().alias("logons_failed_external"),
        pl.col("source.ip").filter("outside").n_unique().alias("logon_sources_external"),
        pl.col("host.name").filter("remote").drop_nulls().n_unique().alias("hosts_remote_admin"),
    )
    return counts.join(_most_per_hour(auth.filter("failed"), "logons_failed_hour_max"), on=UNIT, how="left")


def _traffic(events: pl.DataFrame) -> pl.DataFrame:
    moved = events.filter(pl.col("source.bytes").is_not_null() | pl.col("destination.bytes").is_not_null())
    out, back = pl.col("source.bytes").fill_null(0), pl.col("destination.bytes").fill_null(0)
    return moved.group_by(UNIT).agg(
        out.sum().alias("bytes_out"),
        back.sum().alias("bytes_in"),
        (out.sum() / (out.sum() + back.sum())).alias("upload_ratio"),
        out.max().alias("upload_max"),
        (out > LARGE_UPLOAD).sum().alias("uploads_large"),
        out.filter(_night()).sum().alias("bytes_out_night"),
    )


def _destinations(events: pl.DataFrame) -> pl.DataFrame:
    place = pl.coalesce("url.domain", "destination.ip").alias("place")
    sums = events.filter(pl.col("source.bytes").is_not_null()).group_by(UNIT, place).agg(pl.col("source.bytes").sum().alias("sent"))
    return sums.group_by(UNIT).agg(pl.col("sent").max().alias("upload_destination_max"))


def _web(events: pl.DataFrame) -> pl.DataFrame:
    web = events.filter(pl.col("event.category") == "web")
    sites = web.group_by(UNIT, "url.domain").len()
    return sites.group_by(UNIT).agg(
        pl.col("len").sum().alias("web_requests"),
        pl.col("url.domain").is_not_null().sum().alias("web_domains"),
    )


def _files(events: pl.DataFrame) -> pl.DataFrame:
    files = events.filter(
        pl.col("file.name").is_not_null() & (pl.col("event.category") == "web") & (pl.col("http.request.method") == "GET")
    )
    return files.group_by(UNIT).agg(pl.len().alias("files_downloaded")).join(_most_per_hour(files, "files_hour_max"), on=UNIT, how="left")


def label_entropy(labels: pl.Series) -> pl.Series:
    """Shannon entropy of the bytes of each string, in bits per byte (0 for an empty one)."""
    raw = [text.encode() for text in labels.to_list()]
    lengths = np.fromiter(map(len, raw), np.int64, len(raw))
    row = np.repeat(np.arange(len(raw)), lengths)
    counts = np.bincount(row * 256 + np.frombuffer(b"".join(raw), np.uint8), minlength=256 * len(raw)).reshape(-1, 256)
    share = counts / np.maximum(lengths, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(share > 0, -share * np.log2(share), 0.0)
    return pl.Series(labels.name, terms.sum(axis=1))


def _queries(events: pl.DataFrame) -> pl.DataFrame:
    """DNS events with parent domain (last two labels) and whether the first label looks random; judged once per distinct name."""
    from tacit.logs.treatments import WRITTEN

    dns = events.filter(pl.col("dns.question.name").is_not_null()).select(UNIT, TIME, "event.outcome", "dns.question.name")
    names = dns.select(pl.col("dns.question.name").unique())
    first = pl.col("dns.question.name").str.split(".").list.first()
    names = names.with_columns(
        pl.col("dns.question.name").str.extract(r"([^.]+\.[^.]+)$", 1).fill_null(pl.col("dns.question.name")).alias("parent"),
        first.str.len_bytes().alias("length"),
        first.map_batches(label_entropy, return_dtype=pl.Float64).alias("entropy"),
    )
    # A pseudonym looks random whatever it stands for: how the name looked is not known any more.
    hidden = first.str.contains(f"^(?:{WRITTEN.pattern})")
    random = (pl.col("length") >= RANDOM_LABEL[0]) & (pl.col("entropy") >= RANDOM_LABEL[1]) & ~hidden
    return dns.join(names.with_columns(random.alias("random")), on="dns.question.name", how="left", maintain_order="left")


def _names(events: pl.DataFrame) -> pl.DataFrame:
    dns = _queries(events)
    per_name = dns.group_by(UNIT, "dns.question.name").agg(
        pl.len(), (pl.col("event.outcome") == "failure").sum().alias("failed"), pl.col("parent", "length", "random").first()
    )
    children = per_name.group_by(UNIT, "parent").len().group_by(UNIT).agg(pl.col("len").max().alias("dns_children_max"))
    counts = per_name.group_by(UNIT).agg(
        pl.col("len").sum().alias("dns_queries"),
        (pl.col("failed").sum() / pl.col("len").sum()).alias("dns_failed_share"),
        pl.col("random").sum().alias("dns_labels_random"),
    )
    return counts.join(children, on=UNIT, how="left")


def _contacts(events: pl.DataFrame) -> pl.DataFrame:
    """Contacts that a beacon could hide in: requests by domain and queries by parent domain, counted apart."""
    web = events.filter((pl.col("event.category") == "web") & pl.col("url.domain").is_not_null()).select(
        UNIT, TIME, pl.col("url.domain").alias("place")
    )
    dns = _queries(events).select(UNIT, TIME, ("dns:" + pl.col("parent")).alias("place"))
    return pl.concat([web, dns])


def _beacons(events: pl.DataFrame) -> pl.DataFrame:
    contacts = _contacts(events)
    sizes = contacts.group_by(UNIT, "place").len()
    most = sizes.group_by(UNIT).agg(pl.col("len").max().alias("contacts_max"))
    often = contacts.join(sizes.filter(pl.col("len") >= MIN_CONTACTS), on=[UNIT, "place"], how="semi").sort(UNIT, "place", TIME)
    gaps = often.with_columns(pl.col(TIME).diff().over(UNIT, "place").dt.total_milliseconds().alias("gap"))
    middle = gaps.group_by(UNIT, "place").agg(pl.col("gap").median().alias("middle"), pl.len())
    spread = (
        gaps.join(middle, on=[UNIT, "place"]).group_by(UNIT, "place").agg((pl.col("gap") - pl.col("middle")).abs().median().alias("spread"))
    )
    jitter = pl.when(pl.col("middle") > 0).then(1.4826 * pl.col("spread") / pl.col("middle")).otherwise(2.0)
    rhythm = middle.join(spread, on=[UNIT, "place"]).with_columns(jitter.alias("jitter"))
    steady = pl.col("jitter") < STEADY
    best = rhythm.group_by(UNIT).agg(
        pl.col("jitter").min().alias("beacon_jitter"),
        steady.sum().alias("beacon_destinations"),
        pl.col("len").filter(steady).max().alias("beacon_contacts_max"),
    )
    return most.join(best, on=UNIT, how="left")


def _programs(events: pl.DataFrame) -> pl.DataFrame:
    starts = events.filter(pl.col("event.category") == "process")
    tool, shell = pl.col("process.name").is_in(ADMIN_TOOLS), pl.col("process.name").is_in(SHELLS)
    programs = starts.group_by(UNIT, "process.name").agg(
        pl.len(),
        (shell & pl.col("process.parent.name").is_in(DOCUMENT_APPS)).sum().alias("odd"),
    )
    total = pl.col("len").sum()
    return programs.group_by(UNIT).agg(
        total.alias("processes"),
        pl.col("process.name").is_not_null().sum().alias("processes_distinct"),
        (pl.col("len").filter(pl.col("len") == 1).sum() / total).alias("processes_once_share"),
        pl.col("len").filter(tool).sum().alias("admin_tools"),
        pl.col("len").filter(shell).sum().alias("shells"),
        pl.col("odd").sum().alias("shells_from_documents"),
    )


def _firewall(events: pl.DataFrame) -> pl.DataFrame:
    wall = events.filter(pl.col("event.action").is_in(("connection-allowed", "connection-denied")))
    denied = pl.col("event.action") == "connection-denied"
    return wall.group_by(UNIT).agg(
        denied.sum().alias("firewall_denied"),
        pl.col("destination.port").drop_nulls().n_unique().alias("ports"),
        pl.col("destination.ip").filter(denied).drop_nulls().n_unique().alias("peers_denied"),
    )
