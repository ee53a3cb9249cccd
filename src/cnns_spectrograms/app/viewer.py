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
from cnns_spectrograms.presentation import CALLS, UNSURE

SHORTEST_S = 1.0
"""Least that the strip shows, s."""


@dataclass(frozen=True)
class Reading:
    """A study with its beats called at a threshold, and what every step through it needs.

    Attributes:
        study: the analysed recording.
        threshold: least probability of a call.
        key: of the choices by which the beats are called.
        called: one of `CALLS` per beat, (n_beats,).
        abnormal: positions of the beats that are called, and not normal.
        present: the calls that there are.
        range_mv: amplitudes that the strip shows.
        reference: the study's, with samples at the rate of its signal.
    """

    study: Study
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
            self.study.beats, self.called, self.study.reference, self.study.contents.fs
        )


def read(study: Study, threshold: float, count_unusable: bool = False) -> Reading:
    """Call the beats of a study at a threshold; those in unusable signal only if they count."""
    called = findings.call_beats(study.beats, threshold)
    if not count_unusable:
        called[~study.beats["usable"].to_numpy(np.bool_)] = UNSURE
    reference = study.reference
    if reference is not None:
        reference = reference.assign(sample=reference["sample"] * (study.fs / study.contents.fs))
    return Reading(
        study=study,
        threshold=threshold,
        key=f"{threshold}_{count_unusable}",
        called=called,
        abnormal=np.flatnonzero(~np.isin(called, ["N", UNSURE])),
        present=tuple(name for name in CALLS if (called == name).any()),
        range_mv=choose_range_mv(study.signal),
        reference=reference,
    )


class Viewer:
    """Where the viewer stands; lives in the session, moved by buttons, keys and clicks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._duration_s = reading.study.contents.duration_s
        self._times_s = reading.study.beats["time_s"].to_numpy(np.float64)
        state = st.session_state
        state.setdefault("width_px", 1200)
        state.setdefault("scale", 25.0)
        if "cursor" not in state:
            state["cursor"] = (0.0, self._span_of(25.0))
            state["selected"], state["place_s"] = None, 0.0
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
        chosen: int | None = st.session_state["selected"]
        return chosen

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

    def step_abnormal(self, forwards: bool) -> None:
        """Choose the next or previous beat that is not normal."""
        abnormal = self._reading.abnormal
        at = findings.step(self._times_s[abnormal], self._now_s(), forwards)
        if at is None:
            st.session_state["at_end"] = True
        else:
            self.look_at(int(abnormal[at]))

    def step_beat(self, forwards: bool) -> None:
        """Choose the next or previous beat of the chosen one, wherever the strip is."""
        if self.selected is None:
            return
        beat = self.selected + (1 if forwards else -1)
        if 0 <= beat < len(self._times_s):
            self.look_at(beat)

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

    def choose(self, beat: int) -> None:
        """Choose the beat whose symbol was clicked, where it stands."""
        st.session_state["selected"] = beat
        st.session_state["place_s"] = float(self._times_s[beat])

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
