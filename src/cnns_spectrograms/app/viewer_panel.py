"""The clinical report's viewer: the strip, its controls, the chosen beat, and its review."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

from cnns_spectrograms.app.buttons import show_button
from cnns_spectrograms.app.clinical_figures import (
    OVERVIEW_LEFT_PX,
    OVERVIEW_RIGHT_PX,
    draw_beat,
    draw_group_beats,
    draw_groups,
    draw_probabilities,
)
from cnns_spectrograms.app.correcting import Correcting
from cnns_spectrograms.app.live_plot import show_figure
from cnns_spectrograms.app.strip_figure import draw_strip
from cnns_spectrograms.app.study import Lane, Study, show_beat
from cnns_spectrograms.app.viewer import Reading, View, Viewer
from cnns_spectrograms.corrections.shapes import ShapeGroups
from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.presentation import CALLS, GLYPHS, UNSURE, Translator, format_clock

_SPEEDS = (50.0, 25.0, 12.5)  # mm/s
_SPANS_S = (60.0, 600.0)

_SHOWN_LANES = 2  # leads that are shown below the analysed one, unless others are chosen


def _show_position(view: View, duration_s: float, t: Translator) -> None:
    """Show, below the time axis of the overview, which part of it the strip is."""
    left = 100 * view.start_s / duration_s
    width = min(100 * view.span_s / duration_s, 100 - left)
    st.html(
        f'<div style="margin:-8px {OVERVIEW_RIGHT_PX}px 0 {OVERVIEW_LEFT_PX}px;height:6px;'
        f'border-radius:3px;background:{t.theme.faint}"><div class="position" style="height:6px;'
        f"border-radius:3px;background:{t.theme.classes['N']};margin-left:{left:.3f}%;"
        f'width:{width:.3f}%;min-width:4px"></div></div>'
    )


@st.fragment
def show_viewer(correcting: Correcting, t: Translator) -> None:
    """Show the recording and the chosen beat; moving about and corrections run this part alone."""
    study, reading = correcting.study, correcting.read()
    viewer = Viewer(reading)
    _show_position(viewer.view, study.leads.duration_s, t)
    _show_legend(reading, t)
    _show_controls(correcting, viewer, t)
    _show_review(correcting, t)
    settled = show_figure(
        draw_strip(reading, viewer.view, t, viewer.selection, _choose_lanes(study)),
        "strip",
        t("strip_alt"),
        width_px=viewer.view.width_px,
        on_moved=viewer.follow,
        editor=correcting.describe_editor(reading, viewer, t),
        on_edits=correcting.take_edits,
    )
    if "correction_refused" in st.session_state:
        st.toast(t(st.session_state.pop("correction_refused")))
    if settled and correcting.is_page_behind:
        st.rerun()
    view = viewer.view
    start, stop = format_clock(max(0.0, view.start_s), 1), format_clock(view.stop_s, 1)
    speed = t.number(view.speed_mm_per_s, 0 if view.speed_mm_per_s >= 10 else 2)
    scale = t("strip_scale", start=start, stop=stop, speed=speed)
    st.caption(scale if study.reference is None else f"{scale} {t('reference_line')}")
    _show_beat_panel(correcting, viewer, t)
    _show_groups(correcting, t)


def _show_legend(reading: Reading, t: Translator) -> None:
    entries = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><span style="color:{t.theme.classes[name]}">'
        f"{GLYPHS[name]} <b>{name}</b></span> {t('class_' + name)}</span>"
        for name in CALLS
        if name in reading.present
    )
    st.html(f'<div role="note" style="font-size:0.9rem">{entries}</div>')


def _show_controls(correcting: Correcting, viewer: Viewer, t: Translator) -> None:
    state = st.session_state
    # Kept under another name: a widget's own value goes when it is not on the page.
    if state.get("scale_input") != state["scale"]:
        state["scale_input"] = state["scale"]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _show_step("previous_abnormal", correcting, t)
        _show_step("next_abnormal", correcting, t)
        if correcting.study.reference is not None:
            _show_step("next_disagreement", correcting, t)
        show_button("back", t, viewer.pan, -0.75)
        show_button("forward", t, viewer.pan, 0.75)
        show_button("zoom_in", t, viewer.zoom, 0.5)
        show_button("zoom_out", t, viewer.zoom, 2.0)
        st.segmented_control(
            t("scale"),
            [*_SPEEDS, *(str(span) for span in _SPANS_S), "all"],
            format_func=lambda each: _name_scale(each, t),
            key="scale_input",
            on_change=lambda: viewer.set_scale(state["scale_input"]),
            label_visibility="collapsed",
        )
    if state.pop("at_end", False):
        st.toast(t("no_further"))


def _show_step(name: str, correcting: Correcting, t: Translator, disabled: bool = False) -> None:
    show_button(name, t, correcting.step, name, disabled=disabled)


def _name_scale(scale: float | str, t: Translator) -> str:
    if scale == "all":
        return t("scale_all")
    if isinstance(scale, str):
        return t("scale_minutes", n=float(scale) / 60)
    return t("scale_speed", speed=scale)


def _show_beat_panel(correcting: Correcting, viewer: Viewer, t: Translator) -> None:
    if viewer.selected is None:
        st.info(t("choose_beat"))
        return
    beat, n_chosen = correcting.read().beats.iloc[viewer.selected], len(viewer.selection)
    title = t("beat_title", n=viewer.selected + 1, time=format_clock(float(beat["time_s"]), 2))
    chosen = f" · {t('chosen_beats', n=n_chosen)}" if n_chosen > 1 else ""
    st.markdown(f"##### {title}{chosen}")
    left, right = st.columns([3, 2], gap="large")
    with right:
        _show_call(correcting.read(), viewer, beat, t)
        with st.container(horizontal=True):
            for name in ("previous_beat", "next_beat", "extend_back", "extend_forward"):
                _show_step(name, correcting, t)
    with left:
        _show_evidence(correcting.study, beat, t)


def _show_call(reading: Reading, viewer: Viewer, beat: pd.Series, t: Translator) -> None:
    """Show what the chosen beat is called, its probabilities and its RR interval."""
    call = str(reading.called[viewer.selected])
    lines = [f":gray-badge[{GLYPHS[call]} {call}] **{t('class_' + call)}**"]
    if call == UNSURE:
        lines.append(t("unsure_beat" if reading.counted[viewer.selected] else "unusable_beat"))
    if beat["origin"] == "corrected":
        found = str(beat["found_class"])
        confirmed = found == beat["aami_class"]
        lines.append(t("confirmed_beat") if confirmed else t("corrected_beat", name=found))
    st.markdown("  \n".join(lines))
    if beat["origin"] == "added":
        st.info(t("added_beat"))
    else:
        probabilities = beat[PROBABILITIES].to_numpy(np.float64)
        show_figure(
            draw_probabilities(probabilities, reading.threshold, t),
            "probabilities",
            t("probabilities_alt"),
        )
    rr = float(beat["rr_s"])
    if np.isfinite(rr):
        st.caption(t("beat_rr", rr=t.number(1000 * rr)))
    else:
        st.caption(t("beat_after_gap") if viewer.selected else t("first_beat"))


def _show_evidence(study: Study, beat: pd.Series, t: Translator) -> None:
    """Show what the model saw of the chosen beat, and where it looked."""
    from cnns_spectrograms.app.explanation import explain

    model, number = study.analysis.model, int(beat["beat_id"])
    is_added = beat["origin"] == "added"
    at = round(beat["sample"] * model.fs / study.leads.fs) if is_added else None
    seen = show_beat(study, number, at)
    cam, n_views = None, len(model.view_lengths)
    has_map = model.description["graph"]["stage_map"] is not None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = not is_added and st.toggle(
            t("gradcam"),
            key="gradcam",
            disabled=not has_map,
            help=t("gradcam_help" if has_map else "gradcam_absent"),
        )
        if wanted and has_map:
            target = st.selectbox(
                t("gradcam_class"),
                AAMI_CLASSES,
                index=AAMI_CLASSES.index(str(beat["aami_class"])),
                format_func=lambda name: f"{name} {t('class_' + name)}",
                key=f"target_{number}_{t.language}",
                width=260,
            )
            cam = explain(model, seen.views, AAMI_CLASSES.index(target), seen.rr_s)
    alt = t("beat_alt" if cam is None or n_views == 1 else "beat_alt_views")
    show_figure(draw_beat(seen, model, t, cam), "beat", alt)
    if cam is not None and cam.any():
        also = "" if n_views == 1 else " " + t("gradcam_views", n=n_views)
        st.caption(t("gradcam_caption") + also)
    elif cam is not None:
        st.caption(t("gradcam_empty"))


def _show_review(correcting: Correcting, t: Translator) -> None:
    """Show who corrects, and the way through the beats worth a look."""
    state = st.session_state
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
            on_change=lambda: state.update(who=state["who_input"].strip()),
            help=t("who_help"),
        )
        work, group = correcting.list_work(), correcting.group
        _show_step("previous_look", correcting, t, disabled=not len(work))
        _show_step("next_look", correcting, t, disabled=not len(work))
        if group is None:
            n, of = len(correcting.looked_at), len(correcting.study.queue)
            st.markdown(t("looked_at", n=n, of=of), width="content")
        else:
            at = np.flatnonzero(work == state["selected"]) + 1
            n = int(at[0]) if len(at) else 0
            st.markdown(t("of_group", n=n, of=len(work), group=group + 1), width="content")
            st.button(
                t("to_queue"),
                key="to_queue",
                icon=":material/checklist:",
                on_click=lambda: state.pop("work"),
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
            default=st.session_state.get("lanes", list(range(len(study.lanes)))[:_SHOWN_LANES]),
            key=key,
            # Kept where the choice is not on the page, too.
            on_change=lambda: st.session_state.update(lanes=st.session_state[key]),
        )


def _choose_lanes(study: Study) -> list[Lane]:
    """Return the leads that are shown below the analysed one."""
    chosen = st.session_state.get("lanes", range(_SHOWN_LANES))
    return [lane for place, lane in enumerate(study.lanes) if place in chosen]


def _show_groups(correcting: Correcting, t: Translator) -> None:
    """Show the groups of similar beats, and what can be done with one."""
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
        draw_groups(groups, counts, chosen, st.session_state["width_px"], t),
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
        figure = draw_group_beats(reading, chosen, t)
        show_figure(figure, "group_beats", t("group_beats_alt"))


def _count_calls(groups: ShapeGroups, reading: Reading) -> list[dict[str, int]]:
    """Return how many beats of each call stand in each group, the most frequent first."""
    found = reading.ids < len(groups.of_beat)
    of_beat, called = groups.of_beat[reading.ids[found]], reading.called[found]
    counts = [Counter(called[of_beat == group].tolist()) for group in range(groups.n_groups)]
    return [dict(sorted(each.items(), key=lambda item: (-item[1], item[0]))) for each in counts]
