"""A process that serves for long, without pauses that a sender would notice."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20
_TURN = 0.001


@contextmanager
def steady() -> Iterator[None]:
    """While this lasts, what is there at its beginning is never looked through for cycles, and threads give way after a millisecond.

    Libraries and policies are some 300,000 objects that stay; looking through them took a third of a second each time, several times a minute under
    load, in which nothing was answered. The thread that answers senders otherwise waits five milliseconds for each turn that the one that treats
    events gives it.
    """
    before, turn = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(turn)
        gc.set_threshold(*before)
        gc.unfreeze()
