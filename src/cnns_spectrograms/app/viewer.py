"""Where the clinical report's viewer stands in a recording, and how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from cnns_spectrograms.app import findings
from cnns_spectrograms.app.strip_figure import View, choose_range_mv, span_of_speed
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.corrections.edits import BeatEdits
from cnns_spectrograms.corrections.table import correct_beats
from cnns_spectrograms.presentation import CALLS, UNSURE

SHORTEST_S = 1.0
"""Least that the strip shows, s."""


@dataclass(frozen=True)
class Reading:
    """A study with its beats called at a threshold, and what every step through it needs.

    Attributes:
        study: the analysed recording.
        beats: of it as they stand, see `corrections.table.correct_beats`.
        ids: int64 (n_beats,), the id of each in the corrections.
        threshold: least probability of a call.
        key: of the choices and corrections by which the beats are called.
        called: one of `CALLS` per beat, (n_beats,).
        abnormal: positions of the beats that are called, and not normal.
        present: the calls that there are.
        range_mv: amplitudes that the strip shows.
        reference: the study's, with samples at the rate of its signal.
    """

    study: Study
    beats: pd.DataFrame
    ids: NDArray[np.int64]
    threshold: float
    key: str
    called: NDArray[np.object_]
    abnormal: NDArray[np.int64]
    present: tuple[str, ...]
    range_mv: tuple[float, float]
    reference: pd.DataFrame | None

    def find_disagreements(self) -> pd.DataFrame:
        """Return where the reference disagrees, see `findings.find_disagreements`."""
        assert self.study.reference is not None
        return findings.find_disagreements(
            self.beats, self.called, self.study.reference, self.study.contents.fs
        )


def read(
    study: Study,
    threshold: float,
    count_unusable: bool = False,
    edits: BeatEdits | None = None,
) -> Reading:
    """Call the beats of a study, as they stand, at a threshold.

    Those in unusable signal are called only if they count. What a person has called has that
    class, whatever its probability and its signal.
    """
    if edits is None:
        edits = BeatEdits(study.beats["sample"], study.beats["aami_class"].to_numpy(object))
    beats = correct_beats(study.beats, edits, study.contents.fs, study.gaps_s)
    called = findings.call_beats(beats, threshold)
    if not count_unusable:
        called[~beats["usable"].to_numpy(np.bool_)] = UNSURE
    by_person = beats["origin"].to_numpy(object) != "model"
    called[by_person] = beats["aami_class"].to_numpy(object)[by_person]
    reference = study.reference
    if reference is not None:
        reference = reference.assign(sample=reference["sample"] * (study.fs / study.contents.fs))
    return Reading(
        study=study,
        beats=beats,
        ids=beats["beat_id"].to_numpy(np.int64),
        threshold=threshold,
        key=_name(threshold, count_unusable, edits),
        called=called,
        abnormal=np.flatnonzero(~np.isin(called, ["N", UNSURE])),
        present=tuple(name for name in CALLS if (called == name).any()),
        range_mv=choose_range_mv(study.signal),
        reference=reference,
    )


def read_now(
    study: Study, threshold: float, count_unusable: bool, edits: BeatEdits | None
) -> Reading:
    """Return what `read` does, or the window's last reading if nothing has changed since."""
    last: Reading | None = st.session_state.get("reading")
    key = _name(threshold, count_unusable, edits)
    if last is None or last.study is not study or last.key != key:
        last = st.session_state["reading"] = read(study, threshold, count_unusable, edits)
    return last


def _name(threshold: float, count_unusable: bool, edits: BeatEdits | None) -> str:
    return f"{threshold}_{count_unusable}_{edits.revision if edits else 0}"


