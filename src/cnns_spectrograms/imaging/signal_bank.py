"""Spectrograms drawn when they are asked for, on any device, from the signals of all records.

Shapes: N rows of a table, P stretches of signal a row (one a view), S samples of a row in all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnns_spectrograms.ecg.windows import find_typical_beat
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.parameters import SpectrogramParameters


class SignalBank(nn.Module):
    """Draws the images of a table's rows, pixel for pixel those of the spectrogram cache.

    It holds each record once (mitdb and svdb together: 0.33 GB), not each window, and moves
    between devices as a module does.

    Args:
        rows: n rows of the `windows` table, real or synthetic.
        signals: "db/record_id" -> float32 (n_samples,), mV, of every record of ``rows``.
        fs: sampling rate, Hz.
        spectrogram: what shapes the pixels.
        typical_beats: the same for the records' typical beats, needed where a view shows the
            difference from them.

    Raises:
        ValueError: a record of ``rows`` has no signal or no typical beat, or is shorter than half
            of a stretch that is read.
    """

    _samples: Tensor
    _offsets: Tensor
    _taken_off: Tensor

    def __init__(
        self,
        rows: pd.DataFrame,
        signals: Mapping[str, NDArray[np.float32]],
        fs: float,
        spectrogram: SpectrogramParameters,
        typical_beats: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        super().__init__()
        self.fs = fs
        self.spectrogram = spectrogram
        n_samples = int(rows["n_samples"].iloc[0])
        self._parts = spectrogram.view_lengths(fs, n_samples)
        keys = (rows["db"] + "/" + rows["record_id"]).to_numpy(dtype=object)
        starts = rows["start"].to_numpy(dtype=np.int64)
        synthetic = rows["synthetic"].to_numpy(dtype=bool)
        joined = _Joined()
        offsets = np.empty((len(rows), len(self._parts)), dtype=np.int64)
        taken_off = np.full_like(offsets, -1)  # where what is subtracted begins; -1: nothing is
        for key in pd.unique(keys):
            mine = np.flatnonzero(keys == key)
            signal = _get(signals, key, "signal")
            if synthetic[mine[0]]:
                offsets[mine] = self._place_synthetic(key, signal, starts[mine], joined)
                continue
            centres = starts[mine] + n_samples // 2
            offsets[mine] = self._place_stretches(key, signal, centres, joined)
            differs = [of == "difference" for of, _ in self._parts]
            if any(differs):
                typical = _get(typical_beats or {}, key, "typical beat")
                placed = self._place_typical(typical, centres, joined)
                taken_off[mine] = np.where(differs, placed, -1)
        # Not persistent: no checkpoint is to carry the signals.
        self.register_buffer("_samples", joined.join(), persistent=False)
        self.register_buffer("_offsets", torch.from_numpy(offsets), persistent=False)
        self.register_buffer("_taken_off", torch.from_numpy(taken_off), persistent=False)

    def _place_synthetic(
        self, key: str, signal: NDArray[np.float32], starts: NDArray[np.int64], joined: _Joined
    ) -> NDArray[np.int64]:
        """Return where the stretches of synthetic rows begin, (N, P): each row is stored whole."""
        lengths = [n for _, n in self._parts]
        width = sum(lengths)
        assert len(signal) % width == 0, (key, len(signal), width)  # made for these views
        assert not (starts % width).any(), (key, width)
        return joined.add(signal) + starts[:, None] + np.cumsum([0, *lengths[:-1]])

    def _place_stretches(
        self, key: str, signal: NDArray[np.float32], centres: NDArray[np.int64], joined: _Joined
    ) -> NDArray[np.int64]:
        """Return where the stretches around the beats of a record begin, (N, P)."""
        lengths = np.array([n for _, n in self._parts])
        margin = int(lengths.max())
        if len(signal) <= margin // 2:
            raise ValueError(
                f"record {key} has {len(signal)} samples, and a stretch of {margin} around its "
                f"beats is read; choose shorter views, or leave the record out"
            )
        # Reflected as `ecg.windows.cut_windows` does where a window passes an edge.
        first = joined.add(np.pad(signal, margin, mode="reflect")) + margin
        return first + centres[:, None] - lengths // 2

    def _place_typical(
        self, typical: NDArray[np.float32], centres: NDArray[np.int64], joined: _Joined
    ) -> NDArray[np.int64]:
        """Return where the same stretches of the beats' typical beats begin, (N, P)."""
        lengths = np.array([n for _, n in self._parts])
        length = self.spectrogram.typical_beat_length(self.fs)
        of_row = find_typical_beat(centres, self.fs, len(typical) // length)
        middles = joined.add(typical) + of_row * length + length // 2
        return middles[:, None] - lengths // 2

    def __len__(self) -> int:
        return len(self._offsets)

    def read_windows(self, index: Tensor) -> Tensor:
        """Return the windows of rows, mV, float32 (n, S), on the bank's device.

        Args:
            index: positions of rows, int64 (n,).
        """
        index = index.to(self._offsets.device)
        offsets, taken_off = self._offsets[index], self._taken_off[index]
        stretches = []
        for part, (of, n) in enumerate(self._parts):
            steps = torch.arange(n, device=self._samples.device)
            stretch = self._samples[offsets[:, part, None] + steps]
            if of == "difference":
                first = taken_off[:, part, None]
                typical = self._samples[first.clamp_min(0) + steps]
                stretch = torch.where(first < 0, stretch, stretch - typical)
            stretches.append(stretch)
        return torch.cat(stretches, dim=1)

    def forward(self, index: Tensor) -> Tensor:
        """Draw the images of rows, uint8 (n, C, H, W).

        Args:
            index: positions of rows, int64 (n,).
        """
        images = compute_spectrograms(self.read_windows(index), self.fs, self.spectrogram)
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)


class _Joined:
    """Signals one after another."""

    def __init__(self) -> None:
        self._signals: list[NDArray[np.float32]] = []
        self._end = 0

    def add(self, signal: NDArray[np.float32]) -> int:
        """Append a signal, and return where it begins."""
        begin = self._end
        self._signals.append(np.array(signal, dtype=np.float32))  # a map would hold its file open
        self._end += len(signal)
        return begin

    def join(self) -> Tensor:
        """Return all of them, (S,)."""
        return torch.from_numpy(np.concatenate([np.empty(0, np.float32), *self._signals]))


def _get(signals: Mapping[str, NDArray[np.float32]], key: str, what: str) -> NDArray[np.float32]:
    try:
        return signals[key]
    except KeyError:
        raise ValueError(
            f"there is no {what} of record {key}; run "
            f"`kedro run --pipelines=ingestion,feature_engineering,balancing`"
        ) from None
