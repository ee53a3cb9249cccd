"""Parts of a split that are scored on their own: by database, and by lists of records."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.parameters import SubsetParameters


def select_subsets(
    rows: pd.DataFrame, subsets: Mapping[str, SubsetParameters]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Select what is scored on its own.

    Args:
        rows: predictions of one split; reads db, record_id, aami_class.
        subsets: name -> records and classes.

    Returns:
        The rows by name: `all`, then each database where there are several, then the given
        subsets; and for each given subset that cannot be had here, the reason.
    """
    selected = {"all": rows}
    databases = sorted(rows["db"].astype(str).unique())
    if len(databases) > 1:
        selected |= {db: rows[rows["db"] == db].reset_index(drop=True) for db in databases}
    left_out = {}
    keys = rows["db"].astype(str) + "/" + rows["record_id"].astype(str)
    present = set(keys)
    for name, subset in subsets.items():
        wanted = [f"{db}/{record}" for db, records in subset.records.items() for record in records]
        missing = [record for record in wanted if record not in present]
        if missing:
            shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            left_out[name] = (
                f"{len(missing)} of its {len(wanted)} records are not tested here ({shown})"
            )
            continue
        in_subset = keys.isin(wanted) & rows["aami_class"].isin(subset.classes)
        if not in_subset.any():
            left_out[name] = f"its records hold no beat of {', '.join(subset.classes)}"
            continue
        selected[name] = rows[in_subset].reset_index(drop=True)
    return selected, left_out


def describe_subset(name: str, subsets: Mapping[str, SubsetParameters]) -> str:
    """Return in words what a subset of `select_subsets` holds."""
    if name in subsets:
        left = [c for c in AAMI_CLASSES if c not in subsets[name].classes]
        without = f"; beats of {', '.join(left)} are left out of the truth" if left else ""
        return subsets[name].description + without
    return "the whole test split" if name == "all" else f"the test records of {name}"
