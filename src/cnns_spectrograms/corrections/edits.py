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
        kind: what is done.
        beats: int64 (n,), ids.
        before: int8 (n,), code of each beat before; NO_BEAT of one that is added.
        after: code of them all afterwards; NO_BEAT of deleted ones.
        sample: where an added beat lies; None of other edits.
    """

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
    """

    def __init__(self, samples: ArrayLike, classes: Sequence[str] | NDArray[np.object_]) -> None:
        self.n_found = len(classes)
        self._samples = np.asarray(samples, dtype=np.int64).copy()
        assert self._samples.shape == (self.n_found,)
        assert (np.diff(self._samples) >= 0).all()
        self._codes = encode(classes)
        self._n_edits = np.zeros(self.n_found, dtype=np.int32)  # standing ones of each beat
        self._done: list[Edit] = []
        self._undone: list[Edit] = []
        self.revision = 0  # counts what was done, undone and redone

    @property
    def n_ids(self) -> int:
        """How many beats there have ever been; the id of the next that is added."""
        return len(self._samples)

    @property
    def samples(self) -> NDArray[np.int64]:
        """Where each beat lies, by id, (n_ids,)."""
        return self._samples

    @property
    def codes(self) -> NDArray[np.int8]:
        """What each beat is, by id, (n_ids,)."""
        return self._codes

    @property
    def is_edited(self) -> NDArray[np.bool_]:
        """Whether an edit of each beat stands, by id, (n_ids,); one that confirms counts."""
        return self._n_edits > 0

    @property
    def n_done(self) -> int:
        """How many edits stand."""
        return len(self._done)

    @property
    def n_undone(self) -> int:
        """How many edits can be redone."""
        return len(self._undone)

    @property
    def last_done(self) -> Edit | None:
        """The edit that would be undone next."""
        return self._done[-1] if self._done else None

    @property
    def last_undone(self) -> Edit | None:
        """The edit that would be redone next."""
        return self._undone[-1] if self._undone else None

    def order(self) -> NDArray[np.int64]:
        """Return the ids of the beats that stand, in time order."""
        standing = np.flatnonzero(self._codes != NO_BEAT)
        return standing[np.argsort(self._samples[standing], kind="stable")]

    def plan_relabel(self, beats: ArrayLike, name: str) -> Edit | None:
        """Return the edit that gives beats a class; None if none of them stands.

        A beat that has the class already is confirmed: what a person has called stays called.
        """
        ids = self._standing(beats)
        if not len(ids):
            return None
        return Edit("relabel", ids, self._codes[ids], _CODES[name])

    def plan_delete(self, beats: ArrayLike) -> Edit | None:
        """Return the edit that deletes beats; None if none of them stands."""
        ids = self._standing(beats)
        return Edit("delete", ids, self._codes[ids], NO_BEAT) if len(ids) else None

    def plan_add(self, sample: int, name: str) -> Edit:
        """Return the edit that adds a beat."""
        assert sample >= 0
        beats = np.array([self.n_ids], dtype=np.int64)
        return Edit("add", beats, np.array([NO_BEAT], np.int8), _CODES[name], sample)

    def do(self, edit: Edit) -> None:
        """Apply an edit that was planned on the beats as they stand; what was undone is gone."""
        if edit.kind == "add":
            assert edit.sample is not None
            assert edit.beats.tolist() == [self.n_ids]
            self._samples = np.append(self._samples, edit.sample)
            self._codes = np.append(self._codes, np.int8(NO_BEAT))
            self._n_edits = np.append(self._n_edits, np.int32(0))
        self._undone.clear()
        self._apply(edit)

    def undo(self) -> Edit | None:
        """Take back the last edit that stands, and return it; None without one."""
        if not self._done:
            return None
        edit = self._done.pop()
        self._codes[edit.beats] = edit.before
        self._n_edits[edit.beats] -= 1
        self._undone.append(edit)
        self.revision += 1
        return edit

    def redo(self) -> Edit | None:
        """Apply the edit that was undone last, and return it; None without one."""
        if not self._undone:
            return None
        edit = self._undone.pop()
        self._apply(edit)
        return edit

    def _apply(self, edit: Edit) -> None:
        assert (self._codes[edit.beats] == edit.before).all()
        self._codes[edit.beats] = edit.after
        self._n_edits[edit.beats] += 1
        self._done.append(edit)
        self.revision += 1

    def _standing(self, beats: ArrayLike) -> NDArray[np.int64]:
        ids = np.unique(np.asarray(beats, dtype=np.int64))
        ids = ids[(ids >= 0) & (ids < self.n_ids)]
        return ids[self._codes[ids] != NO_BEAT]


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
