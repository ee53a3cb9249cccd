"""A headless Chromium and an app for it to look at, for the browser tests and the screenshots."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from cnns_spectrograms.presentation import EN

WAIT_S = 240.0
T = TypeVar("T")


def find_chromium() -> tuple[str, str] | None:
    """Return Chromium and its driver, as Debian's packages install them; None without."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def served(options: list[str], log: Path) -> AbstractContextManager[str]:
    """Run `cnns-spectrograms app` with these options, and give its address."""
    return serving(["cnns_spectrograms.command_line", "app", *options], log, "/_stcore/health")


@contextmanager
def serving(module: list[str], log: Path, answers: str = "/", port: int = 0) -> Iterator[str]:
    """Run a module that takes ``--port`` (0: any free one); give its address once it answers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", *module, "--port", url.rpartition(":")[2]]
    with (
        open(log, "w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True) as process,
    ):
        try:
            until = time.monotonic() + WAIT_S
            while not _answers(url + answers):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{module} did not start:\n{log.read_text()}")
                time.sleep(0.2)
            yield url
        except BaseException:
            print(log.read_text())
            raise
        finally:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(process.pid, signal.SIGTERM)  # with what it has started
            process.wait(WAIT_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Browser:
    """A headless Chromium on a page of the app."""

    def __init__(
        self,
        downloads: Path,
        width: int = 1280,
        height: int = 720,
        dark: bool = False,
        scale: float = 1.0,
    ) -> None:
        found = find_chromium()
        assert found is not None
        options = webdriver.ChromeOptions()
        options.binary_location = found[0]
        for argument in (
            "--headless=new",
            "--no-sandbox",  # of the browser, which root may not have
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--force-device-scale-factor={scale}",
            f"--window-size={width},{height}",
            *(["--force-dark-mode"] if dark else []),
        ):
            options.add_argument(argument)
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(downloads), "intl.accept_languages": "en"}
        )
        # No driver may be looked for in the network.
        os.environ.setdefault("SE_OFFLINE", "true")
        self.driver = webdriver.Chrome(options=options, service=Service(found[1]))
        self.resize(width, height, dark)

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Make the window of another size, or of the dark theme; below 600 px it is a phone's."""
        self._width, self._dark = width, dark
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()

    def wait(self, what: Callable[[], T], why: str = "") -> T:
        """Return what a function gives, once it is true.

        Raises:
            AssertionError: it did not become true.
        """
        until = time.monotonic() + WAIT_S
        while True:
            try:
                if value := what():
                    return value
            except (StaleElementReferenceException, WebDriverException):
                value = None
            if time.monotonic() > until:
                raise AssertionError(f"waited {WAIT_S:g} s for {why or what}; page: {self.text()}")
            time.sleep(0.05)

    def all(self, css: str) -> list[Any]:
        """Return the visible elements of a selector."""
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]

    def one(self, css: str) -> Any:
        """Wait for an element and return it."""
        return self.wait(lambda: self.all(css), css)[0]

    def click(self, css: str) -> None:
        """Wait for an element and click it."""

        def clicked() -> bool:
            element = self.driver.find_element(By.CSS_SELECTOR, css)
            self.driver.execute_script("arguments[0].scrollIntoView({block:'center'})", element)
            element.click()
            return True

        self.wait(clicked, f"a click on {css}")

    def text(self) -> str:
        """Return the page's visible text."""
        return str(self.driver.execute_script("return document.body.innerText"))

    def settle(self) -> None:
        """Wait until the server has nothing to do for this page and charts are drawn."""
        script = "return !document.querySelector('[data-test-script-state=\"running\"]')"
        for _ in range(2):  # a chart may report its width, which makes another run
            time.sleep(0.4)
            self.wait(lambda: self.driver.execute_script(script), "the page to settle")

    def save(self, path: Path, full: bool = False) -> None:
        """Write what is shown as a small WebP picture, or with `full` the whole page."""
        from PIL import Image

        if full:
            script = (
                "return document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
            )
            self.resize(self._width, int(self.driver.execute_script(script)) + 20, self._dark)
            self.settle()
        with Image.open(io.BytesIO(self.driver.get_screenshot_as_png())) as image:
            image.convert("RGB").save(path, quality=70, method=6)


def analyse(page: Browser) -> None:
    """Press the button of the clinical report, and wait until the recording is shown."""
    page.click(".st-key-analyse button")
    page.one(".st-key-strip .js-plotly-plot")
    page.one(".st-key-beat .js-plotly-plot")
    page.settle()


def upload(page: Browser, *paths: Path) -> None:
    """Choose files on the disk as one's own recording."""
    for label in page.wait(lambda: page.all(".st-key-source button"), "the sources"):
        if label.text == EN("source_upload"):
            label.click()
    page.wait(
        lambda: page.driver.find_elements("css selector", ".st-key-upload input[type=file]"),
        "the uploader",
    )[0].send_keys("\n".join(map(str, paths)))
