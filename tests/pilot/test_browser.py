"""The page as a browser draws it. Skips where there is no Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tacit.pilot.report import render_html
from tacit.pilot.results import Candidate, Measure

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to draw the page with"),
]
# Frames, because a headless window is never narrower than 500 pixels; the script runs in the page that holds them.
HOLDER = """<!doctype html><meta charset="utf-8"><body>{frames}<script>
const name = (node) => `${{node.tagName}}.${{node.getAttribute("class") ?? ""}}`;
function measure(frame) {{
  const inner = frame.contentDocument, width = frame.clientWidth;
  for (const folded of inner.querySelectorAll("details")) folded.open = folded.open || frame.className === "open";
  const outside = [...inner.querySelectorAll("body *")].filter((node) => {{
    const box = node.getBoundingClientRect();
    return node.checkVisibility() && box.width > 1 && box.right > width + 0.5;
  }});
  const clipped = [...inner.querySelectorAll(".scroll, pre")].filter((node) => node.checkVisibility() && node.scrollWidth > node.clientWidth + 1);
  const root = inner.documentElement;
  return {{ width, open: frame.className === "open", wide: root.scrollWidth, high: root.scrollHeight,
            outside: outside.map(name), clipped: clipped.map(name) }};
}}
addEventListener("load", () => {{ document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(measure)); }});
</script>"""
FRAME = '<iframe class="{fold}" style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe>'


def browse(tmp_path: Path, *arguments: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def measured(tmp_path: Path, page: str, *widths: int) -> list[dict[str, Any]]:
    """How wide and high the page is at each width, folded and unfolded, and what sticks out of the window or of its own box."""
    free = html.escape(re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page))
    frames = "".join(FRAME.format(fold=fold, width=width, page=free) for width in widths for fold in ("folded", "open"))
    holder = tmp_path / "holder.html"
    holder.write_text(HOLDER.format(frames=frames), encoding="utf-8")
    dumped = browse(tmp_path, "--virtual-time-budget=5000", "--dump-dom", holder.as_uri())
    title = re.search(r"<title>(\[.*?\])</title>", dumped)
    assert title, "the page was not measured"
    found: list[dict[str, Any]] = json.loads(html.unescape(title[1]))
    assert [item["width"] for item in found] == [width for width in widths for _ in range(2)]
    return found


@pytest.fixture(scope="module")
def pages(builder: ModuleType) -> dict[str, str]:
    def longer(candidate: Candidate) -> Candidate:
        long = "name_without_any_space_that_goes_on_and_on_and_on_and_on"
        groups = tuple(replace(group, column=f"{group.column}_{long}", value=f"{group.value}_{long}") for group in candidate.groups)
        return replace(candidate, name=f"{candidate.name} {long}", model=long, groups=groups)

    def doubtful(candidate: Candidate) -> Candidate:
        def wide(gap: Measure) -> Measure:
            return Measure(gap.value + 0.1, gap.ref, gap.value - 0.3, gap.value + 0.5)

        return replace(candidate, groups=tuple(replace(group, gap=wide(group.gap)) for group in candidate.groups))

    alarm = tuple(replace(spec, hits=1200) if spec.epsilon == 1 else spec for spec in builder.SPECS)
    return {
        "pass": render_html(builder.make_result()),
        "none": render_html(builder.make_result(gates=builder.Gates(recall_loss=0.001))),
        "alarm": render_html(builder.make_result(alarm)),
        "one": render_html(builder.make_result(builder.SPECS[3:4])),
        "unsettled": render_html(builder.make_result(change=doubtful)),
        "long names": render_html(builder.make_result(change=longer)),
        "release": render_html(builder.make_result(), release=True),
    }


@pytest.mark.parametrize("name", ["pass", "none", "alarm", "one", "unsettled", "long names", "release"])
def test_nothing_sticks_out_sideways(tmp_path: Path, pages: dict[str, str], name: str) -> None:
    for found in measured(tmp_path, pages[name], 1280, 921, 768, 390, 320):
        assert found["wide"] <= found["width"], found
        assert found["high"] > 1000
        if found["width"] > 320:  # where a table of figures may scroll within its frame
            assert not found["outside"], found
            assert not found["clipped"], found


def test_what_sticks_out_is_noticed(tmp_path: Path, pages: dict[str, str]) -> None:
    wider = pages["pass"].replace("<main", '<p><svg class="bad" width="700" height="9"></svg></p><main')
    found = measured(tmp_path, wider, 390)[0]
    assert found["wide"] > 390
    assert "svg.bad" in found["outside"]


def test_a_phone_need_not_scroll_for_ever(tmp_path: Path, pages: dict[str, str]) -> None:
    assert measured(tmp_path, pages["pass"], 390)[0]["high"] < 12_000


def pixels(png: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the distinct filtered bytes of a picture's rows: a blank one has a handful."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    place, data = 8, b""
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        data += png[place + 8 : place + 8 + size] if png[place + 4 : place + 8] == b"IDAT" else b""
        place += size + 12
    raw = zlib.decompress(data)
    return width, height, {raw[i : i + 1] for i in range(0, len(raw), 7)}


def shot(tmp_path: Path, page: str, *flags: str) -> tuple[int, int, set[bytes]]:
    source, picture = tmp_path / "page.html", tmp_path / "page.png"
    source.write_text(page, encoding="utf-8")
    browse(tmp_path, "--window-size=1280,1600", f"--screenshot={picture}", *flags, source.as_uri())
    return pixels(picture.read_bytes())


@pytest.mark.parametrize("flags", [(), ("--blink-settings=preferredColorScheme=0",)], ids=["light", "dark"])
def test_the_page_is_drawn_under_its_own_content_policy(tmp_path: Path, pages: dict[str, str], flags: tuple[str, ...]) -> None:
    width, height, colours = shot(tmp_path, pages["pass"], *flags)
    assert (width, height) == (1280, 1600)
    assert len(colours) > 100
    assert len(shot(tmp_path, "<!doctype html><title>blank</title>", *flags)[2]) < 20


def test_it_prints_with_what_is_folded_away_on_the_screen(tmp_path: Path, pages: dict[str, str]) -> None:
    source, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    source.write_text(pages["pass"], encoding="utf-8")
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}", source.as_uri())
    pages_of = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 6 <= pages_of <= 14
