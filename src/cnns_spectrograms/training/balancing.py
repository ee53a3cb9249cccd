"""Balancing of the train split: SMOTE for class F, class weights, sampling weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.splits import check_no_leak
from cnns_spectrograms.ecg.windows import tabulate_windows
from cnns_spectrograms.parameters import BalancingParameters

logger = logging.getLogger(__name__)

SMOTE_CLASS = "F"


def select_smote_rows(windows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows SMOTE may learn from: the real windows of class F in train, maybe none."""
    is_real = (windows["split"] == "train") & ~windows["synthetic"].astype(bool)
    return windows[is_real & (windows["aami_class"] == SMOTE_CLASS)].reset_index(drop=True)


def smote_windows(
    x: NDArray[np.float32], factor: float, k_neighbors: int, seed: int
) -> NDArray[np.float32]:
    """Make synthetic windows of one class by SMOTE (Chawla et al. 2002, JAIR 16:321-357).

    Each synthetic window lies on the segment between a real window and one of its
    `k_neighbors` nearest real windows (Euclidean distance of samples).

    Args:
        x: real windows of the class, all from train, shape (n, n_samples), float32, mV.
        factor: size of the class afterwards in multiples of n, 1 or more.
        k_neighbors: neighbours to choose from; n - 1 of them where n is not larger than this.
        seed: equal seeds give equal windows.

    Returns:
        The synthetic windows alone, shape (m, n_samples), float32, mV, with
        m = round((factor - 1) * n). Empty with a logged warning where n is 0 or 1.
    """
    assert x.ndim == 2, x.shape
    assert np.isfinite(x).all(), "windows hold NaN or infinite samples"
    n, n_samples = x.shape
    n_synthetic = round((factor - 1) * n)
    if n < 2:
        logger.warning(
            "SMOTE needs 2 windows of class %s and train has %d: no synthetic window is made",
            SMOTE_CLASS,
            n,
        )
        n_synthetic = 0
    if n_synthetic == 0:
        return np.empty((0, n_samples), dtype=np.float32)
    if n <= k_neighbors:
        logger.warning(
            "SMOTE: train has %d windows of class %s, so %d neighbours are used, not %d",
            n,
            SMOTE_CLASS,
            n - 1,
            k_neighbors,
        )
        k_neighbors = n - 1

    from imblearn.over_sampling import SMOTE

    # imbalanced-learn grows one class towards a larger one, so it wants a second class as
    # large as the target. These blank rows are that class. They cannot reach the result:
    # SMOTE looks for neighbours within the class it grows.
    n_target = n + n_synthetic
    rows = np.concatenate([x, np.zeros((n_target, n_samples), dtype=x.dtype)])
    is_class = np.repeat([1, 0], [n, n_target])
    smote = SMOTE(sampling_strategy={1: n_target}, k_neighbors=k_neighbors, random_state=seed)
    grown, _ = smote.fit_resample(rows, is_class)
    # The rows given come first, unchanged and in order; the synthetic ones follow.
    return np.asarray(grown[len(rows) :], dtype=np.float32)


def make_smote_table(
    rr_s: NDArray[np.floating], n_samples: int, width: int | None = None
) -> pd.DataFrame:
    """Return rows in the form of the `windows` table for n synthetic windows of class F.

    ``start`` counts in the signal that all synthetic windows give end to end, each ``width``
    long, so that `WindowReader` finds window i there.

    Args:
        rr_s: RR intervals of the synthetic windows, s, (n, 4), in the order of ``RR_COLUMNS``.
        n_samples: length of the window itself, samples.
        width: length with the stretches of the further views, samples; None: there are none.

    Returns:
        Table with ``row_id`` ``smote_F_000000`` and on, db ``AUG``, split train.
    """
    n = len(rr_s)
    rows = pd.DataFrame(
        {
            "db": "AUG",
            "record_id": "smote",
            "patient_id": "synthetic",
            "beat_idx": np.full(n, -1),
            "sample": -1,
            "aami_class": SMOTE_CLASS,
        }
    )
    table = tabulate_windows(
        rows,
        row_id=[f"smote_{SMOTE_CLASS}_{i:06d}" for i in range(n)],
        start=np.arange(n, dtype=np.int64) * (n_samples if width is None else width),
        n_samples=n_samples,
        rr_s=rr_s,
        synthetic=True,
    )
    table.insert(1, "split", pd.Series(["train"] * n, dtype=str))
    return table.assign(path="train/AUG/" + table["row_id"] + ".png")


