"""Spectrograms drawn when they are asked for, on any device, from the signals of all records.

Shapes: n rows of a table, S samples of a row in all.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cnns_spectrograms.ecg.windows import WindowReader, reflect
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms


class SignalBank(nn.Module):
    """Draws the images of a table's rows, pixel for pixel those of the spectrogram cache.

    It holds each record once (mitdb and svdb together: 0.33 GB), not each window, and moves
    between devices as a module does.

    Args:
        rows: n rows of the `windows` table, real or synthetic.
        reader: plans their windows.

    Raises:
        ValueError: as `WindowReader.plan`.
    """

    _samples: Tensor
    _offsets: Tensor
    _taken_off: Tensor

    def __init__(self, rows: pd.DataFrame, reader: WindowReader) -> None:
        super().__init__()
        self.fs, self.spectrogram = reader.fs, reader.spectrogram
        self._parts = self.spectrogram.view_lengths(self.fs, int(rows["n_samples"].iloc[0]))
        margin = end = max(n for _, n in self._parts)
        # First zeros, to subtract where nothing is; then signals one after another, which are
        # copies, as a map would hold its file open.
        samples = [np.zeros(end, dtype=np.float32)]
        offsets = np.empty((len(rows), len(self._parts)), dtype=np.int64)
        taken_off = np.empty_like(offsets)  # where what is subtracted begins
        for mine in rows.groupby(["db", "record_id", "lead_idx"], sort=False).indices.values():
            plan = reader.plan(rows.iloc[mine])
            padded = reflect(plan.signal, -margin, len(plan.signal) + margin)
            samples += [padded, np.array(plan.typical)]
            offsets[mine] = end + margin + plan.starts
            end += len(padded)
            taken_off[mine] = np.where(plan.taken_off < 0, 0, end + plan.taken_off)
            end += len(plan.typical)
        # Not persistent: no checkpoint is to carry the signals.
        buffers = {
            "_offsets": offsets,
            "_taken_off": taken_off,
            "_samples": np.concatenate(samples),
        }
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

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
            beginning_at = self._samples.unfold(0, n, 1)  # a view
            stretches.append(beginning_at[offsets[:, part]])
            if of == "difference":
                stretches[-1] -= beginning_at[taken_off[:, part]]
        return torch.cat(stretches, dim=1)

    def forward(self, index: Tensor) -> Tensor:
        """Draw the images of rows, uint8 (n, C, H, W).

        Args:
            index: positions of rows, int64 (n,).
        """
        images = compute_spectrograms(self.read_windows(index), self.fs, self.spectrogram)
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
