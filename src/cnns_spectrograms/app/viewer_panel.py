"""The clinical report's viewer: the strip, its controls, and the chosen beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from cnns_spectrograms.app import findings
from cnns_spectrograms.app.clinical_figures import (
    OVERVIEW_LEFT_PX,
    OVERVIEW_RIGHT_PX,
    draw_beat,
    draw_probabilities,
)
from cnns_spectrograms.app.correcting import SHORTCUTS, Correcting
from cnns_spectrograms.app.live_plot import show_figure
from cnns_spectrograms.app.review_panel import (
    choose_lanes,
    is_page_behind,
    show_groups,
    show_review,
)
from cnns_spectrograms.app.strip_figure import View, draw_strip
from cnns_spectrograms.app.study import show_beat
from cnns_spectrograms.app.viewer import Reading, Viewer, read_now
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import (
    GLYPHS,
    UNSURE,
    Theme,
    Translator,
    choose_theme,
    format_clock,
)

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

_SPEEDS = (50.0, 25.0, 12.5)  # mm/s
_SPANS_S = (60.0, 600.0)


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
def show_viewer(
    correcting: Correcting,
    threshold: float,
    count_unusable: bool,
    model: BeatModel,
    t: Translator,
) -> None:
    """Show the recording and the chosen beat; moving about and corrections run this part alone."""

    def read() -> Reading:
        return read_now(study, threshold, count_unusable, correcting.edits)

    theme = choose_theme(st.context.theme.type)
    study = correcting.study
    reading = read()
    viewer = Viewer(reading)
    _show_position(viewer.view, study.contents.duration_s, theme)
    _show_legend(reading.present, theme, t)
    _show_controls(viewer, t)
    show_review(correcting, reading, read, t)
    settled = show_figure(
        draw_strip(
            study.signal,
            study.fs,
            reading.beats,
            reading.called,
            viewer.view,
            reading.range_mv,
            theme,
            t,
            reference=reading.reference,
            selected=viewer.selection,
            window_s=model.n_samples / model.fs,
            gaps_s=study.gaps_s,
            unusable_s=study.analysis.unusable_s,
            ids=reading.ids,
            lane=study.source.lead,
            lanes=choose_lanes(study),
        ),
        "strip",
        t("strip_alt"),
        width_px=viewer.view.width_px,
        on_moved=viewer.follow,
        on_chosen=viewer.choose_clicked,
        editor=correcting.describe_editor(reading, viewer, theme, t),
        on_edits=lambda message: correcting.take_edits(message, read),
    )
    if "correction_refused" in st.session_state:
        st.toast(t(st.session_state.pop("correction_refused")))
    if settled and correcting.edits and is_page_behind(correcting.edits):
        st.rerun()
    st.caption(_describe_scale(viewer.view, viewer.has_reference, t))
    _show_beat_panel(reading, model, viewer, theme, t)
    show_groups(correcting, reading, read, theme, t)


def _show_legend(present: Sequence[str], theme: Theme, t: Translator) -> None:
    entries = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><span style="color:{theme.classes[name]}">'
        f"{GLYPHS[name]} <b>{name}</b></span> {t('class_' + name)}</span>"
        for name in present
    )
    st.html(f'<div role="note" style="font-size:0.9rem">{entries}</div>')


def _show_controls(viewer: Viewer, t: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _button(t, "previous_abnormal", "skip_previous", viewer.step_abnormal, False)
        _button(t, "next_abnormal", "skip_next", viewer.step_abnormal, True)
        if viewer.has_reference:
            _button(t, "next_disagreement", "difference", viewer.step_disagreement)
        _button(t, "back", "chevron_left", viewer.pan, -0.75)
        _button(t, "forward", "chevron_right", viewer.pan, 0.75)
        _button(t, "zoom_in", "zoom_in", viewer.zoom, 0.5)
        _button(t, "zoom_out", "zoom_out", viewer.zoom, 2.0)
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


def _describe_scale(view: View, has_reference: bool, t: Translator) -> str:
    scale = t(
        "strip_scale",
        start=format_clock(max(0.0, view.start_s), 1),
        stop=format_clock(view.stop_s, 1),
        speed=t.number(view.speed_mm_per_s, 0 if view.speed_mm_per_s >= 10 else 2),
    )
    return f"{scale} {t('reference_line')}" if has_reference else scale


def _explain_unsure(call: str, usable: bool, t: Translator) -> str:
    if call != UNSURE:
        return ""
    return "  \n" + t("unsure_beat" if usable else "unusable_beat")


def _explain_origin(beat: pd.Series, t: Translator) -> str:
    if beat["origin"] != "corrected":
        return ""
    if beat["found_class"] == beat["aami_class"]:
        return "  \n" + t("confirmed_beat")
    return "  \n" + t("corrected_beat", name=str(beat["found_class"]))


_KEYS = {  # of buttons that the arrow keys press, and how they are written
    "previous_beat": ("left", "←"),
    "next_beat": ("right", "→"),
    "extend_back": ("shift+left", "Shift ←"),
    "extend_forward": ("shift+right", "Shift →"),
} | {name: (key, key.upper()) for key, name in SHORTCUTS.items()}
_LABELLED = ("previous_abnormal", "next_abnormal", "next_disagreement")


def _button(t: Translator, name: str, icon: str, action: Any, *args: bool | float) -> None:
    shortcut, written = _KEYS[name]
    label = t(name + "_label") if name in _LABELLED else ""
    st.button(
        label,
        icon=f":material/{icon}:",
        icon_position="right" if label and args == (True,) else "left",
        key=name,
        on_click=action,
        args=args,
        type="primary" if name == "next_abnormal" else "secondary",
        help=t("shortcut_help", what=t(name), key=written),
        shortcut=shortcut,
    )


def _name_scale(scale: float | str, t: Translator) -> str:
    if scale == "all":
        return t("scale_all")
    if isinstance(scale, str):
        return t("scale_minutes", n=float(scale) / 60)
    return t("scale_speed", speed=scale)


def _show_beat_panel(
    reading: Reading, model: BeatModel, viewer: Viewer, theme: Theme, t: Translator
) -> None:
    if viewer.selected is None:
        st.info(t("choose_beat"))
        return
    beat = reading.beats.iloc[viewer.selected]
    st.markdown(
        "##### "
        + t(
            "beat_title",
            n=viewer.selected + 1,
            time=format_clock(float(beat["time_s"]), 2),
        )
        + _count_chosen(viewer, t)
    )
    left, right = st.columns([3, 2], gap="large")
    with right:
        _show_call(reading, viewer, beat, theme, t)
    with left:
        _show_evidence(reading, model, beat, theme, t)


def _count_chosen(viewer: Viewer, t: Translator) -> str:
    n = len(viewer.selection)
    return f" · {t('chosen_beats', n=n)}" if n > 1 else ""


def _show_call(
    reading: Reading, viewer: Viewer, beat: pd.Series, theme: Theme, t: Translator
) -> None:
    """Show what the chosen beat is called, its probabilities and its RR interval."""
    call = str(reading.called[viewer.selected])
    st.markdown(
        f":gray-badge[{GLYPHS[call]} {call}] **{t('class_' + call)}**"
        + _explain_unsure(call, bool(beat["usable"]), t)
        + _explain_origin(beat, t)
    )
    if beat["origin"] == "added":
        st.info(t("added_beat"))
    else:
        show_figure(
            draw_probabilities(
                beat[list(findings.PROBABILITIES)].to_numpy(np.float64),
                reading.threshold,
                theme,
                t,
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
        _button(t, "previous_beat", "arrow_back", viewer.step_beat, False)
        _button(t, "next_beat", "arrow_forward", viewer.step_beat, True)
        _button(t, "extend_back", "first_page", viewer.step_beat, False, True)
        _button(t, "extend_forward", "last_page", viewer.step_beat, True, True)


def _show_evidence(
    reading: Reading, model: BeatModel, beat: pd.Series, theme: Theme, t: Translator
) -> None:
    """Show what the model saw of the chosen beat, and where it looked."""
    from cnns_spectrograms.app.explanation import explain
    from cnns_spectrograms.imaging.kinds import spectrogram_axes

    study, number = reading.study, int(beat["beat_id"])
    is_added = beat["origin"] == "added"
    at = round(beat["sample"] * study.fs / study.contents.fs) if is_added else None
    seen = show_beat(study, model, number, at)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = not is_added and st.toggle(t("gradcam"), key="gradcam", help=t("gradcam_help"))
        target = AAMI_CLASSES.index(str(beat["aami_class"]))
        if wanted:
            target = st.selectbox(
                t("gradcam_class"),
                range(len(AAMI_CLASSES)),
                index=target,
                format_func=lambda each: f"{AAMI_CLASSES[each]} {t('class_' + AAMI_CLASSES[each])}",
                key=f"target_{number}_{t.language}",
                width=260,
            )
    cam, n_views = None, len(model.view_lengths)
    if wanted:
        cam = explain(model, seen.views, int(target), seen.rr_s)
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
