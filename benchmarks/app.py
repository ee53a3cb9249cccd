"""How long a person waits for the app: a record on screen, and each step through it.

    python benchmarks/app.py --record FOLDER/mitdb/208 [--model FILE]
    python benchmarks/app.py --record FOLDER/mitdb/208 --hours 24   # 208 over and over

Drives the app in a headless Chromium, on this machine, as the browser tests do. Each step is timed
from the click until the new beat's heading, its strip and its spectrogram are drawn; the longest
task is the longest time in which the page could not answer meanwhile. Prints a table and one JSON
line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import wfdb

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import chromium  # noqa: E402
from chromium import Browser, served  # noqa: E402

LIMIT_RECORD_S, LIMIT_MOVE_MS = 15.0, 300.0
LIMIT_CORRECTION_MS = 100.0  # on the screen; 300 ms in a recording of a day

# Clicks, and waits until Plotly has drawn the charts anew, with other data than before, and, where
# another beat is chosen, its heading is there.
_CLICK = """
const [css, names] = arguments;
const chart = name => document.querySelector(`.st-key-${name} .js-plotly-plot`);
const shown = name => JSON.stringify(name === 'beat' ? chart(name).data[0].y
  : [chart(name).layout.xaxis.range, chart(name).layout.shapes]);
const heading = () => document.querySelector('h5').textContent;
const before = Object.fromEntries(names.map(name => [name, shown(name)])), title = heading();
const drawn = new Set();
window.ended = null;
const started = performance.now();
const look = () => {
  const told = !names.includes('beat') || heading() !== title;
  if (told && names.every(name => drawn.has(name))) {
    window.ended = performance.now() - started;
    observer.disconnect();
  }
};
for (const name of names) {
  chart(name).removeAllListeners('plotly_afterplot');
  chart(name).on('plotly_afterplot', () => {
    if (shown(name) !== before[name]) { drawn.add(name); look(); }
  });
}
const observer = new MutationObserver(look);
observer.observe(document.body, { subtree: true, childList: true, characterData: true });
document.querySelector(css).click();
"""

# Presses a key on the page, and waits until its badge is painted, and until it is saved and drawn.
_CORRECT = """
const badge = () => document.querySelector('.editor-mark');
const status = () => document.querySelector('.editor-status').textContent;
window.painted = window.saved = null;
const started = performance.now(), before = status();
window.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0], bubbles: true }));
const look = () => requestAnimationFrame(() => setTimeout(() => {
  window.painted ??= badge() ? performance.now() - started : null;
  if (window.painted && !badge() && status() !== before) window.saved = performance.now() - started;
  else look();
}));
look();
"""

_WATCH = """
window.longest = 0;
new PerformanceObserver(list => {
  for (const each of list.getEntries()) window.longest = Math.max(window.longest, each.duration);
}).observe({ entryTypes: ['longtask'] });
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True, help="a record of mitdb")
    parser.add_argument("--model", help="weights file; default: the shipped weights")
    parser.add_argument("--hours", type=float, help="repeat the record for so long")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    if given.hours:
        chromium.WAIT_S = 1800  # to classify so many beats takes minutes
    with tempfile.TemporaryDirectory() as scratch:
        record = given.record
        if given.hours:
            record = _repeat(record, given.hours, Path(scratch) / "physionet" / "mitdb")
        options = ["--physionet", str(record.parents[1])]
        options += ["--corrections", str(Path(scratch) / "corrections")]
        if given.model:
            options += ["--model", given.model]
        with served(options, Path(scratch) / "log") as url:
            browser = Browser(Path(scratch))
            try:
                rows = _measure(browser, url, record.name, given.steps)
            finally:
                browser.close()
    # The largest of the processes that were started here and have ended is the app's.
    rows["memory of the app at most, MiB"] = (
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    for name, value in rows.items():
        print(f"{name:<44}{value:>10.2f}")
    print(
        json.dumps(
            {
                **{name: round(value, 3) for name, value in rows.items()},
                "limits": {"record_s": LIMIT_RECORD_S, "move_ms": LIMIT_MOVE_MS}
                | {"correction_ms": LIMIT_CORRECTION_MS},
                "cores": os.cpu_count(),
                "load": load,
                "python": platform.python_version(),
            }
        )
    )


def _repeat(record: Path, hours: float, folder: Path) -> Path:
    """Write a record of some hours, with its annotations, that is the first lead over and over."""
    read = wfdb.rdrecord(str(record), channels=[0], physical=False)
    beats = wfdb.rdann(str(record), "atr")
    times = math.ceil(hours * 3600 * read.fs / read.sig_len)
    n_samples = round(hours * 3600 * read.fs)
    samples = np.concatenate([beats.sample + i * read.sig_len for i in range(times)])
    symbols = np.tile(beats.symbol, times)
    within = samples < n_samples
    folder.mkdir(parents=True)
    name = f"{record.name}x"
    wfdb.wrsamp(
        name,
        fs=read.fs,
        units=read.units,
        sig_name=read.sig_name,
        d_signal=np.tile(read.d_signal, (times, 1))[:n_samples],
        fmt=["16"],
        adc_gain=read.adc_gain,
        baseline=read.baseline,
        write_dir=str(folder),
    )
    wfdb.wrann(name, "atr", samples[within], symbols[within].tolist(), write_dir=str(folder))
    (folder / "RECORDS").write_text(f"{name}\n")
    return folder / name


def _measure(browser: Browser, url: str, record: str, n_steps: int) -> dict[str, float]:
    start = time.perf_counter()
    browser.driver.get(f"{url}/?lang=en")
    browser.one(".st-key-analyse button")
    browser.settle()
    rows = {"first page, s": time.perf_counter() - start}
    if record not in browser.one(".st-key-record_mitdb").text:
        browser.click(".st-key-record_mitdb input")
        browser.one(".st-key-record_mitdb input").send_keys(record)
        browser.one("[role=option]").click()
        browser.settle()
    start = time.perf_counter()
    browser.click(".st-key-analyse button")
    browser.one(".st-key-strip .js-plotly-plot")
    browser.one(".st-key-beat .js-plotly-plot")
    rows["from Analyse to the record on screen, s"] = time.perf_counter() - start
    browser.settle()
    browser.one(".st-key-who_input input").send_keys("benchmark\n")
    browser.settle()
    browser.driver.execute_script("document.activeElement.blur()")
    time.sleep(2)
    browser.driver.execute_script(_WATCH)
    steps = {
        "next abnormal beat": (".st-key-next_abnormal button", ("strip", "beat")),
        "forward": (".st-key-forward button", ("strip",)),
        "zoom": (".st-key-zoom_out button", ("strip",)),
        "whole recording": (".st-key-scale button:last-of-type", ("strip",)),
    }
    for name, (css, charts) in steps.items():
        n = {"zoom": 4, "whole recording": 1}.get(name, n_steps)
        took = [_time(browser, css, charts) for _ in range(n)]
        rows[f"{name}, median, ms"] = 1000 * statistics.median(took)
        rows[f"{name}, slowest, ms"] = 1000 * max(took)
    painted, saved = [], []
    for step in range(n_steps):
        name = "VSFQ"[step % 4]
        browser.driver.execute_script(_CORRECT, name.lower())
        saved.append(browser.wait(lambda: browser.driver.execute_script("return window.saved")))
        painted.append(browser.driver.execute_script("return window.painted"))
        time.sleep(0.3)
    for name, took in (("on the screen", painted), ("saved and redrawn", saved)):
        rows[f"a correction {name}, median, ms"] = statistics.median(took)
        rows[f"a correction {name}, slowest, ms"] = max(took)
    rows["longest task of the page, ms"] = browser.driver.execute_script("return window.longest")
    return rows


def _time(browser: Browser, css: str, charts: tuple[str, ...]) -> float:
    """Return the seconds from a click until the charts were drawn anew, as the browser sees it."""
    browser.driver.execute_script(_CLICK, css, list(charts))
    done: Callable[[], float] = lambda: browser.driver.execute_script("return window.ended")  # noqa: E731
    took = browser.wait(done, f"{css} to be drawn")
    time.sleep(0.3)
    return took / 1000


if __name__ == "__main__":
    main()
