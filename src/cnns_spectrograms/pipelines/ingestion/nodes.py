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
    """Find out which records are there and intact, downloading what is missing.

    Returns:
        One row a record: db, record_id, and fault (what is wrong with its files, or '').

    Raises:
        FileNotFoundError: A whole database is missing, or a record and `on_bad_record` is 'raise'.
        DownloadError: A file is missing and PhysioNet cannot be reached.
        RecordError: A file differs from the database's SHA256SUMS and `on_bad_record` is 'raise'.
    """
    from cnns_spectrograms.ecg.download import DownloadError, download_database
    from cnns_spectrograms.ecg.records import (
        RecordError,
        find_missing_files,
        list_records,
        verify_checksums,
    )

    rows = []
    for db, records in ingestion.databases.items():
        wanted = None if records is None else list(records)
        folder = physionet / db
        missing = find_missing_files(folder, wanted)
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        if missing and ingestion.download:
            logger.info("%s lacks %s: downloading", folder, shown)
            try:
                download_database(db, folder, wanted)
            except DownloadError as error:
                raise DownloadError(f"{folder} lacks {shown}, and {error}") from error
            missing = []
        lost = {name: name.rsplit(".", 1)[0] for name in missing}
        if wanted is not None:
            record_ids = wanted
        else:  # of a database that is missing, nothing is known
            record_ids = [] if "RECORDS" in missing else list_records(folder)
        everything = not set(record_ids) - set(lost.values())
        if missing and (everything or ingestion.on_bad_record == "raise"):
            raise FileNotFoundError(
                f"database '{db}': {folder} lacks {shown}; point the parameter 'physionet' to the "
                f"folder that holds '{db}', set ingestion.download to true, or"
                f" (for single records) ingestion.on_bad_record to skip"
            )
        faults = verify_checksums(folder, record_ids)
        if faults and ingestion.on_bad_record == "raise":
            raise RecordError(
                f"database '{db}', {len(faults)} records: {'; '.join(faults.values())}; or set "
                f"ingestion.on_bad_record to skip"
            )
        for name, record_id in lost.items():
            faults[record_id] = f"{name} is missing"
        rows += [
            {"db": db, "record_id": record_id, "fault": faults.get(record_id, "")}
            for record_id in record_ids
        ]
    return pd.DataFrame(rows, columns=["db", "record_id", "fault"])


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
        known=ingestion.known_records(),
    )
    report = summarise_records(records, beats)
    for line in report["skipped"]:
        logger.warning("skipped %s/%s: %s", line["db"], line["record_id"], line["reason"])
    logger.info("beats by class: %s", report["beats_by_class"])
    return signals, beats, records, report
