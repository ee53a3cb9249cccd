"""A trained model: from windows of signal to class probabilities, by ONNX Runtime."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
from cnns_spectrograms.files import (
    CARD,
    MODEL_SUFFIXES,
    find_model,
    parse_description,
)
from cnns_spectrograms.parameters import SpectrogramParameters

_BATCH_SIZE = 16  # windows whose activations stay near the CPU's cache


def start_session(content: bytes, optimised: bool = True) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU that runs in the thread that calls it.

    Args:
        content: an ONNX file.
        optimised: whether to spend some tenths of a second on making it run fast.
    """
    options = onnxruntime.SessionOptions()
    # Batches are spread over threads (`BeatModel.predict`): layers are too small to be shared out.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def count_threads() -> int:
    """Return how many threads may compute: OMP_NUM_THREADS, or one per core."""
    import joblib

    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, int(limit) if limit.isdecimal() else joblib.cpu_count())


def read_description(path: Path) -> dict[str, Any]:
    """Return the description in an ONNX file of this project.

    Raises:
        ValueError: the file is missing, or this project did not write it.
    """
    return _start(_read(path), path, optimised=False)[1]


def tabulate_probabilities(probabilities: NDArray[np.floating]) -> pd.DataFrame:
    """Return probabilities (n, 5) under the names prob_N to prob_Q."""
    return pd.DataFrame(probabilities, columns=PROBABILITIES)


