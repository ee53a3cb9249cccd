"""Corrections of the beats that a window shows: taken from its keys, saved, and shown again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.app.buttons import BUTTONS
from cnns_spectrograms.app.desk import Desk, Seat
from cnns_spectrograms.app.strip_figure import MARKS_MV
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.viewer import Reading, Viewer, read
from cnns_spectrograms.corrections.edits import BeatEdits, Edit, decode
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import place_peak
from cnns_spectrograms.presentation import GLYPHS, Theme, Translator

logger = logging.getLogger(__name__)

REACH_S = 0.1
"""How far from a click the R peak of an added beat may lie, s; no other beat may be so near it."""

WHO_COOKIE = "cnns_spectrograms_who"

EDITOR_TEXTS = (
    "editor_toolbar", "delete", "delete_help", "undo", "undo_help", "no_undo", "redo", "redo_help",
    "no_redo", "add", "add_help", "add_aim", "measure", "measure_help", "measure_aim", "saving",
    "choose_beat", "per_minute",
)  # fmt: skip
"""What `strip_editor.js` says, besides the names of the classes."""


@dataclass(frozen=True, eq=False)
class Correcting:
    """A study in a window: how its beats are called, and what the window may do to them.

    Attributes:
        study: the analysed recording.
        threshold: least probability of a call.
        count_unusable: whether beats in unusable signal are called.
        desk: of all windows.
        window: this one.
        seat: the corrections, perhaps another window's; None where they cannot be opened.
        revision: of the corrections when the whole page ran.
    """

    study: Study
    threshold: float
    count_unusable: bool
    desk: Desk
    window: str
    seat: Seat | None
    revision: int

    @property
    def session(self) -> Session | None:
        """The corrections, perhaps another window's."""
        return None if self.seat is None else self.seat.session

    @property
    def edits(self) -> BeatEdits | None:
        """The beats as they stand."""
        return None if self.session is None else self.session.edits

    @property
    def is_mine(self) -> bool:
        """Whether this window may correct."""
        return self.seat is not None and self.seat.owner == self.window

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
        return self.edits is not None and self.edits.revision != self.revision

    def read(self) -> Reading:
        """Return the study as it stands."""
        return read(self.study, self.threshold, self.count_unusable, self.edits)

    def take_edits(self, message: Mapping[str, Any]) -> None:
        """Apply the corrections of an editor that were not applied before.

        Args:
            message: `token` of the editor, and `edits`, numbered by `n`.
        """
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        if token != message["token"]:
            confirmed = 0
        st.session_state.pop("correction_failed", None)
        for edit in message["edits"]:
            if edit["n"] > confirmed:
                confirmed = edit["n"]
                if self.enabled:
                    self._take(edit)
        st.session_state["confirmed"] = (message["token"], confirmed)

    def _take(self, edit: Mapping[str, Any]) -> None:
        match edit["do"]:
            case "relabel":
                self.relabel(edit["beats"], edit["to"])
            case "relabel_group":
                self.relabel(self._list_alike(edit["beat"]), edit["to"])
            case "delete":
                self._delete(edit["beats"])
            case "add":
                self._add(float(edit["time_s"]))
            case "undo" | "redo" as kind:
                turned: Edit | None = self._write(getattr(Session, kind))
                if turned is not None:
                    self._show(turned.beats)

    def _write(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the session if it is this window's; if it cannot save, tell so."""
        assert self.seat is not None
        try:
            return self.desk.write(
                self.seat, self.window, lambda session: method(session, *args, self.who)
            )
        except OSError as error:  # the file is as it was, and so are the beats
            logger.error("a correction was not saved: %s", error)
            st.session_state["correction_failed"] = str(error)
            return None

    def relabel(self, beats: ArrayLike, name: str) -> None:
        """Give beats, by id, a class."""
        assert name in AAMI_CLASSES
        self._write(Session.relabel, beats, name)

    def _list_alike(self, beat: int) -> NDArray[np.int64]:
        """Return all beats of a beat's group; of one that was added, itself."""
        groups = self.study.groups
        if groups is None or beat >= len(groups.of_beat):
            return np.array([beat])
        return groups.members(groups.of_beat[beat])

    def _delete(self, beats: list[int]) -> None:
        edits = self.edits
        assert edits is not None
        last = edits.samples[beats].max(initial=0)
        if self._write(Session.delete, beats):
            left = edits.order()
            following = left[edits.samples[left] >= last]
            self._show(following[:1] if len(following) else left[-1:])

    def _add(self, time_s: float) -> None:
        analysis, leads, edits = self.study.analysis, self.study.leads, self.edits
        assert edits is not None
        fs = analysis.model.fs
        at = min(max(round(time_s * fs), 0), len(analysis.signal) - 1)
        peak = place_peak(analysis.signal, fs, at, REACH_S)
        sample = min(round(peak * leads.fs / fs), leads.n_samples - 1)
        standing = edits.samples[edits.order()]
        if (np.abs(standing - sample) <= REACH_S * leads.fs).any():
            st.session_state["correction_refused"] = "add_refused"
            return
        added = self._write(Session.add, sample, "N")
        if added is not None:
            self._show(np.array([added]))

    def _show(self, beats: NDArray[np.int64]) -> None:
        """Choose the first of some beats that stands, and bring it into view."""
        reading = self.read()
        standing = np.flatnonzero(np.isin(reading.ids, beats))
        if len(standing):
            Viewer(reading).show(int(standing[0]))

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
        return self.session.looked_at & set(self.study.queue.tolist()) if self.session else set()

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
            self._write(Session.look, left[0])

    # -- what the editor shows ------------------------------------------------------------------

    def describe_editor(
        self, reading: Reading, viewer: Viewer, theme: Theme, t: Translator
    ) -> dict[str, Any]:
        """Return what `strip_editor.js` needs of the beats on and near the screen."""
        view = viewer.view
        times = reading.beats["time_s"].to_numpy(np.float64)
        limits_s = (view.start_s - view.span_s, view.stop_s + view.span_s)
        near = reading.ids[slice(*np.searchsorted(times, limits_s))]
        # First the one that is looked at.
        selected = sorted(
            reading.ids[viewer.selection].tolist(),
            key=lambda beat: beat != st.session_state["selected"],
        )
        alike = self._list_alike(selected[0]) if selected else np.empty(0, np.int64)
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        edits = self.edits
        return {
            "enabled": self.enabled,
            "token": token,
            "confirmed": confirmed,
            "selected": selected,
            "group_members": alike[np.isin(alike, np.append(near, selected[:1]))].tolist(),
            "undo": edits and _preview(edits.last_done, edits, limits_s, reading, True),
            "redo": edits and _preview(edits.last_undone, edits, limits_s, reading, False),
            "is_page_behind": self.is_page_behind,
            "marks_mv": reading.study.range_mv[1] - MARKS_MV,
            "status": self.describe_status(t),
            "language": t.language,
            "shortcuts": {key: name for name, (_, key) in BUTTONS.items() if len(key) == 1},
            "who": self.who,
            "who_cookie": WHO_COOKIE,
            "colors": {**theme.classes, "cursor": theme.text, "+": theme.text, "×": theme.text},
            "paper": theme.paper,
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
        if not self.who:
            return t("who_first")
        assert self.edits is not None
        return t("saved", n=self.edits.n_done)


def _preview(
    edit: Edit | None,
    edits: BeatEdits,
    limits_s: tuple[float, float],
    reading: Reading,
    undo: bool,
) -> dict[str, str | None] | None:
    """Return what the beats near the screen would be after an undo or redo, by id."""
    if edit is None:
        return None
    first, last = np.array(limits_s) * reading.study.leads.fs
    samples = edits.samples[edit.beats]
    near = (samples >= first) & (samples <= last)
    after = edit.before if undo else np.full(len(edit.beats), edit.after, np.int8)
    return dict(zip(map(str, edit.beats[near].tolist()), decode(after[near]), strict=True))
