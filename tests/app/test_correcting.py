"""One window at a time corrects a recording, and each correction is of the recording it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.readings import make_study
from cnns_spectrograms.app import correcting, viewer
from cnns_spectrograms.app.correcting import Correcting, Desk
from cnns_spectrograms.app.viewer import Viewer
from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.presentation import EN

Make = Callable[[], Session]
Open = Callable[..., Correcting]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    source = Source("r", "II", 100.0, 1000, "d" * 64)
    return lambda: Session(tmp_path, source, [100, 200], ["N", "V"])


def test_the_first_window_has_it_and_others_look_on(make: Make) -> None:
    desk = Desk(lambda window: True)
    session = desk.take("k", "a", make)
    assert session is desk.take("k", "b", make) is desk.take("k", "a", make)
    assert session.owner == "a"
    assert desk.write(session, "a", lambda: session.do("ana", "relabel", beats=[0], to="V"))
    assert desk.write(session, "b", lambda: session.do("ben", "relabel", beats=[0], to="S")) is None
    assert len(session.done) == 1
    desk.take("k", "b", make, force=True)
    assert desk.write(session, "a", lambda: session.do("ana", "undo")) is None
    assert desk.write(session, "b", lambda: session.do("ben", "undo"))
    desk.leave("b")


def test_what_a_closed_window_had_is_anyones(make: Make) -> None:
    closed: set[str] = set()
    desk = Desk(lambda window: window not in closed)
    desk.take("k", "a", make)
    closed.add("a")
    assert desk.take("k", "b", make).owner == "b"
    desk.leave("b")


def test_who_leaves_lets_other_programs_in(make: Make) -> None:
    desk, other = Desk(lambda window: True), Desk(lambda window: True)
    session = desk.take("k", "a", make)
    desk.write(session, "a", lambda: session.do("ana", "relabel", beats=[0], to="V"))
    with pytest.raises(JournalInUseError):
        other.take("k", "z", make)
    desk.leave("b")  # another window of the same program
    with pytest.raises(JournalInUseError):
        other.take("k", "z", make)
    desk.leave("a")
    assert len(other.take("k", "z", make).done) == 1
    assert desk.write(session, "a", lambda: session.do("ana", "undo")) is None
    other.leave("z")


@pytest.fixture
def open_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open the corrections of four normal beats of a recording, in the one window."""
    desk, state = Desk(lambda window: True), {"who": "ana"}
    for module in (correcting, viewer):
        monkeypatch.setattr(module, "st", SimpleNamespace(session_state=state))
    monkeypatch.setattr(correcting, "open_desk", lambda: desk)
    monkeypatch.setattr(correcting, "find_window", lambda: "w")

    def open_it(name: str, **given: Any) -> Correcting:
        beats = pd.DataFrame({"sample": [100, 400, 700, 1000], "aami_class": "N", "usable": True})
        beats = beats.assign(time_s=beats["sample"] / 360, **dict.fromkeys(PROBABILITIES, 0.2))
        beats["rr_s"] = beats["time_s"].diff()
        source = Source(name, "II", 360.0, 1200, name * 64)
        study = make_study(beats, np.zeros(1200, np.float32), source=source, **given)
        desk.leave("w")
        session = desk.take(study.key, "w", lambda: study.correct(tmp_path))
        return Correcting(study, 0.5, False, session, len(session.events))

    yield open_it
    desk.leave("w")


def test_a_correction_that_comes_after_another_recording_was_opened_is_refused(
    open_study: Open,
) -> None:
    def relabel(n: int, of: dict[str, Any], beat: int) -> dict[str, Any]:
        return {"n": n, "study": of["study"], "do": "relabel", "beats": [beat], "to": "V"}

    def describe(each: Correcting) -> dict[str, Any]:
        reading = each.read()
        return each.describe_editor(reading, Viewer(reading), EN)

    first = open_study("a")
    shown = describe(first)
    first.take_edits({"token": "t", "edits": [relabel(1, shown, 1)]})
    assert first.session.classes.tolist() == ["N", "V", "N", "N"]
    second = open_study("b")
    # From the outbox of the same chart.
    late, own = relabel(2, shown, 2), relabel(3, describe(second), 3)
    second.take_edits({"token": "t", "edits": [late, own]})
    assert second.session.classes.tolist() == ["N", "N", "N", "V"]
    assert correcting.st.session_state["correction_refused"] == "late_refused"
    assert describe(second)["confirmed"] == 3
    assert open_study("a").session.classes.tolist() == ["N", "V", "N", "N"]


def edits(study: str, *each: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"n": n, "study": study, **one} for n, one in enumerate(each, 1)]


V = {"do": "relabel", "beats": None, "to": "V"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([{"do": "choose", "beat": 2, "extend": False}, V], "NNVN"),
        ([{"do": "choose", "beat": 3, "extend": True}, V], "NVVV"),
        ([{"do": "step", "name": "next_look"}, V], "NNNV"),
        ([{"do": "step", "name": "next_beat"}, {"do": "step", "name": "next_beat"}, V], "NNNV"),
        ([{"do": "step", "name": "extend_back"}, V], "VVNN"),
        ([{"do": "step", "name": "next_abnormal"}, V], "NVNN"),  # there is none
        ([{"do": "delete", "beats": [1]}, V], "N-VN"),
        ([{"do": "delete", "beats": [1]}, {"do": "undo"}, V], "NVNN"),
        ([{"do": "add", "time_s": 0.7}, V], "NNNNV"),
        ([{"do": "step", "name": "previous_beat"}, {"do": "delete", "beats": None}], "-NNN"),
        ([{"do": "step", "name": "next_beat"}, {**V, "do": "relabel_group"}], "NNVN"),
    ],
)
def test_a_correction_is_of_the_beat_that_what_was_sent_before_has_chosen(
    open_study: Open, sent: list[dict[str, Any]], expected: str
) -> None:
    study = open_study("a", queue=np.array([3]))
    Viewer(study.read()).choose(1)
    study.take_edits({"token": "t", "edits": edits(study.study.key, *sent)})
    assert "".join(each or "-" for each in study.session.classes) == expected
    # Sent again, as long as nothing has confirmed it: nothing is done twice.
    events = len(study.session.events)
    study.take_edits({"token": "t", "edits": edits(study.study.key, *sent)})
    assert len(study.session.events) == events


def test_who_looks_on_chooses_beats_and_corrects_none(open_study: Open) -> None:
    study = open_study("a")
    correcting.st.session_state.update(who="", correction_failed="disk full")
    step = {"do": "step", "name": "next_beat"}
    Viewer(study.read()).choose(1)
    study.take_edits({"token": "t", "edits": edits(study.study.key, step)})
    assert correcting.st.session_state["correction_failed"] == "disk full"
    study.take_edits({"token": "t", "edits": edits(study.study.key, step, V)})
    assert correcting.st.session_state["selected"] == 2
    assert study.session.classes.tolist() == ["N"] * 4
    # Of another recording: neither done nor told.
    other = open_study("b")
    Viewer(other.read()).choose(0)
    other.take_edits({"token": "u", "edits": edits(study.study.key, step)})
    assert correcting.st.session_state["selected"] == 0
    assert "correction_refused" not in correcting.st.session_state


def test_every_key_of_a_step_is_known_to_the_editor(open_study: Open) -> None:
    study = open_study("a")
    reading = study.read()
    shown = study.describe_editor(reading, Viewer(reading), EN)
    assert shown["steps"]["w"] == "next_look"
    assert shown["steps"]["shift+right"] == "extend_forward"
    assert set(shown["shortcuts"]) == set("jlio")