def count_classes(aami_class: Iterable[str]) -> pd.Series[int]:
    """Return how many rows each AAMI class has, in AAMI order, 0 for an absent one."""
    found = pd.Series(aami_class, dtype=object).value_counts(dropna=False)
    unknown = sorted(str(name) for name in found.index if name not in AAMI_CLASSES)
    assert not unknown, f"unknown AAMI class {unknown}"
    counts = found.reindex(list(AAMI_CLASSES), fill_value=0).astype("int64")
    return counts.rename("n").rename_axis("aami_class")


def class_weights(counts: pd.Series[int], beta: float) -> pd.Series[float]:
    """Return the class-balanced weights of Cui et al. (2019, CVPR, eq. 2 and 3).

    A class of n rows has weight (1 - beta) / (1 - beta**n), the inverse of its effective
    number of samples: 1 for each class at beta 0, 1 / n in the limit beta = 1. Weights are
    scaled so that those of the classes present average to 1; an absent class has 0.

    Args:
        counts: rows per class, from the train split.
        beta: 0 to 1.
    """
    n = counts.to_numpy(float)
    present = n > 0
    weights = np.zeros(len(n))
    if beta == 1:
        weights[present] = 1 / n[present]
    else:
        # expm1 keeps the digits that 1 - beta**n loses as beta comes near 1.
        log_beta = math.log(beta) if beta > 0 else -math.inf
        weights[present] = (1 - beta) / -np.expm1(n[present] * log_beta)
    weights[present] /= weights[present].mean()
    return pd.Series(weights, index=counts.index, name="class_weight")


def sampling_weights(aami_class: Iterable[str], minority_boost: float) -> NDArray[np.float64]:
    """Return how often each row is drawn, relative to the others.

    A row of the most frequent class has weight 1 (of two as frequent, the first in AAMI order), a
    row of any other class `minority_boost`, which is 1 or more.

    Returns:
        float64 (n,).
    """
    labels = np.asarray(list(aami_class), dtype=object)
    majority = count_classes(labels).idxmax()
    return np.where(labels == majority, 1.0, float(minority_boost))


def make_train_index(
    windows: pd.DataFrame, synthetic: pd.DataFrame, params: BalancingParameters
) -> pd.DataFrame:
    """Return the rows that training draws from, with their class and sampling weights.

    Classes are counted over the rows returned, that is over train alone, synthetic rows
    included. A row of any class but the most frequent is drawn ``minority_boost`` times as often
    as a row of that class, so the classes that the loss meets are not in these proportions.

    Args:
        windows: the `windows` table of real windows, all splits.
        synthetic: the table of `make_smote_table`, maybe empty.
        params: ``class_weight_beta`` and ``minority_boost``.

    Returns:
        The `train_index` table: the real windows of train, then the synthetic ones.

    Raises:
        LeakError: the two tables together fail `check_no_leak`.
    """
    assert not windows["synthetic"].any(), "windows holds synthetic rows"
    assert synthetic["synthetic"].all(), "synthetic holds real rows"
    assert (synthetic["aami_class"] == SMOTE_CLASS).all(), "SMOTE makes windows of class F alone"
    every = pd.concat([windows, synthetic[list(windows.columns)]], ignore_index=True)
    check_no_leak(every)
    index = every[every["split"] == "train"].reset_index(drop=True)
    assert not index["synthetic"].all(), "windows has no row in train"
    weights = class_weights(count_classes(index["aami_class"]), params.class_weight_beta)
    index["class_weight"] = index["aami_class"].map(weights.to_dict()).astype(float)
    index["sampling_weight"] = sampling_weights(index["aami_class"], params.minority_boost)
    return index
