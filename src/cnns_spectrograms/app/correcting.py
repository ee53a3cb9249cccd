"""Corrections of the beats that a window shows: taken from its keys, saved, and shown again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cnns_spectrograms.app.desk import Desk, Seat
from cnns_spectrograms.app.strip_figure import MARKS_MV
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.viewer import Reading, Viewer
from cnns_spectrograms.corrections.edits import BeatEdits, Edit, decode
from cnns_spectrograms.corrections.journal import JournalInUseError
from cnns_spectrograms.corrections.session import Session
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.detection import place_peak
from cnns_spectrograms.presentation import GLYPHS, Theme, Translator

logger = logging.getLogger(__name__)

REACH_S = 0.1
"""How far from a click the R peak of an added beat may lie, s; no other beat may be so near it."""

WHO_COOKIE = "cnns_spectrograms_who"

SHORTCUTS = {
    "h": "previous_abnormal",
    "k": "next_abnormal",
    "d": "next_disagreement",
    "j": "back",
    "l": "forward",
    "i": "zoom_in",
    "o": "zoom_out",
    "e": "previous_look",
    "w": "next_look",
}
"""Keys of the page's buttons, by the buttons' names."""

QUEUE = "queue"
"""Name of the list of beats most worth a look; a group's is its number."""

Read = Callable[[], Reading]


