"""The ingestion pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import check_databases, ingest_records


def create_pipeline() -> Pipeline:
    """Return the pipeline from WFDB databases to `records`, `beats` and `signals`."""
    return Pipeline(
        [
            Node(
                check_databases,
                inputs=["physionet", "params:ingestion"],
                outputs="record_list",
                name="check_databases",
            ),
            Node(
                ingest_records,
                inputs=["physionet", "record_list", "params:ingestion", "params:execution"],
                outputs=["signals", "beats", "records", "ingestion_report"],
                name="ingest_records",
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
