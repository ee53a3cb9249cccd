"""The clinical report's review: who corrects, beats worth a look, groups, and what comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import streamlit as st

from cnns_spectrograms.app import resources
from cnns_spectrograms.app.correcting import QUEUE, Correcting, Read, open_corrections
from cnns_spectrograms.app.desk import Desk
from cnns_spectrograms.app.group_figures import draw_group_beats, draw_groups
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.live_plot import show_figure
from cnns_spectrograms.app.sources import SYNTHETIC
from cnns_spectrograms.app.strip_figure import Lane
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.viewer import Reading
from cnns_spectrograms.corrections import outputs
from cnns_spectrograms.corrections.database import OWN, add_record
from cnns_spectrograms.corrections.edits import BeatEdits
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.presentation import GLYPHS, Theme, Translator

SHOWN_LANES = 2
"""Leads that are shown below the analysed one, unless others are chosen."""


def is_page_behind(edits: BeatEdits) -> bool:
    """Return whether beats were corrected since the whole page ran."""
    return bool(edits.revision != st.session_state["page_revision"])


def find_corrections(study: Study, t: Translator) -> Correcting:
    """Return the corrections of a study; show why they cannot be made, where they cannot."""
    desk, window = resources.open_desk(), resources.find_window()

    def make() -> Session:
        beats = study.beats
        return Session(
            read_settings().corrections_folder / "sessions",
            study.source,
            beats["sample"].to_numpy(np.int64),
            beats["aami_class"].to_numpy(object),
        )

    correcting = open_corrections(study, desk, window, make)
    if correcting.seat is None:
        st.warning(t(f"corrections_{correcting.problem}"), icon=":material/lock:")
        st.code(correcting.detail, language=None, wrap_lines=True)
    elif not correcting.is_mine:
        with st.container(horizontal=True, vertical_alignment="center"):
            who = escape_markdown(correcting.seat.session.last_who) or "–"
            st.warning(t("corrections_elsewhere", who=who), icon=":material/lock:", width="stretch")
            st.button(
                t("correct_here"),
                key="correct_here",
                on_click=lambda: _take_over(study, desk, window, make),
            )
    elif st.session_state.get("opened") != study.key:
        st.session_state["opened"] = study.key
        _welcome_back(correcting.seat.session, t)
    return correcting


def _take_over(study: Study, desk: Desk, window: str, make: Callable[[], Session]) -> None:
    open_corrections(study, desk, window, make, force=True)


def _welcome_back(session: Session, t: Translator) -> None:
    """Say what was corrected before, and take over who did."""
    if session.events:
        last = session.events[-1]
        at = last.at[:16].replace("T", " ")
        st.toast(t("reopened", n=session.edits.n_done, who=last.who, at=at), icon="💾")
    elif others := session.find_others():
        st.info(t("other_corrections", files=", ".join(f"`{each.name}`" for each in others)))


def show_review(correcting: Correcting, reading: Reading, read: Read, t: Translator) -> None:
    """Show who corrects, and the way through the beats worth a look."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        # Kept under another name: a widget's own value goes when it is not on the page.
        st.text_input(
            t("who"),
            value=correcting.who,
            key="who_input",
            placeholder=t("who"),
            label_visibility="collapsed",
            max_chars=60,
            width=190,
            on_change=_keep_who,
            help=t("who_help"),
        )
        for name, icon, key, forwards in (
            ("previous_look", "arrow_circle_left", "e", False),
            ("next_look", "arrow_circle_right", "w", True),
        ):
            st.button(
                t("next_look_label") if forwards else "",
                icon=f":material/{icon}:",
                icon_position="right" if forwards else "left",
                key=name,
                on_click=correcting.step_work,
                args=(read, forwards),
                help=t("shortcut_help", what=t(name), key=key.upper()),
                shortcut=key,
                disabled=not len(correcting.list_work(reading)),
            )
        st.markdown(_describe_work(correcting, reading, t), width="content")
        if st.session_state.get("work", QUEUE) != QUEUE:
            st.button(
                t("to_queue"),
                key="to_queue",
                icon=":material/checklist:",
                on_click=_work_on,
                args=(QUEUE,),
            )
        if correcting.study.lanes:
            _show_leads(correcting.study, t)


