"""One window at a time corrects a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cnns_spectrograms.app.correcting import Desk
from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Session, Source

Make = Callable[[], Session]


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
