"""The clinical report: choose a recording, see its beats, look into one, take the results along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from cnns_spectrograms.app import findings, resources
from cnns_spectrograms.app.choosing import choose_recording
from cnns_spectrograms.app.clinical_figures import draw_overview
from cnns_spectrograms.app.review_panel import find_corrections, show_handing_on
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.viewer import Reading, Viewer, read_now
from cnns_spectrograms.app.viewer_panel import show_viewer
from cnns_spectrograms.presentation import GLYPHS, UNSURE, Translator, choose_theme, format_clock

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

_PLOT = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
_RUNS_SHOWN = 200


def show(t: Translator) -> None:
    """Show the page."""
    study: Study | None = st.session_state.get("study")
    st.title(t("page_clinical") if study is None else _name_study(study, t), anchor=False)
    st.caption(t("disclaimer"))
    model = resources.find_model(t)
    if model is None:
        return
    with st.expander(t("choose_recording"), expanded=study is None):
        choose_recording(model, t)
    if study is None:
        st.info(t("nothing_chosen"))
        return
    _show_study(study, model, t)


def _name_study(study: Study, t: Translator) -> str:
    return t(
        "study_title",
        name=escape_markdown(study.contents.name),
        lead=escape_markdown(study.contents.lead_names[study.lead]),
        duration=format_clock(study.contents.duration_s),
    )


def _show_study(study: Study, model: BeatModel, t: Translator) -> None:
    if study.synthetic:
        st.warning(t("synthetic_recording"), icon=":material/science:")
    if model.synthetic_data:
        st.warning(t("synthetic_model"), icon=":material/science:")
    if not len(study.beats):
        st.warning(t("no_beats"))
        return
    left, right = st.columns([5, 2], vertical_alignment="center", gap="medium")
    with right:
        threshold = _ask_threshold(t)
    numbers = left.container()
    count_unusable = _ask_about_unusable(study, t)
    correcting = find_corrections(study, t)
    reading = read_now(study, threshold, count_unusable, correcting.edits)
    st.session_state["page_revision"] = correcting.edits.revision if correcting.edits else 0
    if not len(reading.beats):
        st.warning(t("no_beats_left"))
    with numbers:
        _show_numbers(reading, t)
    _show_overview(reading, t)
    show_viewer(correcting, threshold, count_unusable, model, t)
    left, right = st.columns(2, gap="large")
    with left:
        _show_burden(reading.called, t)
    with right:
        _show_runs(reading, t)
    _show_downloads(study, t)
    show_handing_on(correcting, t)
    _show_provenance(study, model, t)


def _ask_threshold(t: Translator) -> float:
    percent = st.slider(
        t("threshold"), 0, 95, 50, 5, format="%d %%", key="threshold", help=t("threshold_help")
    )
    return percent / 100


def _ask_about_unusable(study: Study, t: Translator) -> bool:
    """Show how much of the signal is unusable; return whether to count its beats."""
    stretches, n = study.analysis.unusable_s, int((~study.beats["usable"]).sum())
    if not n:
        return False
    seconds = sum(stop - first for first, stop in stretches)
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        st.markdown(t("unusable_note", time=format_clock(seconds), n=n), width="content")
        return bool(st.toggle(t("count_unusable"), key="count_unusable"))


def _show_numbers(reading: Reading, t: Translator) -> None:
    called = reading.called
    rate = findings.heart_rate_bpm(reading.beats["rr_s"])
    burden = findings.measure_burden(called)
    share = dict(zip(burden["call"], burden["share"].to_numpy(np.float64), strict=True))
    facts = [
        (t("beats"), t.number(len(called))),
        (t("heart_rate"), f"{t.number(rate)} {t('per_minute')}"),
        (t("burden_of", name="S"), t.percent(share["S"])),
        (t("burden_of", name="V"), t.percent(share["V"])),
        (t("unsure"), t.percent(share[UNSURE])),
    ]
    with st.container(horizontal=True, gap="large"):
        for label, value in facts:
            st.metric(label, value, width="content")


def _show_overview(reading: Reading, t: Translator) -> None:
    """Show the whole recording; it stays as it is while the viewer moves."""
    st.plotly_chart(
        draw_overview(
            reading.beats,
            reading.called,
            reading.study.contents.duration_s,
            choose_theme(st.context.theme.type),
            t,
            reading.study.analysis.unusable_s,
        ),
        key="overview",
        on_select=Viewer(reading).go_to_overview,
        selection_mode=("points", "box"),
        config=_PLOT,
        theme=None,
        alt=t("overview_alt"),
    )


def _show_burden(called: NDArray[np.object_], t: Translator) -> None:
    st.markdown("##### " + t("burden"))
    table = findings.measure_burden(called)
    st.table(
        pd.DataFrame(
            {
                t("class"): [
                    f"{GLYPHS[name]} {name} – {t('class_' + name)}" for name in table["call"]
                ],
                t("beats"): [t.number(n) for n in table["beats"]],
                t("share"): [t.percent(share, 2) for share in table["share"]],
            }
        ).set_index(t("class"))
    )


def _show_runs(reading: Reading, t: Translator) -> None:
    st.markdown("##### " + t("runs"))
    runs = findings.find_ectopic_runs(reading.beats, reading.called)
    if runs.empty:
        st.session_state.pop("run_shown", None)
        st.write(t("no_runs"))
        return
    shown = runs.head(_RUNS_SHOWN)
    event = st.dataframe(
        pd.DataFrame(
            {
                t("start"): [format_clock(each) for each in shown["start_s"]],
                t("class"): shown["aami_class"],
                t("beats"): shown["n_beats"],
                t("rate"): [t.number(each) for each in shown["rate_bpm"]],
            }
        ),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # Another table for other runs: what was chosen in one is no choice in the next.
        key=f"runs_{st.session_state.get('n_studies', 0)}_{reading.key}",
        height=270,
        alt=t("runs"),
    )
    st.caption(t("runs_help"))
    rows = event["selection"]["rows"]
    if not rows:
        st.session_state.pop("run_shown", None)
    elif st.session_state.get("run_shown") != (reading.key, rows[0]):
        st.session_state["run_shown"] = (reading.key, rows[0])
        Viewer(reading).look_at(int(shown["first"][rows[0]]))
        st.rerun()


def _show_downloads(study: Study, t: Translator) -> None:
    st.markdown("##### " + t("downloads"))
    kinds = {
        "annotations": ("application/octet-stream", "monitor_heart"),
        "csv": ("text/csv", "table"),
        "json": ("application/json", "data_object"),
        "html": ("text/html", "description"),
    }
    with st.container(horizontal=True):
        for kind, (mime, icon) in kinds.items():
            output = f"html_{t.language}" if kind == "html" else kind
            if output not in study.outputs:
                continue
            name, content = study.outputs[output]
            st.download_button(
                t("download_" + kind),
                content,
                file_name=name,
                mime=mime,
                icon=f":material/{icon}:",
                key=f"download_{kind}",
                on_click="ignore",
            )
    st.caption(t("downloads_help"))


def _show_provenance(study: Study, model: BeatModel, t: Translator) -> None:
    from cnns_spectrograms import __version__

    st.divider()
    st.caption(
        t(
            "provenance",
            model=escape_markdown(model.name),
            fingerprint=escape_markdown(model.fingerprint[:12]) or "–",
            sha256=model.sha256[:12],
            version=__version__,
            peaks=t("peaks_reference" if study.at_reference else "peaks_detected"),
        )
        + "  \n"
        + t("disclaimer")
    )