class Viewer:
    """Where the viewer stands; lives in the session, moved by buttons, keys and clicks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._duration_s = reading.study.contents.duration_s
        self._times_s = reading.beats["time_s"].to_numpy(np.float64)
        state = st.session_state
        state.setdefault("width_px", 1200)
        state.setdefault("scale", 25.0)
        if "cursor" not in state:
            state["cursor"] = (0.0, self._span_of(25.0))
            state["selected"], state["anchor"], state["place_s"] = None, None, 0.0
            if len(reading.abnormal):
                self.look_at(int(reading.abnormal[0]))

    @property
    def has_reference(self) -> bool:
        """Whether the recording came with annotations."""
        return self._reading.study.reference is not None

    @property
    def view(self) -> View:
        """What the strip shows."""
        start, span = st.session_state["cursor"]
        return View(start, span, st.session_state["width_px"])

    @property
    def selected(self) -> int | None:
        """Position of the chosen beat."""
        return self.find(st.session_state["selected"])

    def find(self, beat: int | None) -> int | None:
        """Return the position of the beat with this id; None if it does not stand."""
        at = np.flatnonzero(self._reading.ids == beat)
        return int(at[0]) if len(at) else None

    @property
    def selection(self) -> NDArray[np.int64]:
        """Positions of the chosen beats: of one, or of all from the anchor to it."""
        chosen, anchor = self.selected, self.find(st.session_state["anchor"])
        if chosen is None:
            return np.empty(0, np.int64)
        first = chosen if anchor is None else anchor
        return np.arange(min(first, chosen), max(first, chosen) + 1)

    def _span_of(self, scale: float | str) -> float:
        """Return the seconds on screen of a scale: mm/s, or "60.0s", or the whole."""
        if isinstance(scale, str):
            return self._duration_s if scale == "all" else float(scale)
        return span_of_speed(scale, st.session_state["width_px"])

    def _place(self, start_s: float, span_s: float) -> None:
        """Show this, within the recording; of one shorter than the screen, paper after its end."""
        span = max(span_s, SHORTEST_S)
        start = max(0.0, min(start_s, self._duration_s - span))
        st.session_state["cursor"] = (start, span)

    def _limit(self, span_s: float) -> float:
        """Return a span that zooming may reach: the recording, or what is shown if that is more."""
        return min(max(span_s, SHORTEST_S), max(self._duration_s, self.view.span_s))

    def _centre(self, time_s: float) -> None:
        span = self.view.span_s
        self._place(time_s - span / 2, span)

    def _now_s(self) -> float:
        """Return where steps go from, and what stays in view.

        That is the place last gone to, a beat or a disagreement, if it is on screen, else the
        middle: whoever has dragged the strip away goes on from there.
        """
        view, place_s = self.view, float(st.session_state["place_s"])
        on_screen = view.start_s <= place_s <= view.stop_s
        return place_s if on_screen else view.start_s + view.span_s / 2

    def look_at(self, beat: int) -> None:
        """Choose a beat and bring it into view."""
        self.choose(beat)
        self._centre(float(self._times_s[beat]))

    def show(self, beat: int) -> None:
        """Choose a beat, and bring it into view if it is not."""
        self.choose(beat)
        view, time_s = self.view, float(self._times_s[beat])
        if not view.start_s <= time_s <= view.stop_s:
            self._centre(time_s)

    def step_abnormal(self, forwards: bool) -> None:
        """Choose the next or previous beat that is not normal."""
        abnormal = self._reading.abnormal
        at = findings.step(self._times_s[abnormal], self._now_s(), forwards)
        if at is None:
            st.session_state["at_end"] = True
        else:
            self.look_at(int(abnormal[at]))

    def step_beat(self, forwards: bool, extend: bool = False) -> None:
        """Choose the next or previous beat of the chosen one, too or instead of it."""
        if self.selected is None:
            return
        beat = self.selected + (1 if forwards else -1)
        if 0 <= beat < len(self._times_s):
            self.choose(beat, extend)
            self._centre(float(self._times_s[beat]))

    def step_disagreement(self) -> None:
        """Go to the next place where the reference disagrees, and choose the beat there.

        Of a missed beat that is the nearest that was found; the next step still goes from the
        missed one.
        """
        table = self._reading.find_disagreements()
        at = findings.step(table["time_s"].to_numpy(), self._now_s(), True)
        if at is None:
            st.session_state["at_end"] = True
            return
        time_s = float(table["time_s"][at])
        self.choose(int(np.argmin(np.abs(self._times_s - time_s))))
        st.session_state["place_s"] = time_s
        self._centre(time_s)

    def pan(self, screens: float) -> None:
        """Move by a share of the screen."""
        view = self.view
        self._place(view.start_s + screens * view.span_s, view.span_s)

    def zoom(self, factor: float) -> None:
        """Show a factor more or less, about the place last gone to if it is on screen."""
        view = self.view
        centre = self._now_s()
        span = self._limit(view.span_s * factor)
        self._place(centre - (centre - view.start_s) / view.span_s * span, span)
        st.session_state["scale"] = None

    def set_scale(self) -> None:
        """Take the scale that was picked."""
        scale = st.session_state["scale"]
        if scale is None:
            return
        centre, span = self._now_s(), self._span_of(scale)
        self._place(centre - span / 2, span)

    def go_to_overview(self) -> None:
        """Go where the overview was clicked, or show the stretch that was drawn over it."""
        selection = st.session_state["overview"]["selection"]
        boxes, points = selection["box"], selection["points"]
        if boxes:
            first, last = sorted(float(each) for each in boxes[0]["x"])
            self._place(first, last - first)
            st.session_state["scale"] = None
        elif points:
            self._centre(float(points[0]["x"]))

    def choose(self, beat: int, extend: bool = False) -> None:
        """Choose the beat at a position where it stands; with `extend` all up to it."""
        state = st.session_state
        if not extend:
            state["anchor"] = None
        elif state["anchor"] is None:
            state["anchor"] = state["selected"]
        state["selected"] = int(self._reading.ids[beat])
        state["place_s"] = float(self._times_s[beat])

    def choose_clicked(self, beat: int, extend: bool) -> None:
        """Choose the beat with an id, whose symbol was clicked; a negative one only ends a row."""
        at = self.find(beat)
        if at is not None:
            self.choose(at, extend)
        elif beat < 0:
            st.session_state["anchor"] = None

    def follow(self, moved: dict[str, float]) -> None:
        """Take over where the strip was dragged to, and its width."""
        width = round(moved.get("width") or st.session_state["width_px"])
        if abs(width - st.session_state["width_px"]) > 8:
            centre = self._now_s()
            st.session_state["width_px"] = width
            scale = st.session_state["scale"]
            span = self.view.span_s if scale is None else self._span_of(scale)
            self._place(centre - span / 2, span)
        if "start" in moved:
            span = self._limit(moved["stop"] - moved["start"])
            if abs(span - self.view.span_s) > 1e-3 * span:  # not dragged, but zoomed
                st.session_state["scale"] = None
            self._place((moved["start"] + moved["stop"] - span) / 2, span)
