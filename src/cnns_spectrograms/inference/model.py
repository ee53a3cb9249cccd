"""A trained network with its preprocessing: from windows of signal to class probabilities."""

from __future__ import annotations

import functools
import hashlib
import threading
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, make_rr_features
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.inference.onnx_graphs import start_network
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.training.networks import BeatClassifier, load_classifier, read_description

_STARTS = threading.Lock()
_BATCH_SIZE = 16  # images whose activations stay near the CPU's cache


def find_shipped_weights() -> Path:
    """Return the weights file that comes with the package.

    Of several it is the one whose training says the best macro F1 on val.

    Raises:
        ValueError: there is none.
    """
    folder = Path(str(files("cnns_spectrograms") / "weights"))
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise ValueError(
            f"no weights came with this installation (looked in {folder}); give those of a "
            f"training: --model data/06_models/NAME/model.safetensors/TIME/model.safetensors"
        )
    return max(found, key=lambda path: read_description(path).get("best_val_macro_f1") or 0)


def tabulate_probabilities(probabilities: NDArray[np.floating]) -> pd.DataFrame:
    """Return probabilities (n, 5) under the names prob_N to prob_Q."""
    return pd.DataFrame(probabilities, columns=[f"prob_{name}" for name in AAMI_CLASSES])


@dataclass(frozen=True, eq=False)
class BeatModel:
    """A network and what its images are made with; weights are read without pickle or network.

    Attributes:
        classifier: the network, in evaluation mode.
        description: what travels with the weights, see `training.networks.save_classifier`.
        path: of the weights.
        sha256: digest of the file.
    """

    classifier: BeatClassifier
    description: dict[str, Any]
    path: Path
    sha256: str

    @classmethod
    def load(cls, path: Path | str | None = None) -> BeatModel:
        """Return the model in a file of weights.

        Args:
            path: a safetensors file that this project's training wrote; None takes the weights
                that came with the package.

        Raises:
            ValueError: no such file, or not one of this project.
        """
        path = find_shipped_weights() if path is None else Path(path)
        classifier, description = load_classifier(path)
        missing = [key for key in ("spectrogram", "fs", "n_samples") if key not in description]
        if missing:
            raise ValueError(
                f"the description in {path} lacks {missing}, without which no image can be made; "
                f"give weights that `kedro run` saved"
            )
        if description.get("highpass_hz") != HIGHPASS_HZ:
            raise ValueError(
                f"the weights in {path} were trained on signals with their baseline, and with RR "
                f"intervals set against medians; this version takes the baseline out and sets them "
                f"against means: train them again, or use the weights that come with the package"
            )
        return cls(classifier, description, path, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def name(self) -> str:
        """Name of the network, timm's."""
        return str(self.classifier.params.timm_name)

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
        return bool(self.classifier.params.rr_intervals)

    @property
    def preferred_lead(self) -> str | None:
        """Lead that training preferred."""
        lead: str | None = self.description.get("preferred_lead", "MLII")
        return lead

    @property
    def synthetic_data(self) -> bool:
        """Whether it was trained on simulated recordings, and so says nothing about hearts."""
        return bool(self.description.get("synthetic_data", False))

    @property
    def temperature(self) -> float:
        """What the logits are divided by (Guo et al. 2017, section 4.2); 1 leaves them."""
        return float(self._operating_point.get("temperature", 1.0))

    @property
    def offsets(self) -> NDArray[np.float64]:
        """What is added to the logits of the classes before that, (5,): chosen on val, or zeros."""
        offsets = self._operating_point.get("offsets", {})
        return np.array([float(offsets.get(name, 0.0)) for name in AAMI_CLASSES])

    @property
    def _operating_point(self) -> dict[str, Any]:
        return self.description.get("operating_point") or {}

    @property
    def view_lengths(self) -> list[tuple[str, int]]:
        """The stretches of signal of a window, one after another: (of, samples)."""
        return self.spectrogram.view_lengths(self.fs, self.n_samples)

    @property
    def width(self) -> int:
        """Samples of a window with all its stretches."""
        return sum(n for _, n in self.view_lengths)

    def draw(self, windows: NDArray[np.floating]) -> torch.Tensor:
        """Return the images of windows, uint8 (n, 1 or 3, height, width).

        Args:
            windows: (n, width), mV, finite, see `view_lengths`.

        Raises:
            ValueError: windows of another width, or not finite.
        """
        windows = np.asarray(windows)
        if windows.ndim != 2 or windows.shape[1] != self.width:
            parts = ", ".join(f"{n} of the {of.replace('_', ' ')}" for of, n in self.view_lengths)
            raise ValueError(
                f"windows have shape {windows.shape}; expected (n, {self.width}): {parts}, at "
                f"{self.fs} Hz"
            )
        images = compute_spectrograms(windows, self.fs, self.spectrogram)
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)

    def predict(
        self, windows: NDArray[np.floating], rr_s: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return class probabilities.

        Args:
            windows: (n, width) float32 or float64, mV, finite, R peak of each stretch in its
                middle (`view_lengths`).
            rr_s: (n, 4), s, the intervals `ecg.rhythm.RR_COLUMNS` of each beat, NaN where not
                known; needed by a network with ``rr_intervals``, and not looked at by others.

        Returns:
            float32 (n, 5), in the order of AAMI_CLASSES.

        Raises:
            ValueError: windows or intervals of another shape, or intervals are missing.
        """
        features = self._rr_features(len(windows), rr_s)
        logits = np.empty((len(windows), len(AAMI_CLASSES)))
        for start in range(0, len(windows), _BATCH_SIZE):
            rows = slice(start, start + _BATCH_SIZE)
            inputs = {"images": self.draw(windows[rows]).contiguous().numpy()}
            if features is not None:
                inputs["rr_features"] = features[rows]
            (logits[rows],) = self._session.run(None, inputs)
        probabilities = softmax((logits + self.offsets) / self.temperature, axis=1)
        return probabilities.astype(np.float32)

    @functools.cached_property
    def _session(self) -> Any:
        size, n_channels = self.spectrogram.image_size, self.spectrogram.n_channels
        with _STARTS:  # PyTorch's export is not for two threads
            return self.__dict__.get("_session") or start_network(self.classifier, size, n_channels)

    def _rr_features(self, n: int, rr_s: ArrayLike | None) -> NDArray[np.float32] | None:
        if not self.rr_intervals:
            return None
        if rr_s is None:
            raise ValueError(f"this model takes RR intervals too: give rr_s, ({n}, 4) in s")
        seconds = np.asarray(rr_s, dtype=np.float64)
        if seconds.shape != (n, len(RR_COLUMNS)):
            raise ValueError(
                f"rr_s has shape {seconds.shape}; expected ({n}, {len(RR_COLUMNS)}): {RR_COLUMNS}"
            )
        table = pd.DataFrame(seconds, columns=list(RR_COLUMNS))
        return make_rr_features(table)