def _show_leads(study: Study, t: Translator) -> None:
    key = f"lanes_{st.session_state.get('n_studies', 0)}"
    with st.popover(t("leads"), icon=":material/stacked_line_chart:"):
        st.pills(
            t("leads_help", lead=study.source.lead),
            range(len(study.lanes)),
            format_func=lambda place: study.lanes[place].name,
            selection_mode="multi",
            default=list(range(len(study.lanes)))[:SHOWN_LANES],
            key=key,
            on_change=_keep_lanes,
            args=(key,),
        )


def _keep_lanes(key: str) -> None:
    """Keep the leads that are shown, also where their choice is not on the page."""
    st.session_state["lanes"] = st.session_state[key]


def choose_lanes(study: Study) -> list[Lane]:
    """Return the leads that are shown below the analysed one."""
    chosen = st.session_state.get("lanes", range(SHOWN_LANES))
    return [lane for place, lane in enumerate(study.lanes) if place in chosen]


def _keep_who() -> None:
    st.session_state["who"] = st.session_state["who_input"].strip()


def _work_on(work: int | str) -> None:
    st.session_state["work"] = work


def _describe_work(correcting: Correcting, reading: Reading, t: Translator) -> str:
    work = st.session_state.get("work", QUEUE)
    if work == QUEUE:
        n = len(correcting.study.queue)
        return t("looked_at", n=correcting.count_looked_at(), of=n)
    beats = correcting.list_work(reading)
    place = np.flatnonzero(beats == st.session_state.get("selected"))
    at = int(place[0]) + 1 if len(place) else 0
    return t("of_group", n=at, of=len(beats), group=int(work) + 1)


def show_groups(
    correcting: Correcting, reading: Reading, read: Read, theme: Theme, t: Translator
) -> None:
    """Show the groups of alike beats, and what can be done with one."""
    groups = correcting.study.groups
    if groups is None or not st.toggle(t("show_groups"), key="show_groups", help=t("groups_help")):
        return
    counts = count_classes(correcting, reading)
    work = st.session_state.get("work", QUEUE)
    chosen = None if work == QUEUE else int(work)
    show_figure(
        draw_groups(groups, counts, chosen, st.session_state["width_px"], theme, t),
        "groups",
        t("groups_alt"),
        on_moved=lambda moved: None,
        on_chosen=lambda group, extend: _open_group(correcting, read, group),
    )
    left, right = st.columns([2, 3], gap="large")
    # A select box finds its choice by the words: one for each counts.
    key = f"group_shown_{t.language}_{chosen}_{reading.key}"
    with left:
        st.selectbox(
            t("group"),
            range(groups.n_groups),
            index=chosen,
            format_func=lambda each: _name_group(each, counts[each], t),
            key=key,
            placeholder=t("choose_group"),
            on_change=_open_chosen_group,
            args=(correcting, read, key),
        )
        if chosen is not None and correcting.enabled:
            st.caption(t("relabel_group"))
            with st.container(horizontal=True, gap="small"):
                for name in AAMI_CLASSES:
                    st.button(
                        f"{GLYPHS[name]} {name}",
                        key=f"group_to_{name}",
                        on_click=_relabel_group,
                        args=(correcting, chosen, name),
                    )
    if chosen is not None:
        with right:
            show_figure(
                draw_group_beats(correcting.study, reading, chosen, theme, t),
                "group_beats",
                t("group_beats_alt"),
            )


def count_classes(correcting: Correcting, reading: Reading) -> list[dict[str, int]]:
    """Return how many beats of each call stand in each group."""
    groups = correcting.study.groups
    assert groups is not None
    found = reading.ids < len(groups.of_beat)
    of_beat, called = groups.of_beat[reading.ids[found]], reading.called[found]
    counted: list[dict[str, int]] = []
    for group in range(groups.n_groups):
        names, numbers = np.unique(called[of_beat == group].astype(str), return_counts=True)
        counted.append(dict(zip(names.tolist(), numbers.tolist(), strict=True)))
    return counted


