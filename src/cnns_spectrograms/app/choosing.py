"""The clinical report's choice of a recording: a sample, or files of one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from cnns_spectrograms.app import resources, sources
from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.app.study import Contents, describe, make_study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.corrections.database import OWN
from cnns_spectrograms.presentation import Translator, format_clock
from cnns_spectrograms.recordings.errors import RecordError

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel
    from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)

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
    samples = resources.list_samples()
    groups = list(dict.fromkeys(each.group for each in samples))
    left, right = st.columns(2)
    # A select box keeps the words of its choice for as long as its key: one a language.
    chosen = st.session_state.get("group")
    group = left.selectbox(
        t("database"),
        groups,
        index=groups.index(chosen) if chosen in groups else 0,
        format_func=lambda each: t("group_" + each),
        key=f"group_{t.language}",
    )
    st.session_state["group"] = group
    here = {each.name: each for each in samples if each.group == group}
    name = right.selectbox(t("record"), list(here), key=f"record_{group}")
    if name is None:
        return
    sample = here[name]
    with _explained(t):
        recording = _open(sample.path)
        contents = describe(recording, model.preferred_lead)
        lead, at_reference, start = _confirm(contents, f"{group}/{name}", t)
        if start:
            _run(recording, model, lead, at_reference, group, t)


def _choose_upload(model: BeatModel, t: Translator) -> None:
    files = st.file_uploader(
        t("upload_label"),
        type=[suffix[1:] for suffix in sources.SUFFIXES],
        accept_multiple_files=True,
        key="upload",
        help=t("upload_help", limit=MAX_UPLOAD_MB),
    )
    st.caption(t("upload_privacy"))
    if not files:
        return
    fs = None
    if sources.holds_csv(files):
        fs = st.number_input(
            t("csv_rate"), min_value=1.0, max_value=10_000.0, value=None, step=1.0, key="csv_fs"
        )
    # An upload is unpacked to be described, and again to be analysed; in between no file is kept.
    key = ("+".join(each.file_id for each in files), fs)
    if st.session_state.get("described", (None, None))[0] != key:
        st.session_state.pop("described", None)
        with _explained(t), sources.stored(files) as paths:
            found = [describe(_open(path, fs), model.preferred_lead) for path in paths]
            files_of = [path.name for path in paths]
            st.session_state["described"] = (key, found, files_of)
    if "described" not in st.session_state:
        return
    _, found, files_of = st.session_state["described"]
    which = 0
    if len(found) > 1:
        # A select box finds its choice by the words.
        labels = _label_apart([each.name for each in found], files_of)
        which = st.selectbox(
            t("record"), range(len(found)), format_func=labels.__getitem__, key="which"
        )
    lead, at_reference, start = _confirm(found[which], f"{key}{which}", t)
    if start:
        with _explained(t), sources.stored(files) as paths:
            _run(_open(paths[which], fs), model, lead, at_reference, OWN, t)


def _label_apart(names: list[str], files: list[str]) -> list[str]:
    """Return the names, with its file beside each that is there more than once."""
    return [
        name if names.count(name) == 1 else f"{name} ({file})"
        for name, file in zip(names, files, strict=True)
    ]


def _open(path: Path, fs: float | None = None) -> Recording:
    from cnns_spectrograms.recordings.opening import CSV_SUFFIXES, open_recording

    return open_recording(path, fs if path.suffix.lower() in CSV_SUFFIXES else None)


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


def _confirm(contents: Contents, key: str, t: Translator) -> tuple[int, bool, bool]:
    """Show what a recording holds; return the lead, whether at the reference, and whether to go."""
    st.markdown(
        t(
            "recording_facts",
            name=escape_markdown(contents.name),
            fs=t.number(contents.fs, 2, trim=True),
            duration=format_clock(contents.duration_s),
            leads=", ".join(map(escape_markdown, contents.lead_names)),
        )
    )
    left, right = st.columns(2, vertical_alignment="bottom")
    lead = left.selectbox(
        t("lead"),
        range(len(contents.lead_names)),
        index=contents.suggested_lead,
        format_func=lambda each: contents.lead_names[each],
        key=f"lead_{key}",
        help=t("lead_help"),
    )
    at_reference = False
    if contents.n_reference:
        at_reference = right.toggle(
            t("at_reference", n=contents.n_reference),
            key=f"peaks_{key}",
            help=t("at_reference_help"),
        )
    start = st.button(t("analyse"), type="primary", icon=":material/play_arrow:", key="analyse")
    return int(lead or 0), at_reference, start


def _run(
    recording: Recording,
    model: BeatModel,
    lead: int,
    at_reference: bool,
    db: str,
    t: Translator,
) -> None:
    """Analyse with a progress bar, keep the study, and run the page again."""
    bar = st.progress(0.0, t("stage_read"))

    def show_progress(stage: str, share: float) -> None:
        begin, length = _STAGES[stage]
        bar.progress(min(1.0, begin + length * share), t("stage_" + stage))

    try:
        study = make_study(
            recording,
            model,
            lead,
            at_reference=at_reference,
            synthetic=db == sources.SYNTHETIC,
            db=db,
            progress=show_progress,
        )
    finally:
        bar.empty()
    resources.open_desk().leave(resources.find_window())
    for name in ("cursor", "selected", "anchor", "scale", "run_shown", "reading", "work", "lanes"):
        st.session_state.pop(name, None)
    st.session_state["study"] = study
    st.session_state["n_studies"] = st.session_state.get("n_studies", 0) + 1
    st.rerun()
