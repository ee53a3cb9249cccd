"""Simulation: synthetic WFDB databases, so that everything runs without a recording."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from kedro.pipeline import Pipeline

from cnns_spectrograms.parameters import SimulationParameters
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline that writes the synthetic databases."""
    return join_nodes("simulation", [make_node(plan_databases, "physionet", "simulate")])


def plan_databases(simulation: SimulationParameters) -> dict[str, Callable[[Path], None]]:
    """Return, by database name, the function that writes it into a folder."""
    from cnns_spectrograms.ecg.simulation import Database, simulate_database

    sizes: dict[Database, int] = {
        "mitdb": simulation.n_mitdb_records,
        "svdb": simulation.n_svdb_records,
    }
    given = partial(simulate_database, duration_s=simulation.duration_s, seed=simulation.seed)
    return {db: partial(given, db=db, n_records=n_records) for db, n_records in sizes.items()}
