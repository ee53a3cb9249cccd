"""The clinical report's review: who corrects, beats worth a look, and groups of alike ones."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import streamlit as st

from cnns_spectrograms.app import resources
from cnns_spectrograms.app.buttons import show_button
from cnns_spectrograms.app.clinical_figures import draw_group_beats, draw_groups
from cnns_spectrograms.app.correcting import Correcting
from cnns_spectrograms.app.desk import Seat
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.live_plot import show_figure
from cnns_spectrograms.app.study import Lane, Study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.viewer import Reading
from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.corrections.shapes import ShapeGroups
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import GLYPHS, Theme, Translator

logger = logging.getLogger(__name__)

_LOCK = ":material/lock:"

SHOWN_LANES = 2
"""Leads that are shown below the analysed one, unless others are chosen."""


def find_corrections(
    study: Study, threshold: float, count_unusable: bool, t: Translator
) -> Correcting:
    """Return the corrections of a study; show why they cannot be made, where they cannot."""
    desk, window = resources.open_desk(), resources.find_window()
    seat: Seat | None = None
    try:
        seat = desk.take(
            study.key,
            window,
            lambda: _open_session(study),
            force=bool(st.session_state.get("correct_here")),  # the button below was pressed
        )
    except (OSError, ValueError) as error:
        logger.warning("corrections cannot be opened: %s", error)
        in_use = isinstance(error, JournalInUseError)
        st.warning(t("corrections_in_use" if in_use else "corrections_failed"), icon=_LOCK)
        st.code(str(error), language=None, wrap_lines=True)
    revision = 0 if seat is None else seat.session.edits.revision
    correcting = Correcting(study, threshold, count_unusable, desk, window, seat, revision)
    if seat is not None and not correcting.is_mine:
        with st.container(horizontal=True, vertical_alignment="center"):
            who = escape_markdown(seat.session.last_who) or "–"
            st.warning(t("corrections_elsewhere", who=who), icon=_LOCK, width="stretch")
            st.button(t("correct_here"), key="correct_here")
    elif seat is not None and st.session_state.get("opened") != study.key:
        st.session_state["opened"] = study.key
        _welcome_back(seat.session, t)
    return correcting


def _open_session(study: Study) -> Session:
    samples, classes = study.beats["sample"], study.beats["aami_class"]
    folder = read_settings().corrections_folder / "sessions"
    return Session(folder, study.source, samples, classes.to_numpy(object))


def _welcome_back(session: Session, t: Translator) -> None:
    """Say what was corrected before."""
    if session.events:
        last = session.events[-1]
        at = last.at[:16].replace("T", " ")
        st.toast(t("reopened", n=session.edits.n_done, who=last.who, at=at), icon="💾")
    elif others := session.find_others():
        st.info(t("other_corrections", files=", ".join(f"`{each.name}`" for each in others)))


def show_review(correcting: Correcting, t: Translator) -> None:
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
        work, group = correcting.list_work(), correcting.group
        show_button("previous_look", t, correcting.step_work, False, disabled=not len(work))
        show_button("next_look", t, correcting.step_work, True, disabled=not len(work))
        if group is None:
            n, of = len(correcting.looked_at), len(correcting.study.queue)
            st.markdown(t("looked_at", n=n, of=of), width="content")
        else:
            at = np.flatnonzero(work == st.session_state["selected"]) + 1
            n = int(at[0]) if len(at) else 0
            st.markdown(t("of_group", n=n, of=len(work), group=group + 1), width="content")
            st.button(
                t("to_queue"),
                key="to_queue",
                icon=":material/checklist:",
                on_click=lambda: st.session_state.pop("work"),
            )
        if correcting.study.lanes:
            _show_leads(correcting.study, t)


def _keep_who() -> None:
    st.session_state["who"] = st.session_state["who_input"].strip()


def _show_leads(study: Study, t: Translator) -> None:
    key = f"lanes_{st.session_state.get('n_studies', 0)}"

    def keep() -> None:  # also where the choice is not on the page
        st.session_state["lanes"] = st.session_state[key]

    with st.popover(t("leads"), icon=":material/stacked_line_chart:"):
        st.pills(
            t("leads_help", lead=study.source.lead),
            range(len(study.lanes)),
            format_func=lambda place: study.lanes[place].name,
            selection_mode="multi",
            default=list(range(len(study.lanes)))[:SHOWN_LANES],
            key=key,
            on_change=keep,
        )


def choose_lanes(study: Study) -> list[Lane]:
    """Return the leads that are shown below the analysed one."""
    chosen = st.session_state.get("lanes", range(SHOWN_LANES))
    return [lane for place, lane in enumerate(study.lanes) if place in chosen]


def show_groups(correcting: Correcting, theme: Theme, t: Translator) -> None:
    """Show the groups of alike beats, and what can be done with one."""
    groups, chosen = correcting.study.groups, correcting.group
    if groups is None or not st.toggle(t("show_groups"), key="show_groups", help=t("groups_help")):
        return
    reading = correcting.read()
    counts = _count_calls(groups, reading)

    def open_group(group: int | None) -> None:
        """Make a group the list that W and E go through, and choose its first beat."""
        if group is None:
            return
        st.session_state["work"] = group
        st.session_state["selected"] = st.session_state["anchor"] = None
        correcting.step_work(True)

    def name_group(group: int) -> str:
        parts = [f"{t.number(n)} {name}" for name, n in counts[group].items()]
        return f"{group + 1}: {', '.join(parts) or '–'}"

    show_figure(
        draw_groups(groups, counts, chosen, st.session_state["width_px"], theme, t),
        "groups",
        t("groups_alt"),
        on_moved=lambda moved: None,
        on_chosen=lambda clicked: open_group(clicked["beat"]),
    )
    left, right = st.columns([2, 3], gap="large")
    # A select box finds its choice by the words: one for each counts.
    key = f"group_shown_{t.language}_{chosen}_{reading.key}"
    with left:
        st.selectbox(
            t("group"),
            range(groups.n_groups),
            index=chosen,
            format_func=name_group,
            key=key,
            placeholder=t("choose_group"),
            on_change=lambda: open_group(st.session_state[key]),
        )
    if chosen is None:
        return
    with left:
        if correcting.enabled:
            st.caption(t("relabel_group"))
            with st.container(horizontal=True, gap="small"):
                for name in AAMI_CLASSES:
                    st.button(
                        f"{GLYPHS[name]} {name}",
                        key=f"group_to_{name}",
                        on_click=correcting.relabel,
                        args=(groups.members(chosen), name),
                    )
    with right:
        figure = draw_group_beats(reading, chosen, theme, t)
        show_figure(figure, "group_beats", t("group_beats_alt"))


def _count_calls(groups: ShapeGroups, reading: Reading) -> list[dict[str, int]]:
    """Return how many beats of each call stand in each group, the most frequent first."""
    found = reading.ids < len(groups.of_beat)
    of_beat, called = groups.of_beat[reading.ids[found]], reading.called[found]
    counts = [Counter(called[of_beat == group].tolist()) for group in range(groups.n_groups)]
    return [dict(sorted(each.items(), key=lambda item: (-item[1], item[0]))) for each in counts]
