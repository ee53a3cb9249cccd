"""What an analysis leaves behind: WFDB annotations, a table, a summary, a report."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.files import replacing
from cnns_spectrograms.recordings.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

    from cnns_spectrograms.inference.analysis import Analysis

ANNOTATOR = "cnn"
"""Extension of the annotation file."""

EXTENSIONS = (ANNOTATOR, "csv", "json", "html")
"""Of all files that `write_outputs` may write or remove."""

TABLE_COLUMNS = (
    "sample",
    "time_s",
    "rr_s",
    "aami_class",
    *PROBABILITIES,
    "lead",
    "signal_quality",
    "usable",
)
CORRECTED_COLUMNS = ("corrected_class", "origin")
"""What a table of corrected beats has in addition, see `corrections.outputs`."""

_SOFTWARE = "cnns_spectrograms "  # of a summary: its version follows
_GENERATOR = f'<meta name="generator" content="{_SOFTWARE}'.encode()  # of a page
_HEAD = 1000  # bytes of a page in which it stands


def is_table(path: Path) -> bool:
    """Return whether a CSV file is a table of beats, as `write_outputs` writes it."""
    header = ",".join(TABLE_COLUMNS).encode()
    corrected = ",".join((*TABLE_COLUMNS, *CORRECTED_COLUMNS)).encode()
    # Version 0.1 wrote no signal_quality and no usable.
    headers = (header, header.removesuffix(b",signal_quality,usable"), corrected)
    try:
        with open(path, "rb") as file:
            return file.readline(len(corrected) + 2).rstrip() in headers
    except OSError:
        return False  # opening it reports that


def is_result(path: Path) -> bool:
    """Return whether an analysis wrote a file, whose ending is one of EXTENSIONS.

    Annotations, and pages of version 0.2.0 and before, are known by the summary beside them alone.
    """
    if path.suffix == ".csv":
        return is_table(path)
    try:
        if path.suffix == ".html" and _GENERATOR in path.read_bytes()[:_HEAD]:
            return True
        summary = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and str(summary.get("software")).startswith(_SOFTWARE)


def check_replaceable(folder: Path, name: str) -> None:
    """Refuse a folder in which results of a name would replace or remove files that are none.

    Raises:
        ValueError: names the file.
    """
    for extension in EXTENSIONS:
        target = folder / f"{name}.{extension}"  # written, or else removed
        if target.is_file() and not is_result(target):
            raise ValueError(
                f"the result {target} would replace a file that no analysis wrote, or remove it; "
                f"choose another output folder, or move the file away"
            )


def write_outputs(
    analysis: Analysis, recording: Recording, folder: Path | str, report: bool = False
) -> dict[str, Path]:
    """Write an analysis into a folder, each file whole or not at all.

    Files of an earlier analysis do not stay beside it: those of a kind that is not written now
    are removed.

    Args:
        analysis: of the recording.
        recording: gives the name of the files, and the signal of the report.
        folder: made if absent.
        report: also write the HTML page.

    Returns:
        The files by kind: ``annotations`` (NAME.cnn, none of sliding windows, which are no beats,
        and none where there is no beat), ``csv``, ``json``, and ``html`` with `report`.

    Raises:
        ValueError: a file that no analysis wrote would be replaced or removed.
    """
    folder = Path(folder)
    check_replaceable(folder, recording.name)
    folder.mkdir(parents=True, exist_ok=True)
    # The summary first: by it the others are known as results, also after a kill.
    written = {"json": folder / f"{recording.name}.json"}
    with replacing(written["json"]) as partial:
        text = json.dumps(analysis.summary, indent=2, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    if not analysis.sliding and len(analysis.beats):
        written["annotations"] = folder / f"{recording.name}.{ANNOTATOR}"
        write_annotations(
            written["annotations"],
            analysis.beats["sample"].to_numpy(np.int64),
            analysis.beats["aami_class"].tolist(),
            analysis.fs,
        )
    written["csv"] = folder / f"{recording.name}.csv"
    write_table(written["csv"], analysis.beats)
    if report:
        from cnns_spectrograms.inference.report import render_report

        written["html"] = folder / f"{recording.name}.html"
        with replacing(written["html"]) as partial:
            partial.write_text(render_report(analysis, recording), encoding="utf-8")
    for extension in EXTENSIONS:
        earlier = folder / f"{recording.name}.{extension}"
        if earlier not in written.values():
            earlier.unlink(missing_ok=True)
    return written


def write_table(path: Path, beats: pd.DataFrame, columns: Sequence[str] = TABLE_COLUMNS) -> None:
    """Write columns of a table of beats as a CSV file, rounded."""
    table = beats.round(6).astype({"usable": np.int8}).round({"signal_quality": 3})
    with replacing(path) as partial:
        table.to_csv(partial, index=False, columns=list(columns))


def write_annotations(
    path: Path,
    samples: NDArray[np.int64],
    classes: Sequence[str],
    fs: float,
    notes: Sequence[str] | None = None,
) -> None:
    """Write beats as WFDB annotations; the file states its sampling rate.

    Args:
        path: of the file, whose ending is the annotator.
        samples: ascending, (n,), at least one.
        classes: one of AAMI_CLASSES each, (n,): each is a symbol of its own class.
        fs: rate of the samples, Hz.
        notes: a text of ASCII characters beside each, (n,), at most 255 long; most are empty.
    """
    import wfdb

    annotator = path.suffix[1:]
    # wfdb takes no name with other characters, and writes under the final name.
    with tempfile.TemporaryDirectory() as scratch:
        wfdb.wrann(
            "record",
            annotator,
            samples,
            symbol=list(classes),
            aux_note=None if notes is None else list(notes),
            fs=fs,
            write_dir=scratch,
        )
        with replacing(path) as partial:
            shutil.copyfile(Path(scratch) / f"record.{annotator}", partial)
