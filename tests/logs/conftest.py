from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.logs.anonymise import native

SOURCE = Path(__file__).parents[2] / "kernel" / "src" / "module.cpp"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The compiled reader: the one that is installed, or one made here."""
    if native.kernel() is not None:
        yield
        return
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if compiler is None or not header.is_file():
        pytest.skip("no compiler of C++, or no headers of Python")
    folder = tmp_path_factory.mktemp("kernel")
    command = (
        [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-undefined", "dynamic_lookup"]
        if sys.platform == "darwin"
        else [
            compiler,
            "-std=c++17",
            "-O1",
            "-shared",
            "-fPIC",
        ]
    )
    subprocess.run([*command, f"-I{header.parent}", str(SOURCE), "-o", str(folder / "tacit_kernel.so")], check=True)
    sys.path.insert(0, str(folder))
    native.kernel.cache_clear()
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("tacit_kernel", None)
    native.kernel.cache_clear()
