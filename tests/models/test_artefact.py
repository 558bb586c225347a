"""The signed file: what comes back is what was saved, and nothing that was touched comes back at all."""

from __future__ import annotations

import ast
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from tacit import Budget, Guarantee
from tacit.crypto import SigningKey, canonical_bytes, from_canonical
from tacit.domain import Domain
from tacit.errors import DataError, StorageError, TacitError, VerificationError
from tacit.guard import Ledger
from tacit.learn import BoostedTreesClassifier
from tacit.models import AdditiveModel, LinearModel, Model, artefact, load, save, verify_against
from tacit.models.base import array_digest

Build = Callable[..., Any]
SOURCE = Path(__file__).resolve().parents[2] / "src" / "tacit"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def saved(build_additive: Build, key: SigningKey, tmp_path: Path, numbers_alone: Domain) -> Path:
    path = tmp_path / "small.tacit"
    save(build_additive("binary", trees=2, domain=numbers_alone), path, key)
    return path


def manifest_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(from_canonical(header["__metadata__"]["tacit"].encode()))


def forged(path: Path, key: SigningKey, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None], *, again: bool = True) -> Path:
    """The file with other content; signed and digested anew if ``again``, as a person who holds the key could."""
    manifest, arrays = manifest_of(path), from_safetensors(path.read_bytes())
    change(manifest, arrays)
    if again and "arrays" in manifest:
        manifest["arrays"] = {name: array_digest(array) for name, array in arrays.items()}
    text = canonical_bytes(manifest)
    metadata = {"tacit": text.decode(), "signature": key.sign(text, context=artefact.CONTEXT).hex(), "public_key": key.public.hex}
    other = path.with_name("forged.tacit")
    other.write_bytes(artefact._packed(arrays, metadata))
    return other


def test_a_model_comes_back_as_it_was(build: Build, task: str, key: SigningKey, tmp_path: Path, records: Callable[..., Any]) -> None:
    model = build(task, evidence=({"attack": "lira", "auc": 0.51},))
    model.save(tmp_path / "model.tacit", key)
    found = load(tmp_path / "model.tacit", trusted=key.public)
    assert type(found) is type(model)
    assert found == model
    assert hash(found) == hash(model)
    assert found.manifest == model.manifest
    assert (found.guarantee, found.provenance, found.evidence) == (model.guarantee, model.provenance, model.evidence)
    assert (found.target, found.domain, found.classes) == (model.target, model.domain, model.classes)
    data = records(700)
    np.testing.assert_array_equal(found.margins(data), model.margins(data))
    assert found.predict(data).tolist() == model.predict(data).tolist()


def test_a_model_without_a_guarantee_says_so_when_it_comes_back(
    build: Build, key: SigningKey, tmp_path: Path, provenance: Callable[..., Any], guarantee: Guarantee,
) -> None:
    nothing = replace(guarantee, epsilon=float("inf"), accountant="test seed")
    save(build("binary", provenance=provenance(deterministic=True), guarantee=nothing), tmp_path / "model.tacit", key)
    found = load(tmp_path / "model.tacit")
    assert not found.guarantee.holds
    assert found.provenance.deterministic


def test_a_model_of_no_updates_comes_back(build_additive: Build, key: SigningKey, tmp_path: Path, records: Callable[..., Any]) -> None:
    model = build_additive("multiclass")
    empty = AdditiveModel(model.frame, (), model.guarantee, model.provenance)
    save(empty, tmp_path / "model.tacit", key)
    np.testing.assert_array_equal(load(tmp_path / "model.tacit").predict_proba(records(5)), np.full((5, 3), 1 / 3))


def test_the_same_model_gives_the_same_bytes(build: Build, task: str, key: SigningKey, tmp_path: Path) -> None:
    for name in ("first", "second"):
        save(build(task), tmp_path / name, key)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert build(task).digest == build(task).digest != build(task, seed=9).digest


def test_the_manifest_says_everything_and_no_record(saved: Path, guarantee: Guarantee) -> None:
    found = manifest_of(saved)
    assert set(found) == {"format", "kind", "structure", "guarantee", "provenance", "evidence", "arrays"}
    assert found["kind"] == "additive@1"
    assert found["guarantee"] == guarantee.to_dict()
    assert found["provenance"]["ledger_head"] == "cd" * 32
    assert {column["name"] for column in found["structure"]["domain"]["columns"]} == {"a", "b", "c"}
    assert set(found["arrays"]) == set(from_safetensors(saved.read_bytes()))


