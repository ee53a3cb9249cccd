"""The corrections of one lead of a recording: edits that are saved as they are made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.corrections.edits import NO_BEAT, BeatEdits, Edit, decode
from cnns_spectrograms.corrections.journal import Journal, read_header
from cnns_spectrograms.ecg.aami import AAMI_CLASSES

_NONE = "-"  # of a class in a journal, where there is no beat


@dataclass(frozen=True)
class Source:
    """What the corrected beats are of.

    Attributes:
        recording: its name.
        lead: name of the analysed lead.
        fs: sampling rate of the recording, Hz: that of all samples.
        n_samples: length of the recording.
        digest: SHA-256 of the samples of the lead.
    """

    recording: str
    lead: str
    fs: float
    n_samples: int
    digest: str


@dataclass(frozen=True)
class Event:
    """One line of the audit trail.

    Attributes:
        number: counts from 1.
        at: when, UTC, ISO 8601.
        who: as they named themselves.
        kind: relabel, delete, add, undo or redo.
        of: number of the event that an undo or redo is of.
        beats: int64 (n,), ids.
        samples: int64 (n,), where they lie.
        before: classes of the beats before, (n,); None where there was no beat.
        after: classes afterwards, (n,).
    """

    number: int
    at: str
    who: str
    kind: str
    of: int | None
    beats: NDArray[np.int64]
    samples: NDArray[np.int64]
    before: NDArray[np.object_]
    after: NDArray[np.object_]


class Session:
    """Corrections in a journal: what stands in the file is what stands here, also after a kill.

    Args:
        folder: of the journals.
        source: what the beats are of.
        samples: of the beats that were found, ascending, at the recording's rate, (n,).
        classes: what the model called them, (n,).

    Raises:
        JournalInUseError: another window or program corrects the same beats.
        ValueError: the journal is damaged.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        samples: ArrayLike,
        classes: Sequence[str] | NDArray[np.object_],
    ) -> None:
        self.source = source
        self.edits = BeatEdits(samples, classes)
        self.found_codes = self.edits.codes.copy()
        self.events: list[Event] = []
        self.looked_at: set[int] = set()
        self._folder = folder
        beats = self.edits.samples.astype("<i8").tobytes() + self.edits.codes.tobytes()
        header = {**asdict(source), "n_beats": self.edits.n_found}
        header["beats"] = hashlib.sha256(beats).hexdigest()
        key = hashlib.sha256(f"{source.digest} {header['beats']}".encode()).hexdigest()[:12]
        self._journal = Journal(folder / f"{self._stem()}_{key}.jsonl", header)
        # Numbers of the events that each standing and each undone edit comes from.
        self._done: list[int] = []
        self._undone: list[int] = []
        try:
            self._replay()
        except BaseException:
            self._journal.close()
            raise

    @property
    def path(self) -> Path:
        """The journal."""
        return self._journal.path

    @property
    def last_who(self) -> str:
        """Who corrected or looked last; empty if nobody has."""
        return str(self._journal.lines[-1]["who"]) if self._journal.lines else ""

    @property
    def standing(self) -> frozenset[int]:
        """Numbers of the events whose edits stand: the others are undone, or undo and redo."""
        return frozenset(self._done)

    def relabel(self, beats: ArrayLike, name: str, who: str) -> bool:
        """Give beats a class; return whether any of them stands."""
        return self._make(self.edits.plan_relabel(beats, name), who)

    def delete(self, beats: ArrayLike, who: str) -> bool:
        """Delete beats; return whether any of them stood."""
        return self._make(self.edits.plan_delete(beats), who)

    def add(self, sample: int, name: str, who: str) -> int:
        """Add a beat, and return its id.

        Args:
            sample: its R peak, at the recording's rate.
            name: its class.
            who: adds it.
        """
        assert 0 <= sample < self.source.n_samples
        edit = self.edits.plan_add(sample, name)
        self._make(edit, who)
        return int(edit.beats[0])

    def undo(self, who: str) -> Edit | None:
        """Take back the last edit that stands; return it, None without one."""
        if not self._done:
            return None
        return self._turn(self._write({"do": "undo", "of": self._done[-1]}, who))

    def redo(self, who: str) -> Edit | None:
        """Apply the edit that was undone last; return it, None without one."""
        if not self._undone:
            return None
        return self._turn(self._write({"do": "redo", "of": self._undone[-1]}, who))

    def look(self, beat: int, who: str) -> None:
        """Note that a beat of the queue was looked at; that is no edit, and not undone."""
        if beat not in self.looked_at:
            self._write({"do": "look", "beat": beat}, who)
            self.looked_at.add(beat)

    def find_others(self) -> list[Path]:
        """Return journals of the same lead whose beats are others: of another model, say."""
        found = sorted(self._folder.glob(f"{self._stem()}_*.jsonl"))
        headers = {path: read_header(path) for path in found if path != self.path}
        return [
            path
            for path, header in headers.items()
            if header is not None and header.get("digest") == self.source.digest
        ]

    def close(self) -> None:
        """Let others correct these beats."""
        self._journal.close()

    def _stem(self) -> str:
        return re.sub(r"[^\w-]+", "-", f"{self.source.recording}_{self.source.lead}")

    def _make(self, edit: Edit | None, who: str) -> bool:
        if edit is None:
            return False
        line: dict[str, Any] = {"do": edit.kind, "beats": edit.beats.tolist()}
        line["from"] = _spell(edit.before)
        line["to"] = _NONE if edit.after == NO_BEAT else AAMI_CLASSES[edit.after]
        if edit.sample is not None:
            line["sample"] = edit.sample
        written = self._write(line, who)
        self._apply(edit, written)
        return True

    def _write(self, line: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        assert who
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        written = {"at": now, "who": who, **line}
        self._journal.append(written)
        return written

    def _apply(self, edit: Edit, line: Mapping[str, Any]) -> None:
        self.edits.do(edit)
        self._note(line, edit, edit.before, np.full(len(edit.beats), edit.after, np.int8))
        self._done.append(self.events[-1].number)
        self._undone.clear()

    def _turn(self, line: Mapping[str, Any]) -> Edit:
        """Apply an undo or redo that is in the journal."""
        undo = line["do"] == "undo"
        taken, put = (self._done, self._undone) if undo else (self._undone, self._done)
        edit = self.edits.undo() if undo else self.edits.redo()
        assert edit is not None
        put.append(taken.pop())
        after = np.full(len(edit.beats), edit.after, np.int8)
        before, after = (after, edit.before) if undo else (edit.before, after)
        self._note(line, edit, before, after)
        return edit

    def _note(
        self,
        line: Mapping[str, Any],
        edit: Edit,
        before: NDArray[np.int8],
        after: NDArray[np.int8],
    ) -> None:
        samples = self.edits.samples[edit.beats]
        who, at = str(line["who"]), str(line["at"])
        number = len(self.events) + 1
        event = Event(number, at, who, line["do"], line.get("of"), edit.beats, samples,
                      decode(before), decode(after))  # fmt: skip
        self.events.append(event)

    def _replay(self) -> None:
        for number, line in enumerate(self._journal.lines):
            try:
                self._replay_line(line)
            except (KeyError, TypeError, IndexError, ValueError) as error:
                raise ValueError(
                    f"{self.path}: line {number + 2} does not follow from those before it; the "
                    f"file was edited or is damaged: restore a copy of it, or move it away"
                ) from error

    def _replay_line(self, line: Mapping[str, Any]) -> None:
        kind = line["do"]
        if kind == "look":
            self.looked_at.add(int(line["beat"]))
        elif kind in ("undo", "redo"):
            stack = self._done if kind == "undo" else self._undone
            _require(line["of"] == stack[-1])
            self._turn(line)
        else:
            edit = self._plan(line)
            if edit is None or edit.beats.tolist() != line["beats"]:
                raise ValueError("its beats do not stand")
            _require(_spell(edit.before) == line["from"])
            self._apply(edit, line)

    def _plan(self, line: Mapping[str, Any]) -> Edit | None:
        if line["do"] == "relabel":
            return self.edits.plan_relabel(line["beats"], line["to"])
        if line["do"] == "delete":
            return self.edits.plan_delete(line["beats"])
        _require(line["do"] == "add" and 0 <= line["sample"] < self.source.n_samples)
        return self.edits.plan_add(line["sample"], line["to"])


def _spell(codes: NDArray[np.int8]) -> str:
    """Return classes as a journal has them, one letter each."""
    return "".join(each or _NONE for each in decode(codes))


def _require(follows: bool) -> None:
    if not follows:
        raise ValueError("a line does not follow from those before it")
