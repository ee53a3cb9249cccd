"""Time the analysis of a recording beside other work, with OpenMP threads that spin and that sleep.

    python benchmarks/busy_machine.py --physionet /path/to/physionet

Two other processes keep two cores busy. Each analysis runs in a fresh process, in turn as OpenMP
would wait by itself, spinning, and as this package makes it wait, asleep. Start-up is not timed.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from paired import Ratio, measure_in_turn


def analyse_once(physionet: Path, record: str, minutes: float) -> float:
    """Return the seconds of an analysis in this process, with a model that is loaded."""
    import numpy as np

    from cnns_spectrograms.inference.analysis import analyse
    from cnns_spectrograms.inference.model import BeatModel
    from cnns_spectrograms.recordings.opening import open_recording

    model = BeatModel.load()
    model.predict(np.zeros((1, model.width)), np.ones((1, 4)))
    recording = open_recording(physionet / "mitdb" / record)
    n_samples = min(recording.n_samples, round(minutes * 60 * recording.fs))
    began = time.perf_counter()
    analyse(replace(recording, n_samples=n_samples, reference=None), model)
    return time.perf_counter() - began


def main() -> None:
    """Print the ratio and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--record", default="100")
    parser.add_argument("--minutes", type=float, default=5, help="of the recording")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=2, help="processes beside it")
    parser.add_argument("--once", action="store_true", help="print the seconds of one analysis")
    options = parser.parse_args()
    if options.once:
        print(analyse_once(options.physionet, options.record, options.minutes))
        return

    def run(**variables: str) -> float:
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | variables
        done = subprocess.run(
            [sys.executable, *sys.argv, "--once"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(done.stdout.split()[-1])

    code = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(options.busy)]
    try:
        # GOMP_SPINCOUNT goes before OMP_WAIT_POLICY; this is what GNU's OpenMP does without both.
        ways = {"spinning": lambda: run(GOMP_SPINCOUNT="300000"), "asleep": run}
        seconds = measure_in_turn(ways, options.rounds)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    ratio = Ratio.of(seconds["spinning"], seconds["asleep"])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.minutes:g} min beside {options.busy} busy processes, {os.cpu_count()} cores:")
    print(
        f"spinning {medians['spinning']:.1f} s, asleep {medians['asleep']:.1f} s, "
        f"{ratio} times as fast"
    )
    settings = {"minutes": options.minutes, "busy": options.busy, "cores": os.cpu_count()}
    print(json.dumps({**settings, "seconds": seconds, "ratio": ratio.listed()}))


if __name__ == "__main__":
    main()
