"""Plain rounds of NVFlare, three sites in processes of their own over mutual TLS on loopback: ``python -m benchmarks.peers.nvflare_rounds FOLDER 1``.

One call to all sites over its cells (gRPC), the layer that its jobs and its Collab API stand on: float32 down, float32 up, and their mean. No job is
submitted, which would take its time once; nothing is masked. Certificates are those in FOLDER. Input and output as in `benchmarks.workers.rounds`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

SITES = ("one", "three", "two")
SIZES = {"small": 32, "large": 999_944}


def cell(folder: Path, name: str, url: str) -> Any:
    """A cell with the certificates of a folder."""
    from nvflare.fuel.f3.cellnet.cell import Cell

    kind, whose = ("server", {}) if name == "server" else ("client", {"server": "coordinator"})
    files = {"ca_cert": "rootCA.pem", f"{kind}_cert": f"{kind}.crt", f"{kind}_key": f"{kind}.key"}
    credentials = {what: str(folder / file) for what, file in files.items()}
    return Cell(fqcn=name, root_url=url, secure=True, credentials=credentials, auth_identity_map=whose)


def site(folder: Path, url: str) -> None:
    """Take one step on the model, and send it back."""
    from nvflare.fuel.f3.cellnet.utils import make_reply

    def answer(request: Any) -> Any:
        return make_reply("ok", body=(np.frombuffer(request.payload, np.float32) * np.float32(0.5)).tobytes())

    own = cell(folder, folder.name, url)
    own.register_request_cb(channel="bench", topic="round", cb=answer)
    own.start()
    threading.Event().wait()


def rounds(server: Any, size: int, count: int) -> dict[str, Any]:
    """Seconds of each round."""
    from nvflare.fuel.f3.message import Message

    model, seconds, cpu = np.ones(size, np.float32), [], time.process_time()
    for _ in range(count):
        started = time.perf_counter()
        replies = server.broadcast_request(channel="bench", topic="round", targets=list(SITES), request=Message(payload=model.tobytes()), timeout=120)
        model = np.mean([np.frombuffer(reply.payload, np.float32) for reply in replies.values()], axis=0)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "size": size, "cpu": (time.process_time() - cpu) / count, "sent": 12 * size, "received": 12 * size}


def main(folder: Path) -> None:
    """Answer until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"grpc://127.0.0.1:{probe.getsockname()[1]}"
    server = cell(folder / "coordinator", "server", url)
    server.start()
    command, quiet = [sys.executable, "-m", "benchmarks.peers.nvflare_rounds"], subprocess.DEVNULL
    sites = [subprocess.Popen([*command, str(folder / name), url], env=dict(os.environ), stdin=quiet, stdout=quiet) for name in SITES]
    try:
        while not all(server.core_cell.is_cell_connected(name) for name in SITES):
            time.sleep(0.05)
        for line in sys.stdin:
            model, count = line.split()
            sys.stdout.write(json.dumps(rounds(server, SIZES[model], int(count))) + "\n")
            sys.stdout.flush()
    finally:
        for process in sites:
            process.kill()
            process.wait()
    os._exit(0)


if __name__ == "__main__":
    site(Path(sys.argv[1]), sys.argv[2]) if sys.argv[2].startswith("grpc://") else main(Path(sys.argv[1]))
