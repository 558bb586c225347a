from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.cli.logs import logs
from tacit.errors import ConfigError, UsageError
from tacit.logs.anonymise import UNKNOWN_FIELD, Anonymiser
from tacit.logs.keys import EpochKey
from tacit.logs.leaks import residuals
from tacit.logs.policies import PACKS, SourcePolicy, propose
from tacit.logs.telemetry import Telemetry, TelemetrySpec
from tacit.logs.treatments import WRITTEN, Identities, Tools

KEY = EpochKey.for_tests()
HOMES = "Users"
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
EVENTS = st.lists(st.dictionaries(st.sampled_from(("a", "b", "c", "a.b", "d")), VALUES, max_size=4), max_size=6)


def policy(fields: str, **more: str) -> SourcePolicy:
    head = {"unknown": "drop"} | more
    return SourcePolicy.parse("version: 1\nsource: t\nformat: json\n" + "".join(f"{k}: {v}\n" for k, v in head.items()) + "fields: " + fields)


FLAT = st.lists(st.dictionaries(st.sampled_from(("a", "b", "d")), SCALARS, max_size=3), max_size=8)


@settings(max_examples=300, deadline=None)
@given(FLAT)
def test_what_is_kept_is_as_it_was_and_in_its_place(events: list[dict[str, Any]]) -> None:
    nested = [{"o": event, **event} for event in events]
    treated = Anonymiser(policy("{a: keep, b: keep, o.a: keep, o.b: keep}"), KEY).batch(nested)
    for event, after in zip(events, treated.events, strict=True):
        kept = {key: value for key, value in event.items() if key != "d"}
        assert after == {"o": kept, **kept} or (not any(kept for kept in events) and after == {})
        assert all(type(after[key]) is type(value) and repr(after[key]) == repr(value) for key, value in kept.items())


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_json_texts_are_the_events_and_nothing_unknown_passes(events: list[dict[str, Any]]) -> None:
    rules = policy("{a: scrub, b: user, c.*: id, a.b: keep}")
    as_events, as_texts = Anonymiser(rules, KEY).batch(events).events, Anonymiser(rules, KEY).texts(events).events
    assert len(as_events) == len(events)
    read = [orjson.loads(text) for text in as_texts]
    assert orjson.dumps(read) == orjson.dumps(orjson.loads(orjson.dumps(_within(as_events))))
    assert not any("d" in event for event in as_events)


