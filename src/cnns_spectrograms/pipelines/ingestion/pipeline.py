"""The ingestion pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.namespaces import make_node

from .nodes import check_databases, ingest_records


def create_pipeline() -> Pipeline:
    """Return the pipeline from WFDB databases to `records`, `beats` and `signals`."""
    listed = ["physionet", "record_list", "params:ingestion", "params:execution"]
    made = ["signals", "beats", "records", "ingestion_report"]
    return Pipeline(
        [
            make_node(check_databases, ["physionet", "params:ingestion"], "record_list"),
            make_node(ingest_records, listed, made),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
