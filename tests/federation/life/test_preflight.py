"""Each check passes where all is well, fails where one thing is not, and says what to do about it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from tests.federation.life.commands import free_port

from tacit.errors import VerificationError
from tacit.federation.certificates import CLIENT, Address, issue
from tacit.federation.coordinator import CoordinatorFolder, Desk, DeskServer
from tacit.federation.mock import MARK, mock_table
from tacit.federation.roster import Roster
from tacit.federation.site import Joining, Membership, SiteFolder
from tacit.federation.site.beginning import FirstPolicy
from tacit.federation.site.preflight import CHECKS, Bench, Outcome, network, preflight
from tacit.federation.study import LearnerSpec, StudyCard, example_text
from tacit.guarantee import Budget

pytest.importorskip("websockets", reason="the extra «federation» is not installed")

SITES = ("anna", "berta", "carl")
SPEC = LearnerSpec("boosted-trees", "readmitted", positive="yes", parameters={"passes": 1, "trees": 1})
CARD = replace(StudyCard.parse(example_text()), rows_per_unit=1, ends=datetime.now(UTC).date() + timedelta(days=30), learner=SPEC)
Break = Callable[["Scene", pytest.MonkeyPatch], None]


class Scene:
    """A coordinator whose desk is open, and three sites that are in and have signed."""

    def __init__(self, place: Path) -> None:
        self.address = Address("127.0.0.1", free_port())
        self.hub = CoordinatorFolder.create(place / "hub", federation="houses", address=self.address)
        self.desk = Desk(self.hub)
        self.server = DeskServer(self.desk.handle, self.hub.path, listen=self.address)
        self.sites = {name: self._site(place / name) for name in SITES}
        invites = {name: self.hub.invite(name) for name in SITES}
        for name, folder in self.sites.items():
            joining = Joining.begin(folder, invites[name])
            assert not joining.apply()
            self.desk.admit(name, joining.ours)
            assert joining.apply()
        for folder in self.sites.values():
            roster, _ = Membership.of(folder).fetch()
            assert roster is not None
            Membership.of(folder).sign(roster)
        for folder in self.sites.values():
            Membership.of(folder).complete(accept=lambda roster: False, patience=0)
        self.anna = self.sites["anna"]
        self.anna.keep_study(CARD.sign(self.hub.key, roster=self.hub.roster().id))  # type: ignore[union-attr]

    def _site(self, folder: Path) -> SiteFolder:
        folder.mkdir()
        self.write(folder, mock_table(CARD, 300, seed=1).drop_columns([MARK]))
        FirstPolicy("stays", "records.csv", CARD.unit.name, "patient_id", 2.0, 1e-5).write(folder / "tacit.toml")
        return SiteFolder.create(folder)

    def write(self, folder: Path, table: pa.Table) -> None:
        pyarrow.csv.write_csv(table, folder / "records.csv")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.anna.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def outcomes(self) -> dict[str, Outcome]:
        return {outcome.check: outcome for outcome in preflight(Bench(SiteFolder(self.anna.root)))}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.server.close()


def test_where_all_is_well_all_eleven_pass(scene: Scene) -> None:
    outcomes = scene.outcomes()
    assert [outcome.to_dict() for outcome in outcomes.values() if outcome.state != "passed"] == []
    assert tuple(outcomes) == tuple(CHECKS)
    assert len(CHECKS) == 11


def no_such_name(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.edit("site/connection.json", "127.0.0.1", "no-such-host.invalid")


def a_proxy_in_between(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.server.close()
    other = CoordinatorFolder.create(scene.hub.root / "proxy", federation="proxy", address=scene.address)
    scene.server = DeskServer(Desk(other).handle, other.path, listen=scene.address)


def nobody_answers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.edit("site/connection.json", str(scene.address.port), str(free_port()))


def another_coordinator(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.edit("site/connection.json", scene.hub.key.public.hex, scene.anna.key.public.hex)


def a_slow_clock(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "parsedate_to_datetime", lambda text: datetime.now(UTC) + timedelta(minutes=10))


def a_certificate_that_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    request, member = scene.anna.request("anna"), scene.anna.key.public
    (scene.anna.path / CLIENT).write_bytes(issue(scene.hub.path, request, "anna", member=member, days=5))


def a_full_disk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))


def no_extra(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "websockets" else found(name, package))


def a_signature_missing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scene.anna.roster()
    assert whole is not None
    scene.anna.keep_roster(replace(whole, signatures={name: text for name, text in whole.signatures.items() if name != "carl"}))


def another_unit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.edit("tacit.toml", 'name = "patient"', 'name = "stay"')


def a_column_missing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write(scene.anna.root, mock_table(CARD, 300).drop_columns(["ward", MARK]))


def texts_for_numbers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    table = mock_table(CARD, 300).drop_columns([MARK])
    scene.write(scene.anna.root, table.set_column(table.column_names.index("age"), "age", pa.array(["old"] * 300)))


def mock_records(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write(scene.anna.root, mock_table(CARD, 300))


def too_little_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.edit("tacit.toml", "epsilon = 2.0", "epsilon = 0.5")


def another_ledger_key(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.outcomes()
    for path in scene.anna.root.glob("*.key"):
        path.unlink()


def a_learner_that_cannot(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = replace(CARD, learner=replace(SPEC, kind="linear", parameters={"iterations": 500}), budget=Budget(0.01, 1e-5))
    scene.anna.keep_study(bad.sign(scene.hub.key, roster=scene.hub.roster().id))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spoil", "check", "said", "fix"),
    [
        (no_such_name, "name", "cannot be resolved", "DNS"), (a_proxy_in_between, "encryption", "shows a certificate of", "TLS inspection"),
        (nobody_answers, "encryption", "does not answer", "outbound"), (another_coordinator, "encryption", "not its coordinator", "address"),
        (a_slow_clock, "clock", "differ by", "NTP"), (a_certificate_that_ends, "certificate", "ends on", "invitation"),
        (a_full_disk, "disk", "free", "room"), (no_extra, "versions", "not installed", "pip install 'tacit"),
        (a_signature_missing, "roster", "lacks the signature of «carl»", "site run"), (another_unit, "policy", "the unit «patient»", "Agree"),
        (a_column_missing, "records", "«ward»", "columns"), (texts_for_numbers, "records", "expects numbers in «age»", "Convert"),
        (mock_records, "records", "mock", "real ones"), (too_little_left, "ledger", "is left", "cheaper"),
        (another_ledger_key, "ledger", "key", "Restore"), (a_learner_that_cannot, "dry run", "linear", "whoever wrote"),
    ],
)
def test_one_thing_wrong_is_found_with_its_fix(scene: Scene, monkeypatch: pytest.MonkeyPatch, spoil: Break, check: str, said: str, fix: str) -> None:
    spoil(scene, monkeypatch)
    outcome = scene.outcomes()[check]
    assert outcome.state == "failed", outcome
    assert said in outcome.said
    assert fix in outcome.fix


def test_before_anything_was_joined_the_rest_is_checked_and_nothing_breaks(tmp_path: Path) -> None:
    SiteFolder.create(tmp_path)
    FirstPolicy().write(tmp_path / "tacit.toml")
    states = {outcome.check: outcome.state for outcome in preflight(Bench(SiteFolder(tmp_path), CARD))}
    assert states["name"] == states["encryption"] == states["clock"] == states["certificate"] == states["roster"] == "skipped"
    assert states["policy"] == states["records"] == "failed"


def test_whoever_breaks_the_encryption_gets_nothing_from_a_site_that_joins(tmp_path: Path, scene: Scene) -> None:
    invite = scene.hub.invite("dora")
    a_proxy_in_between(scene, pytest.MonkeyPatch())
    (tmp_path / "dora").mkdir()
    dora = SiteFolder.create(tmp_path / "dora")
    with pytest.raises(VerificationError, match="not the coordinator that made the invitation"):
        Joining.begin(dora, invite)
    assert scene.desk.folder.application("dora") is None


def test_a_roster_with_another_key_for_this_site_is_not_signed(scene: Scene) -> None:
    whole = scene.hub.roster()
    assert isinstance(whole, Roster)
    forged = Roster(whole.federation, whole.coordinator, {**whole.sites, "anna": whole.sites["berta"], "berta": whole.sites["anna"]})
    with pytest.raises(VerificationError, match="another key for this site"):
        Membership.of(scene.anna)._checked(forged.to_bytes())


def test_half_open_connections_keep_nobody_waiting(scene: Scene) -> None:
    silent = [socket.create_connection((scene.address.host, scene.address.port)) for _ in range(8)]
    try:
        roster, waits_for = Membership.of(scene.anna).fetch()
        assert roster is not None
        assert waits_for == ()
    finally:
        for connection in silent:
            connection.close()