def test_any_reader_of_safetensors_finds_the_arrays(build: Build, task: str, key: SigningKey, tmp_path: Path) -> None:
    model = build(task)
    save(model, tmp_path / "model.tacit", key)
    found = from_safetensors((tmp_path / "model.tacit").read_bytes())
    assert set(found) == set(model.arrays())
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_file_that_is_too_large_is_not_read(saved: Path) -> None:
    with saved.open("r+b") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(DataError, match="below 1 GiB"):
        load(saved)


def refused(path: Path, content: bytes, **how: Any) -> bool:
    path.write_bytes(content)
    try:
        load(path, **how)
    except (VerificationError, DataError) as problem:
        return "\n" not in str(problem)
    return False


def test_any_changed_byte_is_found(saved: Path) -> None:
    whole, touched = saved.read_bytes(), saved.with_name("touched.tacit")
    rng = np.random.default_rng(0)
    places = range(len(whole)) if os.environ.get("TACIT_SLOW") else sorted({*range(64), *rng.integers(0, len(whole), 900).tolist()})
    flips = np.where(rng.random(len(whole)) < 0.5, 32, rng.integers(1, 256, len(whole)))  # 32 changes a letter's case
    missed = [
        place for place in places if not refused(touched, whole[:place] + bytes([whole[place] ^ int(flips[place])]) + whole[place + 1 :])
    ]
    assert missed == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_cut_added_swapped_or_written_over_is_found(saved: Path, data: st.DataObject) -> None:
    whole, touched = saved.read_bytes(), saved.with_name("touched.tacit")
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 4096)))
    content = whole[:start] + data.draw(st.binary(max_size=64) | st.just(whole[:64]) | st.just(b" ")) + whole[stop:]
    if content != whole:
        assert refused(touched, content)


def test_files_that_are_cut_short_are_no_models(saved: Path) -> None:
    whole, touched = saved.read_bytes(), saved.with_name("touched.tacit")
    for length in [*range(0, 300), *range(300, len(whole), 97)]:
        touched.write_bytes(whole[:length])
        with pytest.raises(DataError, match="damaged, cut short, or something else"):
            load(touched)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"\x00" * 4096, b"\xff" * 64, pickle.dumps({"model": 1}), (2).to_bytes(8, "little") + b"{}",
        (1 << 62).to_bytes(8, "little") + b"{}", to_safetensors({"x": np.zeros(3)}), to_safetensors({"x": np.zeros(3)}, metadata={"tacit": "{}"}),
        to_safetensors({}, metadata={"tacit": "{}", "signature": "00", "public_key": "00"}),
        (20_000).to_bytes(8, "little") + b"[" * 20_000,
    ],
    # Names of their own: the library orders metadata anew in each process, and the workers of a test run must agree on names.
    ids=["empty", "json", "zeros", "ones", "pickle", "short", "huge", "plain", "no-signature", "wrong-signature", "nested"],
)
def test_foreign_files_are_no_models(content: bytes, tmp_path: Path) -> None:
    assert refused(tmp_path / "foreign", content)


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.tacit", tmp_path, tmp_path / "a" / "b", "no\0name"):
        with pytest.raises(DataError, match="Expected a model at"):
            load(path)


