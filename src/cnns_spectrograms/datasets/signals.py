"""The Kedro dataset of resampled signals: one NumPy file per record, read as memory maps."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnns_spectrograms.datasets.folder import FolderDataset
from cnns_spectrograms.files import replacing
from cnns_spectrograms.provenance import MADE_BY, name_command, read_stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    SignalSource = Mapping[str, NDArray[np.float32] | Callable[[], NDArray[np.float32]]]

_KEY = re.compile(r"[^/.\\][^/\\]*/[^/.\\][^/\\]*")
_INDEX = "_index.json"
_STAMP = "made_of"  # in the index, beside the lengths; a key of a signal holds a slash


class Signals(Mapping[str, "NDArray[np.float32]"]):
    """Saved signals, "db/record_id" -> read-only memory map, float32 (n_samples,), mV.

    Each access opens its file and reads nothing; opening the mapping costs one small file.
    Picklable, and then a folder name only.

    Args:
        folder: where ``SignalsDataset`` saved them.

    Raises:
        FileNotFoundError: the folder holds no finished save, or a file of it is gone.
        ValueError: a file has another shape or dtype than was saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        made_by = MADE_BY.get(self.folder.name, "ingestion")
        self._command = name_command(f"--pipelines={made_by}")

    @property
    def made_of(self) -> dict[str, Any]:
        """Their stamp, see `provenance`; empty where none was saved."""
        return self._index.get(_STAMP, {})

    @cached_property
    def _lengths(self) -> dict[str, int]:
        return {key: length for key, length in self._index.items() if key != _STAMP}

    @cached_property
    def _index(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / _INDEX).read_text()))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no complete set of signals in {self.folder}; run `{self._command}`"
            ) from None

    def __getitem__(self, key: str) -> NDArray[np.float32]:
        import numpy as np

        length, path = self._lengths[key], self.folder / f"{key}.npy"
        advice = f"run `{self._command}` again"
        try:
            signal = np.load(path, mmap_mode="r")
            if signal.shape == (length,) and signal.dtype == np.float32:
                return signal
            fault = f"holds {signal.dtype} {signal.shape}, but float32 ({length},) was saved"
        except FileNotFoundError:
            raise FileNotFoundError(f"signal file {path} is gone; {advice}") from None
        except ValueError as error:  # NumPy raises it for a truncated file
            fault = f"is damaged ({error})"
        raise ValueError(f"signal file {path} {fault}; {advice}")

    def __contains__(self, key: object) -> bool:
        return key in self._lengths

    def __iter__(self) -> Iterator[str]:
        return iter(self._lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    # Mapping compares by content, which would read every signal.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[type[Signals], tuple[str]]:
        return Signals, (str(self.folder),)


class SignalsDataset(FolderDataset):
    """Signals of all records, as ``{db}/{record_id}.npy`` below one folder.

    Saving takes a mapping "db/record_id" -> array, or -> function that returns the array (called
    when its turn comes, so one signal is in memory at a time). Files are replaced in one step each,
    those of records no longer given are removed, and an index is written last: until then the
    dataset does not exist. The folder belongs to this dataset alone.
    """

    def load(self) -> Signals:
        """Open the saved signals, reading none of them."""
        signals = Signals(self._filepath)
        len(signals)  # raises if the save is missing or unfinished
        return signals

    def save(self, data: SignalSource) -> None:
        """Save all signals, float32 (n_samples,), mV, in place of those saved before.

        The stamp of `provenance.StampedSignals` is saved with them.
        """
        import numpy as np

        index, lengths = self._filepath / _INDEX, {}
        index.unlink(missing_ok=True)
        for key, given in data.items():
            signal = given() if callable(given) else given
            assert _KEY.fullmatch(key), f"signal key is {key!r}, not db/record_id"
            assert signal.dtype == np.float32, (key, signal.dtype)
            assert signal.ndim == 1, (key, signal.shape)
            assert len(signal), f"signal {key} is empty"
            path = self._filepath / f"{key}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, signal)
            lengths[key] = len(signal)
        self._delete_others(lengths)
        self._filepath.mkdir(parents=True, exist_ok=True)
        with replacing(index) as partial:
            partial.write_text(json.dumps({**lengths, _STAMP: read_stamp(data)}, indent=0))

    def _delete_others(self, keys: Iterable[str]) -> None:
        keep = {self._filepath / f"{key}.npy" for key in keys}
        for pattern in ("*/*.npy", "*/.*.tmp", ".*.tmp"):  # the last two: of killed processes
            for path in set(self._filepath.glob(pattern)) - keep:
                path.unlink()
        for folder in self._filepath.glob("*/"):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()

    def _exists(self) -> bool:
        return (self._filepath / _INDEX).is_file()