def _name_group(group: int, counts: dict[str, int], t: Translator) -> str:
    parts = [f"{t.number(n)} {name}" for name, n in sorted(counts.items(), key=lambda x: -x[1])]
    return f"{group + 1}: {', '.join(parts) or '–'}"


def _open_chosen_group(correcting: Correcting, read: Read, key: str) -> None:
    group = st.session_state[key]
    if group is not None:
        _open_group(correcting, read, int(group))


def _open_group(correcting: Correcting, read: Read, group: int) -> None:
    """Make a group the list that W and E go through, and choose its first beat."""
    _work_on(group)
    st.session_state["selected"] = st.session_state["anchor"] = None
    correcting.step_work(read, True)


def _relabel_group(correcting: Correcting, group: int, name: str) -> None:
    try:
        correcting.relabel_group(group, None, name)
    except OSError as error:
        st.session_state["correction_failed"] = str(error)


def show_handing_on(correcting: Correcting, t: Translator) -> None:
    """Offer the corrected beats as files, and the recording to the next training."""
    session, study = correcting.session, correcting.study
    if session is None:
        return
    st.markdown("##### " + t("corrected_downloads"))
    name = study.contents.name
    files: dict[str, tuple[str, str, str, Callable[[Path], None]]] = {
        "cnr": (
            f"{name}.{outputs.ANNOTATOR}",
            "application/octet-stream",
            "monitor_heart",
            lambda path: outputs.write_corrected_annotations(path, session),
        ),
        "corrected_csv": (
            f"{name}-corrected.csv",
            "text/csv",
            "table",
            lambda path: outputs.write_corrected_table(path, study.analysis, session),
        ),
        "corrected_html": (
            f"{name}-corrected.html",
            "text/html",
            "description",
            lambda path: _write_report(path, correcting, t),
        ),
    }
    with st.container(horizontal=True):
        for kind, (file_name, mime, icon, write) in files.items():
            st.download_button(
                t("download_" + kind),
                partial(_make_file, file_name, write),
                file_name=file_name,
                mime=mime,
                icon=f":material/{icon}:",
                key=f"download_{kind}",
                on_click="ignore",
                disabled=not len(session.edits.order()),
            )
    st.caption(t("corrected_downloads_help", file=str(session.path)))
    if correcting.is_mine:
        _offer_to_training(correcting, session, t)


def _make_file(name: str, write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ecg-corrected-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _write_report(path: Path, correcting: Correcting, t: Translator) -> None:
    study, session = correcting.study, correcting.session
    assert session is not None
    page = outputs.render_corrected_report(study.analysis, session, study.leads, t.language)
    path.write_text(page, encoding="utf-8")


def _offer_to_training(correcting: Correcting, session: Session, t: Translator) -> None:
    """Let the recording, with its beats as they stand, join a database to train on."""
    study = correcting.study
    folder = read_settings().corrections_folder / "database"
    with st.expander(t("to_training"), icon=":material/school:"):
        st.markdown(t("to_training_text"))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            patient = st.text_input(
                t("patient"),
                value=_name_patient(study),
                key=f"patient_{study.key}",
                help=t("patient_help"),
                width=300,
            )
            if st.button(t("to_training_button"), key="to_training", icon=":material/school:"):
                try:
                    added = add_record(folder, session, study.leads, study.db, patient.strip())
                except (OSError, ValueError) as error:
                    st.session_state["added"] = (study.key, None, str(error))
                else:
                    st.session_state["added"] = (study.key, added, "")
        key, name, why = st.session_state.get("added", ("", None, ""))
        if key == study.key and name:
            st.success(t("added_to_training", name=name))
            st.code(f"kedro run --params=ingestion.corrections={folder}", language=None)
        elif key == study.key:
            st.error(why)


def _name_patient(study: Study) -> str:
    name = "-".join(study.contents.name.split()).replace("/", "-").replace(",", "-")
    if study.db in (OWN, SYNTHETIC):
        return f"{study.db}/{name}"
    return patient_of(study.db, name)
