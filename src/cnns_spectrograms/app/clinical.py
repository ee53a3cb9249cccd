"""The clinical report: choose a recording, see its beats, look into one, take the results along."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from cnns_spectrograms.app import findings, resources, sources
from cnns_spectrograms.app.drawing import (
    OVERVIEW_LEFT_PX,
    OVERVIEW_RIGHT_PX,
    View,
    draw_beat,
    draw_overview,
    draw_probabilities,
    draw_strip,
    format_clock,
)
from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.app.live_plot import show_figure
from cnns_spectrograms.app.palette import Theme, choose_theme
from cnns_spectrograms.app.study import Contents, Study, conduct, describe, show_beat
from cnns_spectrograms.app.texts import Translator, escape_markdown
from cnns_spectrograms.app.viewer import Reading, Viewer, read
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.recordings.errors import RecordError

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel
    from cnns_spectrograms.recordings.recording import Recording

logger = logging.getLogger(__name__)

_SPEEDS = (50.0, 25.0, 12.5)  # mm/s
_SPANS_S = (60.0, 600.0)
_PLOT = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
_GLYPHS = dict(zip(findings.CALLS, "●▲■◆★○", strict=True))
_RUNS_SHOWN = 200


def show(t: Translator) -> None:
    """Show the page."""
    study: Study | None = st.session_state.get("study")
    st.title(t("clinical_title") if study is None else _name_study(study, t), anchor=False)
    st.caption(t("disclaimer"))
    try:
        model = resources.load_model()
    except ValueError as error:
        st.error(t("no_weights"))
        st.code(str(error), language=None, wrap_lines=True)
        return
    with st.expander(t("choose_recording"), expanded=study is None):
        _choose(model, t)
    if study is None:
        st.info(t("nothing_chosen"))
        return
    _show_study(study, model, t)


# --------------------------------------------------------------------------------------
# Choosing a recording
# --------------------------------------------------------------------------------------


def _choose(model: BeatModel, t: Translator) -> None:
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
    with _told_plainly(t):
        recording = _open(sample.path)
        contents = describe(recording, model.preferred_lead)
        lead, at_reference, start = _confirm(contents, f"{group}/{name}", t)
        if start:
            _run(recording, model, lead, at_reference, group == sources.SYNTHETIC, t)


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
        with _told_plainly(t), sources.stored(files) as paths:
            found = [describe(_open(path, fs), model.preferred_lead) for path in paths]
            files_of = [path.name for path in paths]
            st.session_state["described"] = (key, found, files_of)
    if "described" not in st.session_state:
        return
    _, found, files_of = st.session_state["described"]
    which = 0
    if len(found) > 1:
        # A select box finds its choice by the words.
        labels = _tell_apart([each.name for each in found], files_of)
        which = st.selectbox(
            t("record"), range(len(found)), format_func=labels.__getitem__, key="which"
        )
    lead, at_reference, start = _confirm(found[which], f"{key}{which}", t)
    if start:
        with _told_plainly(t), sources.stored(files) as paths:
            _run(_open(paths[which], fs), model, lead, at_reference, False, t)


def _tell_apart(names: list[str], files: list[str]) -> list[str]:
    """Return the names, with its file beside each that is there more than once."""
    return [
        name if names.count(name) == 1 else f"{name} ({file})"
        for name, file in zip(names, files, strict=True)
    ]


def _open(path: Path, fs: float | None = None) -> Recording:
    from cnns_spectrograms.recordings.opening import CSV_SUFFIXES, open_recording

    return open_recording(path, fs if path.suffix.lower() in CSV_SUFFIXES else None)


@contextmanager
def _told_plainly(t: Translator) -> Iterator[None]:
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
            fs=t.number(contents.fs, 0 if contents.fs == round(contents.fs) else 2),
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
            t("at_reference", n=t.number(contents.n_reference)),
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
    synthetic: bool,
    t: Translator,
) -> None:
    """Analyse with a progress bar, keep the study, and start the page anew."""
    shares = {"read": (0.0, 0.1), "detect": (0.1, 0.1), "classify": (0.2, 0.8)}
    bar = st.progress(0.0, t("stage_read"))

    def tell(stage: str, share: float) -> None:
        begin, length = shares[stage]
        bar.progress(min(1.0, begin + length * share), t("stage_" + stage))

    try:
        study = conduct(
            recording, model, lead, at_reference=at_reference, synthetic=synthetic, progress=tell
        )
    finally:
        bar.empty()
    for name in ("cursor", "selected", "scale", "run_shown"):
        st.session_state.pop(name, None)
    st.session_state["study"] = study
    st.session_state["n_studies"] = st.session_state.get("n_studies", 0) + 1
    st.rerun()


# --------------------------------------------------------------------------------------
# The report
# --------------------------------------------------------------------------------------


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
    reading = read(study, threshold)
    with left:
        _show_numbers(study, reading.called, t)
    _show_overview(reading, t)
    _show_viewer(reading, model, t)
    left, right = st.columns(2, gap="large")
    with left:
        _show_burden(reading.called, t)
    with right:
        _show_runs(reading, t)
    _show_downloads(study, t)
    _show_provenance(study, model, t)


def _ask_threshold(t: Translator) -> float:
    percent = st.slider(
        t("threshold"), 0, 95, 50, 5, format="%d %%", key="threshold", help=t("threshold_help")
    )
    return percent / 100


def _show_numbers(study: Study, called: NDArray[np.object_], t: Translator) -> None:
    rate = findings.heart_rate_bpm(study.beats["rr_s"])
    burden = findings.measure_burden(called)
    share = dict(zip(burden["call"], burden["share"].to_numpy(np.float64), strict=True))
    facts = [
        (t("beats"), t.number(len(called))),
        (t("heart_rate"), f"{t.number(rate)} {t('per_minute')}"),
        (t("burden_of", name="S"), t.percent(share["S"])),
        (t("burden_of", name="V"), t.percent(share["V"])),
        (t("unsure"), t.percent(share[findings.UNSURE])),
    ]
    with st.container(horizontal=True, gap="large"):
        for label, value in facts:
            st.metric(label, value, width="content")


def _show_overview(reading: Reading, t: Translator) -> None:
    """Show the whole recording; it stays as it is while the viewer moves."""
    st.plotly_chart(
        draw_overview(
            reading.study.beats,
            reading.called,
            reading.study.contents.duration_s,
            choose_theme(st.context.theme.type),
            t,
        ),
        key="overview",
        on_select=Viewer(reading).go_to_overview,
        selection_mode=("points", "box"),
        config=_PLOT,
        theme=None,
        alt=t("overview_alt"),
    )


def _show_position(view: View, duration_s: float, theme: Theme) -> None:
    """Show, below the time axis of the overview, which part of it the strip is."""
    left = 100 * view.start_s / duration_s
    width = min(100 * view.span_s / duration_s, 100 - left)
    st.html(
        f'<div style="margin:-8px {OVERVIEW_RIGHT_PX}px 0 {OVERVIEW_LEFT_PX}px;height:6px;'
        f'border-radius:3px;background:{theme.faint}"><div class="position" style="height:6px;'
        f"border-radius:3px;background:{theme.classes['N']};margin-left:{left:.3f}%;"
        f'width:{width:.3f}%;min-width:4px"></div></div>'
    )


@st.fragment
def _show_viewer(reading: Reading, model: BeatModel, t: Translator) -> None:
    """Show the recording and the chosen beat; moving about runs this part of the page alone."""
    theme = choose_theme(st.context.theme.type)
    study = reading.study
    viewer = Viewer(reading)
    _show_position(viewer.view, study.contents.duration_s, theme)
    _show_legend(reading.present, theme, t)
    _show_controls(viewer, t)
    show_figure(
        draw_strip(
            study.signal,
            study.fs,
            study.beats,
            reading.called,
            viewer.view,
            reading.range_mv,
            theme,
            t,
            reference=reading.reference,
            selected=viewer.selected,
            window_s=model.n_samples / model.fs,
            gaps_s=study.gaps_s,
        ),
        "strip",
        t("strip_alt"),
        width_px=viewer.view.width_px,
        on_moved=viewer.follow,
        on_chosen=viewer.choose,
    )
    st.caption(_tell_scale(viewer.view, viewer.has_reference, t))
    _show_beat_panel(reading, model, viewer, theme, t)


def _show_legend(present: Sequence[str], theme: Theme, t: Translator) -> None:
    entries = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><span style="color:{theme.classes[name]}">'
        f"{_GLYPHS[name]} <b>{name}</b></span> {t('call_' + name)}</span>"
        for name in present
    )
    st.html(f'<div role="note" style="font-size:0.9rem">{entries}</div>')


def _show_controls(viewer: Viewer, t: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _button(t, "previous_abnormal", "skip_previous", "p", viewer.step_abnormal, False)
        _button(t, "next_abnormal", "skip_next", "n", viewer.step_abnormal, True)
        if viewer.has_reference:
            _button(t, "next_disagreement", "difference", "d", viewer.step_disagreement)
        _button(t, "back", "chevron_left", "j", viewer.pan, -0.75)
        _button(t, "forward", "chevron_right", "l", viewer.pan, 0.75)
        _button(t, "zoom_in", "zoom_in", "i", viewer.zoom, 0.5)
        _button(t, "zoom_out", "zoom_out", "o", viewer.zoom, 2.0)
        st.segmented_control(
            t("scale"),
            [*_SPEEDS, *(str(span) for span in _SPANS_S), "all"],
            format_func=lambda each: _name_scale(each, t),
            key="scale",
            on_change=viewer.set_scale,
            label_visibility="collapsed",
        )
    if st.session_state.pop("at_end", False):
        st.toast(t("no_further"))


def _tell_scale(view: View, has_reference: bool, t: Translator) -> str:
    scale = t(
        "strip_scale",
        start=format_clock(max(0.0, view.start_s), 1),
        stop=format_clock(view.stop_s, 1),
        speed=t.number(view.speed_mm_per_s, 0 if view.speed_mm_per_s >= 10 else 2),
    )
    return f"{scale} {t('reference_line')}" if has_reference else scale


_LABELLED = ("previous_abnormal", "next_abnormal", "next_disagreement")


def _button(
    t: Translator, name: str, icon: str, shortcut: str, action: Any, *args: bool | float
) -> None:
    label = t(name + "_label") if name in _LABELLED else ""
    st.button(
        label,
        icon=f":material/{icon}:",
        icon_position="right" if label and args == (True,) else "left",
        key=name,
        on_click=action,
        args=args,
        type="primary" if name == "next_abnormal" else "secondary",
        help=t("shortcut_help", what=t(name), key=shortcut.upper()),
        shortcut=shortcut,
    )


def _name_scale(scale: float | str, t: Translator) -> str:
    if scale == "all":
        return t("scale_all")
    if isinstance(scale, str):
        return t("scale_minutes", n=t.number(float(scale) / 60))
    return t("scale_speed", speed=t.number(scale, 0 if scale == round(scale) else 1))


# --------------------------------------------------------------------------------------
# One beat
# --------------------------------------------------------------------------------------


def _show_beat_panel(
    reading: Reading, model: BeatModel, viewer: Viewer, theme: Theme, t: Translator
) -> None:
    from cnns_spectrograms.app.explanation import explain
    from cnns_spectrograms.imaging.spectrogram import spectrogram_axes

    if viewer.selected is None:
        st.info(t("choose_beat"))
        return
    study = reading.study
    beat = study.beats.iloc[viewer.selected]
    call = str(reading.called[viewer.selected])
    st.markdown(
        "##### "
        + t(
            "beat_title",
            n=t.number(viewer.selected + 1),
            time=format_clock(float(beat["time_s"]), 2),
        )
    )
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.markdown(
            f":gray-badge[{_GLYPHS[call]} {call}] **{t('call_' + call)}**"
            + ("  \n" + t("unsure_beat") if call == findings.UNSURE else "")
        )
        show_figure(
            draw_probabilities(
                beat[list(findings.PROBABILITIES)].to_numpy(np.float64), reading.threshold, theme, t
            ),
            "probabilities",
            t("probabilities_alt"),
        )
        rr = float(beat["rr_s"])
        if np.isfinite(rr):
            st.caption(t("beat_rr", rr=t.number(1000 * rr)))
        else:
            st.caption(t("beat_after_gap") if viewer.selected else t("first_beat"))
        with st.container(horizontal=True):
            _button(t, "previous_beat", "arrow_back", "b", viewer.step_beat, False)
            _button(t, "next_beat", "arrow_forward", "v", viewer.step_beat, True)
    with left:
        seen = show_beat(study, model, viewer.selected)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            wanted = st.toggle(t("gradcam"), key="gradcam", help=t("gradcam_help"))
            target = AAMI_CLASSES.index(str(beat["aami_class"]))
            if wanted:
                target = st.selectbox(
                    t("gradcam_class"),
                    range(len(AAMI_CLASSES)),
                    index=target,
                    format_func=lambda each: (
                        f"{AAMI_CLASSES[each]} {t('call_' + AAMI_CLASSES[each])}"
                    ),
                    key=f"target_{viewer.selected}_{t.language}",
                    width=260,
                )
        cam, n_views = None, len(model.view_lengths)
        if wanted:
            cam = explain(model.classifier, seen.image, int(target), seen.rr_features)
        image = seen.image if seen.image.ndim == 2 else seen.image[..., 0]
        show_figure(
            draw_beat(
                seen.window,
                model.fs,
                image,
                spectrogram_axes(model.n_samples, model.fs, model.spectrogram),
                theme,
                t,
                cam=cam,
            ),
            "beat",
            t("beat_alt") if n_views == 1 or cam is None else t("beat_alt_views"),
        )
        if cam is not None and cam.any():
            also = "" if n_views == 1 else " " + t("gradcam_views", n=n_views)
            st.caption(t("gradcam_caption") + also)
        elif cam is not None:
            st.caption(t("gradcam_empty"))


# --------------------------------------------------------------------------------------
# Tables, downloads, provenance
# --------------------------------------------------------------------------------------


def _show_burden(called: NDArray[np.object_], t: Translator) -> None:
    st.markdown("##### " + t("burden"))
    table = findings.measure_burden(called)
    st.table(
        pd.DataFrame(
            {
                t("class"): [
                    f"{_GLYPHS[name]} {name} – {t('call_' + name)}" for name in table["call"]
                ],
                t("beats"): [t.number(n) for n in table["beats"]],
                t("share"): [t.percent(share, 2) for share in table["share"]],
            }
        ).set_index(t("class"))
    )


def _show_runs(reading: Reading, t: Translator) -> None:
    st.markdown("##### " + t("runs"))
    runs = findings.find_runs(reading.study.beats, reading.called)
    if runs.empty:
        st.session_state.pop("run_shown", None)
        st.write(t("no_runs"))
        return
    shown = runs.head(_RUNS_SHOWN)
    event = st.dataframe(
        pd.DataFrame(
            {
                t("start"): [format_clock(each) for each in shown["start_s"]],
                t("class"): shown["call"],
                t("beats"): shown["beats"],
                t("rate"): [t.number(each) for each in shown["rate_bpm"]],
            }
        ),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # Another table for other runs: what was chosen in one is no choice in the next.
        key=f"runs_{st.session_state.get('n_studies', 0)}_{reading.threshold}",
        height=270,
        alt=t("runs"),
    )
    st.caption(t("runs_help"))
    rows = event["selection"]["rows"]
    if not rows:
        st.session_state.pop("run_shown", None)
    elif st.session_state.get("run_shown") != (reading.threshold, rows[0]):
        st.session_state["run_shown"] = (reading.threshold, rows[0])
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
