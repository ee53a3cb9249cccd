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

from cnns_spectrograms.corrections.edits import BeatEdits, Edit, decode
from cnns_spectrograms.corrections.journal import Journal, read_header

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
        for number, line in enumerate(self._journal.lines, 2):
            try:
                self._apply(line)
            except (KeyError, TypeError, IndexError, ValueError) as error:
                self._journal.close()
                raise ValueError(
                    f"{self.path}: line {number} does not follow from those before it; the file "
                    f"was edited or is damaged: restore a copy of it, or move it away"
                ) from error

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
        return frozenset(edit.number for edit in self.edits.done)

    def relabel(self, beats: ArrayLike, name: str, who: str) -> bool:
        """Give beats a class; return whether any of them stands."""
        return self._edit(self.edits.plan_change(beats, name), who)

    def delete(self, beats: ArrayLike, who: str) -> bool:
        """Delete beats; return whether any of them stood."""
        return self._edit(self.edits.plan_change(beats, None), who)

    def add(self, sample: int, name: str, who: str) -> int:
        """Add a beat, and return its id.

        Args:
            sample: its R peak, at the recording's rate.
            name: its class.
            who: adds it.
        """
        assert 0 <= sample < self.source.n_samples
        edit = self.edits.plan_add(sample, name)
        self._edit(edit, who)
        return int(edit.beats[0])

    def undo(self, who: str) -> Edit | None:
        """Take back the last edit that stands; return it, None without one."""
        edit = self.edits.last_done
        return None if edit is None else self._do({"do": "undo", "of": edit.number}, who)

    def redo(self, who: str) -> Edit | None:
        """Apply the edit that was undone last; return it, None without one."""
        edit = self.edits.last_undone
        return None if edit is None else self._do({"do": "redo", "of": edit.number}, who)

    def look(self, beat: int, who: str) -> None:
        """Note that a beat of the queue was looked at; that is no edit, and not undone."""
        if beat not in self.looked_at:
            self._do({"do": "look", "beat": beat}, who)

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

    def _edit(self, edit: Edit | None, who: str) -> bool:
        return edit is not None and self._do(_spell(edit), who) is not None

    def _do(self, what: Mapping[str, Any], who: str) -> Edit | None:
        """Write a line to the journal, and then do what it says."""
        assert who
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"at": now, "who": who, **what}
        self._journal.append(line)
        return self._apply(line)

    def _apply(self, line: Mapping[str, Any]) -> Edit | None:
        """Do what a line of the journal says; return the edit that it is of.

        Raises:
            ValueError: the line does not follow from those before it; or another error, of one
                that lacks something.
        """
        kind = line["do"]
        if kind == "look":
            self.looked_at.add(int(line["beat"]))
            return None
        if kind in ("undo", "redo"):
            edit = self.edits.undo() if kind == "undo" else self.edits.redo()
            expected = {"of": edit and edit.number}
        else:
            edit = self._plan(line)
            expected = {} if edit is None else _spell(edit)
        if edit is None or any(line[key] != value for key, value in expected.items()):
            raise ValueError(f"expected {expected}")
        if kind not in ("undo", "redo"):
            self.edits.do(edit)
        after = np.full(len(edit.beats), edit.after, np.int8)
        codes = (after, edit.before) if kind == "undo" else (edit.before, after)
        event = Event(
            number=self.edits.revision,
            at=line["at"],
            who=line["who"],
            kind=kind,
            of=line.get("of"),
            beats=edit.beats,
            samples=self.edits.samples[edit.beats],
            before=decode(codes[0]),
            after=decode(codes[1]),
        )
        self.events.append(event)
        return edit

    def _plan(self, line: Mapping[str, Any]) -> Edit | None:
        sample, to = line.get("sample"), line["to"]
        if sample is None:
            return self.edits.plan_change(line["beats"], None if to == _NONE else to)
        return self.edits.plan_add(sample, to) if 0 <= sample < self.source.n_samples else None


def _spell(edit: Edit) -> dict[str, Any]:
    """Return an edit in the form of a journal line, with one letter per class."""
    before, after = decode(edit.before), decode(np.array([edit.after], np.int8))
    line: dict[str, Any] = {"do": edit.kind, "beats": edit.beats.tolist()}
    line["from"], line["to"] = ("".join(each or _NONE for each in x) for x in (before, after))
    if edit.sample is not None:
        line["sample"] = edit.sample
    return line
