"""Speed, memory and opening of the spectrogram cache, against the plain way, in one run.

    python benchmarks/spectrogram_cache.py --physionet /path/to/physionet

The plain way is SciPy's STFT, Pillow's resize and a PNG of level 1, one window at a time in one
process. Encoding alone is `encode_png` of the same images, held in the memory of two processes, and
timed there; encoding and writing puts each into a file as the cache does. These and caches of eight
records are measured in turn; ratios are medians of the rounds, with the smallest and the largest.
The last line is the result as JSON. Uses 5 GB below --folder for some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from paired import Ratio, measure_in_turn, seconds_of

from cnns_spectrograms.datasets.signals import Signals, SignalsDataset
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.ecg.records import read_records
from cnns_spectrograms.ecg.windows import WindowReader, cut_windows, make_beat_windows
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.imaging.png import decode_png, encode_png
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.storage import open_storage
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    SpectrogramParameters,
    WindowParameters,
)

FS = 360
PARAMETERS = SpectrogramParameters()
N_SAMPLE = 1000  # windows of the comparisons that need no whole record
N_ROUNDS = 3


def read_databases(physionet: Path, folder: Path) -> tuple[Signals, pd.DataFrame, dict[str, str]]:
    """Save all signals below a folder; return them, the windows, and the signals' digests."""
    found = [
        {"db": db, "record_id": record_id, "fault": ""}
        for db in ("mitdb", "svdb")
        for record_id in list_records(physionet / db)
    ]
    ingestion = IngestionParameters(databases={}, fs=FS)
    signals, beats, records = read_records(physionet, pd.DataFrame(found), ingestion, n_jobs=-1)
    dataset = SignalsDataset(filepath=folder / "signals")
    dataset.save(signals)
    windows = make_beat_windows(beats, records, WindowParameters()).assign(split="train")
    windows["path"] = "train/" + windows["db"] + "/" + windows["row_id"] + ".png"
    keys = records["db"] + "/" + records["record_id"]
    return dataset.load(), windows, dict(zip(keys, records["signal_sha256"], strict=True))


def sample_windows(signals: Signals, windows: pd.DataFrame) -> NDArray[np.float32]:
    """Return windows spread over all records."""
    rows = windows.iloc[np.linspace(0, len(windows) - 1, N_SAMPLE).astype(int)]
    groups = rows.groupby(["db", "record_id"], sort=False)
    cut = [cut_windows(signals[f"{a}/{b}"], r["start"].to_numpy(), 900) for (a, b), r in groups]
    return np.concatenate(cut)


def draw_plainly(windows: NDArray[np.float32], folder: Path) -> None:
    """Draw and write windows one at a time."""
    from PIL import Image
    from scipy.signal import stft

    for number, window in enumerate(windows):
        frequencies, _, values = stft(
            window, FS, nperseg=128, noverlap=64, boundary=None, padded=False
        )
        log = np.log(np.maximum(np.abs(values[frequencies <= 60]), 1e-5))
        low, high = np.percentile(log, [1, 99])
        grey = (np.clip((log - low) / (high - low), 0, 1)[::-1] * 255).round().astype(np.uint8)
        image = Image.fromarray(grey).resize((224, 224), Image.Resampling.BILINEAR)
        image.save(folder / f"{number}.png", compress_level=1)


def list_encoders() -> dict[str, Callable[[NDArray[np.uint8]], bytes]]:
    """Return ways to encode a PNG, by name; OpenCV's where it is installed."""
    import io

    from imagecodecs import png_encode
    from PIL import Image

    def pillow(image: NDArray[np.uint8], kind: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=1, compress_type=kind)
        return buffer.getvalue()

    ways: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
        "Pillow, level 1": lambda image: pillow(image, zlib.Z_DEFAULT_STRATEGY),
        "Pillow, run lengths": lambda image: pillow(image, zlib.Z_RLE),
        "imagecodecs, level 1": lambda image: png_encode(image, level=1),
        "imagecodecs, run lengths": lambda image: png_encode(image, level=1, strategy=3),
        "imagecodecs, up, run lengths": lambda i: png_encode(i, level=1, strategy=3, filter=32),
        "imagecodecs, up (ours)": encode_png,
    }
    try:
        import cv2
    except ImportError:
        return ways
    cv2.setNumThreads(1)
    for name, kind in (("level 1", 0), ("run lengths", 3)):
        flags = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, kind]
        ways[f"OpenCV, {name}"] = lambda image, flags=flags: cv2.imencode(".png", image, flags)[
            1
        ].tobytes()
    return ways


