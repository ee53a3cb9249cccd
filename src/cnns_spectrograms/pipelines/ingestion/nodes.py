"""Nodes of the ingestion pipeline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnns_spectrograms.parameters import ExecutionParameters, IngestionParameters

logger = logging.getLogger(__name__)


def check_databases(physionet: Path, ingestion: IngestionParameters) -> pd.DataFrame:
    """Make sure that every wanted record is there and intact, downloading what is missing.

    Returns:
        One row a record: db, record_id.

    Raises:
        FileNotFoundError: A record is missing and `download` is off.
        DownloadError: A record is missing and PhysioNet cannot be reached.
        ValueError: A file differs from the database's SHA256SUMS.
    """
    from cnns_spectrograms.ecg.download import download_database
    from cnns_spectrograms.ecg.records import find_missing_files, list_records, verify_checksums

    rows = []
    for db, wanted in ingestion.databases.items():
        folder = physionet / db
        missing = find_missing_files(folder, wanted)
        if missing and ingestion.download:
            logger.info("%s: %d files are missing, downloading", folder, len(missing))
            download_database(db, folder, wanted)
        elif missing:
            shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            raise FileNotFoundError(
                f"database '{db}': {len(missing)} files are missing in {folder} ({shown}); point "
                f"the parameter 'physionet' to the folder that holds '{db}', or set "
                f"'ingestion.download' to true"
            )
        record_ids = wanted if wanted is not None else list_records(folder)
        verify_checksums(folder, record_ids)
        rows += [{"db": db, "record_id": record_id} for record_id in record_ids]
    return pd.DataFrame(rows, columns=["db", "record_id"])


def ingest_records(
    physionet: Path,
    record_list: pd.DataFrame,
    ingestion: IngestionParameters,
    execution: ExecutionParameters,
) -> tuple[dict[str, np.ndarray], pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read every record: one lead at the target rate, its beats and its description.

    Returns:
        `signals` (by "db/record_id", float32 mV), `beats`, `records` and the report.

    Raises:
        RecordError: A record cannot be used and `on_bad_record` is 'raise'.
    """
    from cnns_spectrograms.ecg.records import read_records, summarise_records

    signals, beats, records = read_records(
        physionet,
        record_list,
        fs=ingestion.fs,
        preferred_lead=ingestion.preferred_lead,
        skip_bad=ingestion.on_bad_record == "skip",
        n_jobs=execution.n_jobs,
    )
    report = summarise_records(records, beats)
    for line in report["skipped"]:
        logger.warning("skipped %s/%s: %s", line["db"], line["record_id"], line["reason"])
    logger.info("beats by class: %s", report["beats_by_class"])
    return signals, beats, records, report