def test_white_space_and_repeated_names_in_the_header_are_found(saved: Path) -> None:
    whole = saved.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, rest = whole[8 : 8 + length].rstrip(), whole[8 + length :]
    for other in (header + b" " * 64, b" " + header, header[:-1] + b',"__metadata__":{}}', header.replace(b":", b" :", 1)):
        other = other.ljust((len(other) + 7) // 8 * 8)
        changed = len(other).to_bytes(8, "little") + other + rest
        if changed != whole:
            assert refused(saved.with_name("touched"), changed)


@pytest.mark.parametrize("field", ["signature", "public_key"])
@pytest.mark.parametrize("written", [str.upper, lambda text: text[:2] + " " + text[2:]])
def test_hex_has_one_way_to_be_written(field: str, written: Callable[[str], str], saved: Path) -> None:
    content = saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    saved.write_bytes(artefact._packed(from_safetensors(content), {**metadata, field: written(metadata[field])}))
    with pytest.raises(VerificationError, match="they are damaged"):
        load(saved)


def test_only_the_trusted_key_counts(saved: Path, key: SigningKey) -> None:
    stranger = SigningKey.generate()
    assert load(saved).digest == load(saved, trusted=key.public).digest
    with pytest.raises(VerificationError, match=stranger.public.fingerprint):
        load(saved, trusted=stranger.public)
    other = forged(saved, stranger, lambda manifest, arrays: manifest["guarantee"].update(epsilon=0.01))
    assert load(other).guarantee.epsilon == 0.01  # whole, but nobody's: why a trusted key is asked for
    with pytest.raises(VerificationError, match="Ask where it comes from"):
        load(other, trusted=key.public)


def test_a_signature_for_something_else_does_not_count(saved: Path, key: SigningKey) -> None:
    manifest, arrays = manifest_of(saved), from_safetensors(saved.read_bytes())
    text = canonical_bytes(manifest)
    metadata = {"tacit": text.decode(), "signature": key.sign(text, context="tacit.plan").hex(), "public_key": key.public.hex}
    saved.write_bytes(artefact._packed(arrays, metadata))
    with pytest.raises(VerificationError):
        load(saved)


def test_a_better_guarantee_cannot_be_written_in(saved: Path, key: SigningKey) -> None:
    whole = saved.read_bytes()
    better = whole.replace(b'\\"epsilon\\":0.9', b'\\"epsilon\\":0.1')
    assert better != whole
    assert refused(saved, better, trusted=key.public)


def test_a_newer_format_asks_for_a_newer_tacit(saved: Path, key: SigningKey) -> None:
    with pytest.raises(DataError, match="Update Tacit"):
        load(forged(saved, key, lambda manifest, arrays: manifest.update(format=2)))


def changed_arrays(name: str) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if name == "missing":
            del arrays["levels.tables"]
        elif name == "more":
            arrays["weights"] = np.zeros(3)
        elif name == "lengths":
            arrays["bins.codes"] = arrays["bins.codes"] + 1
        elif name == "negative":
            arrays["bins.codes"] = arrays["bins.codes"] * -1
        elif name == "partition":
            arrays["updates.partitions"] = arrays["updates.partitions"] + 1000
        elif name == "floats":
            arrays["updates.values"] = arrays["updates.values"].astype(np.float64)
        elif name == "huge":
            arrays["updates.values"] = np.full_like(arrays["updates.values"], np.iinfo(np.int32).max)
    return change


@pytest.mark.parametrize("name", ["missing", "lengths", "negative", "partition", "floats", "huge"])
def test_parts_that_do_not_belong_together_are_no_model_even_if_signed(name: str, saved: Path, key: SigningKey) -> None:
    with pytest.raises(VerificationError, match="do not belong together"):
        load(forged(saved, key, changed_arrays(name)))


@pytest.mark.parametrize("name", ["missing", "more", "lengths", "floats"])
def test_arrays_that_were_not_signed_are_found(name: str, saved: Path, key: SigningKey) -> None:
    with pytest.raises(VerificationError, match="at least one was changed"):
        load(forged(saved, key, changed_arrays(name), again=False))


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no kind": lambda m: m.pop("kind"), "unknown kind": lambda m: m.update(kind="forest@1"), "no structure": lambda m: m.update(structure=None),
    "another loss": lambda m: m["structure"].update(loss="softmax"), "no guarantee": lambda m: m.update(guarantee={}),
    "half a guarantee": lambda m: m["guarantee"].pop("unit"), "negative epsilon": lambda m: m["guarantee"].update(epsilon=-1.0),
    "another field": lambda m: m["provenance"].update(colour="red"), "no notes": lambda m: m["provenance"].pop("notes"),
    "no evidence": lambda m: m.pop("evidence"), "no domain": lambda m: m["structure"].pop("domain"),
    "another domain": lambda m: m["structure"]["domain"]["columns"].pop(), "no format": lambda m: m.pop("format"),
    "a test seed with a guarantee": lambda m: m["provenance"].update(deterministic=True), "no arrays": lambda m: m.pop("arrays"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_is_signed_but_wrong_is_refused(name: str, saved: Path, key: SigningKey) -> None:
    with pytest.raises(VerificationError, match="Expected"):
        load(forged(saved, key, lambda manifest, arrays: CHANGES[name](manifest)))


def test_nothing_is_pickled_or_unpickled(saved: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("pickle")

    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    save(load(saved), saved.with_name("again"), key)
    for path in sorted((SOURCE / "models").glob("*.py")):
        names = {alias.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        assert not {name.partition(".")[0] for name in names} & {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
        assert "allow_pickle" not in path.read_text()


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_place_that_cannot_be_written_is_refused(place: str, build_linear: Build, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("not a folder")
    path = tmp_path / "absent" / "model" if place == "folder" else tmp_path / "plain" / "model"
    with pytest.raises(StorageError, match="Nothing was written"):
        save(build_linear("binary"), path, key)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["plain"]


def test_a_folder_in_the_place_of_the_file_stays(build_linear: Build, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "model" / "inside").mkdir(parents=True)
    with pytest.raises(StorageError):
        save(build_linear("binary"), tmp_path / "model", key)
    assert [item.name for item in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "inside").is_dir()


FULL = """
import resource, signal, sys
from tacit.crypto import SigningKey
from tacit.errors import StorageError
from tacit.models import load, save
model = load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save(model, sys.argv[1], SigningKey.generate())
except StorageError as problem:
    print(problem)
"""


def test_a_full_disk_leaves_what_was_there(saved: Path) -> None:
    before = saved.read_bytes()
    assert len(before) > 1000
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    found = subprocess.run([sys.executable, "-c", FULL, str(saved)], capture_output=True, text=True, check=True, env=environment)
    assert "Nothing was written; check the disk" in found.stdout
    assert saved.read_bytes() == before
    assert [item.name for item in saved.parent.iterdir()] == [saved.name]


def test_who_reads_while_a_model_is_replaced_reads_a_whole_one(saved: Path, build_linear: Build, key: SigningKey) -> None:
    before = saved.read_bytes()
    with saved.open("rb") as reader:
        start = reader.read(100)
        save(build_linear("number"), saved, key)
        assert start + reader.read() == before


def test_a_model_that_is_there_is_replaced(saved: Path, build_linear: Build, key: SigningKey) -> None:
    save(build_linear("number"), saved, key)
    assert isinstance(load(saved), LinearModel)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Ledger, Path]:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger.open(folder / "ledger.db")
    X = np.random.default_rng(0).normal(size=(2000, 2))
    fit = BoostedTreesClassifier(Budget(2.0, 1e-5), classes=[False, True], ledger=ledger, trees=4).fit(X, X[:, 0] > 0)
    return fit.model_, ledger, folder


def test_a_trained_model_and_its_ledger_agree(trained: tuple[Model, Ledger, Path], tmp_path: Path) -> None:
    model, ledger, _ = trained
    ledger.verify()
    assert verify_against(model, ledger.entries()) == model.provenance.charge
    save(model, tmp_path / "model.tacit", ledger.signing_key)
    found = load(tmp_path / "model.tacit", trusted=ledger.public_key)
    assert verify_against(found, ledger.entries()) == model.provenance.charge
    charged = next(entry for entry in ledger.entries() if entry.sequence == model.provenance.charge)
    assert charged.digest == found.ledger_head
    assert charged.body["plan_digest"] == found.provenance.plan


def test_a_model_that_another_ledger_paid_for_is_refused(trained: tuple[Model, Ledger, Path], tmp_path: Path) -> None:
    model, ledger, _ = trained
    other = Ledger.open(tmp_path / "other.db")
    with pytest.raises(VerificationError, match="Is it the right ledger"):
        verify_against(model, other.entries())
    X = np.random.default_rng(0).normal(size=(2000, 2))
    BoostedTreesClassifier(Budget(2.0, 1e-5), classes=[False, True], ledger=other, trees=4).fit(X, X[:, 0] > 0)
    with pytest.raises(VerificationError, match="One of the two was replaced"):
        verify_against(model, other.entries())
    for changes in ({"plan": "00" * 32}, {"ledger_head": "00" * 32}, {"charge": 1}, {"charge": None}):
        wrong = replace(model, provenance=replace(model.provenance, **changes))
        with pytest.raises(VerificationError):
            verify_against(wrong, ledger.entries())


def test_no_error_of_loading_is_anything_else_than_tacits(saved: Path) -> None:
    rng = np.random.default_rng(5)
    whole = bytearray(saved.read_bytes())
    for _ in range(300):
        content = whole.copy()
        for place in rng.integers(0, len(content), int(rng.integers(2, 60))):
            content[int(place)] = int(rng.integers(0, 256))
        saved.with_name("noise").write_bytes(content)
        with pytest.raises(TacitError):
            load(saved.with_name("noise"))
