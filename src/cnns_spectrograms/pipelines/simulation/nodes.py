"""Nodes of the simulation pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from cnns_spectrograms.parameters import SimulationParameters


def plan_databases(simulation: SimulationParameters) -> dict[str, Callable[[Path], None]]:
    """Return, by database name, the function that writes it into a folder."""
    from cnns_spectrograms.ecg.simulation import simulate_database

    sizes: dict[Literal["mitdb", "svdb"], int] = {
        "mitdb": simulation.n_mitdb_records,
        "svdb": simulation.n_svdb_records,
    }
    return {
        db: partial(
            simulate_database,
            db=db,
            n_records=n_records,
            duration_s=simulation.duration_s,
            seed=simulation.seed,
        )
        for db, n_records in sizes.items()
    }
