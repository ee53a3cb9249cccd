"""The clinical report: choose a recording, see its beats, look into one, take the results along."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from cnns_spectrograms import __version__
from cnns_spectrograms.app import findings, resources
from cnns_spectrograms.app.choosing import choose_recording
from cnns_spectrograms.app.clinical_figures import draw_overview
from cnns_spectrograms.app.correcting import find_corrections
from cnns_spectrograms.app.downloads import show_downloads
from cnns_spectrograms.app.figure_parts import CONFIG
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.viewer import Reading, Viewer
from cnns_spectrograms.app.viewer_panel import show_viewer
from cnns_spectrograms.inference.summary import select_intervals
from cnns_spectrograms.presentation import CALLS, GLYPHS, UNSURE, Translator, format_clock

_RUNS_SHOWN = 200


def show(t: Translator) -> None:
    """Show the page."""
    study: Study | None = st.session_state.get("study")
    title = t("page_clinical")
    if study is not None:
        names = {"name": study.leads.name, "lead": study.source.lead}
        shown = {key: escape_markdown(name) for key, name in names.items()}
        title = t("study_title", **shown, duration=format_clock(study.leads.duration_s))
    st.title(title, anchor=False)
    st.caption(t("disclaimer"))
    model = resources.find_model(t)
    if model is None:
        return
    with st.expander(t("choose_recording"), expanded=study is None):
        choose_recording(model, t)
    if study is None:
        st.info(t("nothing_chosen"))
        return
    _show_study(study, t)


def _show_study(study: Study, t: Translator) -> None:
    model = study.analysis.model
    if study.db == resources.SYNTHETIC:
        st.warning(t("synthetic_recording"), icon=":material/science:")
    if model.synthetic_data:
        st.warning(t("synthetic_model"), icon=":material/science:")
    if not len(study.beats):
        st.warning(t("no_beats"))
        return
    left, right = st.columns([5, 2], vertical_alignment="center", gap="medium")
    percent = right.slider(
        t("threshold"), 0, 95, 50, 5, format="%d %%", key="threshold", help=t("threshold_help")
    )
    numbers = left.container()
    count_unusable = _ask_about_unusable(study, t)
    correcting = find_corrections(study, percent / 100, count_unusable, t)
    reading = correcting.read()
    if not len(reading.beats):
        st.warning(t("no_beats_left"))
    burden = findings.measure_burden(reading.called[reading.counted])
    with numbers:
        _show_numbers(reading, burden, t)
    _show_overview(reading, t)
    show_viewer(correcting, t)
    left, right = st.columns(2, gap="large")
    with left:
        _show_burden(burden, t)
        if n_left_out := int((~reading.counted).sum()):
            st.caption(t("not_counted", n=n_left_out))
    with right:
        _show_runs(reading, t)
    show_downloads(correcting, t)
    _show_provenance(study, t)


def _ask_about_unusable(study: Study, t: Translator) -> bool:
    """Show how much of the signal is unusable; return whether to count its beats."""
    stretches, n = study.analysis.unusable_s, int((~study.beats["usable"]).sum())
    if not n:
        return False
    seconds = sum(stop - first for first, stop in stretches)
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        st.markdown(t("unusable_note", time=format_clock(seconds), n=n), width="content")
        return bool(st.toggle(t("count_unusable"), key="count_unusable"))


def _show_numbers(reading: Reading, burden: pd.DataFrame, t: Translator) -> None:
    share = burden["share"]
    rr_s = select_intervals(reading.beats, reading.counted)
    rate = 60 / np.median(rr_s) if len(rr_s) else np.nan
    facts = {
        t("beats"): t.number(len(reading.called)),
        t("heart_rate"): f"{t.number(rate)} {t('per_minute')}",
        t("burden_of", name="S"): t.percent(share["S"]),
        t("burden_of", name="V"): t.percent(share["V"]),
        t("unsure"): t.percent(share[UNSURE]),
    }
    with st.container(horizontal=True, gap="large"):
        for label, value in facts.items():
            st.metric(label, value, width="content")


def _show_overview(reading: Reading, t: Translator) -> None:
    """Show the whole recording; it stays as it is while the viewer moves."""
    st.plotly_chart(
        draw_overview(reading, t),
        key="overview",
        on_select=Viewer(reading).go_to_overview,
        selection_mode=("points", "box"),
        config=CONFIG,
        theme=None,
        alt=t("overview_alt"),
    )


def _show_burden(burden: pd.DataFrame, t: Translator) -> None:
    st.markdown("##### " + t("burden"))
    # The table is of counted beats: those in unusable signal are not among its unclassified.
    words = {name: t("below_threshold" if name == UNSURE else "class_" + name) for name in CALLS}
    shown = {
        t("class"): [f"{GLYPHS[name]} {name} – {words[name]}" for name in burden.index],
        t("beats"): map(t.number, burden["beats"]),
        t("share"): [t.percent(share, 2) for share in burden["share"]],
    }
    st.table(pd.DataFrame(shown).set_index(t("class")))


def _show_runs(reading: Reading, t: Translator) -> None:
    st.markdown("##### " + t("runs"))
    runs = findings.find_ectopic_runs(reading.beats, reading.called).head(_RUNS_SHOWN)
    if runs.empty:
        st.write(t("no_runs"))
        return
    # Another table for other runs: what was chosen in one is no choice in the next.
    key = f"runs_{st.session_state.get('n_studies', 0)}_{reading.key}"

    def go_to_run() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows:
            Viewer(reading).look_at(int(runs["first"][rows[0]]))

    shown = {
        t("start"): [format_clock(each) for each in runs["start_s"]],
        t("class"): runs["aami_class"],
        t("beats"): runs["n_beats"],
        t("rate"): [t.number(each) for each in runs["rate_bpm"]],
    }
    st.dataframe(
        pd.DataFrame(shown),
        hide_index=True,
        on_select=go_to_run,
        selection_mode="single-row",
        key=key,
        height=270,
        alt=t("runs"),
    )
    st.caption(t("runs_help"))


def _show_provenance(study: Study, t: Translator) -> None:
    model, given = study.analysis.model, study.analysis.summary["peaks"] == "given"
    st.divider()
    st.caption(
        t(
            "provenance",
            model=escape_markdown(model.name),
            fingerprint=escape_markdown(model.fingerprint[:12]) or "–",
            sha256=model.sha256[:12],
            version=__version__,
            peaks=t("peaks_reference" if given else "peaks_detected"),
        )
        + "  \n"
        + t("disclaimer")
    )
