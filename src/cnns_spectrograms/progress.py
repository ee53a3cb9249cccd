"""The progress of long work in the log, since a progress bar needs a terminal."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

_FIRST_S = 60.0


class LoggedProgress:
    """Logs how far work is, a minute after it began, and whenever it has taken twice as long.

    Args:
        what: the work, as the log names it.
        n_total: parts of it.
        unit: the parts, in the plural.
    """

    def __init__(self, what: str, n_total: int, unit: str) -> None:
        self._what, self._n_total, self._unit = what, n_total, unit
        self._began = time.perf_counter()
        self._due_s = _FIRST_S

    def update(self, n_done: int) -> None:
        """Log that so many parts are done, if it is time to."""
        seconds = time.perf_counter() - self._began
        if seconds < self._due_s:
            return
        while self._due_s <= seconds:
            self._due_s *= 2
        logger.info(
            "%s: %d of %d %s in %.0f s", self._what, n_done, self._n_total, self._unit, seconds
        )
