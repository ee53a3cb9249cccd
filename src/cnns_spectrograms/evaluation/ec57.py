"""Beat-by-beat comparison of annotations as ANSI/AAMI EC57 asks for it, and its statistics.

The algorithm is that of `bxb`, the comparator of the WFDB software package that implements the
standard (Moody, WFDB Applications Guide, bxb(1)); each rule below names what bxb does. A matrix is
(7, 7), rows the reference and columns the test annotations, both in the order of EC57_LABELS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASS_OF_SYMBOL, AAMI_CLASSES

EC57_LABELS: tuple[str, ...] = (*AAMI_CLASSES, "O", "X")
"""The five classes; O, no beat where the other side has one; X, the same within a shutdown."""

MATCH_WINDOW_S = 0.15
"""Largest distance of two annotations of one beat, s (bxb(1), option -w)."""

LEARNING_PERIOD_S = 300.0
"""What a detector may have to learn from, s, and is not judged on (bxb(1), option -f)."""

# Beats that the project's mapping leaves out are counted here as bxb counts them.
_LABEL_OF_SYMBOL = {**AAMI_CLASS_OF_SYMBOL, "B": "N", "n": "S", "r": "V", "?": "Q"}

_N_CLASSES = len(AAMI_CLASSES)
_O, _X = EC57_LABELS.index("O"), EC57_LABELS.index("X")
_SHUTDOWN_BITS = 0x30  # of a noise annotation's subtype: neither signal can be read

Intervals = Sequence[tuple[float, float]]


def match_beats(
    reference: ArrayLike, test: ArrayLike, window: float, start: float = 0
) -> NDArray[np.int64]:
    """Pair the beats of two lists, each with at most one of the other.

    Of the two annotations that come next, the earlier is paired with the other's if they are no
    further apart than the window and the other is nearer to it than to the earlier's own
    successor; else it stays alone. So bxb does, with its rules for the border of the learning
    period: a test annotation before it may match the first reference beat after it, and one just
    after it is passed over if the next fits that beat better.

    Args:
        reference: times of the reference beats, ascending, (n,), any unit.
        test: times of the test beats, ascending, (m,), the same unit.
        window: largest distance of a pair, the same unit.
        start: end of the learning period; reference beats before it are left out.

    Returns:
        (k, 2) positions in `reference` and `test`, -1 where a beat has no partner, in time order.

    Raises:
        ValueError: a list descends.
    """
    ref, tst = (np.asarray(each, dtype=np.float64) for each in (reference, test))
    for name, times in (("reference", ref), ("test", tst)):
        if (np.diff(times) < 0).any():
            at = int(np.argmax(np.diff(times) < 0)) + 1
            raise ValueError(f"{name} beat {at} lies before the one before it; sort them by time")
    pairs: list[tuple[int, int]] = []
    i, n = int(np.searchsorted(ref, start)), len(ref)
    j, m = int(np.searchsorted(tst, start)), len(tst)

    def distance(a: int, b: int) -> float:
        return abs(ref[a] - tst[b]) if a < n and b < m else np.inf

    if start > 0 and i < n:
        if j > 0 and distance(i, j - 1) <= window and distance(i, j - 1) < distance(i, j):
            pairs.append((i, j - 1))
            i += 1
        elif j < m and tst[j] - start <= window and distance(i, j + 1) < distance(i, j):
            j += 1
    while i < n or j < m:
        if j < m and (i >= n or tst[j] < ref[i]):
            if distance(i, j) <= window and distance(i, j) < distance(i, j + 1):
                pairs.append((i, j))
                i, j = i + 1, j + 1
            else:
                pairs.append((-1, j))
                j += 1
        elif distance(i, j) <= window and distance(i, j) < distance(i + 1, j):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        else:
            pairs.append((i, -1))
            i += 1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def compare_beats(
    reference: ArrayLike,
    reference_classes: Sequence[str],
    test: ArrayLike,
    test_classes: Sequence[str],
    fs: float,
    *,
    start_s: float = 0,
    vf: Intervals = (),
    reference_shutdown: Intervals = (),
    test_shutdown: Intervals = (),
) -> NDArray[np.int64]:
    """Count how test annotations of one record agree with the reference.

    Args:
        reference: R peaks of the reference, samples, ascending, (n,).
        reference_classes: their AAMI classes.
        test: R peaks of the test annotations, samples, ascending, (m,).
        test_classes: their AAMI classes.
        fs: sampling rate of both, Hz.
        start_s: end of the learning period, s; LEARNING_PERIOD_S is the standard's, 0 takes all.
        vf: (first, last) sample of each episode of ventricular flutter or fibrillation in the
            reference: test beats without a partner are not counted there (bxb's rpann).
        reference_shutdown: stretches that the reference calls unreadable: test beats without a
            partner are X there, else O.
        test_shutdown: the same of the test annotations, for reference beats.

    Returns:
        int64 (7, 7). The corner of O and X is 0: nothing cannot be compared with nothing.

    Raises:
        ValueError: lengths differ, a class is unknown, or a list of beats descends.
    """
    ref, tst = np.asarray(reference), np.asarray(test)
    codes = []
    for name, samples, classes in (
        ("reference", ref, reference_classes),
        ("test", tst, test_classes),
    ):
        if len(samples) != len(classes):
            raise ValueError(
                f"{len(samples)} {name} beats and {len(classes)} classes; expected one a beat"
            )
        found = pd.Index(AAMI_CLASSES).get_indexer(pd.Index(list(classes), dtype=object))
        if (found < 0).any():
            bad = str(list(classes)[int(np.argmax(found < 0))])
            raise ValueError(f"{name} beats have class {bad!r}; expected {list(AAMI_CLASSES)}")
        codes.append(found)
    pairs = match_beats(ref, tst, MATCH_WINDOW_S * fs, start_s * fs)
    matrix = np.zeros((len(EC57_LABELS), len(EC57_LABELS)), dtype=np.int64)
    both = (pairs >= 0).all(axis=1)
    np.add.at(matrix, (codes[0][pairs[both, 0]], codes[1][pairs[both, 1]]), 1)
    missed = pairs[pairs[:, 1] < 0, 0]
    column = np.where(_within(ref[missed], test_shutdown), _X, _O)
    np.add.at(matrix, (codes[0][missed], column), 1)
    extra = pairs[pairs[:, 0] < 0, 1]
    extra = extra[~_within(tst[extra], vf)]
    row = np.where(_within(tst[extra], reference_shutdown), _X, _O)
    np.add.at(matrix, (row, codes[1][extra]), 1)
    return matrix


def compare_annotation_files(
    record: Path | str,
    test_extension: str,
    reference_extension: str = "atr",
    *,
    start_s: float = LEARNING_PERIOD_S,
) -> NDArray[np.int64]:
    """Compare two WFDB annotation files of one record, as `bxb -r RECORD -a REF TEST` does.

    Classes are those of the project's AAMI mapping, which counts escape beats (e, j) as N, where
    bxb counts them as S.

    Args:
        record: path of the record without extension; its header gives the sampling rate.
        test_extension: annotator of the test file.
        reference_extension: annotator of the reference.
        start_s: end of the learning period, s.

    Returns:
        int64 (7, 7), see `compare_beats`.

    Raises:
        FileNotFoundError: a file is missing.
    """
    import wfdb

    fs = float(wfdb.rdheader(str(record)).fs)
    reference = wfdb.rdann(str(record), reference_extension)
    test = wfdb.rdann(str(record), test_extension)
    vf = _find_vf(reference)
    ref_samples, ref_classes = _read_beats(reference, vf)
    test_samples, test_classes = _read_beats(test, _find_vf(test))
    return compare_beats(
        ref_samples,
        ref_classes,
        test_samples,
        test_classes,
        fs,
        start_s=start_s,
        vf=vf,
        reference_shutdown=_find_shutdown(reference),
        test_shutdown=_find_shutdown(test),
    )


def compute_statistics(matrix: ArrayLike) -> dict[str, dict[str, float | int | None]]:
    """Compute sensitivity, positive predictivity and false-positive rate of QRS, VEB and SVEB.

    As bxb prints them, where Nv is the cell of reference N and test V, and so on:

    * QRS: TP, all beats of both sides, whatever their classes; FN, the columns O and X; FP, the
      rows O and X.
    * VEB: TP Vv; FN, the rest of row V; FP, Nv + Sv + Ov + Xv: a fusion or unclassifiable beat
      called V is no error; TN, all that is not in row V or column V.
    * SVEB: TP Ss; FN, the rest of row S; FP, Ns + Vs + Fs + Os + Xs: an unclassifiable beat called
      S is no error; TN, all that is not in row S or column S.
    * sensitivity TP / (TP + FN), positive predictivity TP / (TP + FP), false-positive rate
      FP / (TN + FP). bxb prints the rate for VEB alone.

    Args:
        matrix: (7, 7) counts.

    Returns:
        For qrs, veb and sveb: tp, fn, fp, sensitivity, positive_predictivity, and for veb and sveb
        tn and false_positive_rate; None where a ratio has nothing to be of.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(EC57_LABELS),) * 2:
        raise ValueError(f"the matrix has shape {counts.shape}; expected {(len(EC57_LABELS),) * 2}")
    statistics = {
        "qrs": _rates(
            counts[:_N_CLASSES, :_N_CLASSES].sum(),
            counts[:_N_CLASSES, _N_CLASSES:].sum(),
            counts[_N_CLASSES:, :_N_CLASSES].sum(),
        )
    }
    for name, label, excused in (("veb", "V", "FQ"), ("sveb", "S", "Q")):
        k = EC57_LABELS.index(label)
        rows = [i for i, row in enumerate(EC57_LABELS) if row != label and row not in excused]
        outside = np.delete(np.delete(counts, k, axis=0), k, axis=1)
        true_negatives = outside[:, : _N_CLASSES - 1].sum()  # what was missed is no negative
        statistics[name] = _rates(
            counts[k, k], counts[k].sum() - counts[k, k], counts[rows, k].sum(), true_negatives
        )
    return statistics


