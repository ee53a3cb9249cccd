"""What corrections leave behind: WFDB annotations, a table, a report with an audit trail."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.corrections.table import correct_analysis, correct_beats
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.inference.outputs import (
    CORRECTED_COLUMNS,
    TABLE_COLUMNS,
    write_annotations,
    write_table,
)
from cnns_spectrograms.presentation import NONE, Language

if TYPE_CHECKING:
    from cnns_spectrograms.inference.analysis import Analysis
    from cnns_spectrograms.recordings.recording import Recording

ANNOTATOR = "cnr"
"""Extension of the annotation file."""

_LONGEST_NOTE = 255  # characters; WFDB keeps the length in a byte


def write_corrected_annotations(path: Path, session: Session) -> None:
    """Write the beats that stand as WFDB annotations, with a note beside each corrected one.

    A note is "was N, by WHO" or "added, by WHO", and "confirmed, by WHO" of a class that was
    right. Deleted beats are absent.

    Args:
        path: of the file, whose ending is the annotator.
        session: the corrections; at least one beat stands.
    """
    ids, notes = session.order(), _note_beats(session)
    write_annotations(
        path,
        session.samples[ids],
        session.classes[ids].tolist(),
        session.source.fs,
        [notes.get(each, "") for each in ids.tolist()],
    )


def write_corrected_table(path: Path, analysis: Analysis, session: Session) -> None:
    """Write one row per beat that was found or added, in time order.

    Its columns are those of a prediction, whose aami_class is the model's (empty of an added
    beat); corrected_class, which stands (empty of a deleted beat); and origin: model, corrected,
    added or deleted. An added beat that was undone has no row.
    """
    standing = correct_beats(analysis, session)
    table = standing.assign(corrected_class=standing["aami_class"])
    table["aami_class"] = table["found_class"]
    deleted = np.flatnonzero(pd.isna(session.classes[: len(session.found)]))
    gone = analysis.beats.take(deleted).assign(corrected_class=None, origin="deleted")
    table = pd.concat([table, gone]) if len(gone) else table
    table = table.sort_values("sample", kind="stable")
    write_table(path, table, [*TABLE_COLUMNS, *CORRECTED_COLUMNS])


def render_corrected_report(
    analysis: Analysis, session: Session, recording: Recording, language: Language
) -> str:
    """Return the report of the beats that stand, with who changed what from what, and when."""
    from cnns_spectrograms.inference.report import render_report

    corrected = correct_analysis(analysis, correct_beats(analysis, session))
    return render_report(corrected, recording, language, trail=list_trail(session))


def list_trail(session: Session) -> list[dict[str, Any]]:
    """Return the audit trail, one row per event.

    Returns:
        What `Event` has, and n_beats; first_s and last_s, where the
        first and the last of them lie; before and after, such as "3 N, 1 V"; is_undone.
    """
    standing, fs = {each.number for each in session.done}, session.source.fs
    return [
        {
            **vars(each),
            "n_beats": len(each.beats),
            "first_s": float(each.samples.min()) / fs,
            "last_s": float(each.samples.max()) / fs,
            "before": _count(each.before),
            "after": _count(each.after),
            "is_undone": each.of is None and each.number not in standing,
        }
        for each in session.events
    ]


def _count(classes: np.ndarray) -> str:
    counts = Counter(classes.tolist())
    named = [f"{counts[name]} {name}" for name in AAMI_CLASSES if name in counts]
    return ", ".join(named) or NONE


def _note_beats(session: Session) -> dict[int, str]:
    """Return the note of each beat that a standing correction is of."""
    notes = {}
    for event in session.done:
        who = unicodedata.normalize("NFKD", event.who).encode("ascii", "ignore").decode() or "?"
        for beat in event.beats.tolist():
            if beat >= len(session.found):
                what = "added"
            elif session.classes[beat] == session.found[beat]:
                what = "confirmed"
            else:
                what = f"was {session.found[beat]}"
            notes[beat] = f"{what}, by {who}"[:_LONGEST_NOTE]
    return notes
