"""Where the images of a training come from; picklable, so that another process can open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.training.data import ImageSource


class Images(Protocol):
    """The images of tables."""

    def open(self, rows: pd.DataFrame) -> ImageSource:
        """Return what gives the images of a table's rows."""


@dataclass(frozen=True)
class CachedImages:
    """Images read from the spectrogram caches below a root.

    Attributes:
        root: absolute folder or URL.
        made_of: the stamp of the caches, see `provenance`.
    """

    root: str
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def open(self, rows: pd.DataFrame) -> ImageSource:
        """Return what gives the images of a table's rows."""
        return SpectrogramCache(self.root).pin()


@dataclass(frozen=True)
class DrawnImages:
    """Images drawn from the signals, on the device.

    Attributes:
        signals: "db/record_id" -> float32 (n_samples,), mV.
        typical_beats: the same for the records' typical beats, where a view needs them.
        fs: sampling rate, Hz.
        spectrogram: what shapes the pixels.
        made_of: the stamp of all of these, see `provenance`.
    """

    signals: Mapping[str, NDArray[np.float32]]
    typical_beats: Mapping[str, NDArray[np.float32]]
    fs: float
    spectrogram: SpectrogramParameters
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def open(self, rows: pd.DataFrame) -> ImageSource:
        """Return what gives the images of a table's rows."""
        return SignalBank(rows, self.signals, self.fs, self.spectrogram, self.typical_beats)
