"""Where the clinical report's viewer stands in a recording, and how it moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from cnns_spectrograms.app import findings
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.corrections.table import correct_beats, find_counted
from cnns_spectrograms.presentation import UNSURE

PX_PER_MM = 96 / 25.4
"""A millimetre as CSS defines it: 96 px to the inch."""

SHORTEST_S = 1.0
"""Least that the strip shows, s."""


class View(NamedTuple):
    """What a strip shows: from where, how much, and on how many pixels."""

    start_s: float
    span_s: float
    width_px: int

    @property
    def stop_s(self) -> float:
        """End of what is shown, s."""
        return self.start_s + self.span_s

    @property
    def speed_mm_per_s(self) -> float:
        """Paper speed at which the strip appears, mm/s."""
        return self.width_px / PX_PER_MM / self.span_s


def span_of_speed(speed_mm_per_s: float, width_px: int) -> float:
    """Return how many seconds a strip of this width holds at a paper speed."""
    return width_px / PX_PER_MM / speed_mm_per_s


@dataclass(frozen=True, eq=False)
class Reading:
    """A study with its beats called at a threshold, and what every step through it needs.

    Attributes:
        study: the analysed recording.
        beats: of it as they stand, see `corrections.table.correct_beats`.
        ids: int64 (n_beats,), the id of each in the corrections.
        threshold: least probability of a call.
        key: of the choices and corrections by which the beats are called.
        called: one of `CALLS` per beat, (n_beats,).
        counted: bool (n_beats,), whether it is in counts, burden and heart rate.
        abnormal: positions of the beats that are called, and not normal.
        present: the calls that there are.
    """

    study: Study
    beats: pd.DataFrame
    ids: NDArray[np.int64]
    threshold: float
    key: str
    called: NDArray[np.object_]
    counted: NDArray[np.bool_]
    abnormal: NDArray[np.int64]
    present: frozenset[str]


def read(study: Study, session: Session, threshold: float, count_unusable: bool = False) -> Reading:
    """Call the beats of a study, as they stand after corrections, at a threshold.

    Those in unusable signal are called only if they count. What a person has called has that
    class, whatever its probability and its signal. The window's last reading is returned again if
    nothing has changed since.
    """
    key = f"{threshold}_{count_unusable}_{len(session.events)}"
    last: Reading | None = st.session_state.get("reading")
    if last is not None and last.study is study and last.key == key:
        return last
    beats = correct_beats(study.analysis, session)
    by_person = beats["origin"].to_numpy(object) != "model"
    counted = find_counted(beats, count_unusable)
    called = findings.call_beats(beats, threshold)
    called[~counted] = UNSURE
    called[by_person] = beats["aami_class"].to_numpy(object)[by_person]
    reading = st.session_state["reading"] = Reading(
        study=study,
        beats=beats,
        ids=beats["beat_id"].to_numpy(np.int64),
        threshold=threshold,
        key=key,
        called=called,
        counted=counted,
        abnormal=np.flatnonzero(~np.isin(called, ["N", UNSURE])),
        present=frozenset(called),
    )
    return reading


class Viewer:
    """Where the viewer stands; lives in the session, moved by buttons, keys and clicks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._duration_s = reading.study.leads.duration_s
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

    def _centre(self, time_s: float, span_s: float | None = None) -> None:
        span = self.view.span_s if span_s is None else span_s
        self._place(time_s - span / 2, span)

    def _now_s(self) -> float:
        """Return where steps go from, and what stays in view.

        That is the place last gone to, a beat or a disagreement, if it is on screen, else the
        middle: whoever has dragged the strip away goes on from there.
        """
        view, place_s = self.view, float(st.session_state["place_s"])
        on_screen = view.start_s <= place_s <= view.stop_s
        return place_s if on_screen else view.start_s + view.span_s / 2

    def look_at(self, beat: int, extend: bool = False) -> None:
        """Choose a beat and bring it into the middle."""
        self.choose(beat, extend)
        self._centre(float(self._times_s[beat]))

    def show(self, beat: int) -> None:
        """Choose a beat, and bring it into view if it is not."""
        self.choose(beat)
        view, time_s = self.view, float(self._times_s[beat])
        if not view.start_s <= time_s <= view.stop_s:
            self._centre(time_s)

    def _step(self, times_s: NDArray[np.float64], forwards: bool) -> int | None:
        """Return the position of the next or previous of these times; note if there is none.

        Times ascend. One within 1 ms of where steps go from is passed over.
        """
        now_s = self._now_s()
        if forwards:
            at = int(np.searchsorted(times_s, now_s + 1e-3, side="right"))
        else:
            at = int(np.searchsorted(times_s, now_s - 1e-3)) - 1
        st.session_state["at_end"] = not 0 <= at < len(times_s)
        return at if 0 <= at < len(times_s) else None

    def step_abnormal(self, forwards: bool) -> None:
        """Choose the next or previous beat that is not normal."""
        abnormal = self._reading.abnormal
        at = self._step(self._times_s[abnormal], forwards)
        if at is not None:
            self.look_at(int(abnormal[at]))

    def step_beat(self, forwards: bool, extend: bool = False) -> None:
        """Choose the next or previous beat of the chosen one, too or instead of it."""
        if self.selected is None:
            return
        beat = self.selected + (1 if forwards else -1)
        if 0 <= beat < len(self._times_s):
            self.look_at(beat, extend)

    def step_disagreement(self) -> None:
        """Go to the next place where the reference disagrees, and choose the beat there.

        Of a missed beat that is the nearest that stands, if any does; the next step still goes from
        the missed one.
        """
        reading, reference = self._reading, self._reading.study.reference
        assert reference is not None
        times_s = findings.find_disagreements(
            reading.beats, reading.called, reference, reading.study.leads.fs
        )
        at = self._step(times_s, True)
        if at is not None:
            if len(self._times_s):
                self.choose(int(np.argmin(np.abs(self._times_s - times_s[at]))))
            st.session_state["place_s"] = float(times_s[at])
            self._centre(float(times_s[at]))

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

    def set_scale(self, scale: float | str | None) -> None:
        """Take the scale that was picked; None if it was let go."""
        st.session_state["scale"] = scale
        if scale is not None:
            self._centre(self._now_s(), self._span_of(scale))

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

    def choose_clicked(self, clicked: Mapping[str, Any]) -> None:
        """Choose the `beat` with an id, whose symbol was clicked; a negative one only ends a row.

        With `extend` all beats up to it are chosen.
        """
        at = self.find(clicked["beat"])
        if at is not None:
            self.choose(at, bool(clicked.get("extend")))
        elif clicked["beat"] < 0:
            st.session_state["anchor"] = None

    def follow(self, moved: dict[str, float]) -> None:
        """Take over where the strip was dragged to, and its width."""
        width = round(moved.get("width") or st.session_state["width_px"])
        if abs(width - st.session_state["width_px"]) > 8:
            centre = self._now_s()
            st.session_state["width_px"] = width
            scale = st.session_state["scale"]
            self._centre(centre, None if scale is None else self._span_of(scale))
        if "start" in moved:
            span = self._limit(moved["stop"] - moved["start"])
            if abs(span - self.view.span_s) > 1e-3 * span:  # not dragged, but zoomed
                st.session_state["scale"] = None
            self._centre((moved["start"] + moved["stop"]) / 2, span)
