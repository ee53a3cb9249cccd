"""Training throughput of the project's own path, against a bare loop on tensors in memory.

    python benchmarks/training.py --physionet PATH

For each model, in turn and several times over: a bare loop (forward pass, loss, backward pass,
AdamW, on batches that lie in memory as float tensors); `fit_classifier` with images from the
cache; and with images drawn from the signals. Rates are images/s between the starts of two
batches, without the first ones; validation and start-up are not in them. It prints hardware and
versions, a table, and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from paired import Ratio, measure_in_turn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.records import read_records
from cnns_spectrograms.ecg.windows import WindowReader, make_beat_windows
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.parameters import (
    BalancingParameters,
    IngestionParameters,
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
    WindowParameters,
)
from cnns_spectrograms.training.balancing import make_train_index
from cnns_spectrograms.training.data import keep_freed_memory, resolve_precision
from cnns_spectrograms.training.fitting import TrainingTask, fit_classifier
from cnns_spectrograms.training.images import CachedImages, DrawnImages, Images
from cnns_spectrograms.training.losses import ClassBalancedFocalLoss
from cnns_spectrograms.training.networks import BeatClassifier, build_network

MODELS = {
    "resnet50": "resnet50",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "efficientnetv2_b0": "tf_efficientnetv2_b0",
}
RECORDS = {"106": "train", "208": "train", "200": "val"}
FS = 360
WARM_UP = 3  # batches; those that workers fetched ahead are among them
N_VAL = 16
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_data(
    physionet: Path, image_size: int, n_train: int, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Images]]:
    """Return train index and val of real windows, and their images by mode."""
    listed = pd.DataFrame({"db": "mitdb", "record_id": list(RECORDS), "fault": ""})
    ingestion = IngestionParameters(databases={}, fs=FS)
    made, beats, records = read_records(physionet, listed, ingestion, n_jobs=1)
    signals = {key: signal() if callable(signal) else signal for key, signal in made.items()}
    windows = make_beat_windows(beats, records, WindowParameters())
    windows["split"] = windows["record_id"].map(RECORDS)
    windows["path"] = windows["split"] + "/" + windows["db"] + "/" + windows["row_id"] + ".png"
    train = windows[windows["split"] == "train"].sample(n_train, random_state=0)
    val = windows[windows["split"] == "val"].head(N_VAL).reset_index(drop=True)
    windows = pd.concat([train.sort_index(), val], ignore_index=True)
    spectrogram = SpectrogramParameters(image_size=image_size)
    digests = dict.fromkeys(signals, "0" * 64)
    plan = CachePlan(windows, WindowReader(signals), digests, FS, spectrogram)
    cache = build_cache(plan, folder / "cache")
    index = make_train_index(windows, windows.iloc[:0], BalancingParameters())
    images: dict[str, Images] = {
        "cache": CachedImages(cache.root),
        "memory": DrawnImages(WindowReader(signals, spectrogram, FS)),
    }
    return index, val, images


class Clock:
    """Notes when a network begins each training batch."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.times: list[float] = []
        self._network = network
        self._handle = network.register_forward_pre_hook(self._note)

    def _note(self, network: torch.nn.Module, inputs: Any) -> None:
        if network is self._network and network.training:
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    def rate(self, batch_size: int) -> float:
        """Return images/s, and stop noting."""
        self._handle.remove()
        steps = self.times[WARM_UP:]
        return batch_size * (len(steps) - 1) / (steps[-1] - steps[0])


