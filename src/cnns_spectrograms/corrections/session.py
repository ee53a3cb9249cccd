"""The corrections of one lead of a recording: its beats as they stand, and the log behind them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.corrections.journal import Journal, read_header
from cnns_spectrograms.ecg.aami import AAMI_CLASSES

_NONE = "-"  # of a class in a journal, where there is no beat
_GIVES = {"relabel": AAMI_CLASSES, "delete": (None,), "add": AAMI_CLASSES}  # kind -> classes


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


@dataclass(frozen=True, eq=False)
class Event:
    """One line of the audit trail: a correction of one beat or of many, an undo or a redo.

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

    @property
    def line(self) -> dict[str, Any]:
        """Its line in a journal, with one letter per class."""
        line: dict[str, Any] = {"at": self.at, "who": self.who, "do": self.kind}
        if self.of is not None:
            return {**line, "of": self.of}
        line["beats"] = self.beats.tolist()
        line["from"] = "".join(each or _NONE for each in self.before)
        line["to"] = self.after[0] or _NONE
        if self.kind == "add":
            line["sample"] = int(self.samples[0])
        return line


class Session:
    """The beats of a recording as they stand, and every event that led there.

    A beat has an id for good: its position among the beats that were found, and for an added one
    the next number. What stands in the journal is what stands here, also after a kill.

    Args:
        folder: of the journals; None saves nothing.
        source: what the beats are of.
        samples: of the beats that were found, ascending, at the recording's rate, (n,).
        classes: what the model called them, one of AAMI_CLASSES each, (n,).

    Attributes:
        samples: int64 (n_ids,), where each beat lies, by id.
        found: object (n,), the class of each beat that was found.
        classes: object (n_ids,), what each beat is, by id; None of one that does not stand.
        events: all of them, in their order.
        done: the corrections that stand, in their order.
        undone: those that can be redone, the next one last.
        looked_at: the beats of the queue that were looked at.
        last_who: who corrected or looked last; empty if nobody has.
        owner: whoever may correct now, as the app names its windows; empty if nobody may.

    Raises:
        JournalInUseError: another window or program corrects the same beats.
        ValueError: the journal is damaged.
    """

    def __init__(
        self,
        folder: Path | None,
        source: Source,
        samples: ArrayLike,
        classes: Sequence[str] | NDArray[np.object_],
    ) -> None:
        self.source = source
        self.samples = np.array(samples, dtype=np.int64)
        self.found = np.array(classes, dtype=object)
        self.classes = self.found.copy()
        assert self.samples.shape == self.found.shape
        assert (np.diff(self.samples) >= 0).all()
        assert np.isin(self.found, AAMI_CLASSES).all()
        self.events: list[Event] = []
        self.done: list[Event] = []
        self.undone: list[Event] = []
        self.looked_at: set[int] = set()
        self.last_who = self.owner = ""
        self._journal = None if folder is None else self._open(folder)

    def _open(self, folder: Path) -> Journal:
        """Open the journal, and apply its lines."""
        codes = pd.Categorical(self.found, AAMI_CLASSES).codes.astype(np.int8)
        beats = hashlib.sha256(self.samples.astype("<i8").tobytes() + codes.tobytes()).hexdigest()
        header = {**asdict(self.source), "n_beats": len(self.found), "beats": beats}
        key = hashlib.sha256(f"{self.source.digest} {beats}".encode()).hexdigest()[:12]
        journal = Journal(folder / f"{self._stem}_{key}.jsonl", header)
        for number, line in enumerate(journal.lines, 2):
            try:
                if line["do"] == "look":
                    self.looked_at.add(int(line["beat"]))
                else:
                    event = self.plan(line)
                    if event is None or {**line, **event.line} != line:
                        raise ValueError("other beats")
                    self._apply(event)
                self.last_who = str(line["who"])
            except (KeyError, TypeError, IndexError, ValueError) as error:
                journal.close()
                raise ValueError(
                    f"{journal.path}: line {number} does not follow from those before it; the "
                    f"file was edited or is damaged: restore a copy of it, or move it away"
                ) from error
        return journal

    @property
    def path(self) -> Path | None:
        """The journal; None without one."""
        return None if self._journal is None else self._journal.path

    @property
    def _stem(self) -> str:
        return re.sub(r"[^\w-]+", "-", f"{self.source.recording}_{self.source.lead}")

    @property
    def is_edited(self) -> NDArray[np.bool_]:
        """Whether a correction of each beat stands, by id, (n_ids,); one that confirms counts."""
        is_edited = np.zeros(len(self.samples), dtype=np.bool_)
        for event in self.done:
            is_edited[event.beats] = True
        return is_edited

    def order(self) -> NDArray[np.int64]:
        """Return the ids of the beats that stand, in time order."""
        standing = np.flatnonzero(pd.notna(self.classes))
        return standing[np.argsort(self.samples[standing], kind="stable")]

    def plan(self, what: Mapping[str, Any]) -> Event | None:
        """Return the event that a line of a journal would be; None where there is nothing to do.

        Args:
            what: `do`, the kind; `beats`, ids, of which those that are deleted are left out; `to`,
                their class; and of an added beat `sample`. A beat that has the class already is
                confirmed: what a person has called stays called.

        Raises:
            ValueError: the class is not one that this kind gives.
            KeyError: the kind is unknown, or something is missing.
        """
        kind, of, to = what["do"], None, what.get("to")
        if kind in ("undo", "redo"):
            turned = self.done if kind == "undo" else self.undone
            if not turned:
                return None
            event = turned[-1]
            ids, samples, of = event.beats, event.samples, event.number
            before, after = event.before, event.after
            if kind == "undo":
                before, after = after, before
        else:
            to = None if to == _NONE else to
            if to not in _GIVES[kind]:
                raise ValueError(f"{kind} to {to}")
            if kind == "add":
                ids, before = np.array([len(self.samples)]), np.array([None], dtype=object)
                samples = np.array([what["sample"]])
                if not 0 <= samples[0] < self.source.n_samples:
                    return None
            else:
                ids = np.unique(np.asarray(what["beats"], dtype=np.int64))
                ids = ids[(ids >= 0) & (ids < len(self.samples))]
                ids = ids[pd.notna(self.classes[ids])]
                if not len(ids):
                    return None
                samples, before = self.samples[ids], self.classes[ids]
            after = np.full(len(ids), to, dtype=object)
        at, who = what.get("at", ""), what.get("who", "")
        return Event(len(self.events) + 1, at, who, kind, of, ids, samples, before, after)

    def do(self, who: str, kind: str, **what: Any) -> Event | None:
        """Correct beats; return the event once it is saved, None where there is nothing to do.

        Args:
            who: corrects.
            kind: relabel, delete, add, undo or redo.
            what: the rest of the event, see `plan`.

        Raises:
            OSError: it could not be saved; the beats are then as they were.
        """
        event = self.plan({**_sign(who, kind), **what})
        if event is not None:
            self._save(event.line)
            self._apply(event)
        return event

    def look(self, who: str, beat: int) -> None:
        """Note that a beat of the queue was looked at; that is no event, and not undone."""
        if beat not in self.looked_at:
            self._save({**_sign(who, "look"), "beat": beat})
            self.looked_at.add(beat)
            self.last_who = who

    def _save(self, line: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(line)

    def _apply(self, event: Event) -> None:
        if event.kind == "add":
            self.samples = np.append(self.samples, event.samples)
            self.classes = np.append(self.classes, event.before)
        self.classes[event.beats] = event.after
        match event.kind:
            case "undo":
                self.undone.append(self.done.pop())
            case "redo":
                self.done.append(self.undone.pop())
            case _:
                self.done.append(event)
                self.undone.clear()
        self.events.append(event)
        self.last_who = event.who

    def find_others(self) -> list[Path]:
        """Return journals of the same lead whose beats are others, such as another model's."""
        assert self.path is not None
        found = sorted(self.path.parent.glob(f"{self._stem}_*.jsonl"))
        digests = {path: read_header(path).get("digest") for path in found if path != self.path}
        return [path for path, digest in digests.items() if digest == self.source.digest]

    def close(self) -> None:
        """Let others correct these beats."""
        self.owner = ""
        if self._journal is not None:
            self._journal.close()


def _sign(who: str, kind: str) -> dict[str, Any]:
    """Return how a line begins: when, who, and what."""
    assert who
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": now, "who": who, "do": kind}
