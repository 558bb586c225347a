"""``tacit logs keys`` and ``tacit logs reveal``, as they are typed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tacit.cli import logs_keys
from tacit.cli.ledger import ledger as ledger_commands
from tacit.cli.logs import logs
from tacit.cli.logs_keys import keys
from tacit.cli.logs_reveal import reveal
from tacit.crypto import SealedTo, SealingKey, Share
from tacit.errors import Refused, StorageError, TacitError, UsageError, VerificationError
from tacit.guard import Ledger
from tacit.logs.keys import Keyring, Named, Vault
from tacit.logs.policies import SourcePolicy
from tacit.logs.stages.renewing import Renewing

WORDS = "correct horse battery staple"
INIT = ("init", "--keys", "keys.json", "--shares-dir", "shares", "--tenant", "acme")
SHARES = [f"shares/share-{n}-of-3.txt" for n in (1, 2, 3)]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TACIT_LEDGER", raising=False)
    return tmp_path


def run(command: click.Command, *arguments: object, typed: str | None = None) -> Result:
    """A command that has to do well."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def refusal(kind: type[TacitError], command: click.Command, *arguments: object, typed: str | None = None) -> str:
    with pytest.raises(kind) as refused:
        run(command, *arguments, typed=typed)
    return str(refused.value)


@pytest.fixture
def named(users: Callable[..., list[Named]]) -> list[Named]:
    """A keyring with shares, and a vault that a pipeline has written to."""
    run(keys, *INIT)
    ring = Keyring.open("keys.json")
    entries = users(ring.active(), 3)
    Vault.of("vault.db", ring).add(ring.active(), entries)
    return entries


def asked(*pseudonyms: str, shares: list[str] = SHARES[:2], reason: str = "case 2026-117", more: tuple[str, ...] = ()) -> tuple[str, ...]:
    held = [part for share in shares for part in ("--share", share)]
    return (*pseudonyms, "--vault", "vault.db", "--reason", reason, *held, *more)


# ------------------------------------------------------------------------------------------------------------------------- init


def test_init_makes_a_keyring_a_public_key_and_three_shares(place: Path) -> None:
    done = run(keys, *INIT)
    ring, public = Keyring.open("keys.json"), SealedTo.load("keys.reveal.pub")
    assert ring.reveal_key == public
    assert sorted(path.name for path in (place / "shares").iterdir()) == [Path(name).name for name in SHARES]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (place / "shares").iterdir())
    assert (place / "shares").stat().st_mode & 0o777 == 0o700
    for pair in (SHARES[:2], SHARES[1:], SHARES[::2]):
        assert SealingKey.from_shares([Share.load(name) for name in pair]).public == public
    assert "then delete these 3 files here" in done.output
    assert all(name in done.output for name in (*SHARES, public.fingerprint, ring.active().id))
    secret = ring._content.masters[ring.active().id]
    assert secret.hex() not in done.output
    assert "acme" in Path(SHARES[0]).read_text()


def test_init_without_shares_reveals_nothing(place: Path) -> None:
    run(keys, "init", "--keys", "keys.json", "--tenant", "acme")
    assert Keyring.open("keys.json").reveal_key is None
    assert sorted(path.name for path in place.iterdir()) == [".keys.json.lock", "keys.json"]
    assert "no reveal key" in run(keys, "show", "--keys", "keys.json").output


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("--keys", "keys.json", "--tenant", "a b", "--shares-dir", "shares"), UsageError),
        (("--keys", "none/keys.json", "--tenant", "acme", "--shares-dir", "shares"), StorageError),
        (("--keys", "keys.json", "--tenant", "acme", "--shares-dir", "shares", "--shares", "2", "--threshold", "3"), UsageError),
        (("--keys", "keys.json", "--tenant", "acme", "--shares-dir", "a-file"), StorageError),
    ],
)
def test_an_init_that_fails_leaves_no_share(place: Path, arguments: tuple[str, ...], kind: type[TacitError]) -> None:
    Path("a-file").touch()
    refusal(kind, keys, "init", *arguments)
    assert not list(place.rglob("share-*"))
    assert not list(place.rglob("*.pub"))
    assert not Path("keys.json").exists()


def test_nothing_is_overwritten(place: Path) -> None:
    run(keys, *INIT)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert "exists" in refusal(UsageError, keys, *INIT)
    assert "exists" in refusal(UsageError, keys, "init", "--keys", "other.json", "--tenant", "acme", "--shares-dir", "shares")
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert after == before


