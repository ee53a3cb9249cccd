"""Ratios of what is measured in turn, so that other work on the machine slows both sides alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def measure_in_turn(
    ways: Mapping[str, Callable[[], float]], n_rounds: int = 5
) -> dict[str, list[float]]:
    """Call each way once a round, and return what it gave, one value per round."""
    values: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_rounds):
        for name, measure in ways.items():
            values[name].append(measure())
    return values


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Ratio:
    """The ratios of the rounds: their median, and the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """Divide what was measured in the same round."""
        ratios = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"

    def listed(self) -> list[float]:
        """Return median, smallest and largest, for JSON."""
        return [round(value, 3) for value in (self.median, self.low, self.high)]
