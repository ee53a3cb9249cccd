"""Ratios of two times, measured in turn, so that other work on the machine slows both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Seconds of a baseline and of the work, pair by pair.

    Attributes:
        baseline_s: one value per pair.
        work_s: the same.
    """

    baseline_s: list[float]
    work_s: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast as the baseline the work is, sorted."""
        return sorted(a / b for a, b in zip(self.baseline_s, self.work_s, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def medians_s(self) -> tuple[float, float]:
        """Median seconds of the baseline and of the work."""
        return statistics.median(self.baseline_s), statistics.median(self.work_s)

    def __str__(self) -> str:
        low, *_, high = self.ratios * 2
        return f"{self.ratio:.2f} ({low:.2f}-{high:.2f} in {len(self.ratios)} pairs)"


def compare(
    baseline: Callable[[], float], work: Callable[[], float], n_pairs: int = 5
) -> Comparison:
    """Measure baseline and work in turn.

    Args:
        baseline: returns its seconds, see `timed`.
        work: the same.
        n_pairs: how often.
    """
    pairs = [(baseline(), work()) for _ in range(n_pairs)]
    return Comparison([a for a, _ in pairs], [b for _, b in pairs])


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that does the work and returns its seconds."""

    def measure() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return measure
