"""Who corrects which recording: of all windows on this app, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cnns_spectrograms.corrections.session import Session

T = TypeVar("T")


@dataclass(eq=False)
class Seat:
    """The corrections of one lead of a recording, and the window that makes them."""

    session: Session
    owner: str


@dataclass(eq=False)
class Desk:
    """The corrections that are open in this process; windows are Streamlit's sessions, by id.

    Other processes are kept away by the lock of the journal.

    Args:
        is_open: whether a window still is.
    """

    is_open: Callable[[str], bool]
    _seats: dict[str, Seat] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(
        self, key: str, owner: str, make: Callable[[], Session], *, force: bool = False
    ) -> Seat:
        """Return the corrections of a recording, whose owner may be another.

        They become this window's if nobody has them, if the window that had them is closed, or by
        force.

        Args:
            key: of the recording, its lead and its beats.
            owner: the window that asks.
            make: opens the corrections, if they are not open yet.
            force: take them from another window, which can then only look on.
        """
        with self._lock:
            seat = self._seats.get(key)
            if seat is None:
                seat = self._seats[key] = Seat(make(), owner)
            elif force or not self.is_open(seat.owner):
                seat.owner = owner
            return seat

    def leave(self, owner: str) -> None:
        """Close what a window corrects; it looks at another recording now."""
        with self._lock:
            for key in [key for key, seat in self._seats.items() if seat.owner == owner]:
                self._seats.pop(key).session.close()

    def write(self, seat: Seat, owner: str, what: Callable[[Session], T]) -> T | None:
        """Let a window correct, if the corrections are its own; None otherwise."""
        with self._lock:
            is_mine = seat.owner == owner and seat in self._seats.values()
            return what(seat.session) if is_mine else None
