"""Corrections: what is undone is as before, and what the journal holds is what stands."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.aami import AAMI_CLASSES

SAMPLES = np.arange(100, 1100, 100)
CLASSES = list("NNNVNSNNFQ")
SOURCE = Source("100", "MLII", 360.0, 2000, "d" * 64)


@contextmanager
def opened(folder: Path, source: Source = SOURCE) -> Iterator[Session]:
    session = Session(folder, source, SAMPLES, CLASSES)
    try:
        yield session
    finally:
        session.close()


def beats_of(session: Session) -> list[tuple[int, str]]:
    """Return what stands, in time order."""
    order = session.order()
    return list(zip(session.samples[order].tolist(), session.classes[order], strict=True))


FOUND = list(zip(SAMPLES.tolist(), CLASSES, strict=True))

operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("relabel"),
            st.lists(st.integers(0, 14), min_size=1, max_size=5),
            st.sampled_from(AAMI_CLASSES),
        ),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 14), min_size=1, max_size=5)),
        st.tuples(st.just("add"), st.integers(0, 1999), st.sampled_from(AAMI_CLASSES)),
        st.tuples(st.just("undo")),
        st.tuples(st.just("redo")),
        st.tuples(st.just("look"), st.integers(0, 9)),
    ),
    max_size=25,
)


def perform(session: Session, steps: list[tuple]) -> None:
    names = {"relabel": ("beats", "to"), "delete": ("beats",), "add": ("sample", "to")}
    for kind, *given_ in steps:
        if kind == "look":
            session.look("ana", *given_)
        else:
            session.do("ana", kind, **dict(zip(names.get(kind, ()), given_, strict=True)))


@settings(max_examples=60, deadline=None)
@given(operations)
def test_undoing_all_gives_what_was_found_and_redoing_what_was_there(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as session:
        perform(session, steps)
        there, n = beats_of(session), len(session.done)
        while session.do("ana", "undo") is not None:
            pass
        assert beats_of(session) == FOUND
        assert not session.is_edited.any()
        for _ in range(n):
            session.do("ana", "redo")
        assert beats_of(session) == there


@settings(max_examples=40, deadline=None)
@given(operations, st.data())
def test_a_journal_cut_at_any_byte_gives_what_stood_after_its_whole_lines(
    steps: list[tuple], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # What stood when the file was so long.
        stood: dict[int, tuple] = {}

        def state(session: Session) -> tuple:
            lists = session.done, session.undone, session.events, session.looked_at
            looked_at = sorted(session.looked_at)
            return beats_of(session), session.is_edited.tolist(), [*map(len, lists)], looked_at

        with opened(folder) as session:
            path = session.path
            stood[path.stat().st_size] = state(session)
            for step in steps:
                perform(session, [step])
                stood[path.stat().st_size] = state(session)
        content = path.read_bytes()
        header = min(stood)
        cut = data.draw(st.integers(header, len(content)))
        path.write_bytes(content[:cut])
        # A line that lacks but its end is whole.
        last = max(size for size in stood if size <= cut + 1)
        with opened(folder) as session:
            assert state(session) == stood[last]
            assert path.read_bytes() == content[:last]
            session.do("ben", "relabel", beats=[0], to="V")  # and it goes on
        with opened(folder) as session:
            assert (100, "V") in beats_of(session) or (100 not in dict(stood[last][0]))


def test_an_edit_says_who_when_and_what_from_what(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.do("Ana Pérez", "relabel", beats=[3, 4], to="S")
        session.do("ben", "undo")
        session.do("ben", "delete", beats=[9])
        added = session.do("ben", "add", sample=1234, to="V")
        assert added is not None
        assert added.beats.tolist() == [10]
    lines = [json.loads(line) for line in session.path.read_text("utf-8").splitlines()][1:]
    assert [line["do"] for line in lines] == ["relabel", "undo", "delete", "add"]
    assert (lines[0]["who"], lines[0]["from"], lines[0]["to"]) == ("Ana Pérez", "VN", "S")
    assert lines[0]["at"].endswith("Z")
    with opened(tmp_path) as again:
        told = [
            (e.number, e.who, e.kind, e.of, e.samples.tolist(), [*e.before], [*e.after])
            for e in again.events
        ]
        assert again.last_who == "ben"
    assert told == [
        (1, "Ana Pérez", "relabel", None, [400, 500], ["V", "N"], ["S", "S"]),
        (2, "ben", "undo", 1, [400, 500], ["S", "S"], ["V", "N"]),
        (3, "ben", "delete", None, [1000], ["Q"], [None]),
        (4, "ben", "add", None, [1234], [None], ["V"]),
    ]


def test_the_class_a_beat_has_can_be_confirmed(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        assert session.do("ana", "relabel", beats=[3], to="V")
        assert session.is_edited.tolist() == [i == 3 for i in range(10)]
        assert beats_of(session) == FOUND


def test_nothing_is_done_to_beats_that_are_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.do("ana", "delete", beats=[2])
        assert not session.do("ana", "relabel", beats=[2, 77], to="V")
        assert not session.do("ana", "delete", beats=[2])
        assert len(session.done) == 1


def test_a_torn_line_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as session:
        session.do("ana", "relabel", beats=[0], to="V")
    whole = session.path.read_bytes()
    session.path.write_bytes(whole + b'{"at":"2026-01-01T00:0')
    with caplog.at_level(logging.WARNING), opened(tmp_path) as again:
        assert beats_of(again)[0] == (100, "V")
    assert "torn last line" in caplog.text
    assert session.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"from":"N"', b'"from":"S"', "line 2 does not follow"),
        (b'"do":"relabel"', b'"do":"rename"', "line 2 does not follow"),
        (b'"do":"relabel"', b'"do":relabel"', "in line 2; expected a JSON object"),
        (b'"digest":"d', b'"digest":"e', "found another digest"),
    ],
)
def test_a_damaged_journal_or_anothers_is_refused(
    tmp_path: Path, old: bytes, new: bytes, says: str
) -> None:
    with opened(tmp_path) as session:
        session.do("ana", "relabel", beats=[0], to="V")
    content = session.path.read_bytes()
    assert old in content
    session.path.write_bytes(content.replace(old, new))
    for _ in range(2):  # the lock is let go
        with pytest.raises(ValueError, match=says):
            Session(tmp_path, SOURCE, SAMPLES, CLASSES)


def test_other_beats_of_the_same_lead_have_a_journal_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        first.do("ana", "relabel", beats=[0], to="V")
    other = Session(tmp_path, SOURCE, SAMPLES, ["N"] * 10)
    assert beats_of(other)[0] == (100, "N")
    assert other.find_others() == [first.path]
    other.close()
    with opened(tmp_path, replace(SOURCE, digest="e" * 64)) as third:
        assert third.find_others() == []


def test_two_at_once_are_refused_and_the_next_is_let_in(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.do("ana", "relabel", beats=[0], to="V")
        with pytest.raises(JournalInUseError, match="open in another window"):
            Session(tmp_path, SOURCE, SAMPLES, CLASSES)
    with opened(tmp_path) as again:
        assert len(again.done) == 1


def test_what_cannot_be_written_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as session:
        session.do("ana", "relabel", beats=[0], to="V")
        before = session.path.read_bytes()
        write = os.write

        def full(file: int, content: memoryview) -> int:
            write(file, content[:7])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            session.do("ana", "relabel", beats=[1], to="V")
        monkeypatch.undo()
        assert session.path.read_bytes() == before
        assert beats_of(session)[1] == (200, "N")
        session.do("ana", "relabel", beats=[1], to="V")
    with opened(tmp_path) as again:
        assert [name for _, name in beats_of(again)[:2]] == ["V", "V"]


def _correct_for_ever(folder: Path, pipe: multiprocessing.connection.Connection) -> None:
    session = Session(folder, SOURCE, SAMPLES, CLASSES)
    for number in range(1_000_000):
        session.do("ana", "relabel", beats=[number % 10], to=AAMI_CLASSES[number % 5])
        pipe.send(number)


def test_a_kill_loses_nothing_that_was_done_and_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_correct_for_ever, args=(tmp_path, theirs))
    process.start()
    theirs.close()
    assert ours.poll(60)
    time.sleep(0.2)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    last = -1
    try:
        while True:
            last = ours.recv()
    except EOFError:
        pass
    with opened(tmp_path) as session:
        # One may be in the file of which its writer could not tell any more.
        assert len(session.done) in (last + 1, last + 2)
        code = AAMI_CLASSES[(len(session.done) - 1) % 5]
        assert beats_of(session)[(len(session.done) - 1) % 10][1] == code