def tabulate_records(matrices: Mapping[str, NDArray[np.int64]]) -> pd.DataFrame:
    """Return the statistics record by record, then gross and average.

    Gross statistics are those of the records' summed matrix, in which every beat counts alike; the
    average is over the records in which a statistic is defined, where every record does.

    Args:
        matrices: record -> (7, 7) counts; one or more.

    Returns:
        One row a record, then ``gross`` and ``average``: record, then ``{qrs,veb,sveb}_`` and tp,
        fn, fp (empty in the average), sensitivity, positive_predictivity, false_positive_rate
        (of veb and sveb); missing where undefined.

    Raises:
        ValueError: no matrix.
    """
    if not matrices:
        raise ValueError("no record to compare; give the matrix of one at least")
    gross = np.sum(list(matrices.values()), axis=0)
    rows = [
        {"record": name, **_flatten(compute_statistics(matrix))}
        for name, matrix in [*matrices.items(), ("gross", gross)]
    ]
    table = pd.DataFrame(rows).astype({column: float for column in rows[0] if column != "record"})
    rates = [name for name in table.columns if name.endswith(("sensitivity", "ivity", "rate"))]
    average = {"record": "average", **table.iloc[:-1][rates].mean().to_dict()}
    return pd.concat([table, pd.DataFrame([average])], ignore_index=True)