def test_a_passphrase_comes_from_the_variable_or_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    init = ("init", "--keys", "keys.json", "--tenant", "acme", "--passphrase")
    assert "12 characters" in refusal(UsageError, keys, *init, typed="short\nshort\n")
    run(keys, *init, typed=f"{WORDS}\n{WORDS}\n")
    assert "TACIT_PASSPHRASE" in refusal(UsageError, keys, "show", "--keys", "keys.json")
    monkeypatch.setattr(logs_keys, "_interactive", lambda: True)
    assert "wrapped by a passphrase" in run(keys, "show", "--keys", "keys.json", typed=f"{WORDS}\n").output
    assert "does not open" in refusal(VerificationError, keys, "show", "--keys", "keys.json", typed="something else\n")
    monkeypatch.setenv("TACIT_PASSPHRASE", WORDS)
    run(keys, "rotate", "--keys", "keys.json")
    assert len(Keyring.open("keys.json").epochs) == 2


# ------------------------------------------------------------------------------------------------------------------------- life


def test_rotate_show_and_destroy() -> None:
    run(keys, *INIT)
    first = Keyring.open("keys.json").active().id
    done = run(keys, "rotate", "--keys", "keys.json", "--overlap", "2.5")
    second = Keyring.open("keys.json").active().id
    assert f"epoch {second} begins; records carry the pseudonyms of {first} too for 2.5 days" in done.output
    shown = run(keys, "show", "--keys", "keys.json").output.splitlines()
    assert [line.split()[0] + " " + line.rpartition("  ")[2] for line in shown[1:]] == [f"{first} still attached", f"{second} in use"]
    state = json.loads(run(keys, "show", "--keys", "keys.json", "--format", "json").output)
    assert [epoch["state"] for epoch in state["epochs"]] == ["still attached", "in use"]
    assert (state["tenant"], state["passphrase"], state["epochs"][1]["overlap_days"]) == ("acme", False, 2.5)
    assert CliRunner().invoke(keys, ["destroy", "--keys", "keys.json", first], input="n\n").exit_code == 1
    assert not Keyring.open("keys.json").epochs[0].destroyed
    done = run(keys, "destroy", "--keys", "keys.json", first, "--yes")
    assert "--vault" in done.output
    assert Keyring.open("keys.json").epochs[0].destroyed
    assert "destroyed" in run(keys, "show", "--keys", "keys.json").output
    assert "in use" in refusal(UsageError, keys, "destroy", "--keys", "keys.json", second, "--yes")
    for days in ("-1", "4000", "nan"):
        assert "--overlap" in refusal(UsageError, keys, "rotate", "--keys", "keys.json", "--overlap", days)


def test_destroying_with_the_vault_purges_it_also_afterwards(named: list[Named]) -> None:
    epoch = Keyring.open("keys.json").active().id
    run(keys, "rotate", "--keys", "keys.json", "--overlap", "0")
    run(keys, "destroy", "--keys", "keys.json", epoch, "--yes")
    assert Vault.open("vault.db").counts() == {epoch: 3}
    done = run(keys, "destroy", "--keys", "keys.json", epoch, "--yes", "--vault", "vault.db")
    assert f"3 identities of epoch {epoch} are gone" in done.output
    assert Vault.open("vault.db").counts() == {}
    Vault.create("other.db", public=SealingKey.generate().public, tenant="other")
    assert "another tenant" in refusal(UsageError, keys, "destroy", "--keys", "keys.json", epoch, "--yes", "--vault", "other.db")


# ------------------------------------------------------------------------------------------------------------------------- reveal


def test_reveal_shows_who_it_is_and_notes_it(named: list[Named]) -> None:
    done = run(reveal, *asked(named[0].pseudonym, named[2].pseudonym, more=("--keys", "keys.json")))
    epoch = Keyring.open("keys.json").active().id
    assert done.stdout.splitlines() == [f"{entry.pseudonym}  epoch {epoch}  user  {entry.identity}" for entry in (named[0], named[2])]
    assert Ledger.open("tacit-ledger.db").head in done.stderr
    shown = run(ledger_commands, "show", "--ledger", "tacit-ledger.db").output
    assert "2 pseudonyms, shares 1, 2: case 2026-117" in shown
    assert "first.last" not in shown
    run(ledger_commands, "verify", "--ledger", "tacit-ledger.db")


def test_reveal_in_json_and_without_the_keyring(named: list[Named]) -> None:
    (found,) = json.loads(run(reveal, *asked(named[1].pseudonym, more=("--format", "json", "--ledger", "book.db"))).stdout)
    assert (found["identity"], found["genuine"], found["namespace"]) == (named[1].identity, None, "user")
    assert "not checked" in run(reveal, *asked(named[1].pseudonym)).stdout
    assert Path("book.db").exists()


def test_reveal_asks_for_shares_that_are_not_files(named: list[Named]) -> None:
    typed = "".join(Share.load(name).text.replace("\n", " ").lower() + "\n" for name in SHARES[1:])
    done = run(reveal, *asked(named[0].pseudonym, shares=[]), typed=typed)
    assert named[0].identity in done.stdout
    assert Share.load(SHARES[1]).text.split()[5] not in done.output.upper()


