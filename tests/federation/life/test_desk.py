"""Joining without a network: who is let in, who is not, and the roster that all sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tacit.crypto import SigningKey
from tacit.errors import UsageError, VerificationError
from tacit.federation.certificates import Address, member_of
from tacit.federation.coordinator import CoordinatorFolder, Desk, name_from
from tacit.federation.enrolment import ADMITTED, AUTHORITY, ENROL, HELD, ROSTER, SIGN, STUDY, TIME, WAITING, Asked, Enrolment, replied
from tacit.federation.invite import Invite
from tacit.federation.roster import Roster
from tacit.federation.site import SiteFolder

SITES = ("anna", "berta", "carl")


@pytest.fixture
def hub(tmp_path: Path) -> CoordinatorFolder:
    return CoordinatorFolder.create(tmp_path / "hub", federation="three houses", address=Address.parse("hub.example.org:8443"))


@pytest.fixture
def desk(hub: CoordinatorFolder) -> Desk:
    return Desk(hub)


def site(tmp_path: Path, name: str) -> SiteFolder:
    (tmp_path / name).mkdir(exist_ok=True)
    return SiteFolder.create(tmp_path / name)


def application(folder: SiteFolder, invite: Invite) -> Enrolment:
    return Enrolment.make(invite.site, invite.secret, key=folder.key, request=folder.request(invite.site))


def enrol(desk: Desk, folder: SiteFolder, invite: Invite) -> dict[str, object]:
    status, answer = desk.handle(ENROL, application(folder, invite).to_bytes())
    assert status == 200, answer
    return replied(answer, state=str, certificate=bytes, federation=str, coordinator=bytes)


def joined(tmp_path: Path, desk: Desk) -> dict[str, SiteFolder]:
    invites = {name: desk.folder.invite(name) for name in SITES}
    folders = {name: site(tmp_path, name) for name in SITES}
    for name in SITES:
        enrol(desk, folders[name], invites[name])
        desk.admit(name, folders[name].key.public.fingerprint)
    return folders


def roster_of(desk: Desk, name: str, folder: SiteFolder) -> tuple[Roster | None, list[str]]:
    status, answer = desk.handle(ROSTER, Asked.now(ROSTER, name).sign(folder.key))
    assert status == 200, answer
    fields = replied(answer, roster=bytes, waits_for=list)
    return Roster.from_bytes(fields["roster"]) if fields["roster"] else None, fields["waits_for"]


def refused(desk: Desk, path: str, body: bytes) -> str:
    status, answer = desk.handle(path, body)
    assert status == 403, answer
    return str(replied(answer, error=str)["error"])


def test_an_invited_site_waits_until_a_person_has_typed_what_it_read_out(tmp_path: Path, desk: Desk) -> None:
    invite, folder = desk.folder.invite("anna"), site(tmp_path, "anna")
    assert enrol(desk, folder, invite)["state"] == WAITING
    desk.admit("anna", folder.key.public.fingerprint.lower().replace("-", " "))
    answer = enrol(desk, folder, invite)
    assert answer["state"] == ADMITTED
    named = member_of(answer["certificate"])  # type: ignore[arg-type]
    assert (named.name, named.key) == ("anna", folder.key.public)


def test_another_fingerprint_lets_nobody_in(tmp_path: Path, desk: Desk) -> None:
    invite, folder = desk.folder.invite("anna"), site(tmp_path, "anna")
    enrol(desk, folder, invite)
    for typed in (SigningKey.generate().public.fingerprint, folder.key.public.fingerprint[:-1], "", folder.key.public.fingerprint[:4]):
        with pytest.raises(VerificationError, match="another key"):
            desk.admit("anna", typed)
    assert desk.folder.members() == {}


def test_a_stolen_invitation_is_noticed_by_whoever_comes_second(tmp_path: Path, desk: Desk) -> None:
    invite = desk.folder.invite("anna")
    thief, anna = site(tmp_path, "thief"), site(tmp_path, "anna")
    enrol(desk, thief, invite)
    assert "stolen" in refused(desk, ENROL, application(anna, invite).to_bytes())
    with pytest.raises(VerificationError):
        desk.admit("anna", anna.key.public.fingerprint)
    renewed = desk.folder.invite("anna")
    assert "no longer good" in refused(desk, ENROL, application(thief, invite).to_bytes())
    enrol(desk, anna, renewed)
    desk.admit("anna", anna.key.public.fingerprint)
    assert desk.folder.members()["anna"].key == anna.key.public


def test_a_used_invitation_lets_no_other_key_in(tmp_path: Path, desk: Desk) -> None:
    invite, anna = desk.folder.invite("anna"), site(tmp_path, "anna")
    enrol(desk, anna, invite)
    desk.admit("anna", anna.key.public.fingerprint)
    assert "another key" in refused(desk, ENROL, application(site(tmp_path, "thief"), invite).to_bytes())
    with pytest.raises(UsageError, match="not in yet"):
        desk.folder.invite("anna")


def test_an_application_is_bound_to_its_key_its_name_and_its_request(tmp_path: Path, desk: Desk) -> None:
    invite, anna, other = desk.folder.invite("anna"), site(tmp_path, "anna"), site(tmp_path, "other")
    mine = application(anna, invite)
    swapped = Enrolment(mine.site, mine.secret, other.key.public, mine.request, mine.signature)
    assert "signature" in refused(desk, ENROL, swapped.to_bytes())
    foreign = Enrolment.make("anna", invite.secret, key=anna.key, request=other.request("anna"))
    enrol_status, _ = desk.handle(ENROL, foreign.to_bytes())
    assert enrol_status == 200
    with pytest.raises(VerificationError, match="certificate"):
        desk.admit("anna", anna.key.public.fingerprint)
    wrong = Enrolment.make("anna", bytes(16), key=anna.key, request=anna.request("anna"))
    assert "not known" in refused(desk, ENROL, wrong.to_bytes())


def test_the_roster_is_whole_when_all_are_in_and_have_signed(tmp_path: Path, desk: Desk) -> None:
    folders = joined(tmp_path, desk)
    for name, folder in folders.items():
        roster, waits_for = roster_of(desk, name, folder)
        assert roster is not None
        assert name in waits_for
        status, _ = desk.handle(SIGN, Asked.now(SIGN, name, roster.signed_by(name, folder.key).signatures[name]).sign(folder.key))
        assert status == 200
    for name, folder in folders.items():
        roster, waits_for = roster_of(desk, name, folder)
        assert roster is not None
        assert waits_for == []
        roster.require_signed()
        assert name not in desk.folder.holders(roster)
        assert desk.handle(HELD, Asked.now(HELD, name, bytes(32)).sign(folder.key))[0] == 200
        assert name not in desk.folder.holders(roster)
        assert desk.handle(HELD, Asked.now(HELD, name, roster.id).sign(folder.key))[0] == 200
        assert name in desk.folder.holders(roster)


def test_there_is_no_roster_while_somebody_invited_is_missing(tmp_path: Path, desk: Desk) -> None:
    desk.folder.invite("dora")
    folders = joined(tmp_path, desk)
    assert roster_of(desk, "anna", folders["anna"]) == (None, ["dora"])


def test_questions_about_the_roster_are_for_members_and_fresh(tmp_path: Path, desk: Desk) -> None:
    folders = joined(tmp_path, desk)
    stranger = SigningKey.generate()
    assert "only sites that are in" in refused(desk, ROSTER, Asked.now(ROSTER, "eve").sign(stranger))
    assert "signature" in refused(desk, ROSTER, Asked.now(ROSTER, "anna").sign(stranger))
    assert "another place" in refused(desk, STUDY, Asked.now(ROSTER, "anna").sign(folders["anna"].key))
    old = Asked(ROSTER, "anna", int((datetime.now(UTC) - timedelta(minutes=6)).timestamp()), b"").sign(folders["anna"].key)
    assert "clock" in refused(desk, ROSTER, old)
    berta = desk.folder.roster().signed_by("berta", folders["berta"].key).signatures["berta"]  # type: ignore[union-attr]
    assert "signature" in refused(desk, SIGN, Asked.now(SIGN, "anna", berta).sign(folders["anna"].key))


@pytest.mark.parametrize("path", [ENROL, ROSTER, SIGN, STUDY])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"site":"anna"}', b"\xff" * 40, b"[1,2]", b'{"content":{"$b64":"AA=="},"signature":{"$b64":"AA=="}}'])
def test_rubbish_is_refused(desk: Desk, path: str, body: bytes) -> None:
    status, answer = desk.handle(path, body)
    assert status == 403
    replied(answer, error=str)


def test_what_anybody_may_know(desk: Desk) -> None:
    assert b"BEGIN CERTIFICATE" in desk.handle(AUTHORITY, b"")[1]
    assert set(replied(desk.handle(TIME, b"")[1], at=int, version=str)) == {"at", "version"}
    assert desk.handle("/", b"")[0] == 404


def test_the_coordinators_folder_is_made_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        CoordinatorFolder.create(tmp_path, federation="x", address=Address.parse("hub:1"), hosts=["no host at all"])
    assert list(tmp_path.iterdir()) == []
    made = CoordinatorFolder.create(tmp_path, federation="x", address=Address.parse("hub:1"))
    before = made.authority
    with pytest.raises(UsageError, match="stays as it is"):
        CoordinatorFolder.create(tmp_path, federation="y", address=Address.parse("hub:1"))
    assert CoordinatorFolder.open(tmp_path).authority == before
    private = [path for path in made.path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert len(private) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


@pytest.mark.parametrize(("said", "name"), [("St. Anna", "st-anna"), ("Zürich 2", "zurich-2"), ("a_b.c", "a_b.c"), ("UPPER", "upper")])
def test_names_that_people_say(said: str, name: str) -> None:
    assert name_from(said) == name


def test_an_invitation_survives_line_breaks_and_nothing_else() -> None:
    invite = Invite("heart", "anna", "hub.example.org:8443", bytes(range(32)))
    broken = "\n ".join(invite.text[place : place + 40] for place in range(0, len(invite.text), 40))
    assert Invite.parse(broken) == invite
    assert invite.secret.hex() not in repr(invite)
    for place in range(0, len(invite.text), 7):
        changed = invite.text[:place] + ("A" if invite.text[place] != "A" else "B") + invite.text[place + 1 :]
        with pytest.raises(UsageError, match="Copy it again"):
            Invite.parse(changed)
    with pytest.raises(UsageError):
        Invite.parse(invite.text[:-1])


def test_a_site_that_was_removed_can_come_back_with_another_key_and_the_roster_is_another(tmp_path: Path, desk: Desk) -> None:
    joined(tmp_path, desk)
    before = desk.folder.roster()
    desk.folder.remove("anna")
    assert desk.folder.roster() is None
    again, invite = site(tmp_path, "anna-2"), desk.folder.invite("anna")
    enrol(desk, again, invite)
    desk.admit("anna", again.key.public.fingerprint)
    after = desk.folder.roster()
    assert before is not None
    assert after is not None
    assert after.id != before.id
    assert set(after.signatures) == {"coordinator"}
    with pytest.raises(UsageError, match="was not"):
        desk.folder.remove("nobody")