@dataclass(frozen=True, eq=False)
class Correcting:
    """What a window needs to correct a study.

    Attributes:
        study: the analysed recording.
        desk: of all windows.
        window: this one.
        seat: the corrections; None where they cannot be opened.
        problem: why not: "in_use", "failed" or "".
        detail: of the problem, in English.
    """

    study: Study
    desk: Desk
    window: str
    seat: Seat | None
    problem: str = ""
    detail: str = ""

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

    def take_edits(self, message: Mapping[str, Any], read: Read) -> None:
        """Apply the corrections of an editor that were not applied before.

        Args:
            message: `token` of the editor, and `edits`, numbered by `n`.
            read: reads the study as it stands.
        """
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        if token != message["token"]:
            confirmed = 0
        st.session_state.pop("correction_failed", None)
        for edit in message["edits"]:
            if edit["n"] <= confirmed:
                continue
            confirmed = edit["n"]
            try:
                self._take(edit, read)
            except OSError as error:  # the file is as it was, and so are the beats
                logger.error("a correction was not saved: %s", error)
                st.session_state["correction_failed"] = str(error)
        st.session_state["confirmed"] = (message["token"], confirmed)

    def _take(self, edit: Mapping[str, Any], read: Read) -> None:
        if not self.enabled:
            return
        kind = edit["do"]
        if kind == "relabel":
            self._write(lambda session: session.relabel(edit["beats"], edit["to"], self.who))
        elif kind == "relabel_group":
            self.relabel_group(self.group_of(edit["beat"]), edit["beat"], edit["to"])
        elif kind == "delete":
            self._delete(edit["beats"], read)
        elif kind == "add":
            self._add(float(edit["time_s"]), read)
        elif kind in ("undo", "redo"):
            turned: Edit | None = self._write(lambda session: getattr(session, kind)(self.who))
            if turned is not None:
                self._show(turned.beats, read)

    def _write(self, what: Callable[[Session], Any]) -> Any:
        assert self.seat is not None
        return self.desk.write(self.seat, self.window, what)

    def group_of(self, beat: int | None) -> int | None:
        """Return the group of a beat, by its id; None of one that is added."""
        groups = self.study.groups
        if beat is None or groups is None or beat >= len(groups.of_beat):
            return None
        return int(groups.of_beat[beat])

    def relabel_group(self, group: int | None, beat: int | None, name: str) -> None:
        """Give all beats of a group a class; of no group, the beat alone."""
        assert name in AAMI_CLASSES
        groups = self.study.groups
        if group is not None and groups is not None:
            beats = groups.members(group)
        else:
            beats = np.array([] if beat is None else [beat], np.int64)
        self._write(lambda session: session.relabel(beats, name, self.who))

    def _delete(self, beats: list[int], read: Read) -> None:
        edits = self.edits
        assert edits is not None
        last = max((int(edits.samples[each]) for each in beats), default=0)
        if not self._write(lambda session: session.delete(beats, self.who)):
            return
        left = edits.order()
        following = left[edits.samples[left] >= last]
        if len(left):  # the next beat is chosen, the last one at the end
            self._show(following[:1] if len(following) else left[-1:], read)
        else:
            st.session_state["selected"] = None

    def _add(self, time_s: float, read: Read) -> None:
        study, edits = self.study, self.edits
        assert edits is not None
        at = min(max(round(time_s * study.fs), 0), len(study.signal) - 1)
        peak = place_peak(study.signal, study.fs, at, REACH_S)
        sample = min(round(peak * study.contents.fs / study.fs), study.contents.n_samples - 1)
        standing = edits.samples[edits.order()]
        near = np.abs(standing - sample) <= REACH_S * study.contents.fs
        if near.any():
            st.session_state["correction_refused"] = "add_refused"
            return
        added = self._write(lambda session: session.add(sample, "N", self.who))
        if added is not None:
            self._show(np.array([added]), read)

    def _show(self, beats: NDArray[np.int64], read: Read) -> None:
        """Choose the first of some beats that stands, and bring it into view."""
        reading = read()
        standing = np.flatnonzero(np.isin(reading.ids, beats))
        if len(standing):
            Viewer(reading).show(int(standing[0]))

    # -- lists of beats to go through -----------------------------------------------------------

    def list_work(self, reading: Reading) -> NDArray[np.int64]:
        """Return the beats, by id, that W and E go through: the queue's, or a group's."""
        work = st.session_state.get("work", QUEUE)
        groups = self.study.groups
        beats = self.study.queue
        if work != QUEUE and groups is not None:
            beats = groups.members(int(work))
        return beats[np.isin(beats, reading.ids)]

    def step_work(self, read: Read, forwards: bool) -> None:
        """Choose the next or previous beat of the list that stands; note that it is looked at.

        In the queue that is the next that nobody has looked at.
        """
        reading = read()
        viewer, work = Viewer(reading), self.list_work(reading)
        chosen = None if viewer.selected is None else reading.ids[viewer.selected]
        place = np.flatnonzero(work == chosen)
        at = int(place[0]) if len(place) else (-1 if forwards else len(work))
        left = work[at + 1 :] if forwards else work[:at][::-1]
        looked_at = self.session.looked_at if self.session else set()
        if forwards and st.session_state.get("work", QUEUE) == QUEUE:
            left = np.array([each for each in left.tolist() if each not in looked_at], np.int64)
            if not len(left):  # those that were passed over
                left = np.array([each for each in work.tolist() if each not in looked_at], np.int64)
        if not len(left):
            st.session_state["at_end"] = True
            return
        beat = int(left[0])
        found = viewer.find(beat)
        assert found is not None
        viewer.look_at(found)
        if self.enabled and beat in self.study.queue:
            try:
                self._write(lambda session: session.look(beat, self.who))
            except OSError as error:
                st.session_state["correction_failed"] = str(error)

    def count_looked_at(self) -> int:
        """Return how many beats of the queue were looked at."""
        looked_at = self.session.looked_at if self.session else set()
        return len(looked_at & set(self.study.queue.tolist()))

    # -- what the editor shows ------------------------------------------------------------------

    def describe_editor(
        self, reading: Reading, viewer: Viewer, theme: Theme, t: Translator
    ) -> dict[str, Any]:
        """Return what `strip_editor.js` needs of the beats on and near the screen."""
        view = viewer.view
        times = reading.beats["time_s"].to_numpy(np.float64)
        limits = (view.start_s - view.span_s, view.stop_s + view.span_s)
        near = reading.ids[slice(*np.searchsorted(times, limits))]
        chosen = viewer.selection
        selected = reading.ids[chosen].tolist()
        if viewer.selected is not None:  # first the one that is looked at
            selected.sort(key=lambda beat: beat != reading.ids[viewer.selected])
        group = self.group_of(selected[0] if selected else None)
        groups, members = self.study.groups, np.empty(0, np.int64)
        if group is not None and groups is not None:
            inside = near[near < len(groups.of_beat)]
            members = inside[groups.of_beat[inside] == group]
        elif selected:
            members = np.array(selected[:1])
        token, confirmed = st.session_state.get("confirmed", ("", 0))
        edits = self.edits
        return {
            "enabled": self.enabled,
            "token": token,
            "confirmed": confirmed,
            "selected": selected,
            "group_members": members.tolist(),
            "undo": edits and _preview(edits.last_done, edits, limits, reading, True),
            "redo": edits and _preview(edits.last_undone, edits, limits, reading, False),
            "is_page_behind": edits is not None
            and edits.revision != st.session_state["page_revision"],
            "marks_mv": reading.range_mv[1] - MARKS_MV,
            "zero_mv": 0.0,
            "status": self.describe_status(t),
            "language": t.language,
            "shortcuts": SHORTCUTS,
            "who": self.who,
            "who_cookie": WHO_COOKIE,
            "colors": {**theme.classes, "cursor": theme.text, "+": theme.text, "×": theme.text},
            "paper": theme.paper,
            "glyphs": GLYPHS,
            "texts": _collect_texts(self, t),
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


def open_corrections(study: Study, desk: Desk, window: str, make: Callable[[], Session],
                     force: bool = False) -> Correcting:  # fmt: skip
    """Return the corrections of a study, opened for a window if no other has them."""
    try:
        seat = desk.take(study.key, window, make, force=force)
    except JournalInUseError as error:
        return Correcting(study, desk, window, None, "in_use", str(error))
    except (OSError, ValueError) as error:
        logger.warning("corrections cannot be opened: %s", error)
        return Correcting(study, desk, window, None, "failed", str(error))
    return Correcting(study, desk, window, seat)


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
    fs = reading.study.contents.fs
    times_s = edits.samples[edit.beats] / fs
    near = (times_s >= limits_s[0]) & (times_s <= limits_s[1])
    after = edit.before[near] if undo else np.full(int(near.sum()), edit.after, np.int8)
    return {
        str(beat): name for beat, name in zip(edit.beats[near].tolist(), decode(after), strict=True)
    }


def _collect_texts(correcting: Correcting, t: Translator) -> dict[str, str]:
    keys = {name: t("correct_to", name=f"{name} {t('class_' + name)}", key=name)
            for name in AAMI_CLASSES}  # fmt: skip
    disabled = "who_first" if correcting.is_mine else "read_only"
    return {
        **{f"class_{name}": text for name, text in keys.items()},
        "toolbar": t("editor_toolbar"),
        "delete": t("delete_help"),
        "delete_label": t("delete"),
        "undo": t("undo_help"),
        "undo_label": t("undo"),
        "redo": t("redo_help"),
        "redo_label": t("redo"),
        "add_help": t("add_help"),
        "add_label": t("add"),
        "measure_help": t("measure_help"),
        "measure_label": t("measure"),
        "add": t("add_aim"),
        "measure": t("measure_aim"),
        "saving": t("saving"),
        "disabled": t(disabled),
        "nothing_chosen": t("choose_beat"),
        "no_group": t("choose_beat"),
        "no_undo": t("no_undo"),
        "no_redo": t("no_redo"),
        "per_minute": t("per_minute"),
    }
