"""WFDB records opened as recordings: any format that wfdb reads, of one or more segments."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.recording import Recording
from cnns_spectrograms.recordings.signals import Signal, make_recording
from cnns_spectrograms.recordings.wfdb_annotations import read_annotations
from cnns_spectrograms.recordings.wfdb_header import check_signal_files, read_header, read_samples

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Segment:
    """A stretch of a record that one header describes."""

    path: Path  # of the header, without extension
    start: int  # its first frame in the record
    length: int  # frames
    header: Any  # as wfdb reads it; its own length may be more

    def find_channel(self, layout: Any, index: int) -> int | None:
        """Return the position of a signal of the record: by name in a variable layout."""
        names, name = self.header.sig_name, layout.sig_name[index]
        if names == layout.sig_name:  # two signals may have one name
            return index
        return names.index(name) if name in names else None


def open_wfdb(path: Path) -> Recording:
    """Open a WFDB record.

    Args:
        path: of the record, without extension.

    Raises:
        RecordError: a file is truncated or damaged, names files elsewhere, or holds no voltage.
        FileNotFoundError: a file is missing.
    """
    import wfdb

    header = read_header(path)
    if isinstance(header, wfdb.MultiRecord):
        layout, segments = _list_segments(path, header)
    else:
        check_signal_files(path, header)
        layout, segments = header, [_Segment(path, 0, int(header.sig_len), header)]
    signals = [_make_signal(header, layout, segments, i) for i in range(len(layout.sig_name))]
    recording = make_recording(path, signals, path.name)
    if path.with_name(f"{path.name}.atr").is_file():
        try:
            reference = read_annotations(path, "atr", recording.fs, recording.n_samples)
            return replace(recording, reference=reference)
        except RecordError as error:  # of no use to a prediction, nor an obstacle
            logger.warning("%s: its reference is not used: %s", path.name, error)
    return recording


def _make_signal(header: Any, layout: Any, segments: Sequence[_Segment], index: int) -> Signal:
    places = [(each.header, each.find_channel(layout, index)) for each in segments]
    # Unit and samples per frame in each segment that holds the signal.
    found = sorted({(h.units[i], h.samps_per_frame[i] or 1) for h, i in places if i is not None})
    per_frame = layout.samps_per_frame[index] or 1
    return Signal(
        label=layout.sig_name[index] or "",
        unit=found[0][0] if found else "",
        fs=per_frame * float(header.fs),
        n_samples=per_frame * int(header.sig_len),
        read=partial(_read, layout, segments, index, per_frame),
        fault=f"its units and samples per frame differ between segments, {found}; expected the "
        f"same in all: give the segments as records of their own"
        if len(found) > 1
        else "",
    )


def _read(
    layout: Any,
    segments: Sequence[_Segment],
    index: int,
    per_frame: int,
    start: int,
    stop: int,
) -> NDArray[np.floating]:
    """Read a stretch of a signal, in its unit; NaN where no segment has it.

    The skew of a signal is undone here: wfdb does so in part, and for no compressed format.
    """
    first, last = start // per_frame, -(-stop // per_frame)
    signal = np.full((last - first) * per_frame, np.nan)
    for segment in segments:
        channel, header = segment.find_channel(layout, index), segment.header
        if channel is None:
            continue
        offset = (header.skew[channel] or 0) - segment.start
        begin = max(first, segment.start)
        end = min(last, segment.start + segment.length, int(header.sig_len) - offset)
        if begin < end:
            piece = read_samples(segment.path, header, [channel], begin + offset, end + offset)
            inside = slice((begin - first) * per_frame, (end - first) * per_frame)
            signal[inside] = piece.dac(expanded=True)[0]
    return signal[start - first * per_frame :][: stop - start]


def _list_segments(path: Path, header: Any) -> tuple[Any, list[_Segment]]:
    """Return the header that describes a record's signals, and its checked segments."""
    import wfdb

    total = sum(header.seg_len)
    check(
        total == header.sig_len,
        f"segments of {total} samples together",
        f"{header.sig_len} as in the first line",
        "copy or download the header again",
    )
    segments: list[_Segment] = []
    headers: dict[str, Any] = {}
    start = 0
    for name, length in zip(header.seg_name, header.seg_len, strict=True):
        if name != "~":  # which stands for no signal
            if name not in headers:
                headers[name] = read_header(path.with_name(name))
            part = headers[name]
            if not isinstance(part, wfdb.Record) or float(part.fs) != float(header.fs):
                raise RecordError(
                    f"segment {name} has segments of its own or another sampling rate; expected "
                    f"one segment at {header.fs:g} Hz"
                )
            if length:
                check_signal_files(path.with_name(name), part)
                if part.sig_len < length:
                    raise RecordError(
                        f"segment {name} has fewer samples than the {length} of the header; copy "
                        f"or download the record again"
                    )
                segments.append(_Segment(path.with_name(name), start, length, part))
        start += length
    # The header of a layout stands first, and has no samples; else the first segment tells.
    layout: Any = next(iter(headers.values()), None)
    check(
        segments and len(layout.sig_name) == header.n_sig,
        "no segment with all signals of the header",
        f"one with {header.n_sig}",
        "copy or download the record again",
    )
    return layout, segments
