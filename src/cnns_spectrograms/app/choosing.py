"""The clinical report's choice of a recording: a sample, or files of one's own.

An upload lies on the disk only while it is read: in a folder of its own, which is removed after.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import streamlit as st

from cnns_spectrograms.app import resources
from cnns_spectrograms.app.correcting import find_window, open_desk
from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.app.study import make_study, read_reference
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.parameters import UPLOADED
from cnns_spectrograms.presentation import Translator, format_clock
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import (
    FILE_SUFFIXES,
    WFDB_SUFFIXES,
    is_csv,
    open_recording,
)
from cnns_spectrograms.recordings.recording import Recording, suggest_lead

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

logger = logging.getLogger(__name__)

SUFFIXES = (".zip", *WFDB_SUFFIXES, *FILE_SUFFIXES)
"""Endings of the files that can be uploaded."""

MAX_FILES = 200
"""Files of one upload, unpacked."""

MAX_BYTES = 1 << 30
"""Size of one upload, unpacked."""

_STAGES = {  # begin, length
    "keep": (0.0, 0.1),
    "read": (0.1, 0.1),
    "detect": (0.2, 0.1),
    "classify": (0.3, 0.7),
}


def choose_recording(model: BeatModel, t: Translator) -> None:
    """Show the choice, and analyse what is chosen once the button is pressed."""
    source = st.segmented_control(
        t("source"),
        ["sample", "upload"],
        format_func=lambda each: t("source_" + each),
        default="sample",
        required=True,
        key="source",
    )
    if source == "upload":
        _choose_upload(model, t)
    else:
        _choose_sample(model, t)


def _choose_sample(model: BeatModel, t: Translator) -> None:
    databases = resources.find_databases()
    groups = list(databases)
    left, right = st.columns(2)
    # A select box keeps the words of its choice for as long as its key: one a language.
    chosen = st.session_state.get("group")
    group = left.selectbox(
        t("database"),
        groups,
        index=groups.index(chosen) if chosen in groups else 0,
        format_func=lambda each: t("group_" + each) if each in resources.TITLED else each,
        key=f"group_{t.language}",
    )
    st.session_state["group"] = group
    name = right.selectbox(
        t("record"), list_records(databases[group], nested=True), key=f"record_{group}"
    )
    with _explained(t):
        recording = open_recording(databases[group] / name)
        if confirmed := _confirm(recording, model, f"{group}/{name}", t):
            _run(recording, model, *confirmed, group, t)


def _choose_upload(model: BeatModel, t: Translator) -> None:
    files = st.file_uploader(
        t("upload_label"),
        type=[suffix[1:] for suffix in SUFFIXES],
        accept_multiple_files=True,
        key="upload",
        help=t("upload_help", limit=MAX_UPLOAD_MB),
    )
    st.caption(t("upload_privacy"))
    if not files:
        return
    fs = None
    if holds_csv(files):
        fs = st.number_input(
            t("csv_rate"), min_value=1.0, max_value=10_000.0, value=None, step=1.0, key="csv_fs"
        )
    # An upload is unpacked to be described, and again to be analysed; in between no file is kept.
    key = ("+".join(each.file_id for each in files), fs)
    if st.session_state.get("described", (None, None))[0] != key:
        st.session_state.pop("described", None)
        with _explained(t), stored(files) as paths:
            found = [
                (path.name, replace(_open(path, fs), read_lead=lambda *_: np.empty(0)))
                for path in paths
            ]
            st.session_state["described"] = (key, found)
    if "described" not in st.session_state:
        return
    _, found = st.session_state["described"]
    which = 0
    if len(found) > 1:
        # A select box finds its choice by the words: the file stands beside a name that is twice.
        names = [recording.name for _, recording in found]
        labels = [
            name if names.count(name) == 1 else f"{name} ({file})"
            for name, (file, _) in zip(names, found, strict=True)
        ]
        which = st.selectbox(
            t("record"), range(len(found)), format_func=labels.__getitem__, key="which"
        )
    if confirmed := _confirm(found[which][1], model, f"{key}{which}", t):
        with _explained(t), stored(files) as paths:
            _run(_open(paths[which], fs), model, *confirmed, UPLOADED, t)


def _open(path: Path, fs: float | None) -> Recording:
    return open_recording(path, fs if is_csv(path) else None)


@contextmanager
def _explained(t: Translator) -> Iterator[None]:
    """Turn an error about the recording into a sentence, its detail below."""
    try:
        yield
    except (RecordError, ValueError) as error:
        logger.info("a recording was refused: %s", error)
        st.error(t("bad_recording"), icon=":material/error:")
        st.markdown(t("error_detail"))
        st.code(str(error), language=None, wrap_lines=True)


def _confirm(
    recording: Recording, model: BeatModel, key: str, t: Translator
) -> tuple[int, bool] | None:
    """Show what a recording holds; return the lead, and if at the reference, once it is asked."""
    leads = recording.lead_names
    st.markdown(
        t(
            "recording_facts",
            name=escape_markdown(recording.name),
            fs=t.number(recording.fs, 2, trim=True),
            duration=format_clock(recording.duration_s),
            leads=", ".join(map(escape_markdown, leads)),
        )
    )
    suggested = None
    try:
        suggested = suggest_lead(recording, model.preferred_lead)
    except RecordError as error:
        st.warning(t("ecg_left_out"), icon=":material/warning:")
        st.code(str(error), language=None, wrap_lines=True)
    left, right = st.columns(2, vertical_alignment="bottom")
    lead = left.selectbox(
        t("lead"),
        range(len(leads)),
        index=suggested,
        placeholder=t("lead"),
        format_func=leads.__getitem__,
        key=f"lead_{key}",
        help=t("lead_help"),
    )
    reference, at_reference = read_reference(recording), False
    if reference is not None:
        at_reference = right.toggle(
            t("at_reference", n=len(reference)), key=f"peaks_{key}", help=t("at_reference_help")
        )
    start = st.button(
        t("analyse"),
        type="primary",
        icon=":material/play_arrow:",
        key="analyse",
        disabled=lead is None,
    )
    return (lead, at_reference) if start and lead is not None else None


def _run(
    recording: Recording, model: BeatModel, lead: int, at_reference: bool, db: str, t: Translator
) -> None:
    """Analyse with a progress bar, keep the study, and run the page again."""
    bar = st.progress(0.0, t("stage_read"))

    def show_progress(stage: str, share: float) -> None:
        begin, length = _STAGES[stage]
        bar.progress(min(1.0, begin + length * share), t("stage_" + stage))

    try:
        study = make_study(
            recording, model, lead, at_reference=at_reference, db=db, progress=show_progress
        )
    finally:
        bar.empty()
    open_desk().leave(find_window())
    viewer = ("cursor", "selected", "anchor", "scale", "reading", "work", "lanes", "at_end")
    for name in (*viewer, "correction_failed", "correction_refused"):
        st.session_state.pop(name, None)
    st.session_state["study"] = study
    st.session_state["n_studies"] = st.session_state.get("n_studies", 0) + 1
    st.rerun()


def holds_csv(files: Sequence[IO[bytes]]) -> bool:
    """Return whether an upload holds a CSV file, also in an archive, so that its rate is asked."""
    from cnns_spectrograms.recordings.archives import list_names

    names = [each.name for each in files]
    for each in files:
        if each.name.lower().endswith(".zip"):
            each.seek(0)
            names += list_names(each)
    return any(is_csv(Path(name)) for name in names)


@contextmanager
def stored(files: Sequence[IO[bytes]]) -> Iterator[list[Path]]:
    """Write an upload to a folder of its own, and give the recordings in it.

    Args:
        files: ZIP files, files of one recording, or all the files of WFDB records.

    Yields:
        Paths for `recordings.opening.open_recording`, one or more. All is removed afterwards.

    Raises:
        RecordError: the upload holds no recording, or is not safe to unpack.
    """
    from cnns_spectrograms.recordings.archives import unpack_recording

    by_name = {each.name: each for each in files}
    if len(by_name) < len(files):
        raise RecordError("two files have one name; rename one")
    for each in files:
        each.seek(0)
    with tempfile.TemporaryDirectory(prefix="ecg-upload-") as folder:
        try:
            yield unpack_recording(by_name, Path(folder), MAX_BYTES, MAX_FILES)
        except RecordError as error:  # names a file as its owner does, not where it lay here
            raise RecordError(str(error).replace(f"{folder}{os.sep}", "")) from error