def run_bare(network: BeatClassifier, batches: list[Any], n: int, precision: str) -> float:
    """Return the rate of a loop that has nothing but the network to wait for."""
    network = network.to(DEVICE).to(memory_format=torch.channels_last).train()
    loss_of = ClassBalancedFocalLoss(torch.ones(len(AAMI_CLASSES)), 2.0, 0.05).to(DEVICE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4, weight_decay=1e-4)
    half = torch.float16 if precision == "16-mixed" else torch.bfloat16
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=precision == "16-mixed")
    clock = Clock(network)
    with keep_freed_memory():  # as the project does, to leave it out of the comparison
        for step in range(n):
            images, labels = batches[step % len(batches)]
            with torch.autocast(DEVICE.type, half, enabled=precision != "32-true"):
                logits = network(images)
            loss = loss_of(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return clock.rate(len(batches[0][1]))


def run_project(
    network: BeatClassifier,
    data: tuple[pd.DataFrame, pd.DataFrame],
    images: Images,
    n: int,
    options: argparse.Namespace,
) -> float:
    """Return the rate of the project's own training."""
    params = TrainingParameters(
        max_epochs=1,
        batch_size=options.batch_size,
        samples_per_epoch=n * options.batch_size,
        num_workers=options.workers,
        precision=options.precision,
    )
    clock = Clock(network)
    train, val = data
    with tempfile.TemporaryDirectory() as folder:
        fit_classifier(TrainingTask(network, train, val, images, params, Path(folder), {}))
    return clock.rate(options.batch_size)


def measure(name: str, data: Any, images: dict[str, Images], options: Any) -> dict[str, Any]:
    """Return the rates of one model: their medians, and the ratios with their spread."""
    train, _ = data
    batch, n = options.batch_size, WARM_UP + 1 + options.batches
    precision = resolve_precision(options.precision, DEVICE.type == "cuda")
    rows = np.random.default_rng(0).permutation(len(train))[: 2 * batch].reshape(2, batch)
    draw = images["memory"].open(train)
    labels = train["aami_class"].map({name: i for i, name in enumerate(AAMI_CLASSES)}).to_numpy(int)
    batches = [
        ((draw(torch.tensor(part)).float() / 255).to(DEVICE), torch.tensor(labels[part]).to(DEVICE))
        for part in rows
    ]

    def make() -> BeatClassifier:
        return build_network(ModelParameters(timm_name=MODELS[name], pretrained=False))

    ways = {"bare": lambda: run_bare(make(), batches, n, precision)}
    for mode, source in images.items():
        ways[mode] = lambda source=source: run_project(make(), data, source, n, options)
    rates = measure_in_turn(ways, options.rounds)
    result: dict[str, Any] = {"model": name, "precision": precision}
    for key, values in rates.items():
        result[f"{key}_images_per_s"] = round(statistics.median(values), 2)
        if key != "bare":
            result[f"{key}_ratio"] = Ratio.of(values, rates["bare"]).listed()
    if options.precisions:
        for other in ("32-true", "16-mixed" if DEVICE.type == "cuda" else "bf16-mixed"):
            rate = run_bare(make(), batches, WARM_UP + 1 + max(2, options.batches // 3), other)
            result[f"bare_{other}_images_per_s"] = round(rate, 2)
    return result


def measure_supply(train: pd.DataFrame, images: dict[str, Images]) -> dict[str, float]:
    """Return images/s that each mode alone can give one process."""
    rates = {}
    for mode, source in images.items():
        get = source.open(train)
        if isinstance(get, torch.nn.Module):
            get = get.to(DEVICE)
            index = torch.arange(min(len(train), 256))
            calls = [lambda get=get, index=index: get(index)] * 4
            n = len(index)
        else:
            calls = [lambda get=get, path=path: get(path) for path in train["path"].head(500)]
            n = 1
        calls[0]()
        began = time.perf_counter()
        for call in calls:
            call()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        rates[f"{mode}_supply_images_per_s"] = round(n * len(calls) / (time.perf_counter() - began))
    return rates


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if DEVICE.type == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Measure, print, and end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True, help="folder that holds mitdb")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--batches", type=int, default=3, help="timed, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=TrainingParameters().num_workers)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--images", type=int, default=200, help="of the train split")
    parser.add_argument("--precisions", action="store_true", help="the bare loop in others too")
    options = parser.parse_args()
    logging.getLogger("cnns_spectrograms").setLevel(logging.WARNING)
    machine = describe_machine()
    print(json.dumps(machine))
    with tempfile.TemporaryDirectory() as folder:
        train, val, images = read_data(
            options.physionet, options.image_size, options.images, Path(folder)
        )
        supply = measure_supply(train, images)
        rows = []
        for name in options.models:
            rows.append(measure(name, (train, val), images, options))
            print(json.dumps(rows[-1]), flush=True)
    print(pd.DataFrame(rows).T.to_string(header=False))
    settings = {key: getattr(options, key) for key in ("image_size", "batch_size", "workers")}
    print(json.dumps({**machine, **settings, **supply, "models": rows}))


if __name__ == "__main__":
    main()
