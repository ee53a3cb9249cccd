"""Corrections of the beats that a window shows: who may make them, and what they change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.app.buttons import BUTTONS, STEPS
from cnns_spectrograms.app.launch import read_settings
from cnns_spectrograms.app.strip_figure import MARKS_MV
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.style import escape_markdown
from cnns_spectrograms.app.viewer import Reading, Viewer, read
from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Event, Session
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import place_peak
from cnns_spectrograms.presentation import GLYPHS, Translator

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK = ":material/lock:"

REACH_S = 0.1
"""How far from a click the R peak of an added beat may lie, s; no other beat may be so near it."""

WHO_COOKIE = "cnns_spectrograms_who"

EDITOR_TEXTS = (
    "editor_toolbar", "delete", "delete_help", "undo", "undo_help", "no_undo", "redo", "redo_help",
    "no_redo", "add", "add_help", "add_aim", "measure", "measure_help", "measure_aim", "saving",
    "choose_beat", "per_minute",
)  # fmt: skip
"""Texts of `strip_editor.js`, besides the names of the classes."""

_MOVES = ("choose", "step")  # messages of the editor that correct nothing


@dataclass(eq=False)
class Desk:
    """The corrections that are open in this process; windows are Streamlit's sessions, by id.

    One window at a time corrects a recording. The lock of the journal keeps other processes away.

    Args:
        is_open: whether a window still is.
    """

    is_open: Callable[[str], bool]
    _sessions: dict[str, Session] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(
        self, key: str, window: str, make: Callable[[], Session], *, force: bool = False
    ) -> Session:
        """Return the corrections of a recording, whose owner may be another window.

        They become this window's if nobody has them, if the window that had them is closed, or by
        force.

        Args:
            key: of the recording, its lead and its beats.
            window: that asks.
            make: opens the corrections, if they are not open yet.
            force: take them from another window, which can then only look on.
        """
        with self._lock:
            session = self._sessions.get(key) or make()
            self._sessions[key] = session
            if force or not session.owner or not self.is_open(session.owner):
                session.owner = window
            return session

    def leave(self, window: str) -> None:
        """Close what a window corrects; it looks at another recording now."""
        with self._lock:
            for key in [key for key, each in self._sessions.items() if each.owner == window]:
                self._sessions.pop(key).close()

    def write(self, session: Session, window: str, act: Callable[[], T]) -> T | None:
        """Let a window correct, if the corrections are its own; None otherwise."""
        with self._lock:
            return act() if session.owner == window else None


@st.cache_resource(show_spinner=False)
def open_desk() -> Desk:
    """Return where all windows on this app open their corrections."""
    return Desk(_is_window_open)


def _is_window_open(window: str) -> bool:
    from streamlit.runtime import Runtime

    # Without a runtime, as in tests, nobody closes a window.
    return not Runtime.exists() or Runtime.instance().is_active_session(window)


def find_window() -> str:
    """Return the id of the window that runs the page."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    assert context is not None
    return context.session_id


