"""The signed file: one safetensors container whose metadata holds the manifest, its signature and the public key. No pickle anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.crypto import SigningKey, VerifyKey, canonical_bytes, from_canonical
from tacit.errors import DataError, TacitError, UsageError, VerificationError
from tacit.guarantee import Guarantee
from tacit.models.additive import AdditiveModel
from tacit.models.anomaly import AnomalyModel, SubspaceModel
from tacit.models.base import FORMAT, Artefact, Provenance, array_digest, little_endian
from tacit.models.counts import CountSeries
from tacit.models.linear import LinearModel
from tacit.models.network import NetworkModel
from tacit.models.sequence import SequenceModel
from tacit.models.squares import SquareNetwork
from tacit.models.synthetic import SyntheticModel
from tacit.replacing import replacing

CONTEXT = "tacit.model@1"
Model: TypeAlias = AdditiveModel | AnomalyModel | LinearModel | NetworkModel | SequenceModel | SquareNetwork | SubspaceModel
Anything: TypeAlias = Model | CountSeries | SyntheticModel
_KINDS: dict[str, type[Anything]] = {
    kind.kind: kind for kind in (
        AdditiveModel, AnomalyModel, LinearModel, NetworkModel, SequenceModel, SquareNetwork, SubspaceModel, CountSeries, SyntheticModel,
    )
}
_TYPES = {"u1": "U8", "i4": "I32", "f8": "F64"}
_FIELDS = {"tacit", "signature", "public_key"}
_LARGEST = 1 << 30


def save(model: Artefact, path: str | os.PathLike[str], key: SigningKey) -> None:
    """Write a model as one signed file, all or nothing.

    Raises:
        StorageError: if it cannot be written; what was at ``path`` before is unchanged.
    """
    manifest = canonical_bytes(model.manifest)
    metadata = {"tacit": manifest.decode(), "signature": key.sign(manifest, context=CONTEXT).hex(), "public_key": key.public.hex}
    with replacing(path) as file:
        file.write(_packed(model.arrays(), metadata))


def _packed(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A safetensors container, in the one way in which these arrays and texts are written: wide numbers first, names in order."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    pieces, place = [], 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        plain = little_endian(arrays[name])
        pieces.append(plain.tobytes())
        header[name] = {"dtype": _TYPES[plain.dtype.str[1:]], "shape": list(plain.shape), "data_offsets": [place, place + plain.nbytes]}
        place += plain.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *pieces])


def load(path: str | os.PathLike[str], *, trusted: VerifyKey | None = None) -> Model:
    """Read a model and check every byte of it.

    Args:
        path: the file.
        trusted: the key it must be signed with; without it, any key that the file itself names, which proves integrity but not origin.

    Raises:
        VerificationError: if content, digests, signature or key do not agree.
        DataError: if there is no such file, or it is no model, is cut short, or is of a newer format.
        UsageError: if it holds something else, which scores no records.
    """
    found = load_any(path, trusted=trusted)
    if isinstance(found, CountSeries):
        raise UsageError(f"Expected a model that scores records; «{path}» holds counts over time. Use tacit forecast ahead.")
    if isinstance(found, SyntheticModel):
        raise UsageError(f"Expected a model that scores records; «{path}» holds tables to draw records from. Use tacit synthetic sample.")
    return found


def load_synthetic(path: str | os.PathLike[str], *, trusted: VerifyKey | None = None) -> SyntheticModel:
    """Read tables to draw records from; otherwise as `load`.

    Raises:
        UsageError: if it holds something else.
    """
    found = load_any(path, trusted=trusted)
    if not isinstance(found, SyntheticModel):
        raise UsageError(f"Expected tables to draw records from in «{path}»; it holds {found.kind}. Make them with tacit synthetic fit.")
    return found


def load_counts(path: str | os.PathLike[str], *, trusted: VerifyKey | None = None) -> CountSeries:
    """Read released counts over time; otherwise as `load`.

    Raises:
        UsageError: if it is a model that scores records.
    """
    found = load_any(path, trusted=trusted)
    if not isinstance(found, CountSeries):
        raise UsageError(f"Expected counts over time in «{path}»; it holds {found.kind}. Make counts with tacit forecast count.")
    return found


def load_any(path: str | os.PathLike[str], *, trusted: VerifyKey | None = None) -> Anything:
    """Read whatever a signed file holds; see `load`."""
    try:
        size, content = Path(path).stat().st_size, b""
        if size <= _LARGEST:
            content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "that is no file name"
        raise DataError(f"Expected a model at «{path}»; {reason}. Check the path.") from None
    if size > _LARGEST:
        raise DataError(f"Expected a model below 1 GiB; «{path}» is larger.")
    metadata, arrays = _unpacked(content, str(path))
    manifest = _verified(metadata, trusted)
    return _built(manifest, arrays)


def _unpacked(content: bytes, name: str) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata = header["__metadata__"]
        if set(metadata) != _FIELDS or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError
        arrays = from_bytes(content)
        if _packed(arrays, metadata) != content:  # so that nothing in the file escapes the signature: no order, no white space, no repeated name
            raise ValueError
        return metadata, arrays
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError, AttributeError):
        raise DataError(f"Expected a Tacit model in «{name}»; it is damaged, cut short, or something else. Fetch it again.") from None


def _verified(metadata: dict[str, str], trusted: VerifyKey | None) -> dict[str, Any]:
    try:
        key, signature = VerifyKey.from_hex(metadata["public_key"]), bytes.fromhex(metadata["signature"])
        text = metadata["tacit"].encode()
        if (key.hex, signature.hex()) != (metadata["public_key"], metadata["signature"]):  # there are several ways to write hex
            raise ValueError
    except (TacitError, ValueError):
        raise VerificationError("Expected a model with a public key and a signature; they are damaged. Fetch the model again.") from None
    if trusted is not None and key != trusted:
        signer = key.fingerprint
        raise VerificationError(f"Expected a model signed by {trusted.fingerprint}; this one is signed by {signer}. Ask where it comes from.")
    key.verify(text, signature, context=CONTEXT)
    try:
        manifest = from_canonical(text)
        newer = int(manifest["format"]) > FORMAT
    except (TacitError, ValueError, KeyError, TypeError):
        raise VerificationError("Expected a readable manifest under the signature. Fetch the model again.") from None
    if newer:
        raise DataError(f"Expected a model of format {FORMAT} or older; this one is newer. Update Tacit.")
    return dict(manifest)


def _built(manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Anything:
    if {name: array_digest(array) for name, array in arrays.items()} != manifest.get("arrays"):
        raise VerificationError("Expected arrays with the digests that were signed; at least one was changed. Fetch the model again.")
    try:
        kind = _KINDS[manifest["kind"]]
        native = {name: np.asarray(array, array.dtype.newbyteorder("=")) for name, array in arrays.items()}
        return kind.from_parts(
            manifest["structure"], native, guarantee=Guarantee.from_dict(manifest["guarantee"]),
            provenance=Provenance.from_dict(manifest["provenance"]), evidence=tuple(manifest["evidence"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, TacitError):
        raise VerificationError("Expected a complete model under the signature; its parts do not belong together.") from None


def verify_against(model: Artefact, entries: Iterable[Any]) -> int:
    """Check that a ledger charged the plan a model names, at the entry it names; returns the entry's number.

    Args:
        model: the model.
        entries: the ledger's verified entries, oldest first.

    Raises:
        VerificationError: if there is no such charge.
    """
    wanted = model.provenance
    for entry in entries:
        if entry.kind == "charge" and entry.sequence == wanted.charge:
            if entry.digest == wanted.ledger_head and entry.body.get("plan_digest") == wanted.plan:
                return int(entry.sequence)
            raise VerificationError(f"Entry {entry.sequence} of the ledger charges another plan than the model names. One of the two was replaced.")
    raise VerificationError("Expected the ledger to hold the charge that the model names; it does not. Is it the right ledger?")


__all__ = ["CONTEXT", "Model", "load", "load_any", "load_counts", "load_synthetic", "save", "verify_against"]
