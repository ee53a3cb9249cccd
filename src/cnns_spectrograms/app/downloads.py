"""What the clinical report gives away: files, and a recording for the next training."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from cnns_spectrograms.app.correcting import Correcting
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.corrections import outputs
from cnns_spectrograms.corrections.database import add_record
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.presentation import Translator

_LOOKS = {  # type and icon of a file, by its ending
    ".csv": ("text/csv", "table"),
    ".json": ("application/json", "data_object"),
    ".html": ("text/html", "description"),
}
_ANNOTATIONS = ("application/octet-stream", "monitor_heart")


def show_downloads(study: Study, t: Translator) -> None:
    """Offer the files of the analysis."""
    st.markdown("##### " + t("downloads"))
    kinds = {kind: kind for kind in ("annotations", "csv", "json")} | {"html": f"html_{t.language}"}
    _offer({kind: study.outputs[output] for kind, output in kinds.items()}, t)
    st.caption(t("downloads_help"))


def show_handing_on(correcting: Correcting, t: Translator) -> None:
    """Offer the corrected beats as files, and the recording to the next training."""
    session, study = correcting.session, correcting.study
    if session is None:
        return
    st.markdown("##### " + t("corrected_downloads"))

    def write_table(path: Path) -> None:
        outputs.write_corrected_table(path, study.analysis, session)

    def write_report(path: Path) -> None:
        page = outputs.render_corrected_report(study.analysis, session, study.leads, t.language)
        path.write_text(page, encoding="utf-8")

    name = study.leads.name
    files = {
        "cnr": _make_later(
            f"{name}.{outputs.ANNOTATOR}",
            lambda path: outputs.write_corrected_annotations(path, session),
        ),
        "corrected_csv": _make_later(f"{name}-corrected.csv", write_table),
        "corrected_html": _make_later(f"{name}-corrected.html", write_report),
    }
    _offer(files, t, disabled=not len(session.edits.order()))
    st.caption(t("corrected_downloads_help", file=str(session.path)))
    if correcting.is_mine:
        _offer_to_training(study, session, t)


def _make_later(name: str, write: Callable[[Path], None]) -> tuple[str, Callable[[], bytes]]:
    """Return a file's name, and what makes its content."""

    def make() -> bytes:
        with tempfile.TemporaryDirectory(prefix="ecg-corrected-") as folder:
            path = Path(folder) / name
            write(path)
            return path.read_bytes()

    return name, make


def _offer(files: Mapping[str, tuple[str, Any]], t: Translator, disabled: bool = False) -> None:
    """Show a button for each file: its kind, name, and content or what makes it."""
    with st.container(horizontal=True):
        for kind, (name, content) in files.items():
            mime, icon = _LOOKS.get(Path(name).suffix, _ANNOTATIONS)
            st.download_button(
                t("download_" + kind),
                content,
                file_name=name,
                mime=mime,
                icon=f":material/{icon}:",
                key=f"download_{kind}",
                on_click="ignore",
                disabled=disabled,
            )


def _offer_to_training(study: Study, session: Session, t: Translator) -> None:
    """Let the recording, with its beats as they stand, join a database to train on."""
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
            st.success(t("added_to_training", name=name))
            st.code(f"kedro run --params=ingestion.corrections={folder}", language=None)
        elif key == study.key:
            st.error(why)
