"""What the clinical report offers for download: files, and a recording for the next training."""

from __future__ import annotations

import functools
import json
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from cnns_spectrograms.app.correcting import Correcting
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.resources import SYNTHETIC
from cnns_spectrograms.corrections.database import add_record
from cnns_spectrograms.corrections.outputs import (
    render_corrected_report,
    write_corrected_annotations,
    write_corrected_table,
)
from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.inference.outputs import write_outputs
from cnns_spectrograms.presentation import Translator

_LOOKS = {  # type and icon of a file, by its ending
    ".csv": ("text/csv", "table"),
    ".json": ("application/json", "data_object"),
    ".html": ("text/html", "description"),
}
_ANNOTATIONS = ("application/octet-stream", "monitor_heart")


def show_downloads(correcting: Correcting, t: Translator) -> None:
    """Offer the files of the analysis and of the corrected beats, and the recording to training.

    A file is made when it is downloaded.
    """
    session, leads, analysis = correcting.session, correcting.study.leads, correcting.study.analysis

    def write(path: Path) -> None:
        write_outputs(analysis, leads, path.parent)

    def write_report(path: Path) -> None:
        from cnns_spectrograms.inference.report import render_report

        path.write_bytes(render_report(analysis, leads, t.language).encode())

    def write_annotations(path: Path) -> None:
        write_corrected_annotations(path, session)

    def write_table(path: Path) -> None:
        write_corrected_table(path, analysis, session)

    def write_corrected_report(path: Path) -> None:
        page = render_corrected_report(analysis, session, leads, t.language)
        path.write_bytes(page.encode())

    def offer(kind: str, ending: str, write: Callable[[Path], None], **options: Any) -> None:
        name = leads.name + ending
        mime, icon = _LOOKS.get(Path(name).suffix, _ANNOTATIONS)
        st.download_button(
            t("download_" + kind),
            functools.partial(_make, name, write),
            file_name=name,
            mime=mime,
            icon=f":material/{icon}:",
            key=f"download_{kind}",
            on_click="ignore",
            **options,
        )

    st.markdown("##### " + t("downloads"))
    with st.container(horizontal=True):
        offer("annotations", ".cnn", write)
        offer("csv", ".csv", write)
        offer("json", ".json", write)
        offer("html", ".html", write_report)
    st.caption(t("downloads_help"))
    if session.path is None:
        return
    st.markdown("##### " + t("corrected_downloads"))
    none_stands = not len(session.order())
    with st.container(horizontal=True):
        offer("cnr", ".cnr", write_annotations, disabled=none_stands)
        offer("corrected_csv", "-corrected.csv", write_table, disabled=none_stands)
        offer("corrected_html", "-corrected.html", write_corrected_report, disabled=none_stands)
    st.caption(t("corrected_downloads_help", file=str(session.path)))
    if correcting.is_mine and correcting.study.db != SYNTHETIC:
        _offer_to_training(correcting, t)


def _make(name: str, write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ecg-download-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _offer_to_training(correcting: Correcting, t: Translator) -> None:
    """Let the recording, with its beats as they stand, join a database to train on."""
    study, session = correcting.study, correcting.session
    folder = read_settings().corrections_folder / "database"
    with st.expander(t("to_training"), icon=":material/school:"):
        st.markdown(t("to_training_text"))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            patient = st.text_input(
                t("patient"),
                value=patient_of(study.db, re.sub(r"\s+|[/,]", "-", study.leads.name)),
                key=f"patient_{study.key}",
                help=t("patient_help"),
                width=300,
            )
            if st.button(t("to_training_button"), key="to_training", icon=":material/school:"):
                try:
                    name = add_record(folder, session, study.leads, study.db, patient.strip())
                    st.session_state["added"] = (study.key, name, "")
                except (OSError, ValueError) as error:
                    st.session_state["added"] = (study.key, "", str(error))
        key, name, why = st.session_state.get("added", ("", "", ""))
        if key == study.key and name:
            told, shown = describe_training(folder)
            st.success(t(told, name=name))
            st.code(shown, language=None)
        elif key == study.key:
            st.error(why)


def describe_training(folder: Path) -> tuple[str, str]:
    """Return how the next training reads a folder of corrected recordings.

    Returns:
        The key of the words, and a command for a shell; or, where Kedro would read another folder
        from a command, lines for conf/local/parameters.yml.
    """
    # Kedro splits an option at commas, and reads what is left as YAML.
    if re.fullmatch(r"[\w ./~+-]+", str(folder)):
        option = shlex.quote(f"--params=ingestion.corrections={folder}")
        return "added_to_training", f"kedro run {option}"
    value = json.dumps(str(folder), ensure_ascii=False)
    return "added_to_training_file", f"ingestion:\n  corrections: {value}"
