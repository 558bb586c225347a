"""Serving does not leave the process other than it was."""

from __future__ import annotations

import gc
import sys

from tacit.logs.stages.steady import steady


def test_what_is_there_is_set_aside_while_it_lasts() -> None:
    before = gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()
    with steady():
        assert gc.get_freeze_count() > 10_000
        assert gc.isenabled()
        assert sys.getswitchinterval() < before[1]
    assert (gc.get_threshold(), sys.getswitchinterval()) == before[:2]
    assert gc.get_freeze_count() <= before[2]