@dataclass(frozen=True, eq=False)
class BeatModel:
    """An ONNX graph from windows of signal to probabilities, and what is known of it.

    Attributes:
        session: runs the graph, see `training.onnx_export.export_onnx`.
        description: what travels with it.
        path: of the file.
        sha256: digest of the file.
        content: the ONNX file.
        others: models whose probabilities are averaged with this one's; they take the same windows.
    """

    session: onnxruntime.InferenceSession = field(repr=False)
    description: dict[str, Any]
    path: Path
    sha256: str
    content: bytes = field(repr=False)
    others: tuple[BeatModel, ...] = ()

    @classmethod
    def load(cls, path: Path | str | None = None) -> BeatModel:
        """Return the model in a file.

        Args:
            path: an ONNX file that `kedro run` wrote, or a training's safetensors file, which needs
                PyTorch; or the name of a model that comes with the package. None takes the first
                of these.

        Raises:
            ValueError: no such file, or not one of this project; or PyTorch is needed and absent.
        """
        path = find_model(path)
        stored = _read(path)
        content = _export(path) if path.suffix == ".safetensors" else stored
        session, description = _start(content, path)
        _check_description(description, path)
        return cls(session, description, path, hashlib.sha256(stored).hexdigest(), content)

    def identify(self) -> dict[str, Any]:
        """Return what names the file, JSON values."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "sha256": self.sha256,
            "file": self.path.name,
        }

    @property
    def card(self) -> str:
        """What was trained on what, with its scores and limits, Markdown; empty if none."""
        return str(self.session.get_modelmeta().custom_metadata_map.get(CARD, ""))

    @property
    def name(self) -> str:
        """Name of the network, timm's."""
        return str(self.description["model"]["timm_name"])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the training: parameters and data."""
        return str(self.description.get("fingerprint", ""))

    @property
    def fs(self) -> int:
        """Sampling rate of the windows, Hz."""
        return int(self.description["fs"])

    @property
    def n_samples(self) -> int:
        """Length of the window around a beat, samples; its R peak is at ``n_samples // 2``."""
        return int(self.description["n_samples"])

    @functools.cached_property
    def spectrogram(self) -> SpectrogramParameters:
        """What shapes the pixels."""
        return SpectrogramParameters.model_validate(self.description["spectrogram"])

    @property
    def rr_intervals(self) -> bool:
        """Whether the network takes RR intervals beside the image."""
        return bool(self.description["model"]["rr_intervals"])

    @property
    def preferred_lead(self) -> str | None:
        """Lead that training preferred."""
        lead: str | None = self.description.get("preferred_lead", "MLII")
        return lead

    @property
    def n_leads(self) -> int:
        """Most leads of a recording that training read, and whose probabilities are averaged."""
        return int(self.description.get("n_leads", 1))

    @property
    def synthetic_data(self) -> bool:
        """Whether it was trained on simulated recordings, so that it means nothing for hearts."""
        return bool(self.description.get("synthetic_data", False))

    def undo_temperature(self, probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return probabilities (n, 5) as the network gave them, before its temperature."""
        point = self.description.get("operating_point") or {}
        raw = probabilities ** float(point.get("temperature", 1.0))
        return raw / raw.sum(axis=1, keepdims=True)

    @property
    def view_lengths(self) -> list[tuple[str, int]]:
        """The stretches of signal of a window, one after another: (of, samples)."""
        return self.spectrogram.view_lengths(self.fs, self.n_samples)

    @property
    def width(self) -> int:
        """Samples of a window with all its stretches."""
        return sum(n for _, n in self.view_lengths)

    def draw(self, windows: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return the images of windows, uint8 (n, 1 or 3, height, width).

        Args:
            windows: (n, width), mV, finite, see `view_lengths`.

        Raises:
            ValueError: windows of another width, or not finite.
        """
        size = self.spectrogram.image_size
        images: NDArray[np.uint8] = np.empty(
            (len(windows), self.spectrogram.n_channels, size, size), np.uint8
        )
        unknown = np.full((len(windows), len(RR_COLUMNS)), np.nan)
        self._run("images", self.prepare(windows, unknown), images)
        return images

    def predict(
        self, windows: NDArray[np.floating], rr_s: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return class probabilities, computed on `count_threads` threads.

        Args:
            windows: (n, width) float32 or float64, mV, finite, R peak of each stretch in its
                middle (`view_lengths`).
            rr_s: (n, 4), s, the intervals `ecg.rhythm.RR_COLUMNS` of each beat, NaN where not
                known; needed by a network with ``rr_intervals``, and ignored by others.

        Returns:
            float32 (n, 5), in the order of AAMI_CLASSES.

        Raises:
            ValueError: windows or intervals of another shape, windows not finite, or intervals are
                missing.
        """
        probabilities = np.empty((len(windows), len(AAMI_CLASSES)), np.float32)
        self._run("probabilities", self.prepare(windows, rr_s), probabilities)
        for other in self.others:
            probabilities += other.predict(windows, rr_s)
        probabilities /= 1 + len(self.others)
        return probabilities

    def prepare(
        self, windows: NDArray[np.floating], rr_s: ArrayLike | None
    ) -> dict[str, NDArray[np.float32]]:
        """Return what the graph takes, by name; see `predict` for arguments and errors."""
        windows = np.asarray(windows, dtype=np.float32)
        if windows.ndim != 2 or windows.shape[1] != self.width:
            parts = ", ".join(f"{n} of the {of.replace('_', ' ')}" for of, n in self.view_lengths)
            raise ValueError(
                f"windows have shape {windows.shape}; expected (n, {self.width}): {parts}, at "
                f"{self.fs} Hz"
            )
        if not np.isfinite(windows).all():
            raise ValueError(
                f"{(~np.isfinite(windows)).any(axis=1).sum()} of {len(windows)} windows hold NaN "
                f"or infinity; fill or drop the gaps"
            )
        if not self.rr_intervals:
            return {"windows": windows}
        n = len(windows)
        if rr_s is None:
            raise ValueError(f"this model takes RR intervals too: give rr_s, ({n}, 4) in s")
        # JSON has null where an interval is not known.
        seconds = np.asarray(rr_s, dtype=np.float32)
        if seconds.shape != (n, len(RR_COLUMNS)):
            raise ValueError(
                f"rr_s has shape {seconds.shape}; expected ({n}, {len(RR_COLUMNS)}): {RR_COLUMNS}"
            )
        return {"windows": windows, "rr_s": seconds}

    def _run(self, output: str, inputs: dict[str, NDArray[np.float32]], into: NDArray[Any]) -> None:
        """Compute one output of the graph, a batch at a time, each on a thread of its own."""

        def run(first: int) -> None:
            rows = slice(first, first + _BATCH_SIZE)
            batch = {name: values[rows] for name, values in inputs.items()}
            (into[rows],) = self.session.run([output], batch)

        with ThreadPoolExecutor(count_threads()) as pool:
            list(pool.map(run, range(0, len(into), _BATCH_SIZE)))  # raises what a thread raised


def _check_description(description: Mapping[str, Any], path: Path) -> None:
    """Refuse a model that was trained on other signals than ours."""
    if description.get("highpass_hz") != HIGHPASS_HZ:
        raise ValueError(
            f"the model in {path} was trained on signals with their baseline, and with RR "
            f"intervals set against medians; this version takes the baseline out and sets them "
            f"against means: train it again, or use the model that comes with the package"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"there is no model at {path} ({error.strerror}); correct the path"
        ) from error


def _start(
    content: bytes, path: Path, optimised: bool = True
) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """Return the session of an ONNX file of this project, and its description."""
    try:
        session = start_session(content, optimised)
    except Exception as error:  # of ONNX Runtime's own classes, which share no base
        raise ValueError(
            f"{path} is no ONNX file: {str(error).strip()[:300]}; expected a model that this "
            f"project saved ({', '.join(MODEL_SUFFIXES)})"
        ) from error
    return session, parse_description(session.get_modelmeta().custom_metadata_map, path)


def _export(path: Path) -> bytes:
    """Return the ONNX file of a training's own weights."""
    try:
        from cnns_spectrograms.training.networks import load_classifier
        from cnns_spectrograms.training.onnx_export import export_onnx
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path} holds weights for PyTorch, which is not installed ({error.name} is missing); "
            f"run `pip install 'cnns_spectrograms[train]'`, or give the model as an .onnx file"
        ) from error
    classifier, description = load_classifier(path)
    _check_description(description, path)
    return export_onnx(classifier, description)
