"""Takes the screenshots of the app that are in docs/app, with a headless Chromium.

python docs/screenshots.py [--model FILE] [--physionet FOLDER] [--data FOLDER] [--record DB/NAME]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from chromium import Browser, served  # noqa: E402
from cnns_spectrograms.app.texts import Language, Translator  # noqa: E402


@dataclass(frozen=True)
class Shot:
    """One picture: of which page, in which language, size and theme."""

    name: str
    language: Language
    page: str = "clinical"
    width: int = 1280
    height: int | None = None  # None: the whole page
    dark: bool = False
    analysed: bool = True


SHOTS = (
    Shot("choose_en", "en", height=720, analysed=False),
    Shot("choose_es", "es", height=720, analysed=False),
    Shot("clinical_en", "en"),
    Shot("clinical_es", "es"),
    Shot("screen_en", "en", height=720),
    Shot("dark_es", "es", dark=True),
    Shot("phone_es", "es", width=390),
    Shot("technical_en", "en", page="technical"),
    Shot("technical_es", "es", page="technical"),
    Shot("technical_dark_en", "en", page="technical", dark=True),
    Shot("technical_phone_es", "es", page="technical", width=390),
)


def main() -> None:
    """Start the app, and take every picture of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="weights file; default: the shipped weights")
    parser.add_argument("--physionet", help="folder of mitdb and svdb")
    parser.add_argument("--data", default="data", help="data folder; default: %(default)s")
    parser.add_argument("--record", default="mitdb/208", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "app")
    parser.add_argument("--only", nargs="*", help="names of the pictures to take; default: all")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    options = ["--data", given.data]
    for name in ("model", "physionet"):
        if getattr(given, name):
            options += [f"--{name}", getattr(given, name)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with served(options, folder / "log.txt") as url:
            for shot in SHOTS:
                if not given.only or shot.name in given.only:
                    _take(shot, url, folder, given.output, given.record.split("/"))


def _take(shot: Shot, url: str, scratch: Path, output: Path, record: Sequence[str]) -> None:
    t = Translator(shot.language)
    browser = Browser(scratch, shot.width, shot.height or 900, shot.dark)
    try:
        path = "" if shot.page == "clinical" else "technical"
        browser.driver.get(f"{url}/{path}?lang={shot.language}")
        if shot.page == "clinical":
            browser.one(".st-key-analyse button")
            browser.settle()
            _choose(browser, ".st-key-group", t("group_" + record[0]))
            _choose(browser, f".st-key-record_{record[0]}", record[1])
            if shot.analysed:
                browser.click(".st-key-analyse button")
                browser.one(".st-key-beat .js-plotly-plot")
                browser.settle()
                for _ in range(3):
                    browser.click(".st-key-next_abnormal button")
                    browser.settle()
                browser.click(".st-key-gradcam label")
                browser.settle()
        else:
            browser.wait(lambda: t("limits_title") in browser.text(), "the whole page")
            browser.settle()
        browser.driver.execute_script("document.activeElement.blur()")
        browser.save(output / f"{shot.name}.png", full=shot.height is None)
        print(output / f"{shot.name}.png", (output / f"{shot.name}.png").stat().st_size)
    finally:
        browser.close()


def _choose(browser: Browser, css: str, option: str) -> None:
    """Pick an option of a select box by typing its name."""
    box = browser.one(f"{css} input")
    if box.get_attribute("value") == option or option in browser.one(css).text:
        return
    browser.click(f"{css} input")
    box.send_keys(option)
    for each in browser.wait(lambda: browser.all("[role=option]"), "the options"):
        if each.text == option:
            each.click()
            browser.settle()
            return
    raise SystemExit(f"{css} does not offer {option!r}")


if __name__ == "__main__":
    main()
