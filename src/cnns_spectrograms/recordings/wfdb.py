"""WFDB records opened as recordings: any format that wfdb reads, of one or more segments."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import SelectedLeads, select_leads
from cnns_spectrograms.recordings.recording import MAX_DURATION_S, MAX_FS_HZ, Recording, check_shape
from cnns_spectrograms.recordings.wfdb_annotations import read_annotations
from cnns_spectrograms.recordings.wfdb_header import (
    as_record_error,
    check_signal_files,
    read_header,
    read_samples,
)

logger = logging.getLogger(__name__)

_CHUNK_FRAMES = 1 << 16


def open_wfdb(path: Path) -> Recording:
    """Open a WFDB record.

    Args:
        path: of the record, without extension.

    Raises:
        RecordError: a file is missing, truncated or damaged, names files elsewhere, or holds no
            voltage.
    """
    with as_record_error(path.name, path, "hea"):
        return _open(path.name, path)


@dataclass(frozen=True)
class _Segment:
    """A stretch of a record that one header describes, or that nothing does."""

    path: Path | None  # of the header, without extension; None where there is no signal
    start: int  # its first frame in the record
    length: int  # frames
    header: Any  # as wfdb reads it; its own length may be more

    def find_channel(self, layout: Any, index: int) -> int | None:
        """Return the position of a signal of the record: by name in a variable layout."""
        if self.path is None:
            return None
        names, name = self.header.sig_name, layout.sig_name[index]
        if names == layout.sig_name:  # two signals may have one name
            return index
        return names.index(name) if name in names else None


def _open(name: str, path: Path) -> Recording:
    import wfdb

    header = read_header(name, path)
    frame_fs = float(header.fs)
    check_shape(name, frame_fs, header.sig_len or 2, header.n_sig)
    if isinstance(header, wfdb.MultiRecord):
        layout, segments = _list_segments(name, path, header)
    else:
        layout = header
        check_signal_files(name, path, header)
        segments = [_Segment(path, 0, int(header.sig_len), header)]
    n_frames = segments[-1].start + segments[-1].length
    per_frame = [int(n or 1) for n in layout.samps_per_frame]
    bad = [n for n in per_frame if not 0 < n * frame_fs <= MAX_FS_HZ]
    if bad:
        raise RecordError(f"{name}: found {bad[0]} samples per frame; correct the header")
    units = [_units_of(layout, segments, i) for i in range(len(per_frame))]
    leads = select_leads(
        name,
        layout.sig_name,
        [next(iter(sorted(found)), ("", 1))[0] for found in units],
        [n * frame_fs for n in per_frame],
        {
            i: f"its units and samples per frame differ between segments, {sorted(found)}; "
            f"expected the same in all: give the segments as records of their own"
            for i, found in enumerate(units)
            if len(found) > 1
        },
    )
    n = per_frame[leads.signals[0]]
    n_samples = n_frames * n
    check_shape(name, leads.fs, n_samples, len(leads.names))
    reference = None
    if path.with_name(f"{name}.atr").is_file():
        try:
            reference = read_annotations(path, "atr", leads.fs, n_samples)
        except RecordError as error:  # of no use to a prediction, nor an obstacle
            logger.warning("%s: its reference is not used: %s", name, error)
    return Recording(
        name=name,
        fs=leads.fs,
        lead_names=leads.names,
        n_samples=n_samples,
        reference=reference,
        read_lead=partial(_read, name, segments, layout, leads, n),
        path=path,
        left_out=leads.left_out,
    )


def _units_of(layout: Any, segments: list[_Segment], index: int) -> set[tuple[str, int]]:
    """Return unit and samples per frame of a signal in each segment that holds it."""
    places = [(each.header, each.find_channel(layout, index)) for each in segments]
    return {(h.units[i], h.samps_per_frame[i] or 1) for h, i in places if i is not None}


def _read(
    name: str,
    segments: list[_Segment],
    layout: Any,
    leads: SelectedLeads,
    per_frame: int,
    lead: int,
    start: int,
    stop: int,
) -> NDArray[np.floating]:
    """Read a stretch of a lead through wfdb, whole frames, mV; NaN where no segment has it.

    The skew of a lead is undone here: wfdb does so in part, and for no compressed format.
    """
    first, last = start // per_frame, -(-stop // per_frame)
    signal = np.full((last - first) * per_frame, np.nan)
    for segment in segments:
        channel = segment.find_channel(layout, leads.signals[lead])
        if channel is None or segment.path is None:
            continue
        header = segment.header
        offset = (header.skew[channel] or 0) - segment.start
        begin = max(first, segment.start)
        end = min(last, segment.start + segment.length, int(header.sig_len) - offset)
        if begin >= end:
            continue
        try:
            found = read_samples(segment.path, header, [channel], begin + offset, end + offset)
            if header.fmt[channel] == "8":
                found.e_d_signal[0] += _sum_differences(
                    segment.path, header, channel, begin + offset
                )
            piece = found.dac(expanded=True)[0] * leads.mv_per_unit[lead]
            signal[(begin - first) * per_frame : (end - first) * per_frame] = piece
        except Exception as error:
            raise RecordError(
                f"{name}: found a corrupt signal file of {segment.path.name} at samples {start} to "
                f"{stop} ({type(error).__name__}: {error}); copy or download the record again"
            ) from error
    return signal[start - first * per_frame :][: stop - start]


def _sum_differences(path: Path, header: Any, channel: int, n_frames: int) -> int:
    """Return what the first frames of a signal in format 8 add to the samples after them.

    The format holds differences, and wfdb adds them up from wherever it begins to read.
    """
    file_name = header.file_name[channel]
    signals = [i for i, other in enumerate(header.file_name) if other == file_name]
    widths = {i: header.samps_per_frame[i] or 1 for i in signals}
    per_frame = sum(widths.values())
    first = sum(width for i, width in widths.items() if i < channel)
    total = 0
    with open(path.with_name(file_name), "rb") as file:
        file.seek(header.byte_offset[signals[0]] or 0)
        for begin in range(0, n_frames, _CHUNK_FRAMES):
            n = min(_CHUNK_FRAMES, n_frames - begin)
            frames = np.frombuffer(file.read(n * per_frame), np.int8).reshape(n, per_frame)
            total += int(frames[:, first : first + widths[channel]].sum(dtype=np.int64))
    return total


def _list_segments(name: str, path: Path, header: Any) -> tuple[Any, list[_Segment]]:
    """Return the header that describes a record's signals, and its checked segments."""
    total = sum(header.seg_len)
    if total != header.sig_len or total > MAX_DURATION_S * header.fs or min(header.seg_len) < 0:
        raise RecordError(
            f"{name}: found segments of {total} samples together; expected {header.sig_len} as in "
            f"the first line; copy or download the header again"
        )
    segments: list[_Segment] = []
    headers: dict[str, Any] = {}
    start = 0
    layout = None
    for text, length in zip(header.seg_name, header.seg_len, strict=True):
        if text == "~":
            segments.append(_Segment(None, start, length, None))
            start += length
            continue
        each = path.with_name(text)
        if text not in headers:
            headers[text] = read_header(f"{name}/{text}", each)
        part = headers[text]
        if not hasattr(part, "file_name") or float(part.fs) != float(header.fs):
            raise RecordError(
                f"{name}: segment {text} has segments of its own or another sampling rate; "
                f"expected one segment at {header.fs:g} Hz"
            )
        if length:
            check_signal_files(f"{name}/{text}", each, part)
            if part.sig_len < length:
                raise RecordError(
                    f"{name}: segment {text} has fewer samples than the {length} of the header; "
                    f"copy or download the record again"
                )
            segments.append(_Segment(each, start, length, part))
        start += length
        layout = layout or part  # the layout header itself, or the first segment
    if layout is None or not segments or len(layout.sig_name or ()) != header.n_sig:
        raise RecordError(
            f"{name}: found no segment with the {header.n_sig} signals of the header; copy or "
            f"download the record again"
        )
    return layout, segments
