"""Where a training's images come from, said so that another process can open them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.training.data import ImageSource

_FILE = "{}.safetensors"
_MAPPINGS = ("signals", "typical_beats")


@dataclass(frozen=True)
class CachedImages:
    """Images read from the spectrogram cache below a root.

    Attributes:
        root: absolute folder or URL of the cache, whose other caches are read too.
        made_of: the stamp of the caches, see `provenance`.
    """

    root: str
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def open(self, rows: pd.DataFrame) -> ImageSource:
        """Return what gives the images of a table's rows."""
        return SpectrogramCache(self.root).pin()

    def describe(self, folder: Path, rows: pd.DataFrame) -> dict[str, Any]:
        """Return JSON values that `open_images` makes this of again; writes nothing."""
        return {"root": self.root}


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

    def describe(self, folder: Path, rows: pd.DataFrame) -> dict[str, Any]:
        """Write the signals of the rows' records into a folder; return what else is needed."""
        from safetensors.numpy import save_file

        keys = pd.unique(rows["db"] + "/" + rows["record_id"])
        for name in _MAPPINGS:
            kept = getattr(self, name)
            arrays = {key: np.array(kept[key]) for key in keys if key in kept}
            save_file(arrays, folder / _FILE.format(name))
        return {"fs": self.fs, "spectrogram": self.spectrogram.model_dump(mode="json")}


Images = CachedImages | DrawnImages


def open_images(folder: Path, described: Mapping[str, Any]) -> Images:
    """Return the images that `describe` put into a folder and gave as JSON values."""
    if "root" in described:
        return CachedImages(described["root"])
    from safetensors.numpy import load_file

    signals, typical_beats = (load_file(folder / _FILE.format(name)) for name in _MAPPINGS)
    spectrogram = SpectrogramParameters.model_validate(described["spectrogram"])
    return DrawnImages(signals, typical_beats, described["fs"], spectrogram)
