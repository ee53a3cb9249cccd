"""Runs the commands of the front page and the tutorials as they are written, and says which failed.

python docs/run_commands.py --physionet FOLDER [--long] [PAGE ...]

It works in a fresh clone: the one of the first tutorial, or its own if another page is first.
The names that the pages leave to the reader are filled in: a folder with mitdb and svdb, and ten
minutes of a real record as ``rec.edf``. A server runs until it answers. What takes more than some
minutes is left out and listed, unless `--long` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/tutorials/first_run.md", "README.md", "docs/tutorials/own_recordings.md")

PROGRAMS = ("make", "kedro", "cnns-spectrograms", "mlflow", "python", "git", "cd", "source", "pip")
SERVERS = {
    "make app": 8501,
    "kedro viz run": 4141,
    "mlflow ui": 5000,
    "cnns-spectrograms app": 8501,
}
LONG = ("make test", "kedro run --config", "kedro run", "python benchmarks/results.py")
QUICK = ("kedro run --env=demo", "kedro run --env=quick")
_ANSWER_S = 600.0


@dataclass(frozen=True)
class Step:
    """One command of a page: a line of shell, or a block of Python."""

    page: str
    text: str
    python: bool = False

    @property
    def server_port(self) -> int | None:
        """Where it answers, for a server."""
        return next((port for name, port in SERVERS.items() if self.text.startswith(name)), None)

    @property
    def is_long(self) -> bool:
        """Whether it takes more than some minutes."""
        return self.text.startswith(LONG) and not self.text.startswith(QUICK)


def read_steps(page: str) -> list[Step]:
    """Return the commands of a page in order: the lines of its indented blocks that are some."""
    steps = []
    text = (ROOT / page).read_text("utf-8")
    for block in re.findall(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", text, re.MULTILINE):
        lines = [line[4:] for line in block.splitlines()]
        if re.match(r"(from|import) ", lines[0]):
            steps.append(Step(page, "\n".join(lines), python=True))
            continue
        for line in lines:
            command = re.sub(r"\s{2,}#.*", "", line).strip()
            if command.split(" ")[0] in PROGRAMS:
                steps.append(Step(page, command))
    return steps


def fill_in(text: str, physionet: Path) -> str:
    """Put what the pages leave to the reader into a command."""
    text = text.replace("/path/to/physionet", str(physionet))
    text = text.replace("RECORDING...", "rec.edf").replace("REPOSITORY", str(ROOT))
    if text.startswith("kedro run --env=quick") and "physionet" not in text:
        text += f" --params=physionet={physionet}"  # else it would be downloaded
    return text


def write_edf(record: Path, path: Path) -> None:
    """Write ten minutes of a WFDB record as EDF."""
    import edfio
    import wfdb

    read = wfdb.rdrecord(str(record), sampto=600 * 360)
    signals = [
        edfio.EdfSignal(read.p_signal[:, i], read.fs, label=name, physical_dimension="mV")
        for i, name in enumerate(read.sig_name)
    ]
    edfio.Edf(signals).write(path)


class Runner:
    """Runs commands one after another in a folder, as a reader's shell does."""

    def __init__(self, folder: Path, log: Path, physionet: Path) -> None:
        self.folder, self.log, self.physionet = folder, log, physionet
        self.environment = {**os.environ, "PYTHONPATH": ""}
        self.environment.pop("VIRTUAL_ENV", None)

    def run(self, step: Step) -> str:
        """Run a step; return "" or what went wrong."""
        text = fill_in(step.text, self.physionet)
        if text.startswith("cd "):
            self.folder = self.folder / text[3:]
            return ""
        if text.startswith("source "):
            binaries = self.folder / Path(text[7:]).parent
            self.environment["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
            return "" if binaries.is_dir() else f"there is no {binaries}"
        command = ["python", "-c", text] if step.python else ["bash", "-c", text]
        with self.log.open("a") as log:
            log.write(f"\n$ {text}\n")
            log.flush()
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            if step.server_port is None:
                status = process.wait()
                return f"exit status {status}" if status else ""
            try:
                return self._wait_for(step.server_port, process)
            finally:
                with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()

    @staticmethod
    def _wait_for(port: int, process: subprocess.Popen[bytes]) -> str:
        end = time.monotonic() + _ANSWER_S
        while time.monotonic() < end:
            if process.poll() is not None:
                return f"ended with status {process.returncode} before it answered"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    return ""
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        return f"no answer at port {port} within {_ANSWER_S:g} s"


def run_all(pages: list[str], physionet: Path, log: Path, long: bool) -> Iterator[tuple[Step, str]]:
    """Run the steps of pages; yield each with what went wrong, or "left out"."""
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(Path(scratch), log, physionet)
        if pages[0] != PAGES[0]:  # which makes the clone that the others start from
            runner.folder = runner.folder / "clone"
            subprocess.run(["git", "clone", "--quiet", ROOT, runner.folder], check=True)
            write_edf(physionet / "mitdb" / "119", runner.folder / "rec.edf")
        for page in pages:
            for step in read_steps(page):
                if step.is_long and not long:
                    yield step, "left out"
                    continue
                started = time.monotonic()
                wrong = runner.run(step)
                print(f"{time.monotonic() - started:7.1f} s  ", end="")
                yield step, wrong
                if step.text.startswith("cd "):
                    write_edf(physionet / "mitdb" / "119", runner.folder / "rec.edf")


def main() -> int:
    """Run the commands; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", default=PAGES, metavar="PAGE")
    parser.add_argument("--physionet", type=Path, required=True, help="folder of mitdb and svdb")
    parser.add_argument("--long", action="store_true", help="also what takes up to an hour or more")
    parser.add_argument("--log", type=Path, default=Path("commands.log"), help="what they print")
    options = parser.parse_args()
    failed = 0
    pages, log = list(options.pages), options.log.resolve()
    for step, wrong in run_all(pages, options.physionet.resolve(), log, options.long):
        failed += bool(wrong) and wrong != "left out"
        first = step.text.splitlines()[0]
        print(f"{step.page}: {first}: {wrong or 'ok'}", flush=True)
    print(f"{failed} failed; all output is in {log}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
