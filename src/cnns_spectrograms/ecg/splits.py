"""Splits by patient: who trains, validates and tests, and the check that nobody does two."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.windows import record_keys
from cnns_spectrograms.parameters import CORRECTED, SPLITS, SplitParameters

logger = logging.getLogger(__name__)

_N_NAMED = 5  # offenders an error names before it only counts them


class LeakError(ValueError):
    """Data of one split would reach another: a result on it would be worth nothing."""


def name_corrected(db: str, record: str) -> str:
    """Return the name of a corrected record in `CORRECTED`: no other database has one like it."""
    return f"{db}-{re.sub(r'[^A-Za-z0-9_]+', '_', record)}"


def assign_splits(
    windows: pd.DataFrame, params: SplitParameters, *, skipped: Collection[str] = ()
) -> pd.DataFrame:
    """Return the windows with their split and path; windows of ``unused`` records are dropped.

    Records of the database `CORRECTED` need no list: they go to train, and the record that each
    is a corrected version of (`name_corrected`) is then unused if it is in train.

    Args:
        windows: the `windows` table without ``split`` and ``path``.
        params: the protocol: each record of each database in one split, or ``unused``.
        skipped: records (``db/record_id``) that the protocol lists and that may be absent,
            because they could not be read.

    Returns:
        The `windows` table, with ``split`` and ``path`` (``split/db/row_id.png``).

    Raises:
        ValueError: a record of `windows` is listed nowhere, or a record of train, val or test
            has no window and is not in `skipped`.
        LeakError: the lists put one patient in two splits, see `check_no_leak`; a record of val or
            test has a corrected version, which would train; or that is of another patient.
    """
    split_of: dict[str, str] = {
        f"{db}/{record_id}": split
        for db, lists in params.records.items()
        for split, record_ids in lists.items()
        for record_id in record_ids
    }
    keys = record_keys(windows)
    present = set(keys.unique())
    originals = {name_corrected(*key.split("/", 1)): key for key in split_of}
    patient_of = dict(zip(keys, windows["patient_id"], strict=True))
    for record_id in sorted(windows.loc[windows["db"] == CORRECTED, "record_id"].unique()):
        split_of[f"{CORRECTED}/{record_id}"] = "train"
        original = originals.get(record_id, "")
        split = split_of.get(original, "unused")
        patient = patient_of[f"{CORRECTED}/{record_id}"]
        if split not in ("train", "unused"):
            raise LeakError(
                f"{original} is in {split}, and its corrected version {CORRECTED}/{record_id} "
                f"would train; list {original} in split.records under train or unused, or take "
                f"{record_id} out of RECORDS and PATIENTS of the corrected recordings"
            )
        if patient_of.get(original, patient) != patient:
            raise LeakError(
                f"{CORRECTED}/{record_id} is of patient {patient}, and {original}, which it "
                f"corrects, of {patient_of[original]}; correct PATIENTS of the corrected "
                f"recordings, or the patient in ingestion.databases"
            )
        if split == "train":
            split_of[original] = "unused"
            logger.info("%s takes the place of %s in train", record_id, original)
    if unlisted := sorted(present - split_of.keys()):
        raise ValueError(
            f"{len(unlisted)} records are in no split of protocol '{params.protocol}': "
            f"{', '.join(unlisted)}; list each in split.records under train, val, test or unused"
        )
    wanted = {key for key, split in split_of.items() if split != "unused"}
    if absent := sorted(wanted - present - set(skipped)):
        raise ValueError(
            f"{len(absent)} records of protocol '{params.protocol}' have no window: "
            f"{', '.join(absent)}; ingest them, or list them in split.records as unused"
        )

    splits = keys.map(split_of)
    unused = keys[splits == "unused"].value_counts().sort_index()
    if len(unused):
        named = ", ".join(f"{key} ({n})" for key, n in unused.items())
        logger.info("Dropped %d windows of unused records: %s", unused.sum(), named)
    table = windows.copy()
    table.insert(1, "split", splits)
    table = table[splits != "unused"].reset_index(drop=True)
    table["path"] = table["split"] + "/" + table["db"] + "/" + table["row_id"] + ".png"
    for split in SPLITS:
        n_windows = int((table["split"] == split).sum())
        level = logging.INFO if n_windows else logging.WARNING
        logger.log(level, "Protocol %s: %d windows in %s", params.protocol, n_windows, split)
    check_no_leak(table)
    return table


def check_no_leak(windows: pd.DataFrame) -> None:
    """Fail if a patient or record is in two splits, or a synthetic row outside train.

    Also fails on a repeated ``row_id`` or ``path``: one image would then belong to two rows.

    Args:
        windows: the `windows` table, or the `train_index`.

    Raises:
        LeakError: names the patients, splits, records or rows.
    """
    placed = windows[["db", "record_id", "patient_id", "split"]].drop_duplicates()
    placed = placed.assign(record=record_keys(placed))
    for what, owner in (("patient", "patient_id"), ("record", "record")):
        n_splits = placed.groupby(owner)["split"].nunique()
        torn = n_splits.index[n_splits > 1]
        _refuse(
            [f"{each} in {_describe_places(placed[placed[owner] == each])}" for each in torn],
            f"{what}(s) in more than one split",
            f"put all windows of a {what} in one split, or its other records in unused",
            separator="; ",
        )
    strays = windows[windows["synthetic"].astype(bool) & (windows["split"] != "train")]
    _refuse(
        [f"{row} ({split})" for row, split in zip(strays.row_id, strays.split, strict=True)],
        "synthetic row(s) outside train",
        "synthetic windows may only be in train",
    )
    for column in ("row_id", "path"):
        _refuse(
            windows.loc[windows[column].duplicated(), column].unique().tolist(),
            f"value(s) of {column} stand in more than one row",
            "record names must differ between databases, and beat_idx within a record",
        )


def check_signals(windows: pd.DataFrame, records: pd.DataFrame) -> None:
    """Fail if two records of the same signals, under whatever names, are in two splits.

    Args:
        windows: the `windows` table.
        records: the `records` table.

    Raises:
        LeakError: names the records.
    """
    signals = dict(zip(record_keys(records), records["signal_sha256"], strict=True))
    placed = windows[["db", "record_id", "split"]].drop_duplicates()
    placed = placed.assign(record=record_keys(placed))
    placed["signal"] = placed["record"].map(signals)
    n_splits = placed[placed["signal"] != ""].groupby("signal")["split"].nunique()
    _refuse(
        [
            _describe_places(placed[placed["signal"] == each])
            for each in n_splits.index[n_splits > 1]
        ],
        "recording(s) in more than one split under several names",
        "list all records but one of each as unused",
        separator="; ",
    )


def _refuse(found: list[str], fault: str, advice: str, separator: str = ", ") -> None:
    """Raise a LeakError that names the first of what is found, if anything is."""
    if found:
        more = f" and {len(found) - _N_NAMED} more" if len(found) > _N_NAMED else ""
        named = separator.join(found[:_N_NAMED]) + more
        raise LeakError(f"{len(found)} {fault}: {named}; {advice}")


def _describe_places(placed: pd.DataFrame) -> str:
    """Return text such as "train (mitdb/201), test (mitdb/202)"."""
    records = placed.groupby("split")["record"].unique()
    return ", ".join(
        f"{split} ({' '.join(sorted(records[split]))})" for split in SPLITS if split in records
    )


def stratified_record_split(
    counts: pd.DataFrame,
    fractions: Mapping[str, float],
    seed: int,
    *,
    pinned: Mapping[str, str] | None = None,
    patients: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Share records out over splits so that each split gets its fraction of every class.

    Greedy stratification after Sechidis, Tsoumakas and Vlahavas (2011, "On the stratification
    of multi-label data"), with whole patients in the place of rows and counts in the place of
    labels. A record's beats of a class count as a share of all beats of that class, so a rare
    class weighs as much as N. Records go richest first, that is by the sum of their shares,
    each to the split that is furthest below its fraction in the classes the record holds,
    with half of the record already added and relative to the fraction.

    A class that one patient alone holds goes to train. So does the last patient left with a
    class that train lacks, unless a split would then stay empty.

    Args:
        counts: beats by class, index ``record_id``, one column per class.
        fractions: wanted fraction of each split, train among them; they sum to 1.
        seed: orders records whose shares are equal.
        pinned: record -> split, decided beforehand; these count towards the fractions.
        patients: record -> patient, for records whose patient has several; records of one
            patient stay together.

    Returns:
        split -> its records, sorted. Each split has at least one.

    Raises:
        ValueError: the fractions are not as above; records are repeated or unknown; `pinned` puts
            a patient into two splits; or there is no way to fill every split.
    """
    pinned = pinned or {}
    names = list(fractions)
    if fault := _find_split_fault(counts, fractions, pinned):
        raise ValueError(fault)
    wanted = np.array([fractions[name] for name in names])
    train = names.index("train")

    patient_of = {str(record): str((patients or {}).get(record, record)) for record in counts.index}
    by_patient = counts.groupby(list(patient_of.values()), sort=True).sum()
    totals = by_patient.sum().to_numpy(float)
    shares = by_patient.to_numpy(float) / np.where(totals > 0, totals, 1)

    split_of: dict[str, int] = {}  # position in `names`, by patient
    for record, name in pinned.items():
        placed = split_of.setdefault(patient_of[record], names.index(name))
        if names[placed] != name:
            raise ValueError(
                f"pinned puts patient {patient_of[record]} into {names[placed]} and into {name} "
                f"(record {record}); keep the records of a patient in one split"
            )
    filled = np.zeros((len(names), counts.shape[1]))
    for patient, k in split_of.items():
        filled[k] += shares[by_patient.index.get_loc(patient)]

    alone = (shares == 1).any(axis=1)
    order = np.random.default_rng(seed).permutation(len(shares))
    # Rounded, so that equal records tie whatever the order of the sum.
    order = order[np.lexsort((-shares[order].sum(axis=1).round(12), ~alone[order]))]
    left = [row for row in order if by_patient.index[row] not in split_of]
    while left:
        row = left.pop(0)
        empty = [k for k in range(len(names)) if k not in split_of.values()]
        last_chance = (shares[row] > 0) & (filled[train] == 0) & (shares[left].sum(axis=0) == 0)
        if alone[row]:
            choices = [train]
        elif len(left) < len(empty):
            choices = empty
        elif last_chance.any():
            choices = [train]
        else:
            choices = list(range(len(names)))
        fullness = (filled[choices] + shares[row] / 2) @ shares[row] / wanted[choices]
        chosen = choices[int(np.argmin(fullness.round(12)))]
        split_of[by_patient.index[row]] = chosen
        filled[chosen] += shares[row]

    result = {
        name: sorted(record for record, patient in patient_of.items() if split_of[patient] == k)
        for k, name in enumerate(names)
    }
    if bare := [name for name, record_ids in result.items() if not record_ids]:
        raise ValueError(
            f"no record is left for {', '.join(bare)}: {len(by_patient)} patients cannot fill "
            f"{len(names)} splits with these pins and these classes that one patient alone "
            "holds; give more records or fewer splits"
        )
    return result


def _find_split_fault(
    counts: pd.DataFrame, fractions: Mapping[str, float], pinned: Mapping[str, str]
) -> str:
    """Return what is wrong with the arguments of `stratified_record_split`, or ''."""
    names, smallest, total = set(fractions), min(fractions.values()), sum(fractions.values())
    if repeated := counts.index[counts.index.duplicated()].tolist():
        return f"counts has several rows of {repeated}; expected one row per record"
    if not {"train"} <= names <= set(SPLITS) or smallest <= 0 or abs(total - 1) > 1e-9:
        return (
            f"fractions is {dict(fractions)}; expected positive fractions of {', '.join(SPLITS)}, "
            f"train among them, that sum to 1"
        )
    if not set(pinned) <= set(counts.index) or not set(pinned.values()) <= names:
        return (
            f"pinned is {dict(pinned)}; expected records of counts, each with one of the splits "
            f"{', '.join(fractions)}"
        )
    return ""
