"""Takes the screenshots of the app that are in docs/app, with a headless Chromium.

python docs/screenshots.py [--model FILE] [--physionet FOLDER] [--data FOLDER] [--record DB/NAME]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from chromium import Browser, served  # noqa: E402
from cnns_spectrograms.presentation import LANGUAGE_NAMES, Language, Translator  # noqa: E402


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
    review: bool = False  # beats are corrected, groups are open, and something is measured


SHOTS = (
    Shot("choose_es", "es", height=720, analysed=False),
    Shot("choose_en", "en", height=720, analysed=False),
    Shot("screen_en", "en", height=720),
    Shot("clinical_en", "en"),
    Shot("clinical_es", "es"),
    Shot("dark_es", "es", dark=True),
    Shot("phone_es", "es", width=390),
    Shot("review_en", "en", review=True),
    Shot("review_es", "es", review=True),
    Shot("review_dark_en", "en", dark=True, review=True),
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
    parser.add_argument(
        "--record", default="mitdb/233", help="default: %(default)s, of a test patient"
    )
    parser.add_argument("--page", choices=["clinical", "technical"], help="default: both")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "app")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    options = ["--data", given.data]
    for name in ("model", "physionet"):
        if getattr(given, name):
            options += [f"--{name}", getattr(given, name)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        options += ["--corrections", str(folder / "corrections")]
        with served(options, folder / "log.txt") as url:
            browser = Browser(folder)
            try:
                shots = [each for each in SHOTS if given.page in (None, each.page)]
                _walk(browser, url, shots, given.output, given.record.split("/"))
            finally:
                browser.close()


def _walk(
    browser: Browser, url: str, shots: Sequence[Shot], output: Path, record: Sequence[str]
) -> None:
    """Go through the app in one session, and take each picture on the way."""
    browser.driver.get(f"{url}/?lang={SHOTS[0].language}")
    browser.one(".st-key-analyse button")
    browser.settle()
    t = Translator(SHOTS[0].language)
    _choose(browser, f".st-key-group_{t.language}", t("group_" + record[0]))
    _choose(browser, f".st-key-record_{record[0]}", record[1])
    analysed = False
    for shot in shots:
        t = Translator(shot.language)
        browser.resize(1280, 900, shot.dark)
        _press(browser, ".st-key-language button", LANGUAGE_NAMES[shot.language])
        _press(browser, "[data-testid=stTopNavLink]", t(f"page_{shot.page}"))
        if shot.page == "clinical" and shot.analysed and not analysed:
            analysed = True
            browser.click(".st-key-analyse button")
            browser.one(".st-key-beat .js-plotly-plot")
            browser.settle()
            for _ in range(3):
                browser.click(".st-key-next_abnormal button")
                browser.settle()
        if shot.analysed and shot.page == "clinical":
            browser.one(".st-key-beat .js-plotly-plot")
            shown = browser.driver.find_elements("css selector", ".st-key-gradcam input:checked")
            if not shown and not shot.review:
                browser.click(".st-key-gradcam label")
                browser.settle()
        if shot.review:
            _review(browser)
        browser.resize(shot.width, shot.height or 900, shot.dark)
        browser.settle()
        if shot.page == "technical":
            browser.wait(lambda t=t: t("limits_title") in browser.text(), "the whole page")
        browser.driver.execute_script(
            "document.activeElement.blur();"
            "document.querySelector('[data-testid=stMain]').scrollTo(0, 0)"
        )
        browser.settle()
        path = output / f"{shot.name}.webp"
        browser.save(path, full=shot.height is None)
        print(path, path.stat().st_size, flush=True)


def _review(browser: Browser) -> None:
    """Correct a beat of those worth a look, open a group, and measure between two beats."""
    from selenium.webdriver import ActionChains

    def press(key: str) -> None:
        ActionChains(browser.driver).send_keys(key).perform()
        browser.settle()

    if not browser.driver.find_elements("css selector", ".st-key-show_groups input:checked"):
        browser.one(".st-key-who_input input").send_keys("Ana\n")
        browser.settle()
        browser.click(".st-key-gradcam label")
        browser.click(".st-key-show_groups label")
        browser.one(".st-key-groups .js-plotly-plot")
        browser.driver.execute_script("document.activeElement.blur()")
        for key in "wvwwn":
            press(key)
        time.sleep(2)  # the rest of the page follows
        browser.settle()
    if browser.driver.find_elements("css selector", "text.editor-measure"):
        return
    browser.driver.execute_script(
        "document.querySelector('.st-key-groups .js-plotly-plot')"
        ".emit('plotly_click', { points: [{ customdata: 2 }] })"
    )
    browser.settle()
    browser.driver.execute_script("document.activeElement.blur()")
    press("m")
    press("\ue007")  # Enter
    for key in ["\ue014"] * 84 + ["\ue013"] * 20:  # to the right, and up
        ActionChains(browser.driver).send_keys(key).perform()
    press("\ue007")


def _press(browser: Browser, css: str, label: str) -> None:
    """Click the element of a selector that has this label."""
    for each in browser.wait(lambda: browser.all(css), css):
        if label in each.text:
            each.click()
            browser.settle()
            return
    raise SystemExit(f"{css} has none that says {label!r}")


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