def _rates(tp: int, fn: int, fp: int, tn: int | None = None) -> dict[str, float | int | None]:
    def ratio(part: int, whole: int) -> float | None:
        return float(part / whole) if whole else None

    rates: dict[str, float | int | None] = {
        "tp": int(tp),
        "fn": int(fn),
        "fp": int(fp),
        "sensitivity": ratio(tp, tp + fn),
        "positive_predictivity": ratio(tp, tp + fp),
    }
    if tn is not None:
        rates |= {"tn": int(tn), "false_positive_rate": ratio(fp, tn + fp)}
    return rates


def _flatten(statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{kind}_{k}": v for kind, values in statistics.items() for k, v in values.items()}


def _within(samples: NDArray[Any], intervals: Intervals) -> NDArray[np.bool_]:
    inside = np.zeros(len(samples), dtype=bool)
    for first, last in intervals:
        inside |= (first <= samples) & (samples <= last)
    return inside


def _read_beats(annotation: Any, vf: Intervals) -> tuple[NDArray[np.int64], list[str]]:
    """Return samples and classes of the beats outside VF episodes."""
    samples = np.asarray(annotation.sample, dtype=np.int64)
    labels = [_LABEL_OF_SYMBOL.get(symbol) for symbol in annotation.symbol]
    keep = np.array([label is not None for label in labels], dtype=bool) & ~_within(samples, vf)
    return samples[keep], [str(labels[i]) for i in np.flatnonzero(keep)]


def _find_vf(annotation: Any) -> list[tuple[float, float]]:
    """Return the episodes from each ``[`` to the next ``]``, or to the end."""
    episodes: list[tuple[float, float]] = []
    began: float | None = None
    for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True):
        if symbol == "[" and began is None:
            began = float(sample)
        elif symbol == "]" and began is not None:
            episodes.append((began, float(sample)))
            began = None
    return episodes if began is None else [*episodes, (began, np.inf)]


def _find_shutdown(annotation: Any) -> list[tuple[float, float]]:
    """Return the stretches between a noise annotation of both signals and the next one."""
    stretches: list[tuple[float, float]] = []
    began: float | None = None
    marks = zip(annotation.sample, annotation.symbol, annotation.subtype, strict=True)
    for sample, symbol, subtype in marks:
        if symbol != "~":
            continue
        if began is not None:
            stretches.append((began, float(sample)))
            began = None
        if subtype & _SHUTDOWN_BITS == _SHUTDOWN_BITS:
            began = float(sample)
    return stretches if began is None else [*stretches, (began, np.inf)]
