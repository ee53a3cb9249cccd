"""Time the way of a recording from file to annotation, stage by stage, and the whole command.

    python benchmarks/inference.py --physionet /path/to/physionet            # record 119 of mitdb
    python benchmarks/inference.py --physionet /path/to/physionet --hours 24 # 119 over and over

The stages are those of one analysis in this process. The command is `predict` from its start to its
files, in fresh processes: of a path that is not there, which is its start-up, and of the record.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import Recording


def repeat(recording: Recording, hours: float) -> Recording:
    """Return a recording of some hours that is another one over and over."""
    n = round(hours * 3600 * recording.fs)

    def read(lead: int, start: int, stop: int) -> np.ndarray:
        pieces = []
        while start < stop:
            at = start % recording.n_samples
            length = min(stop - start, recording.n_samples - at)
            pieces.append(recording.read(lead, at, at + length))
            start += length
        return np.concatenate(pieces)

    return Recording("long", recording.fs, recording.lead_names, n, None, read)


def time_command(*arguments: str) -> float:
    """Return the seconds of a `predict` in a process of its own."""
    command = [sys.executable, "-m", "cnns_spectrograms.command_line", "predict", *arguments]
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - began


def main() -> None:
    """Print the stages, the command's times and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--record", default="119")
    parser.add_argument("--hours", type=float, help="repeat the record for so long")
    parser.add_argument("--model", type=Path, help="file of a model; default: the shipped one")
    parser.add_argument("--accurate", action="store_true", help="the mean of the shipped models")
    parser.add_argument("--runs", type=int, default=5, help="of the command; 0 for none")
    options = parser.parse_args()

    begin = time.perf_counter()
    from cnns_spectrograms.inference.analysis import analyse
    from cnns_spectrograms.inference.api import load_model
    from cnns_spectrograms.inference.model import count_threads
    from cnns_spectrograms.inference.outputs import write_outputs

    stages = {"start-up: imports": time.perf_counter() - begin}
    path = options.physionet / "mitdb" / options.record
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.perf_counter()
        model = load_model(options.model, options.accurate)
        model.predict(np.zeros((1, model.width)), np.ones((1, 4)))
        stages["start-up: model"] = time.perf_counter() - begin

        begin = time.perf_counter()
        recording = open_recording(path)
        if options.hours:
            recording = repeat(recording, options.hours)
        stages["open"] = time.perf_counter() - begin
        marks = [time.perf_counter()]

        def attribute(stage: str, _: float) -> None:  # a second lead has the same stages
            marks.append(time.perf_counter())
            stages[stage] = stages.get(stage, 0.0) + marks[-1] - marks[-2]

        analysis = analyse(recording, model, progress=attribute)
        begin = time.perf_counter()
        write_outputs(analysis, recording, Path(scratch) / "out")
        stages["write"] = time.perf_counter() - begin
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        chosen = [f"--model={options.model}"] if options.model else []
        chosen += ["--accurate"] if options.accurate else []
        command: dict[str, list[float]] = {"nothing there": [], "the record": []}
        for _ in range(options.runs):
            command["nothing there"].append(time_command("/not/there", "-o", scratch))
            command["the record"].append(time_command(str(path), "-o", scratch, *chosen))

    n_beats = len(analysis.beats)
    total = sum(seconds for name, seconds in stages.items() if "start-up" not in name)
    names = " + ".join(each.name for each in (model, *model.others))
    print(
        f"{recording.duration_s / 3600:.2f} h, {n_beats} beats; {names}, "
        f"{model.spectrogram.image_size} px, {model.spectrogram.n_channels} channels; "
        f"{count_threads()} threads on {os.cpu_count()} cores "
        f"{platform.processor() or platform.machine()}, onnxruntime {version('onnxruntime')}\n"
    )
    for stage, seconds in stages.items():
        print(f"{stage:<20}{seconds:9.2f} s")
    print(f"{'file to annotation':<20}{total:9.2f} s")
    rate = n_beats / stages["classify"]
    print(f"\nclassify {rate:.0f} beats/s, their images drawn. Peak memory {peak_mib:.0f} MiB.")
    for name, seconds in command.items():
        if seconds:
            spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
            print(f"predict, {name}: median {statistics.median(seconds):.2f} s ({spread})")
    result = {
        "record": options.record,
        "hours": round(recording.duration_s / 3600, 3),
        "n_beats": n_beats,
        "model": names,
        "seconds": {name: round(seconds, 3) for name, seconds in stages.items()},
        "file_to_annotation_s": round(total, 3),
        "beats_per_s": round(rate, 1),
        "peak_mib": round(peak_mib),
        "command_s": {name: [round(each, 3) for each in command[name]] for name in command},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
