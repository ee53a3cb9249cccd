"""WFDB records opened as recordings: any format that wfdb reads, one segment or several."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import BEAT_SYMBOLS, map_symbols
from cnns_spectrograms.ecg.recordings import (
    MAX_DURATION_S,
    MAX_FS_HZ,
    Recording,
    check_shape,
    keep_one_rate,
    name_leads,
)
from cnns_spectrograms.ecg.records import (
    BYTES_PER_SAMPLE,
    KNOWN_VOLTAGES,
    RecordError,
    check_signal_files,
    mv_per_unit,
    parse_units,
    read_header_lines,
)

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 1 << 20
MAX_SEGMENTS = 20_000

# Most samples that a byte of a compressed (FLAC) signal may hold: silence packs some 4,000.
_MAX_FLAC_RATIO = 8192

_CHUNK_FRAMES = 1 << 16

# A file beside the header: wfdb would open any path that stands there, and understands one dot.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?")


def open_wfdb(path: Path) -> Recording:
    """Open a WFDB record.

    Args:
        path: of the record, without extension.

    Raises:
        RecordError: a file is missing, truncated or damaged, names files elsewhere, or holds no
            voltage.
    """
    name = path.name
    try:
        return _open(name, path)
    except RecordError:
        raise
    except Exception as error:  # whatever wfdb raises on a corrupt file
        raise RecordError(
            f"{name}: found a corrupt {path}.hea ({type(error).__name__}: {error}); expected a "
            f"valid WFDB record; copy or download it again"
        ) from error


def read_annotations(path: Path, extension: str, fs: float, n_samples: int) -> pd.DataFrame:
    """Return the annotations of a WFDB file at another sampling rate.

    Args:
        path: of the record, without extension; its header, where there is one, gives the rate of
            an annotation file that does not say its own.
        extension: annotator.
        fs: wanted sampling rate, Hz.
        n_samples: length of the recording at `fs`; annotations beyond it are refused.

    Returns:
        Columns sample (at `fs`) and symbol, in time order.

    Raises:
        RecordError: the file is missing or damaged, or not of this recording.
    """
    import wfdb

    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise RecordError(f"{path.name}: found no annotation file {file}; correct its name")
    try:
        # A damaged annotation must end as an error here, not as a line on the screen.
        found = wfdb.rdann(str(path), extension, return_label_elements=["symbol"])
        samples = np.asarray(found.sample, dtype=np.int64)
        symbols = [str(symbol) for symbol in found.symbol]
        map_symbols(symbols)
        source_fs = float(found.fs) if found.fs else fs
        if not (np.isfinite(source_fs) and 0 < source_fs <= MAX_FS_HZ):
            raise ValueError(f"a sampling rate of {source_fs:g} Hz")
        samples = np.rint(samples * (fs / source_fs)).astype(np.int64)
        if samples.size and not (samples.min() >= 0 and samples.max() <= n_samples):
            raise ValueError(
                f"annotations at samples {samples.min()} to {samples.max()} of {n_samples}"
            )
    except Exception as error:
        raise RecordError(
            f"{path.name}: found a corrupt {file} ({type(error).__name__}: {error}); expected "
            f"annotations of this recording; copy or download it again"
        ) from error
    order = np.argsort(samples, kind="stable")
    return pd.DataFrame(
        {
            "sample": np.minimum(samples[order], n_samples - 1),
            "symbol": np.array(symbols, dtype=object)[order],
        }
    )


def select_beats(annotations: pd.DataFrame) -> NDArray[np.int64]:
    """Return the samples of the annotations that mark a beat, ascending, each once."""
    is_beat = annotations["symbol"].isin(BEAT_SYMBOLS)
    return np.unique(annotations.loc[is_beat, "sample"].to_numpy(np.int64))


@dataclass(frozen=True)
class _Segment:
    """A stretch of a record that one header describes, or that nothing does.

    Attributes:
        path: of the header, without extension; None where there is no signal.
        start: its first frame in the record.
        length: frames.
        n_stored: frames that its own header tells, maybe more.
        header: as wfdb reads it.
    """

    path: Path | None
    start: int
    length: int
    n_stored: int
    header: Any


def _open(name: str, path: Path) -> Recording:
    import wfdb

    header = _read_header(name, path)
    frame_fs = float(header.fs)
    if isinstance(header, wfdb.MultiRecord):
        layout, segments = _list_segments(name, path, header)
    else:
        layout = header
        n_stored = _check_single(name, path, header)
        segments = [_Segment(path, 0, n_stored, n_stored, header)]
    n_frames = segments[-1].start + segments[-1].length
    check_shape(name, frame_fs, n_frames, len(layout.sig_name))
    per_frame = {i: int(n or 1) for i, n in enumerate(layout.samps_per_frame)}
    bad = [n for n in per_frame.values() if not 0 < n * frame_fs <= MAX_FS_HZ]
    if bad:
        raise RecordError(f"{name}: found {bad[0]} samples a frame; correct the header")
    units = {i: _unit_of(name, layout, segments, i) for i in per_frame}
    names = name_leads(layout.sig_name)
    factors = {i: mv for i, unit in units.items() if (mv := mv_per_unit(unit or "")) is not None}
    voltages = {i: names[i] for i in factors}
    if not voltages:
        raise RecordError(
            f"{name}: found the units {sorted(set(map(str, units.values())))}; expected a voltage "
            f"({KNOWN_VOLTAGES}) in one signal at least"
        )
    kept, fs = keep_one_rate(name, voltages, {i: per_frame[i] * frame_fs for i in voltages})
    n = per_frame[kept[0]]
    n_samples = n_frames * n
    check_shape(name, fs, n_samples, len(kept))
    reference = None
    if path.with_name(f"{name}.atr").is_file():
        try:
            reference = read_annotations(path, "atr", fs, n_samples)
        except RecordError as error:  # of no use to a prediction, nor an obstacle
            logger.warning("%s: its reference is not used: %s", name, error)
    return Recording(
        name=name,
        fs=fs,
        lead_names=tuple(voltages[i] for i in kept),
        n_samples=n_samples,
        reference=reference,
        read_lead=partial(_read, name, segments, layout, kept, [factors[i] for i in kept], n),
        path=path,
    )


def _find_channel(layout: Any, segment: _Segment, index: int) -> int | None:
    """Return the position in a segment of a signal of the record: by name in a variable layout."""
    names = segment.header.sig_name
    if names == layout.sig_name:  # two signals may have one name
        return index
    return names.index(layout.sig_name[index]) if layout.sig_name[index] in names else None


def _unit_of(name: str, layout: Any, segments: list[_Segment], index: int) -> str | None:
    """Return the unit of a signal, the same in every segment that holds it."""
    found = set()
    for segment in segments:
        channel = None if segment.path is None else _find_channel(layout, segment, index)
        if channel is not None:
            found.add((segment.header.units[channel], segment.header.samps_per_frame[channel] or 1))
    if len(found) > 1:
        raise RecordError(
            f"{name}: signal {layout.sig_name[index]} has several units or rates, {sorted(found)}; "
            f"expected one; give its segments as records of their own"
        )
    return next(iter(found))[0] if found else None


def _read(
    name: str,
    segments: list[_Segment],
    layout: Any,
    kept: list[int],
    factors: list[float],
    per_frame: int,
    lead: int,
    start: int,
    stop: int,
) -> NDArray[np.floating]:
    """Read a stretch of a lead through wfdb, whole frames, mV; NaN where no segment has it.

    The skew of a lead is undone here: wfdb does so in part, and for no compressed format.
    """
    import wfdb

    first, last = start // per_frame, -(-stop // per_frame)
    signal = np.full((last - first) * per_frame, np.nan)
    for segment in segments:
        begin = max(first, segment.start)
        end = min(last, segment.start + segment.length)
        if begin >= end or segment.path is None:
            continue
        channel = _find_channel(layout, segment, kept[lead])
        if channel is None:
            continue
        offset = (segment.header.skew[channel] or 0) - segment.start
        end = min(end, segment.n_stored - offset)
        if begin >= end:
            continue
        is_differences = segment.header.fmt[channel] == "8"
        try:
            found = wfdb.rdrecord(
                str(segment.path),
                sampfrom=begin + offset,
                sampto=end + offset,
                channels=[channel],
                physical=not is_differences,
                smooth_frames=False,
                ignore_skew=True,
            )
            if is_differences:
                found.e_d_signal[0] += _sum_differences(
                    segment.path, segment.header, channel, begin + offset
                )
                found.dac(expanded=True, inplace=True)
            piece = found.e_p_signal[0] * factors[lead]
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


def _read_header(name: str, path: Path, is_segment: bool = False) -> Any:
    """Return what wfdb makes of a header that has passed the checks of its text.

    A segment may be of length 0: it then only says what signals there are.
    """
    import wfdb

    file = path.with_name(f"{path.name}.hea")
    if not file.is_file():
        raise RecordError(f"{name}: found no header {file}; copy or download it")
    if file.stat().st_size > MAX_HEADER_BYTES:
        raise RecordError(
            f"{name}: found {file.stat().st_size:,} bytes in {file}; expected a header of at most "
            f"{MAX_HEADER_BYTES:,}"
        )
    lines = read_header_lines(file)
    fields = lines[0].split() if lines else []
    rate = re.split(r"[/(]", fields[2])[0] if len(fields) > 2 else "250"  # the format's default
    try:
        fs, n_signals = float(rate), int(fields[1])
        n_samples = int(fields[3]) if len(fields) > 3 else 2
    except (ValueError, IndexError):
        raise RecordError(
            f"{name}: found {' '.join(fields)[:80]!r} at the head of {file}; expected name, "
            f"number of signals, sampling rate and length"
        ) from None
    check_shape(name, fs, 2 if is_segment and n_samples == 0 else n_samples, n_signals)
    if len(lines) > MAX_SEGMENTS:
        raise RecordError(f"{name}: found {len(lines)} lines in {file}; expected fewer")
    if "." in fields[0]:
        raise RecordError(
            f"{name}: {file} calls its record {fields[0][:80]!r}; expected letters, digits, - and "
            f"_ alone there (the header itself may be called as it is); correct its first word"
        )
    for line in lines[1:]:
        text = line.split()[0]
        if text != "~" and not _PLAIN_NAME.fullmatch(text):
            raise RecordError(
                f"{name}: {file} names the file {text[:80]!r}; expected a file beside the header, "
                f"without a folder, of letters, digits, - and _ with one dot at most; put it "
                f"there, or rename it"
            )
    header = wfdb.rdheader(str(path))
    if int(header.n_sig) != n_signals or float(header.fs) != fs:
        raise RecordError(
            f"{name}: {file} cannot be understood: found {header.n_sig} signals at {header.fs} Hz "
            f"after {n_signals} at {fs:g} Hz; correct its first line"
        )
    if isinstance(header, wfdb.Record):
        header.units = parse_units(name, file, lines[1:])
    return header


def _check_single(name: str, path: Path, header: Any) -> int:
    """Check a record of one segment against its files; return its length in frames."""
    n_described = len(header.file_name or ())
    if n_described != header.n_sig:
        raise RecordError(
            f"{name}: found {n_described} signal lines; expected {header.n_sig} as in the first "
            f"line; copy or download the header again"
        )
    check_signal_files(name, path, header)
    n_frames = header.sig_len
    if n_frames is None:  # wfdb reads such a record whole alone
        raise RecordError(
            f"{name}: found no length in the first line of {path.name}.hea; expected it as the "
            f"fourth number; write there how many samples each signal has"
        )
    for file_name in dict.fromkeys(header.file_name):
        size = path.with_name(file_name).stat().st_size
        is_packed = header.fmt[header.file_name.index(file_name)] not in BYTES_PER_SAMPLE
        if is_packed and n_frames > size * _MAX_FLAC_RATIO:
            raise RecordError(
                f"{name}: found {n_frames} samples for the {size} bytes of {file_name}; no "
                f"compression does that; copy or download the record again"
            )
    return int(n_frames)


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
            segments.append(_Segment(None, start, length, 0, None))
            start += length
            continue
        each = path.with_name(text)
        if text not in headers:
            headers[text] = _read_header(f"{name}/{text}", each, is_segment=True)
        part = headers[text]
        if not hasattr(part, "file_name") or float(part.fs) != float(header.fs):
            raise RecordError(
                f"{name}: segment {text} has segments of its own or another sampling rate; "
                f"expected one segment at {header.fs:g} Hz"
            )
        if length:
            n_stored = _check_single(f"{name}/{text}", each, part)
            if n_stored < length:
                raise RecordError(
                    f"{name}: segment {text} has fewer samples than the {length} of the header; "
                    f"copy or download the record again"
                )
            segments.append(_Segment(each, start, length, n_stored, part))
        start += length
        layout = layout or part  # the layout header itself, or the first segment
    if layout is None or not segments or len(layout.sig_name or ()) != header.n_sig:
        raise RecordError(
            f"{name}: found no segment with the {header.n_sig} signals of the header; copy or "
            f"download the record again"
        )
    return layout, segments
