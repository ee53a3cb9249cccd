"""What a person changes in the beats of a recording, in memory, and how it is undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES

NO_BEAT = -1
"""Code of a beat that is deleted, or not added yet; others are positions in AAMI_CLASSES."""

_CODES = {name: code for code, name in enumerate(AAMI_CLASSES)}

Kind = Literal["relabel", "delete", "add"]


@dataclass(frozen=True, eq=False)
class Edit:
    """One correction, of one beat or of many.

    Attributes:
        number: how many edits, undone and redone ones were made with it; counts from 1.
        kind: what is done.
        beats: int64 (n,), ids.
        before: int8 (n,), code of each beat before; NO_BEAT of one that is added.
        after: code of them all afterwards; NO_BEAT of deleted ones.
        sample: where an added beat lies; None of other edits.
    """

    number: int
    kind: Kind
    beats: NDArray[np.int64]
    before: NDArray[np.int8]
    after: int
    sample: int | None = None


class BeatEdits:
    """The beats of a recording as they stand, and every edit that led there.

    A beat has an id for good: its position among the beats that were found, and for an added one
    the next number.

    Args:
        samples: of the beats that were found, ascending, (n,).
        classes: of these, one of AAMI_CLASSES each, (n,).

    Attributes:
        n_found: how many beats were found.
        samples: int64 (n_ids,), where each beat lies, by id.
        codes: int8 (n_ids,), what each beat is, by id.
        done: the edits that stand, in their order.
        undone: the edits that can be redone, the next one last.
        revision: counts what was done, undone and redone.
    """

    def __init__(self, samples: ArrayLike, classes: Sequence[str] | NDArray[np.object_]) -> None:
        self.n_found = len(classes)
        self.samples = np.asarray(samples, dtype=np.int64).copy()
        assert self.samples.shape == (self.n_found,)
        assert (np.diff(self.samples) >= 0).all()
        self.codes = encode(classes)
        self.done: list[Edit] = []
        self.undone: list[Edit] = []
        self.revision = 0

    @property
    def is_edited(self) -> NDArray[np.bool_]:
        """Whether an edit of each beat stands, by id, (n_ids,); one that confirms counts."""
        is_edited = np.zeros(len(self.samples), dtype=np.bool_)
        for edit in self.done:
            is_edited[edit.beats] = True
        return is_edited

    @property
    def n_done(self) -> int:
        """How many edits stand."""
        return len(self.done)

    @property
    def last_done(self) -> Edit | None:
        """The edit that would be undone next."""
        return self.done[-1] if self.done else None

    @property
    def last_undone(self) -> Edit | None:
        """The edit that would be redone next."""
        return self.undone[-1] if self.undone else None

    def order(self) -> NDArray[np.int64]:
        """Return the ids of the beats that stand, in time order."""
        standing = np.flatnonzero(self.codes != NO_BEAT)
        return standing[np.argsort(self.samples[standing], kind="stable")]

    def plan_change(self, beats: ArrayLike, name: str | None) -> Edit | None:
        """Return the edit that gives beats a class, or deletes them; None where all are deleted.

        A beat that has the class already is confirmed: what a person has called stays called.

        Args:
            beats: ids.
            name: the class; None deletes.
        """
        ids = np.unique(np.asarray(beats, dtype=np.int64))
        ids = ids[(ids >= 0) & (ids < len(self.samples))]
        ids = ids[self.codes[ids] != NO_BEAT]
        if not len(ids):
            return None
        kind: Kind = "delete" if name is None else "relabel"
        after = NO_BEAT if name is None else _CODES[name]
        return Edit(self.revision + 1, kind, ids, self.codes[ids], after)

    def plan_add(self, sample: int, name: str) -> Edit:
        """Return the edit that adds a beat."""
        assert sample >= 0
        beats, before = np.array([len(self.samples)]), np.array([NO_BEAT], np.int8)
        return Edit(self.revision + 1, "add", beats, before, _CODES[name], sample)

    def do(self, edit: Edit) -> None:
        """Apply an edit that was planned on the beats as they stand; what was undone is gone."""
        assert edit.number == self.revision + 1
        if edit.sample is not None:
            self.samples = np.append(self.samples, edit.sample)
            self.codes = np.append(self.codes, np.int8(NO_BEAT))
        self.undone.clear()
        self._apply(edit)

    def undo(self) -> Edit | None:
        """Take back the last edit that stands, and return it; None without one."""
        if not self.done:
            return None
        edit = self.done.pop()
        self.codes[edit.beats] = edit.before
        self.undone.append(edit)
        self.revision += 1
        return edit

    def redo(self) -> Edit | None:
        """Apply the edit that was undone last, and return it; None without one."""
        if not self.undone:
            return None
        edit = self.undone.pop()
        self._apply(edit)
        return edit

    def _apply(self, edit: Edit) -> None:
        self.codes[edit.beats] = edit.after
        self.done.append(edit)
        self.revision += 1


def encode(classes: Sequence[str] | NDArray[np.object_]) -> NDArray[np.int8]:
    """Return the codes of classes, int8 (n,)."""
    names = np.asarray(classes, dtype=object)
    codes = np.full(len(names), NO_BEAT, dtype=np.int8)
    for name, code in _CODES.items():
        codes[names == name] = code
    assert (codes != NO_BEAT).all(), "a class outside AAMI_CLASSES"
    return codes


def decode(codes: NDArray[np.int8]) -> NDArray[np.object_]:
    """Return the classes of codes, object (n,); None for NO_BEAT."""
    names = np.array([*AAMI_CLASSES, None], dtype=object)
    return names[codes]