def rate(work: Callable[[], Any], n: int) -> float:
    """Return n per second."""
    return n / seconds_of(work)


def encode_many(images: NDArray[np.uint8], folder: Path | None, part: int) -> float:
    """Encode images, thrice over, and write them if there is a folder; return seconds of one."""
    storage = None if folder is None else open_storage(folder, ".writing")
    began = time.perf_counter()
    for _ in range(3):
        for start in range(0, len(images), 256):
            pngs = [encode_png(image) for image in images[start : start + 256]]
            if storage is not None:
                for number, png in enumerate(pngs, start):
                    storage.write(f"{part}/{number}.png", png)
    return (time.perf_counter() - began) / 3


def read_many(root: str, paths: list[str], bare: bool) -> int:
    """Read images through the cache; or, bare, decode the files' bytes, already in memory."""
    if bare:
        contents = [Path(root, path).read_bytes() for path in paths]
        began = time.perf_counter()
        for content in contents:
            decode_png(content)
        return int((time.perf_counter() - began) * 1e9)
    cache = SpectrogramCache(root)
    cache.read(paths[0])
    began = time.perf_counter()
    for path in paths:
        cache.read(path)
    return int((time.perf_counter() - began) * 1e9)


def in_two(work: Callable[..., Any], parts: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Run two calls in two processes at once."""
    return list(joblib.Parallel(n_jobs=2)(joblib.delayed(work)(*part) for part in parts))


class PeakMemory(threading.Thread):
    """Watches the processes below this one: the largest resident memory of any, MiB (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        """Look five times a second until ``ended`` is set."""
        while not self.ended.wait(0.2):
            children = Path(f"/proc/self/task/{os.getpid()}/children")
            for pid in children.read_text().split() if children.exists() else ():
                with contextlib.suppress(OSError, StopIteration):
                    status = Path(f"/proc/{pid}/status").read_text().splitlines()
                    peak = next(line for line in status if line.startswith("VmHWM"))
                    self.mib = max(self.mib, int(peak.split()[1]) / 1024)


def measure_opening(root: Path) -> dict[str, float]:
    """Open a cache in a fresh process; return seconds and MiB of the opening alone."""
    code = (
        "import resource, sys, time\n"
        "from cnns_spectrograms.imaging.read import SpectrogramCache\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "began = time.perf_counter()\n"
        f"cache = SpectrogramCache({str(root)!r})\n"
        "cache.require_complete(); n = len(cache)\n"
        "opened = time.perf_counter() - began\n"
        "image = cache.read(sys.argv[1])\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(opened, (after - before) / 1024, n)\n"
    )
    first = SpectrogramCache(root).paths[0]
    done = subprocess.run(
        [sys.executable, "-c", code, first], capture_output=True, text=True, check=True
    )
    seconds, mib, n = done.stdout.split()
    return {"open_s": float(seconds), "open_mib": float(mib), "n_images": float(n)}


def describe_machine() -> str:
    """Return processor, cores and versions."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    found = []
    for name in ("torch", "scipy", "pillow", "imagecodecs", "opencv-python-headless"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}; " + ", ".join(
        found
    )


def main() -> None:
    """Measure, print the table, end with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=None, help="where the caches are built")
    args = parser.parse_args()
    import torch

    from cnns_spectrograms.imaging.spectrogram import compute_spectrograms

    folder = Path(tempfile.mkdtemp(dir=args.folder))
    result: dict[str, float] = {}
    try:
        signals, windows, digests = read_databases(args.physionet, folder)
        some = sample_windows(signals, windows)
        torch.set_num_threads(1)
        images = compute_spectrograms(some, FS, PARAMETERS).numpy()
        result["render_per_s"] = rate(
            lambda: [
                compute_spectrograms(some[i : i + 256], FS, PARAMETERS)
                for i in range(0, len(some), 256)
            ],
            len(some),
        )
        print(f"{describe_machine()}\n\n| encoder | images/s, one process | KB an image |")
        print("| --- | --- | --- |")
        for name, encode in list_encoders().items():
            size = sum(len(encode(image)) for image in images[:500]) / 500 / 1024
            speed = rate(lambda encode=encode: [encode(image) for image in images[:1000]], 1000)
            print(f"| {name} | {speed:,.0f} | {size:.1f} |")

        plain = folder / "plain"
        plain.mkdir()

        def encode(where: Path | None) -> float:
            halves = [(images[part::2], where, part) for part in (0, 1)]
            return len(images) / max(in_two(encode_many, halves))

        def build(rows: pd.DataFrame, n_jobs: int, root: Path) -> float:
            plan = CachePlan(
                rows.reset_index(drop=True),
                WindowReader(signals),
                digests,
                FS,
                PARAMETERS,
                ExecutionParameters(n_jobs=n_jobs),
            )
            shutil.rmtree(root, ignore_errors=True)
            return rate(lambda: build_cache(plan, root), len(rows))

        record = windows["db"] + "/" + windows["record_id"]
        eight = windows[record.isin(record.unique()[::13][:8])]
        rates = measure_in_turn(
            {
                "plain": lambda: rate(lambda: draw_plainly(some, plain), len(some)),
                "encode_only_2": lambda: encode(None),
                "encode_and_write_2": lambda: encode(folder / "encoded"),
                "cache_1": lambda: build(eight, 1, folder / "one"),
                "cache_2": lambda: build(eight, 2, folder / "two"),
            },
            N_ROUNDS,
        )
        result["all_windows"] = float(len(windows))
        watch = PeakMemory()
        watch.start()
        result["cache_all_per_s"] = build(windows, 2, folder / "all")
        watch.ended.set()
        after = build(eight, 2, folder / "two")
        result["worker_peak_mib"] = watch.mib
        cache = SpectrogramCache(folder / "all")
        result["all_gb"] = cache.n_bytes / 1e9
        result |= measure_opening(folder / "all")

        rng = np.random.default_rng(0)
        chosen = [cache.paths[i] for i in rng.choice(len(cache), 8000, replace=False)]
        parts = [chosen[::2], chosen[1::2]]
        for path in chosen:
            Path(cache.root, path).read_bytes()  # from the same state of the system's file cache

        def read(bare: bool) -> float:
            spent = in_two(read_many, [(cache.root, part, bare) for part in parts])
            return len(chosen) / (max(spent) / 1e9)

        rates |= measure_in_turn(
            {"decode_only_2": lambda: read(True), "read_2": lambda: read(False)}
        )
    finally:
        shutil.rmtree(folder)

    result |= {f"{name}_per_s": statistics.median(values) for name, values in rates.items()}
    ratios = {
        "vs_plain": Ratio.of(rates["cache_2"], rates["plain"]),
        "vs_encode_only": Ratio.of(rates["cache_2"], rates["encode_only_2"]),
        "vs_encode_and_write": Ratio.of(rates["cache_2"], rates["encode_and_write_2"]),
        "two_vs_one": Ratio.of(rates["cache_2"], rates["cache_1"]),
        "some_vs_all": Ratio.of([rates["cache_2"][-1], after], [result["cache_all_per_s"]] * 2),
        "read_vs_decode": Ratio.of(rates["read_2"], rates["decode_only_2"]),
    }
    rows = [
        ("the plain way, one process", f"{result['plain_per_s']:,.0f} windows/s"),
        ("rendering alone, one process", f"{result['render_per_s']:,.0f} windows/s"),
        ("encoding alone, two processes", f"{result['encode_only_2_per_s']:,.0f} images/s"),
        (
            "encoding and writing, two processes",
            f"{result['encode_and_write_2_per_s']:,.0f} images/s",
        ),
        ("cache of 8 records, one worker", f"{result['cache_1_per_s']:,.0f} windows/s"),
        (
            "cache of 8 records, two workers",
            f"{result['cache_2_per_s']:,.0f} windows/s: {ratios['two_vs_one']} times one worker, "
            f"{ratios['vs_plain']} times the plain way, {ratios['vs_encode_only']} of encoding "
            f"alone, {ratios['vs_encode_and_write']} of encoding and writing",
        ),
        (
            "cache of 126 records, two workers",
            f"{result['cache_all_per_s']:,.0f} windows/s ({result['all_windows']:,.0f} windows, "
            f"{result['all_gb']:.2f} GB): a window costs {ratios['some_vs_all']} times what it "
            f"costs in 8 records",
        ),
        ("peak memory of a worker", f"{result['worker_peak_mib']:,.0f} MiB"),
        (
            "opening that cache",
            f"{result['open_s'] * 1e3:.0f} ms, {result['open_mib']:.0f} MiB with the first image",
        ),
        (
            "random reads, two processes",
            f"{result['read_2_per_s']:,.0f} images/s: {ratios['read_vs_decode']} of decoding alone",
        ),
    ]
    print("\n| what | measured |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))
    rounded = {key: round(value, 4) for key, value in result.items()}
    print(json.dumps({**rounded, **{key: ratio.listed() for key, ratio in ratios.items()}}))


if __name__ == "__main__":
    main()
