"""A site as a process of its own: ``python site_process.py FOLDER ENGINE``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.federation.connections.world import Site


def main(folder: str, engine: str) -> None:
    """Serve until killed."""
    if engine == "nvflare":
        from tacit.federation.transports.nvflare import serve_nvflare

        serve_nvflare(Site(), Path(folder))
    else:
        from tacit.federation.transports import serve

        serve(Site(), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
