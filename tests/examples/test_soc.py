"""The SOC example, run as its page says, on made-up addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import example


@pytest.fixture(scope="module")
def urls() -> Any:
    return example("soc/urls.py")


def lists(folder: Path, count: int) -> tuple[str, str]:
    """Malicious addresses end in programs, harmless ones in pages; every address has a host of its own."""
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefghij"), 8)) for _ in range(2 * count)]
    (folder / "bad.csv").write_text("url,label\n" + "".join(f"{name}.net/dl/{name[:3]}.exe,bad\n" for name in names[:count]))
    (folder / "rules").mkdir()
    (folder / "rules" / "one.yml").write_text("".join(f"  - https://www.{name}.org/docs/{name[:4]}/page.html\n" for name in names[count:]))
    return str(folder / "bad.csv"), str(folder / "rules")


def test_addresses_are_learned_and_the_model_is_saved(urls: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="networks need PyTorch: make torch")
    assert urls.main([*lists(tmp_path, 800), "--epsilon", "8", "--output", str(tmp_path / "urls.tacit")]) == 0
    out, err = capsys.readouterr()
    figures = [float(line.split("AUC ")[1].split()[0]) for line in out.splitlines()]
    assert figures[0] > 0.9
    assert figures[1] > 0.99
    assert "DP per record" in err
    from tacit.models import load

    assert load(tmp_path / "urls.tacit").kind == "sequence@1"


def test_hosts_are_either_learned_from_or_ranked(urls: Any) -> None:
    addresses = [f"host{i % 250}.org/{i}" for i in range(500)]
    test = urls.held_out(addresses)
    assert 0.1 < test.mean() < 0.4
    assert not {urls.host(a) for a, chosen in zip(addresses, test, strict=True) if chosen} & {
        urls.host(a) for a, chosen in zip(addresses, test, strict=True) if not chosen
    }


@pytest.mark.parametrize(
    ("address", "expected"), [("https://www.Example.org/a?b=1,", "example.org/a?b=1"), ("http://x.y", "x.y"), ('"z.net/a"', "z.net/a")],
)
def test_nothing_says_which_list_an_address_is_from(urls: Any, address: str, expected: str) -> None:
    assert urls.plain(address) == expected


def test_lists_that_are_not_there_are_refused(urls: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, rules = lists(tmp_path, 20)
    for arguments, message in (((str(tmp_path / "none.csv"), rules), "there is none"), ((bad, str(tmp_path / "none")), "there is none"),
                               ((bad, rules), "some hundred")):
        with pytest.raises(SystemExit) as stopped:
            urls.main(list(arguments))
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
