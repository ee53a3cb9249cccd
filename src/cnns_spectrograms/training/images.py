"""Where the images of a training come from; picklable, so that another process can open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.training.data import ImageSource


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
        reader: plans the windows of rows.
        made_of: the stamp of all that it reads, see `provenance`.
    """

    reader: WindowReader
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def open(self, rows: pd.DataFrame) -> ImageSource:
        """Return what gives the images of a table's rows."""
        return SignalBank(rows, self.reader)


Images = CachedImages | DrawnImages
