"""The page in a real browser, at the widths of a phone and of a desktop, in both themes."""

import html
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from PIL import Image

from vlmprune_tools.cli import report

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def browser() -> str:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        reason = f"none of {', '.join(NAMES)} is installed: nobody has looked at the report"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return browser


@pytest.fixture
def page(benchmark_file: Path, accuracy_file: Path, tmp_path: Path) -> Path:
    out = tmp_path / "report.html"
    assert report.main([str(benchmark_file), str(accuracy_file), "--out", str(out)]) == 0
    return out


def browse(browser: str, page: Path, width_px: int, *options: str) -> str:
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [browser, *QUIET, profile, f"--window-size={width_px},900", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout


@pytest.mark.parametrize("width_px", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser: str, page: Path, width_px: int) -> None:
    """In a frame, since no window is as narrow as a phone, and with all details open."""
    opened = page.read_text().replace("<details>", "<details open>")
    frame = f'<iframe width="{width_px}" height="900" style="border:0" srcdoc="{html.escape(opened)}"></iframe>'
    probe = "var e = frames[0].document.documentElement; document.title = e.clientWidth + ' ' + e.scrollWidth"
    page.write_text(f"{frame}<script>onload = () => {{ {probe} }}</script>")
    title = re.search(r"<title>(\d+) (\d+)</title>", browse(browser, page, 1400, "--dump-dom", "--hide-scrollbars"))
    assert title
    assert title.groups() == (str(width_px), str(width_px))


@pytest.mark.parametrize(("options", "bright"), [((), True), (("--force-dark-mode",), False)])
def test_both_themes_are_drawn(browser: str, page: Path, options: tuple[str, ...], bright: bool) -> None:
    shot = page.with_name("shot.png")
    browse(browser, page, 1280, *options, f"--screenshot={shot}")
    image = Image.open(shot).convert("L")
    assert (image.getpixel((3, 3)) > 128) is bright
    darkest, brightest = image.getextrema()
    assert brightest - darkest > 150
