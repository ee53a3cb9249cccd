"""Inference: a trained model on your own recordings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.parameters import ExecutionParameters, InferenceParameters
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node


def create_pipeline() -> Pipeline:
    """Return the pipeline that analyses your own recordings."""
    node = make_node(predict_own, "inference_summary", reads={"folder": "inference_folder"})
    return join_nodes("inference", [node])


def predict_own(
    inference: InferenceParameters, execution: ExecutionParameters, folder: Path
) -> pd.DataFrame:
    """Analyse recordings, write the results into a folder, and return one row per recording.

    Raises:
        ValueError: no recording is given or can be analysed, or there is no such model.
    """
    import tempfile

    from cnns_spectrograms.inference.batch import predict_recordings
    from cnns_spectrograms.tracking.model_store import resolve_model

    if not inference.recordings:
        raise ValueError(
            "inference.recordings names no recording; give one, as in "
            "--params=inference.recordings=/path/to/record"
        )
    with tempfile.TemporaryDirectory() as scratch:
        model = resolve_model(inference.model, Path(scratch))
        table = predict_recordings(
            inference, folder, model, execution.n_jobs, execution.backend, execution.address
        )
    if (table["error"] != "").all():
        first = table.iloc[0]
        raise ValueError(
            f"no recording could be analysed; the first: {first['recording']}: {first['error']}"
        )
    return table