@dataclass(frozen=True, eq=False)
class Correcting:
    """A study in a window: how its beats are called, and what the window may do to them.

    Attributes:
        study: the analysed recording.
        threshold: least probability of a call.
        count_unusable: whether beats in unusable signal are called.
        session: the corrections, perhaps another window's; nobody's where they cannot be saved.
        n_shown: how many events there were when the whole page ran.
    """

    study: Study
    threshold: float
    count_unusable: bool
    session: Session
    n_shown: int

    @property
    def is_mine(self) -> bool:
        """Whether this window may correct."""
        return self.session.owner == find_window()

    @property
    def who(self) -> str:
        """Who corrects, as they named themselves; empty if they have not."""
        if "who" not in st.session_state:  # this browser remembers
            st.session_state["who"] = unquote(st.context.cookies.get(WHO_COOKIE, "")).strip()
        return str(st.session_state["who"])

    @property
    def enabled(self) -> bool:
        """Whether keys correct beats."""
        return self.is_mine and bool(self.who)

    @property
    def is_page_behind(self) -> bool:
        """Whether beats were corrected since the whole page ran."""
        return len(self.session.events) != self.n_shown

    def read(self) -> Reading:
        """Return the study as it stands."""
        return read(self.study, self.session, self.threshold, self.count_unusable)

    def take_edits(self, message: Mapping[str, Any]) -> None:
        """Apply the corrections and choices of an editor that are new, in its order.

        Args:
            message: `token` of the editor, and `edits`, numbered by `n`, each with the key of its
                `study`; corrections of another one are refused. A correction whose `beats` are
                None is of the beats that are chosen when its turn comes.
        """
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        if token != message["token"]:
            confirmed = 0
        new = [edit for edit in message["edits"] if edit["n"] > confirmed]
        if not all(edit["do"] in _MOVES for edit in new):
            st.session_state.pop("correction_failed", None)
        for edit in new:
            confirmed = edit["n"]
            moves = edit["do"] in _MOVES
            # A beat's id is its position: in another study it is another beat.
            if edit["study"] == self.study.key and (moves or self.enabled):
                self._take(edit)
            elif edit["study"] != self.study.key and not moves:
                st.session_state["correction_refused"] = "late_refused"
        st.session_state["confirmed"] = (message["token"], confirmed)

    def _take(self, edit: Mapping[str, Any]) -> None:
        beats = edit.get("beats", ())
        if beats is None:
            beats = self._list_chosen()
        match edit["do"]:
            case "choose":
                Viewer(self.read()).choose_clicked(edit)
            case "step":
                self.step(edit["name"])
            case "relabel":
                self.relabel(beats, edit["to"])
            case "relabel_group":
                self.relabel(self._list_alike(beats), edit["to"])
            case "add":
                self._add(float(edit["time_s"]))
            case "delete":
                self._show(self._write(self.session.do, "delete", beats=beats))
            case "undo" | "redo" as kind:
                self._show(self._write(self.session.do, kind))

    def step(self, name: str) -> None:
        """Choose another beat, as the button of this name does, one of `buttons.STEPS`."""
        viewer, forwards = Viewer(self.read()), name.startswith("next") or name == "extend_forward"
        match name:
            case "previous_abnormal" | "next_abnormal":
                viewer.step_abnormal(forwards)
            case "next_disagreement":
                viewer.step_disagreement()
            case "previous_look" | "next_look":
                self.step_work(forwards)
            case _:
                viewer.step_beat(forwards, extend=name.startswith("extend"))

    def _list_chosen(self) -> list[int]:
        """Return the chosen beats, by id, first the one that is looked at."""
        reading = self.read()
        chosen = reading.ids[Viewer(reading).selection].tolist()
        return sorted(chosen, key=lambda beat: beat != st.session_state["selected"])

    def _write(self, act: Callable[..., T], *args: Any, **what: Any) -> T | None:
        """Correct if this window may; keep the error for the page if it cannot be saved."""
        try:
            who, window = self.who, find_window()
            return open_desk().write(self.session, window, lambda: act(who, *args, **what))
        except OSError as error:  # the file is as it was, and so are the beats
            logger.error("a correction was not saved: %s", error)
            st.session_state["correction_failed"] = str(error)
            return None

    def relabel(self, beats: ArrayLike, name: str) -> None:
        """Give beats, by id, a class."""
        self._write(self.session.do, "relabel", beats=beats, to=name)

    def _list_alike(self, beats: Sequence[int]) -> NDArray[np.int64]:
        """Return all beats of the first beat's group; of one that was added, itself."""
        groups = self.study.groups
        if not beats or groups is None or beats[0] >= len(groups.of_beat):
            return np.array(beats[:1], dtype=np.int64)
        return groups.members(groups.of_beat[beats[0]])

    def _add(self, time_s: float) -> None:
        analysis, leads, session = self.study.analysis, self.study.leads, self.session
        fs = analysis.model.fs
        at = min(max(round(time_s * fs), 0), len(analysis.signal) - 1)
        peak = place_peak(analysis.signal, fs, at, REACH_S)
        sample = min(round(peak * leads.fs / fs), leads.n_samples - 1)
        if (np.abs(session.samples[session.order()] - sample) <= REACH_S * leads.fs).any():
            st.session_state["correction_refused"] = "add_refused"
        else:
            self._show(self._write(session.do, "add", sample=sample, to="N"))

    def _show(self, event: Event | None) -> None:
        """Choose the first beat of an event that stands, or the next one; bring it into view."""
        reading = self.read()
        if event is not None and len(reading.ids):
            standing = np.flatnonzero(np.isin(reading.ids, event.beats))
            following = np.flatnonzero(reading.beats["sample"] >= event.samples.max())
            at, *_ = (*standing[:1], *following[:1], len(reading.ids) - 1)
            Viewer(reading).show(int(at))

    # -- lists of beats to go through -----------------------------------------------------------

    @property
    def group(self) -> int | None:
        """The group that W and E go through; None of the queue."""
        return st.session_state.get("work")

    def list_work(self) -> NDArray[np.int64]:
        """Return the beats, by id, that W and E go through."""
        beats = self.study.queue
        if self.group is not None and self.study.groups is not None:
            beats = self.study.groups.members(self.group)
        return beats[np.isin(beats, self.read().ids)]

    @property
    def looked_at(self) -> set[int]:
        """The beats of the queue that were looked at."""
        return self.session.looked_at & set(self.study.queue.tolist())

    def step_work(self, forwards: bool) -> None:
        """Choose the next or previous beat of the list that stands; note that it is looked at.

        In the queue that is the next that nobody has looked at.
        """
        viewer, work = Viewer(self.read()), self.list_work()
        place = np.flatnonzero(work == st.session_state["selected"])
        at = int(place[0]) if len(place) else (-1 if forwards else len(work))
        left = (work[at + 1 :] if forwards else work[:at][::-1]).tolist()
        if forwards and self.group is None:
            looked_at = self.looked_at
            passed_over = [beat for beat in work.tolist() if beat not in looked_at]
            left = [beat for beat in left if beat not in looked_at] or passed_over
        st.session_state["at_end"] = not left
        if not left:
            return
        found = viewer.find(left[0])
        assert found is not None
        viewer.look_at(found)
        if self.enabled and left[0] in self.study.queue:
            self._write(self.session.look, left[0])

    # -- what the editor shows ------------------------------------------------------------------

    def describe_editor(self, reading: Reading, viewer: Viewer, t: Translator) -> dict[str, Any]:
        """Return what `strip_editor.js` needs of the beats on and near the screen."""
        view = viewer.view
        times = reading.beats["time_s"].to_numpy(np.float64)
        limits_s = (view.start_s - view.span_s, view.stop_s + view.span_s)
        near = reading.ids[slice(*np.searchsorted(times, limits_s))]
        selected = self._list_chosen()
        alike = self._list_alike(selected)
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        return {
            "enabled": self.enabled,
            "study": self.study.key,
            "token": token,
            "confirmed": confirmed,
            "selected": selected,
            "group_members": alike[np.isin(alike, np.append(near, selected[:1]))].tolist(),
            "undo": self._preview("undo", limits_s),
            "redo": self._preview("redo", limits_s),
            "is_page_behind": self.is_page_behind,
            "marks_mv": reading.study.range_mv[1] - MARKS_MV,
            "status": self.describe_status(t),
            "language": t.language,
            "shortcuts": {key: name for name, (_, key) in BUTTONS.items() if name not in STEPS},
            "steps": {BUTTONS[name][1]: name for name in STEPS},
            "who": self.who,
            "who_cookie": WHO_COOKIE,
            "colors": t.theme.classes | dict.fromkeys(("cursor", "+", "×"), t.theme.text),
            "paper": t.theme.paper,
            "glyphs": GLYPHS,
            "texts": {
                **{key: t(key) for key in EDITOR_TEXTS},
                **{
                    f"class_{name}": t("correct_to", name=f"{name} {t('class_' + name)}", key=name)
                    for name in AAMI_CLASSES
                },
                "disabled": t("who_first" if self.is_mine else "read_only"),
            },
        }

    def describe_status(self, t: Translator) -> str:
        """Return whether what is shown is saved."""
        if "correction_failed" in st.session_state:
            return t("correction_failed", why=str(st.session_state["correction_failed"]))
        if not self.is_mine:
            return t("read_only")
        return t("saved", n=len(self.session.done)) if self.who else t("who_first")

    def _preview(self, kind: str, limits_s: tuple[float, float]) -> dict[str, str | None] | None:
        """Return what the beats near the screen would be after an undo or redo, by id."""
        event = self.session.plan({"do": kind})
        if event is None:
            return None
        first, last = np.array(limits_s) * self.study.leads.fs
        near = (event.samples >= first) & (event.samples <= last)
        return dict(zip(map(str, event.beats[near].tolist()), event.after[near], strict=True))