def _within(value: Any) -> Any:
    """Integers beyond 64 bits as orjson reads them: floating-point numbers."""
    if isinstance(value, dict):
        return {key: _within(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_within(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64 else value


def test_one_event_at_a_time_gives_what_a_batch_gives() -> None:
    lines = list(_telemetry())
    known = Anonymiser(SourcePolicy.pack("ecs"), KEY)
    known.learn(map(orjson.loads, lines))
    identities = Identities(dict(known.tools.identities.items()))
    batch = Anonymiser(SourcePolicy.pack("ecs"), KEY, identities=identities).texts(map(orjson.loads, lines)).events
    stream = Anonymiser(SourcePolicy.pack("ecs"), KEY, identities=identities)
    assert [stream.texts([orjson.loads(line)]).events[0] for line in lines] == batch


def test_nobody_of_the_telemetry_is_readable_afterwards(tmp_path: Path) -> None:
    written = Telemetry(TelemetrySpec.thousand(seed=3)).write_ndjson(tmp_path / "events.jsonl")
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert residuals(b"\n".join(lines), written.identities).total > 100
    anonymiser = Anonymiser(SourcePolicy.pack("ecs"), KEY)
    anonymiser.know(users=written.identities["user"] | written.identities["email"], hosts=written.identities["host"] | written.identities["fqdn"])
    treated = anonymiser.texts(map(orjson.loads, lines))
    addresses = anonymiser.tools.addresses.texts(sorted(written.identities["ip"]))
    found = residuals("\n".join(treated.events).encode(), written.identities, pseudonyms=[text for text in addresses if text])
    assert found.readable == dict.fromkeys(found.readable, 0)


@pytest.mark.parametrize(
    "text",
    [
        "anna.keller logged on", "ANNA.KELLER", rf"C:\{HOMES}\Anna.Keller\x", "/srv/home" "/anna.keller/x",
        r"corp\anna.keller", "mail anna.keller@corp.example now",
        "u=anna%2Ekeller", "q=%61nna.keller", base64.b64encode(b"say hello to anna.keller").decode(),
        base64.b64encode("echo anna.keller".encode("utf-16-le")).decode(), b"hello anna.keller".hex(),
        "backup_anna.keller_2026.zip", "x-anna.keller-y",
        "10.1.2.3", "from 10.1.2.3:443", "::ffff:10.1.2.3", "inside:2001:db8::17/443", "00:50:56:ab:cd:ef",
        "S-1-5-21-1-2-3-1104", "--password hunter2",
        "https://bob:hunter2@files.example/", "user=zoe.unseen", r"dir \\FILES07\share", "Failed password for invalid user zed.unseen from 10.9.8.7",
    ],
)
def test_what_names_somebody_is_found_in_any_spelling(text: str) -> None:
    tools = Tools(KEY)
    tools.names.user("anna.keller")
    after = tools.scrubber.texts([text, "nothing here"])
    assert after[1] == "nothing here"
    assert after[0] != text
    needles = {"user": ["anna.keller", "zoe.unseen", "zed.unseen"], "host": ["files07"], "x": ["hunter2"], "mac": ["00:50:56:ab:cd:ef"],
               "ip": ["10.1.2.3", "2001:db8::17", "10.9.8.7"], "sid": ["S-1-5-21-1-2-3-1104"]}
    assert residuals(after[0].encode(), needles).total == 0


def test_a_name_learned_later_is_found_in_a_token_seen_before() -> None:
    tools = Tools(KEY)
    assert tools.scrubber.texts(["report of bea.bach"]) == ["report of bea.bach"]
    pseudonym = tools.names.user("bea.bach")
    assert tools.scrubber.texts(["report of bea.bach"]) == [f"report of {pseudonym}"]


def test_hostile_events_do_no_harm() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"a": deep}
    events = [deep, {"a": deep}, {f"k{i}": i for i in range(10_000)}, {"a": "A" * 1_000_000}, {"a": "a@" * 50_000}, {"a": "1." * 50_000},
              {"a": "\0\x01"},
              {"a": ":" * 50_000}, {"a": "%25" * 30_000}, {"a": "\\" * 50_000}, {"a": "\ud800"}, {}]
    treated = Anonymiser(policy("{a: scrub}"), KEY).batch([event for event in events if event != {"a": "\ud800"}])
    assert len(treated.events) == len(events) - 1
    assert len(treated.unknown) == 201


def test_unknown_fields_can_hold_a_record_back() -> None:
    treated = Anonymiser(policy("{a: keep}", unknown="refuse"), KEY).batch([{"a": 1}, {"a": 2, "b": {"c": 3}}, {"a": 4}])
    assert treated.events == [{"a": 1}, {"a": 4}]
    assert treated.places == [0, 2]
    assert treated.refused == [(1, UNKNOWN_FIELD)]
    assert treated.unknown == Counter({"b": 1})


def test_earlier_pseudonyms_are_attached_while_an_overlap_lasts() -> None:
    prior = EpochKey("k2", bytes(32), tenant="tests")
    event = Anonymiser(policy("{u: user, n: keep}"), KEY, prior=prior).batch([{"u": "anna", "n": 1}]).events[0]
    assert event["tacit.prior"] == {"u": Tools(prior).names.user("anna")}
    assert event["u"] == Tools(KEY).names.user("anna") != event["tacit.prior"]["u"]


def test_jitter_keeps_the_order_of_an_entity() -> None:
    times = np.sort(np.random.default_rng(1).uniform(1.7e9, 1.7e9 + 3_600, 400))
    rules = policy('{t: {treatment: jitter, seconds: 60}, e: keep}', time="t", entity="e")
    events = [{"t": float(time), "e": name} for time in times for name in ("a", "b")]
    after = Anonymiser(rules, KEY).batch(events).events
    for name in ("a", "b"):
        moved = np.array([event["t"] for event in after if event["e"] == name])
        assert (np.diff(moved) > 0).all()
        assert 5 < np.abs(moved - times).max() <= 60.001


def test_randomised_response_says_the_truth_as_often_as_it_should_and_stops() -> None:
    rules = policy("{c: {treatment: randomise, epsilon: 1.0, categories: [x, y, z], events_per_day: 10000}, u: drop, t: drop}", time="t", unit="u")
    after = Anonymiser(rules, KEY).batch([{"c": "y", "u": "anna", "t": "2026-01-01T00:00:00Z"}] * 40_000).events
    seen = Counter(event["c"] for event in after)
    assert seen[None] == 30_000
    stay = np.e / (np.e + 2)
    assert abs(seen["y"] - 10_000 * stay) < 6.5 * np.sqrt(10_000 * stay * (1 - stay))
    assert abs(seen["x"] - seen["z"]) < 6.5 * np.sqrt(10_000 * (1 - stay))


def test_suppression_waits_for_enough_units() -> None:
    rules = policy("{v: {treatment: suppress, units: 2}, u: drop}", unit="u")
    after = Anonymiser(rules, KEY).batch([{"v": "x", "u": u} for u in "aab"] + [{"v": "y", "u": "a"}]).events
    assert [event["v"] for event in after] == ["[rare]", "[rare]", "x", "[rare]"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [("{a: hide}", "treatment"), ("{a: {treatment: generalise}}", "exactly one"), ("{a: {treatment: jitter, seconds: 1}}", "entity"),
     ("{}", "expected"),
     ("{a: {treatment: user, width: 2}}", "options"), ("{'a.**.b': keep}", "end of a path"), ("[a]", "mapping")],
)
def test_a_wrong_policy_says_what_is_wrong(fields: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Anonymiser(policy(fields), KEY)


@pytest.mark.parametrize("name", PACKS)
def test_packs_are_whole_and_never_call_a_pseudonym_anonymous(name: str) -> None:
    pack = SourcePolicy.pack(name)
    assert SourcePolicy.parse(pack.to_yaml()).fields == pack.fields
    Anonymiser(pack, KEY)
    for _, treatment, promise, _ in pack.statement():
        assert ("not anonymous" in promise) or treatment in ("keep", "drop", "scrub", "randomise")


def test_a_proposal_is_a_policy_without_values(tmp_path: Path) -> None:
    text = propose(map(orjson.loads, _telemetry()), source="x")
    rules = SourcePolicy.parse(text)
    assert rules.fields["user.name"].treatment == "user"
    assert all(rule.why for rule in rules.fields.values())
    event = orjson.loads(next(iter(_telemetry())))
    assert event["user"]["name"] not in text


def test_the_commands_treat_a_file_and_say_what_was_damaged(tmp_path: Path) -> None:
    source, out, table = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "out.parquet"
    source.write_bytes(b"\n".join([*_telemetry(), b"{bad", b"[1]", b"\xff", b""]))
    keys = str(tmp_path / "keys.json")
    run = CliRunner().invoke
    assert run(logs, ["keys", "init", "--keys", keys, "--tenant", "acme"]).exit_code == 0
    common = ["--policy", "pack:ecs", "--keys", keys]
    assert run(logs, ["anonymise", str(source), *common, "--output", str(out)], catch_exceptions=False).exit_code == 0
    assert run(logs, ["anonymise", str(source), *common, "--output", str(table)], catch_exceptions=False).exit_code == 0
    dead = [orjson.loads(line) for line in (tmp_path / "out.jsonl.dead-letters.jsonl").read_bytes().splitlines()]
    assert [(letter["line"], letter["reason"]) for letter in dead] == [(1001, "not JSON"), (1002, "not an object"), (1003, "not UTF-8")]
    import pyarrow.parquet as pq

    read = pq.read_table(table)
    events = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert read["user.name"].to_pylist() == [event.get("user", {}).get("name") for event in events]
    assert read.schema.field("source.port").type == "int64"
    shown = run(logs, ["anonymise", str(source), *common, "--dry-run"], catch_exceptions=False)
    assert "0 of them are still readable" in shown.output
    assert WRITTEN.search(shown.output)


def test_a_dry_run_needs_no_keyring_and_a_real_one_does(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(_telemetry()[:50]))
    run = CliRunner().invoke
    first, second = (run(logs, ["anonymise", str(source), "--policy", "pack:ecs", "--dry-run"], catch_exceptions=False).output for _ in range(2))
    assert "0 of them are still readable" in first
    assert WRITTEN.findall(first)
    assert not set(WRITTEN.findall(first)) & set(WRITTEN.findall(second))
    for more in ([], ["--dry-run", "--epoch", "k7"]):
        refused = run(logs, ["anonymise", str(source), "--policy", "pack:ecs", "--output", str(out), *more])
        assert isinstance(refused.exception, UsageError)
        assert "tacit logs keys init" in str(refused.exception)
    assert list(tmp_path.iterdir()) == [source]


def test_a_token_met_deep_inside_an_encoding_is_still_decoded_when_it_stands_alone() -> None:
    tools = Tools(KEY)
    tools.names.user("anna.keller")
    tools.scrubber.texts([base64.b64encode(b"say %2561nna.keller here").decode()])
    assert tools.scrubber.texts(["%61nna.keller"]) == [tools.names.user("anna.keller")]


def _telemetry(found: list[bytes] = []) -> list[bytes]:  # noqa: B006 - made once
    if not found:
        import tempfile

        path = Path(tempfile.mkdtemp()) / "events.jsonl"
        Telemetry(TelemetrySpec.thousand(seed=1)).write_ndjson(path)
        found += path.read_bytes().splitlines()
    return found


def test_a_name_met_in_a_path_or_announced_in_a_text_is_found_in_every_text_of_its_batch() -> None:
    """Whatever the order of the fields: paths are treated before texts, and texts are searched together."""
    policy = SourcePolicy.parse("{version: 1, source: s, format: json, fields: {first: scrub, share: path, home: path, last: scrub}}")
    event = {
        "first": "ticket krbtgt/fileserver77, then oldhand and bwexler", "share": "\\\\fileserver77\\public", "home": f"/{HOMES}/bwexler/x",
        "last": "session opened for user oldhand",
    }
    treated = Anonymiser(policy, EpochKey.for_tests()).batch([event]).events[0]
    assert not any(name in str(treated) for name in ("fileserver77", "bwexler", "oldhand"))
    assert treated["share"].split("\\")[2] in treated["first"]


def test_a_name_found_while_a_text_is_treated_is_found_in_what_was_treated_before() -> None:
    policy = SourcePolicy.parse("{version: 1, source: s, format: json, fields: {note: scrub}}")
    notes = ["quetzalina was here", "mail to quetzalina@corp.example"]
    treated = Anonymiser(policy, EpochKey.for_tests()).batch([{"note": note} for note in notes]).events
    assert "quetzalina" not in str(treated)
