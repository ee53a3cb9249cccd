"""Classify heartbeats from ECG spectrograms with convolutional networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnns_spectrograms.inference.api import analyse

__all__ = ["analyse"]

__version__ = "0.2.0"

# MLflow and Ray would report over the network how they are used.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# PyTorch's threads wait asleep. Awake, they take the cores from whatever else runs. OpenMP reads
# this once, when torch loads it; every entry point and every worker imports this package first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    """Import `analyse` on first use: its dependencies take a second to import."""
    if name == "analyse":
        from cnns_spectrograms.inference.api import analyse

        return analyse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
