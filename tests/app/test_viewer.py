"""The viewer: where its steps go from, and how much it shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.readings import FS, make_study
from cnns_spectrograms.app import viewer
from cnns_spectrograms.app.viewer import Viewer
from cnns_spectrograms.ecg.aami import PROBABILITIES


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a session keeps."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(viewer, "st", SimpleNamespace(session_state=kept))
    return kept


def _view(
    duration_s: float,
    times_s: list[float],
    classes: str,
    reference: list[tuple[float, str]] | None = None,
    unusable_s: list[float] | None = None,
) -> Viewer:
    """Return a viewer of a recording without signal, with beats of these classes."""
    n = round(duration_s * FS)
    unusable_s = unusable_s or []
    beats = pd.DataFrame(
        {
            "sample": np.rint(np.array(times_s) * FS).astype(int),
            "time_s": times_s,
            "rr_s": 0.8,
            "aami_class": list(classes),
            "usable": [each not in unusable_s for each in times_s],
            **{name: [float(name[-1] == each) for each in classes] for name in PROBABILITIES},
        }
    )
    truth = None
    if reference is not None:
        samples = [round(time * FS) for time, _ in reference]
        truth = pd.DataFrame({"sample": samples, "aami_class": [name for _, name in reference]})
    study = make_study(beats, np.zeros(n, np.float32), reference=truth)
    return Viewer(viewer.read(study, study.correct(None), 0.5))


def _long() -> Viewer:
    """Half an hour, every 20th beat of it a V."""
    times = np.arange(1, 1799, 0.8)
    classes = "".join("V" if i % 20 == 7 else "N" for i in range(len(times)))
    return _view(1800, times.tolist(), classes)


def test_each_disagreement_is_gone_to_once_missed_beats_too(state: dict[str, Any]) -> None:
    # At 12.1 s a V was missed; the nearest that was found, at 11.9 s, is an extra one before it.
    times = [1.0, 11.0, 11.9, 14.0, 30.0, 40.0]
    reference = [(1.0, "N"), (11.0, "S"), (12.1, "V"), (14.0, "N"), (25.0, "V"), (30.0, "V")]
    moving = _view(60, times, "NNNNNN", reference)
    gone_to = []
    while not state.get("at_end"):
        moving.step_disagreement()
        gone_to.append((state["place_s"], moving.selected))
        view = moving.view
        assert view.start_s <= state["place_s"] <= view.stop_s
        assert len(gone_to) < 20
    assert [round(place_s, 2) for place_s, _ in gone_to[:-1]] == [
        11.0,
        11.9,
        12.1,
        25.0,
        30.0,
        40.0,
    ]
    assert [selected for _, selected in gone_to[:-1]] == [1, 2, 2, 4, 4, 5]


def test_after_a_missed_beat_the_neighbours_of_the_chosen_beat_are_next(
    state: dict[str, Any],
) -> None:
    moving = _view(60, [1.0, 20.4, 30.0], "NNN", [(1.0, "N"), (20.0, "V"), (30.0, "N")])
    moving.step_disagreement()
    assert (round(state["place_s"]), moving.selected) == (20, 1)
    moving.step_beat(True)
    assert moving.selected == 2
    moving.step_beat(True)
    assert moving.selected == 2  # the last
    moving.step_beat(False)
    assert moving.selected == 1


def test_disagreements_are_gone_to_where_every_beat_was_deleted(state: dict[str, Any]) -> None:
    study = _view(60, [1.0, 20.0], "NN", [(1.0, "N"), (20.0, "N")])._reading.study
    session = study.correct(None)
    session.do("ana", "delete", beats=[0, 1])
    moving = Viewer(viewer.read(study, session, 0.5))
    moving.step_disagreement()
    moving.step_disagreement()
    assert (moving.selected, state["place_s"], state["at_end"]) == (None, 20.0, False)
    assert moving.view.start_s <= 20.0 <= moving.view.stop_s


@pytest.mark.parametrize("how", ["overview", "drag", "pan"])
@pytest.mark.parametrize("forwards", [True, False])
def test_steps_go_from_where_the_strip_was_moved_to(
    state: dict[str, Any], how: str, forwards: bool
) -> None:
    moving = _long()
    assert moving.selected == 7
    if how == "overview":
        state["overview"] = {"selection": {"box": [], "points": [{"x": 1200.0}]}}
        moving.go_to_overview()
    elif how == "drag":
        moving.follow({"start": 1200.0, "stop": 1200.0 + moving.view.span_s, "width": 1200})
    else:
        moving.pan(90)
    assert moving.selected == 7  # which stays chosen
    middle = moving.view.start_s + moving.view.span_s / 2
    moving.step_abnormal(forwards)
    assert 0 < (state["place_s"] - middle) * (1 if forwards else -1) <= 16
    assert moving.selected is not None
    assert moving.selected % 20 == 7


def test_steps_stop_at_the_ends(state: dict[str, Any]) -> None:
    moving = _view(60, [1.0, 2.0, 4.0], "VVV")
    steps = []
    for forwards in (True, True, True, False, False, False):
        moving.step_abnormal(forwards)
        steps.append((moving.selected, state["at_end"]))
    assert steps == [(1, False), (2, False), (2, True), (1, False), (0, False), (0, True)]
    none = _view(60, [1.0], "N")
    none.step_abnormal(True)
    assert state["at_end"]


def test_a_beat_that_is_on_screen_is_where_steps_go_from(state: dict[str, Any]) -> None:
    moving = _long()
    moving.follow({"start": 5.0, "stop": 5.0 + moving.view.span_s, "width": 1200})
    moving.step_abnormal(True)
    assert moving.selected == 27
    moving.choose(30)
    moving.step_abnormal(False)
    assert moving.selected == 27


def _speed(moving: Viewer) -> float:
    return round(moving.view.speed_mm_per_s, 3)


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("classes", ["NNNNNVNNNNNN", "NNNNNNNNNNNN"])
def test_paper_holds_its_speed_where_a_recording_is_shorter_than_the_screen(classes: str) -> None:
    moving = _view(10, np.arange(0.5, 10, 0.8).tolist(), classes)
    assert _speed(moving) == 25.0
    for scale in (12.5, 25.0, 50.0, 12.5):
        moving.set_scale(scale)
        assert _speed(moving) == scale
        assert moving.view.start_s >= 0
        assert scale == 50.0 or moving.view.start_s == 0
    moving.follow({"width": 1800})
    assert (_speed(moving), moving.view.start_s) == (12.5, 0)
    moving.pan(0.75)
    assert (_speed(moving), moving.view.start_s) == (12.5, 0)
    span = moving.view.span_s
    moving.zoom(2.0)
    assert moving.view.span_s == span  # there is no more to be seen
    moving.follow({"start": -40.0, "stop": 80.0, "width": 1800})
    assert moving.view.span_s == span
    moving.set_scale("all")
    assert (moving.view.start_s, moving.view.span_s) == (0, 10)


def test_zooming_stops_at_the_recording_and_at_a_second(state: dict[str, Any]) -> None:
    moving = _long()
    for _ in range(12):
        moving.zoom(2.0)
    assert (moving.view.start_s, moving.view.span_s) == (0, 1800)
    moving.follow({"start": 700.0, "stop": 700.5, "width": 1200})
    assert (moving.view.start_s, moving.view.span_s) == (699.75, 1.0)  # about the same middle
    moving.follow({"start": -5000.0, "stop": 5000.0, "width": 1200})
    assert (moving.view.start_s, moving.view.span_s) == (0, 1800)


def test_a_scale_is_let_go_once_the_wheel_has_zoomed(state: dict[str, Any]) -> None:
    moving = _long()
    span = moving.view.span_s
    moving.follow({"start": 100.0, "stop": 100.0 + span + 1e-9, "width": 1200})
    assert state["scale"] == 25.0  # dragged
    moving.follow({"start": 100.0, "stop": 100.0 + 4 * span, "width": 1200})
    assert state["scale"] is None
    moving.follow({"width": 1150})
    assert moving.view.span_s == pytest.approx(4 * span)


@pytest.mark.usefixtures("state")
def test_a_beat_in_unusable_signal_is_called_only_if_it_counts() -> None:
    seen = _view(60, [10, 20, 30], "VVS", unusable_s=[20])
    study = seen._reading.study
    assert viewer.read(study, study.correct(None), 0.5).called.tolist() == ["V", "?", "S"]
    assert viewer.read(study, study.correct(None), 0.5).counted.tolist() == [True, False, True]
    assert viewer.read(study, study.correct(None), 0.5).abnormal.tolist() == [0, 2]
    assert viewer.read(study, study.correct(None), 0.5, count_unusable=True).called.tolist() == [
        "V",
        "V",
        "S",
    ]
