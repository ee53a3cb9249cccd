"""Time the way of a recording from file to annotation, stage by stage, and its memory.

    python benchmarks/inference.py --physionet /path/to/physionet            # record 100 of mitdb
    python benchmarks/inference.py --physionet /path/to/physionet --hours 24 # 100 over and over

The model is that given or shipped; or, with --network, one of that name with random weights (time
does not depend on them). The baseline, in turn with drawing and classifying as many windows, is the
network alone in PyTorch, 64 images at once. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from paired import Ratio, measure_in_turn, seconds_of

from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.recording import Recording

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

BASELINE_BATCH = 64


def make_model(path: Path, name: str, image_size: int, views: bool) -> None:
    """Write a network with random weights."""
    from cnns_spectrograms.parameters import ModelParameters, SpectrogramParameters
    from cnns_spectrograms.training.networks import build_network, save_classifier

    extra = [
        {"of": "beat", "window_s": 10, "nperseg": 256, "noverlap": 192, "max_frequency_hz": 30},
        {
            "of": "difference",
            "window_s": 0.7,
            "nperseg": 64,
            "noverlap": 56,
            "max_frequency_hz": 60,
        },
    ]
    params = ModelParameters(timm_name=name, pretrained=False, rr_intervals=views)
    spectrogram = SpectrogramParameters(image_size=image_size, extra_views=extra if views else ())
    described = {"spectrogram": spectrogram.model_dump(mode="json"), "fs": 360, "n_samples": 900}
    save_classifier(build_network(params), path, described)


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


def time_both(model: BeatModel, n_windows: int, n_rounds: int = 5) -> dict[str, list[float]]:
    """Return seconds for as many beats, in turn: images and network here, and PyTorch's network."""
    import torch

    rng = np.random.default_rng(0)
    windows = rng.normal(size=(n_windows, model.width)).astype(np.float32)
    rr_s = np.ones((n_windows, 4))
    network = copy.deepcopy(model.classifier).to(memory_format=torch.channels_last).eval()
    images = model.draw(windows)
    features = (torch.zeros(n_windows, 6),) if model.rr_intervals else ()

    def run_torch() -> None:
        with torch.inference_mode():
            for start in range(0, n_windows, BASELINE_BATCH):
                rows = slice(start, start + BASELINE_BATCH)
                network(images[rows], *(each[rows] for each in features))

    ways = {"torch": run_torch, "here": lambda: model.predict(windows, rr_s)}
    for way in ways.values():
        way()
    return measure_in_turn(
        {name: lambda way=way: seconds_of(way) for name, way in ways.items()}, n_rounds
    )


def main() -> None:
    """Print the stages and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--record", default="100")
    parser.add_argument("--hours", type=float, help="repeat the record for so long")
    parser.add_argument("--model", type=Path, help="weights; default: the shipped ones")
    parser.add_argument("--network", help="timm name of a network with random weights instead")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--views", action="store_true", help="three views and RR intervals")
    options = parser.parse_args()

    begin = time.perf_counter()
    from cnns_spectrograms.inference.analysis import analyse
    from cnns_spectrograms.inference.model import BeatModel
    from cnns_spectrograms.inference.outputs import write_outputs

    stages = {"start-up: imports": time.perf_counter() - begin}
    with tempfile.TemporaryDirectory() as scratch:
        path = options.model
        if options.network:
            path = Path(scratch) / "model.safetensors"
            make_model(path, options.network, options.image_size, options.views)
        begin = time.perf_counter()
        model = BeatModel.load(path)
        model.predict(np.zeros((1, model.width)), np.ones((1, 4)))
        stages["start-up: model"] = time.perf_counter() - begin

        begin = time.perf_counter()
        recording = open_recording(options.physionet / "mitdb" / options.record)
        if options.hours:
            recording = repeat(recording, options.hours)
        stages["open"] = time.perf_counter() - begin
        ends = {"": time.perf_counter()}
        analysis = analyse(
            recording, model, progress=lambda stage, _: ends.update({stage: time.perf_counter()})
        )
        marks = list(ends.items())
        for (_, before), (stage, end) in itertools.pairwise(marks):
            stages[stage] = end - before
        begin = time.perf_counter()
        write_outputs(analysis, recording, Path(scratch) / "out")
        stages["write"] = time.perf_counter() - begin
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        n_beats = len(analysis.beats)
        total = sum(seconds for name, seconds in stages.items() if "start-up" not in name)
        n_both = min(n_beats, 256)
        both = time_both(model, n_both)
    print(
        f"{recording.duration_s / 3600:.2f} h, {n_beats} beats; {model.name}, "
        f"{model.spectrogram.image_size} px, {model.spectrogram.n_channels} channels; "
        f"{os.cpu_count()} cores {platform.processor() or platform.machine()}, torch "
        f"{version('torch')}, onnxruntime {version('onnxruntime')}\n"
    )
    for stage, seconds in stages.items():
        print(f"{stage:<20}{seconds:9.2f} s")
    print(f"{'file to annotation':<20}{total:9.2f} s")
    rate = n_beats / stages["classify"]
    ratio = Ratio.of(both["torch"], both["here"])
    baseline = n_both / statistics.median(both["torch"])
    print(f"\nclassify {rate:.0f} beats/s with the images' drawing; the network alone in PyTorch")
    print(f"{baseline:.0f}/s: in turn, {ratio} times that. Peak memory {peak_mib:.0f} MiB.")
    result = {
        "record": options.record,
        "hours": round(recording.duration_s / 3600, 3),
        "n_beats": n_beats,
        "model": model.name,
        "image_size": model.spectrogram.image_size,
        "channels": model.spectrogram.n_channels,
        "seconds": {name: round(seconds, 3) for name, seconds in stages.items()},
        "file_to_annotation_s": round(total, 3),
        "beats_per_s": round(rate, 1),
        "baseline_images_per_s": round(baseline, 1),
        "ratio": ratio.listed(),
        "peak_mib": round(peak_mib),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
