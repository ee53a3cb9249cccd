"""Ingestion: WFDB databases become one table of beats and one signal per record."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.parameters import CORRECTED, ExecutionParameters, IngestionParameters
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node
from cnns_spectrograms.provenance import StampedSignals, hash_table, settings, stamp_table

logger = logging.getLogger(__name__)


def create_pipeline() -> Pipeline:
    """Return the pipeline from WFDB databases to `records`, `beats` and `signals`."""
    made = ["signals", "beats", "records", "ingestion_report"]
    nodes = [make_node(check_databases, "record_list"), make_node(ingest_records, made)]
    return join_nodes("ingestion", nodes)


def check_databases(physionet: Path, ingestion: IngestionParameters) -> pd.DataFrame:
    """Find out which records are there and intact, downloading what is missing.

    Returns:
        One row per record: db, record_id, and fault (what is wrong with its files, or '').

    Raises:
        FileNotFoundError: a whole database is missing, or a record and `on_bad_record` is 'raise'.
        DownloadError: a file is missing and PhysioNet cannot be reached.
        RecordError: a file differs from the database's checksums and `on_bad_record` is 'raise'.
    """
    from cnns_spectrograms.ecg.databases import (
        REFERENCE,
        find_missing_files,
        list_records,
        verify_checksums,
    )
    from cnns_spectrograms.ecg.download import DownloadError, download_database
    from cnns_spectrograms.recordings.errors import RecordError

    rows = []
    for db, records in ingestion.databases.items():
        wanted = None if records is None else list(records)
        folder = physionet / db
        missing = find_missing_files(folder, wanted)
        if missing and ingestion.download:
            logger.info("%s lacks %s: downloading", folder, _shorten(missing))
            try:
                with _naming_missing(folder, missing):
                    download_database(db, folder, wanted)
            except DownloadError as error:
                if ingestion.on_bad_record == "raise":
                    raise
                logger.warning("%s", error)
            missing = find_missing_files(folder, wanted)
        lost = {name.rsplit(".", 1)[0]: f"{name} is missing" for name in missing}
        if wanted is None:  # of a database that is missing, nothing is known
            wanted = [] if "RECORDS" in missing else list_records(folder)
        if missing and (ingestion.on_bad_record == "raise" or set(wanted) <= set(lost)):
            raise FileNotFoundError(
                f"database '{db}': {folder} lacks {_shorten(missing)}; point the parameter "
                f"'physionet' to the folder that holds '{db}', set ingestion.download to true, or "
                f"(for single records) ingestion.on_bad_record to skip; where the beats are not in "
                f".{REFERENCE} files, name their ending in a file ANNOTATORS in {folder}"
            )
        damaged = verify_checksums(folder, wanted)
        if damaged and ingestion.on_bad_record == "raise":
            raise RecordError(
                f"database '{db}', {len(damaged)} records: {'; '.join(damaged.values())}; or set "
                f"ingestion.on_bad_record to skip"
            )
        faults = damaged | lost
        rows += [
            {"db": db, "record_id": record_id, "fault": faults.get(record_id, "")}
            for record_id in wanted
        ]
    if ingestion.corrections is not None:
        rows += _list_corrected(Path(ingestion.corrections))
    return pd.DataFrame(rows, columns=["db", "record_id", "fault"])


def _list_corrected(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the record list for corrected recordings."""
    from cnns_spectrograms.ecg.databases import find_missing_files, list_records, read_patients

    record_ids = list_records(folder)
    missing = find_missing_files(folder, record_ids)
    nobodys = sorted(set(record_ids) - set(read_patients(folder)))
    if missing or nobodys:
        raise FileNotFoundError(
            f"ingestion.corrections: {folder} lacks {_shorten(missing + nobodys)} (a file, or a "
            f"record in PATIENTS); write the recording again in the app, or take it out of RECORDS"
        )
    return [{"db": CORRECTED, "record_id": each, "fault": ""} for each in record_ids]


def check_downloads(physionet: Path, ingestion: IngestionParameters) -> None:
    """Check that PhysioNet answers, if `check_databases` will have to download.

    Raises:
        DownloadError: a file is missing and PhysioNet cannot be reached.
    """
    from cnns_spectrograms.ecg.databases import find_missing_files
    from cnns_spectrograms.ecg.download import check_reachable

    for db, wanted in ingestion.databases.items() if ingestion.download else ():
        if missing := find_missing_files(physionet / db, wanted):
            with _naming_missing(physionet / db, missing):
                check_reachable(db)
            return


@contextmanager
def _naming_missing(folder: Path, missing: Sequence[str]) -> Iterator[None]:
    from cnns_spectrograms.ecg.download import DownloadError

    try:
        yield
    except DownloadError as error:
        raise DownloadError(
            f"{folder} lacks {_shorten(missing)}, and {error}. For a database that PhysioNet does "
            f"not have, set ingestion.download to false"
        ) from error


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def ingest_records(
    physionet: Path,
    record_list: pd.DataFrame,
    ingestion: IngestionParameters,
    execution: ExecutionParameters,
) -> tuple[StampedSignals, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read every record: return `signals`, `beats`, `records` and the report."""
    from cnns_spectrograms.ecg.records import read_records, summarise_records
    from cnns_spectrograms.ecg.windows import record_keys

    signals, beats, records = read_records(physionet, record_list, ingestion, execution.n_jobs)
    report = summarise_records(records, beats)
    for line in report["skipped"]:
        logger.warning("skipped %s/%s: %s", line["db"], line["record_id"], line["reason"])
    fewer = records[(records["status"] == "ok") & (records["n_leads"] < ingestion.n_leads)]
    if len(fewer):
        named = _shorten(record_keys(fewer).tolist())
        logger.warning(
            "%d records have fewer than %d leads that are called ECG and are whole: %s",
            *(len(fewer), ingestion.n_leads, named),
        )
    logger.info("beats by class: %s", report["beats_by_class"])
    data = {"records": hash_table(records), "beats": hash_table(beats)}
    made_of = {**settings(ingestion=ingestion), "data": data}
    stamped = stamp_table(beats, made_of), stamp_table(records, made_of)
    return StampedSignals(signals, made_of), *stamped, report