def test_refusals_are_noted_and_typing_errors_are_not(named: list[Named]) -> None:
    assert refusal(Refused, reveal, *asked(named[0].pseudonym, shares=[SHARES[0]])).startswith("refused: Expected 2 different shares")
    assert "twice" in refusal(Refused, reveal, *asked(named[0].pseudonym, shares=[SHARES[0]] * 2))
    assert "reason" in refusal(Refused, reveal, *asked(named[0].pseudonym, reason=""))
    assert "does not know" in refusal(Refused, reveal, *asked("u-k7-" + "0" * 20))
    text = Path(SHARES[0]).read_text().splitlines()
    Path("typo.txt").write_text("\n".join([*text[:-2], text[-2][::-1], text[-1]]))
    Path("typo.txt").chmod(0o600)
    assert "Row" in refusal(VerificationError, reveal, *asked(named[0].pseudonym, shares=["typo.txt", SHARES[1]]))
    assert [entry.kind for entry in Ledger.open("tacit-ledger.db").entries()] == ["genesis", *["reveal.refused"] * 4]
    assert "shares 1: " in run(ledger_commands, "show", "--ledger", "tacit-ledger.db").output


def test_a_policy_names_the_ledger(named: list[Named]) -> None:
    policy = '[dataset]\nname = "a"\n[unit]\nname = "user"\ncolumn = "u"\n[privacy]\nepsilon = 1.0\ndelta = 1e-6\n[ledger]\nurl = "here.db"\n'
    Path("tacit.toml").write_text("version = 1\n" + policy)
    run(reveal, *asked(named[0].pseudonym))
    assert [entry.kind for entry in Ledger.open("here.db").entries()] == ["genesis", "reveal"]


def test_control_characters_in_an_identity_do_not_reach_the_terminal() -> None:
    run(keys, *INIT)
    ring = Keyring.open("keys.json")
    Vault.of("vault.db", ring).add(ring.active(), [Named("user", "u-odd", "anna\x1b[2J\ud800")])
    out = run(reveal, *asked("u-odd", more=("--keys", "keys.json"))).stdout
    assert "\x1b" not in out
    assert "anna\\u001b[2J\\ud800" in out


def test_nothing_heavy_is_imported_for_help() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from tacit.cli import logs_keys, logs_reveal; "
        "print(sorted({'numpy', 'cryptography', 'polars', 'sqlalchemy', 'sqlite3'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_option_has_help() -> None:
    for command in (*keys.commands.values(), reveal):
        assert command.help
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_what_a_file_named_can_be_revealed(place: Path) -> None:
    """From the log to the vault and back: accounts, machines and addresses, also those that only a text named."""
    run(keys, *INIT)
    events = [
        {"user": {"name": "anna.keller"}, "host": {"name": "ws-0042"}, "source": {"ip": "203.0.113.7", "mac": "00:50:56:ab:cd:ef"},
         "message": "session opened for user oldhand"},
        {"user": {"name": "bwexler"}, "message": "anna.keller again"},
    ]
    Path("events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for _ in range(2):  # a second run adds nothing, and treats alike
        run(logs, "anonymise", "events.jsonl", "--policy", "pack:ecs", "--keys", "keys.json", "--output", "safe.jsonl", "--vault", "vault.db")
    first = json.loads(Path("safe.jsonl").read_text().splitlines()[0])
    hidden = [first["user"]["name"], first["host"]["name"], first["source"]["ip"], first["source"]["mac"], first["message"].split()[-1]]
    shown = run(reveal, *asked(*hidden)).output
    assert all(name in shown for name in ("anna.keller", "ws-0042", "203.0.113.7", "00:50:56:ab:cd:ef", "oldhand"))
    assert "bwexler" not in shown


def test_a_dry_run_and_a_keyring_without_a_reveal_key_fill_no_vault(place: Path) -> None:
    run(keys, "init", "--keys", "plain.json", "--tenant", "acme")
    Path("events.jsonl").write_text('{"user":{"name":"anna.keller"}}\n')
    command = ("anonymise", "events.jsonl", "--policy", "pack:ecs", "--output", "safe.jsonl", "--vault", "vault.db")
    assert "--shares-dir" in refusal(UsageError, logs, *command, "--keys", "plain.json")
    assert not Path("safe.jsonl").exists()
    run(keys, *INIT)
    run(logs, *command, "--keys", "keys.json", "--dry-run")
    assert not Path("vault.db").exists()


def test_a_vault_is_filled_from_the_thread_that_treats(place: Path) -> None:
    run(keys, *INIT)
    ring = Keyring.open("keys.json")
    vault = Vault.of("vault.db", ring)
    renewing = Renewing(SourcePolicy.parse("{version: 1, source: s, format: json, fields: {user: user}}"), ring, vault=vault)
    renewing()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(renewing().batch([{"user": "anna.keller"}]).events[0]["user"]))
    thread.start()
    thread.join()
    assert "anna.keller" in run(reveal, *asked(*found)).output