def find_corrections(
    study: Study, threshold: float, count_unusable: bool, t: Translator
) -> Correcting:
    """Return the corrections of a study; show why they cannot be made, where they cannot."""
    window, folder = find_window(), read_settings().corrections_folder / "sessions"
    try:
        # By force once the button below was pressed.
        force = bool(st.session_state.get("correct_here"))
        session = open_desk().take(study.key, window, lambda: study.correct(folder), force=force)
    except (OSError, ValueError) as error:
        logger.warning("corrections cannot be opened: %s", error)
        in_use = isinstance(error, JournalInUseError)
        st.warning(t("corrections_in_use" if in_use else "corrections_failed"), icon=_LOCK)
        st.code(str(error), language=None, wrap_lines=True)
        session = study.correct(None)
    if session.owner and session.owner != window:
        with st.container(horizontal=True, vertical_alignment="center"):
            who = escape_markdown(session.last_who) or "–"
            st.warning(t("corrections_elsewhere", who=who), icon=_LOCK, width="stretch")
            st.button(t("correct_here"), key="correct_here")
    elif session.owner and st.session_state.get("opened") != study.key:
        st.session_state["opened"] = study.key
        _welcome_back(session, t)
    return Correcting(study, threshold, count_unusable, session, len(session.events))


def _welcome_back(session: Session, t: Translator) -> None:
    """Show what was corrected before."""
    if session.events:
        last = session.events[-1]
        at = last.at[:16].replace("T", " ")
        st.toast(t("reopened", n=len(session.done), who=last.who, at=at), icon="💾")
    elif others := session.find_others():
        st.info(t("other_corrections", files=", ".join(f"`{each.name}`" for each in others)))
