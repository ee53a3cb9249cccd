"""ANSI/AAMI EC57 beat-by-beat comparison of two sets of beat annotations, as WFDB's `bxb` does it.

EC57 names `bxb` as the reference implementation of its beat-by-beat statistics (EC57:1998,
section 4.2). Its description here follows its manual page (WFDB Applications Guide, bxb(1)),
those of sumstats(1) for several records, and "Evaluating ECG Analyzers" in the same guide.

Shapes: a matrix is (7, 7), rows the reference labels N S V F Q O X, columns the test labels in the
same order (EC57:1998, Table 3, with the SVEB row and column of `bxb -S`). Element "Vn" of the
standard is row V, column N. O marks a beat that the other side lacks, X one that it lacks because
it was shut down; the corner of O and X is always 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASS_OF_SYMBOL, AAMI_CLASSES
from cnns_spectrograms.ecg.windows import record_keys

EC57_LABELS: tuple[str, ...] = (*AAMI_CLASSES, "O", "X")
"""Labels of the rows and columns of a matrix."""

MATCH_WINDOW_S = 0.15
"""Greatest difference in time of two annotations of one beat, s (bxb(1), option -w)."""

LEARNING_PERIOD_S = 300.0
"""Beginning of a record that is not scored, s (bxb(1), option -f)."""

_SHUTDOWN_BITS = 0x30  # both signals unreadable, in the subtype of a "~" annotation
_FAR = 2**62  # the time of the annotation after the last, as bxb has it


@dataclass(frozen=True, eq=False)
class Annotations:
    """Beats of one record in time order, with the intervals that change how they are counted.

    Attributes:
        sample: `(n_beats,)` int64, position of each beat, samples.
        label: `(n_beats,)` AAMI class of each beat, one letter.
        vf: (first, last) sample of each episode of ventricular flutter or fibrillation.
        shutdown: (first, last) sample of each interval in which the signals could not be read.
    """

    sample: NDArray[np.int64]
    label: NDArray[np.str_]
    vf: Sequence[tuple[int, int]] = field(default=())
    shutdown: Sequence[tuple[int, int]] = field(default=())

    def __post_init__(self) -> None:
        assert self.sample.ndim == 1
        assert self.sample.shape == self.label.shape
        assert set(self.label.tolist()) <= set(AAMI_CLASSES)


def make_annotations(sample: ArrayLike, label: Sequence[str] | ArrayLike) -> Annotations:
    """Return beats as annotations, in time order, with no episode and no shutdown."""
    samples = np.asarray(sample, dtype=np.int64)
    order = np.argsort(samples, kind="stable")
    return Annotations(samples[order], np.asarray(label, dtype=str)[order])


def annotations_from_symbols(
    sample: ArrayLike,
    symbol: Sequence[str],
    subtype: ArrayLike | None = None,
    *,
    fs: float,
) -> Annotations:
    """Return the beats, episodes and shutdowns of an annotation file.

    As in `bxb`: whatever stands between `[` and `]` is left out; a `~` annotation with bits 4 and
    5 of its subtype set begins a shutdown, and one without them ends it. One that is followed by
    anything else marks a shutdown between the beats around it, less a match window on each side.
    Unlike there, a supraventricular escape beat (e, j, n) is N, as in de Chazal 2004, not S.

    Args:
        sample: `(n,)` position of each annotation, samples, in time order.
        symbol: WFDB symbol of each.
        subtype: of each; None for zeros.
        fs: sampling rate, Hz.
    """
    samples = np.asarray(sample, dtype=np.int64)
    subtypes = np.zeros(len(samples), int) if subtype is None else np.asarray(subtype, dtype=int)
    window = _window_samples(fs)
    beats: list[int] = []
    labels: list[str] = []
    vf: list[tuple[int, int]] = []
    shutdown: list[tuple[int, int]] = []
    vf_on: int | None = None
    shutdown_on: int | None = None
    last_end = 0  # of the beat or episode before
    for at, name, sub in zip(samples.tolist(), symbol, subtypes.tolist(), strict=True):
        is_shutdown = name == "~" and (sub & _SHUTDOWN_BITS) == _SHUTDOWN_BITS
        if shutdown_on is not None:
            if name == "~" and not is_shutdown:
                shutdown.append((shutdown_on, at))
            else:
                first = last_end + window
                shutdown.append((min(first, at - window), at - window))
            shutdown_on = None
        if vf_on is not None:
            if name == "]":
                vf.append((vf_on, at))
                vf_on, last_end = None, at
            continue
        if name == "[":
            vf_on = at
        elif is_shutdown:
            shutdown_on = at
        elif name in AAMI_CLASS_OF_SYMBOL:
            beats.append(at)
            labels.append(AAMI_CLASS_OF_SYMBOL[name])
            last_end = at
    if vf_on is not None:
        vf.append((vf_on, _FAR))
    if shutdown_on is not None:
        shutdown.append((shutdown_on, _FAR))
    return Annotations(np.array(beats, np.int64), np.array(labels, str), vf, shutdown)


def read_annotations(path: Path | str, extension: str, *, fs: float) -> Annotations:
    """Read a WFDB annotation file, with its times brought to another rate.

    Args:
        path: record, without extension.
        extension: annotator, such as `atr`.
        fs: rate that samples are to count at, Hz; a time goes to the nearest sample.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the file or the header beside it is damaged, neither states the rate, or they
            are of two recordings.
    """
    from cnns_spectrograms.recordings.errors import naming
    from cnns_spectrograms.recordings.wfdb_annotations import read_annotation_file
    from cnns_spectrograms.recordings.wfdb_header import read_header

    path = Path(path)
    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise FileNotFoundError(
            f"no annotation file {file}; the EC57 comparison reads beats and fibrillation episodes "
            f"there: give the folder of the databases as the parameter 'physionet', or correct "
            f"reporting.test_annotator"
        )
    fs_hz, n_samples = np.nan, np.inf  # a file that states its rate needs no header
    with naming(path.name):
        if path.with_name(f"{path.name}.hea").is_file():
            header = read_header(path)
            fs_hz, n_samples = float(header.fs), header.sig_len
        samples, symbols, subtypes, source_fs = read_annotation_file(
            path, extension, fs=fs_hz, n_samples=n_samples
        )
    return annotations_from_symbols(np.rint(samples * fs / source_fs), symbols, subtypes, fs=fs)


def match_beats(
    reference: ArrayLike, test: ArrayLike, window: float, start: float = 0
) -> NDArray[np.int64]:
    """Pair the beats of two lists, each with at most one of the other, as `bxb` does.

    Beats pair when they are no further apart than the window, a beat with the nearest of two
    candidates (with the rule of November 2002 for two pairs inside one window).

    A learning period ends as in `bxb`: the last test beat before its end may pair with the first
    reference beat after it, and a test beat less than a window after its end that pairs with
    nothing is dropped, since its partner may stand before.

    Args:
        reference: times of the reference beats, ascending, (n,), any unit.
        test: times of the test beats, ascending, (m,), the same unit.
        window: largest distance of a pair, the same unit.
        start: end of the learning period, the same unit; 0: there is none.

    Returns:
        (k, 2) positions in `reference` and `test`, -1 where a beat has no partner, in time order.
    """
    reference, test = np.asarray(reference), np.asarray(test)
    assert (np.diff(reference) >= 0).all(), "reference beats are not in time order"
    assert (np.diff(test) >= 0).all(), "test beats are not in time order"
    n_ref, n_test = len(reference), len(test)
    ref_at, test_at = [*reference.tolist(), _FAR, _FAR], [*test.tolist(), _FAR, _FAR]
    pairs: list[tuple[int, int]] = []
    i = int(np.searchsorted(reference, start)) if start > 0 else 0
    j = int(np.searchsorted(test, start)) if start > 0 else 0
    if start > 0 and i < n_ref:
        first = ref_at[i]
        before = test_at[j - 1] if j > 0 else -_FAR
        if first - before <= window and first - before < abs(first - test_at[j]):
            pairs.append((i, j - 1))
            i += 1
        elif test_at[j] - start <= window and abs(first - test_at[j + 1]) < abs(first - test_at[j]):
            j += 1
    while i < n_ref or j < n_test:
        here_ref, next_ref = ref_at[i], ref_at[i + 1]
        here_test, next_test = test_at[j], test_at[j + 1]
        apart = abs(here_ref - here_test)
        # The rival of a pair is the earlier beat's other candidate, which is the later side's next.
        rival = abs(here_ref - next_test) if here_test < here_ref else abs(here_test - next_ref)
        if apart <= window and (apart < rival or abs(next_ref - next_test) < rival):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif here_test < here_ref:
            pairs.append((-1, j))
            j += 1
        else:
            pairs.append((i, -1))
            i += 1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def compare_annotations(
    reference: Annotations,
    test: Annotations,
    *,
    fs: float,
    learning_period_s: float = LEARNING_PERIOD_S,
) -> NDArray[np.int64]:
    """Pair the beats of two annotators and count the pairs.

    Beats pair as in `match_beats`. A reference beat without a partner is counted in column O (X
    while the test annotator is shut down), a test beat without one in row O (X while the reference
    is); a test beat inside an episode of fibrillation of the reference is not counted.

    Args:
        reference: beats of the reference annotator, at `fs`.
        test: beats of the annotator under test, at `fs`.
        fs: sampling rate, Hz.
        learning_period_s: EC57 asks for 300 s; 0 scores the whole record.

    Returns:
        `(7, 7)` counts, rows the reference, columns the test, in the order of `EC57_LABELS`.
    """
    window = _window_samples(fs)
    index = {name: i for i, name in enumerate(EC57_LABELS)}
    matrix = np.zeros((len(EC57_LABELS), len(EC57_LABELS)), dtype=np.int64)
    start = round(learning_period_s * fs)
    for i, j in match_beats(reference.sample, test.sample, window, start).tolist():
        row = reference.label[i] if i >= 0 else _name_lack(test.sample[j], reference)
        column = test.label[j] if j >= 0 else _name_lack(reference.sample[i], test)
        if i >= 0 or not _inside(test.sample[j], reference.vf):
            matrix[index[row], index[column]] += 1
    return matrix


def _name_lack(sample: int, lacking: Annotations) -> str:
    """Return the label of a beat on the side that lacks it."""
    return "X" if _inside(sample, lacking.shutdown) else "O"


def ec57_counts(matrix: ArrayLike) -> dict[str, tuple[int, int]]:
    """Return each statistic of a matrix by name, as "VEB +P", as (numerator, denominator).

    With rows in capitals and columns in small letters, as EC57 and bxb(1) write them:

    - QRS Se  = beats paired with any beat / all reference beats (columns o and x are missed);
    - QRS +P  = beats paired with any beat / all test beats (rows O and X are extra);
    - VEB Se  = Vv / (Vn + Vs + Vv + Vf + Vq + Vo + Vx);
    - VEB +P  = Vv / (Vv + Nv + Sv + Ov + Xv): Fv and Qv are no false positives, since a fusion or
      an unclassifiable beat may rightly be called V;
    - VEB FPR = (Nv + Sv + Ov + Xv) / (those + every beat of N, S, F, Q, O, X called n, s, f or q);
    - SVEB Se = Ss / (Sn + Ss + Sv + Sf + Sq + So + Sx);
    - SVEB +P = Ss / (Ss + Ns + Vs + Fs + Os + Xs): Qs is no false positive;
    - SVEB FPR, which `bxb` does not print, by the rule of VEB FPR: (Ns + Vs + Fs + Os + Xs) /
      (those + every beat of N, V, F, Q, O, X called n, v, f or q).

    There is no FPR of QRS detection: between beats nothing counts as a true negative (EC57 asks
    for Se and +P alone). Sources: EC57:1998, Table 3 and section 4.2, through `bxb -S`; sumstats
    leaves Fs out of the SVEB +P of several records, because its input has lost it; here several
    records are counted as one is.
    """
    counts = np.asarray(matrix)
    beats, labels = "NSVFQ", "NSVFQOX"

    def total(rows: str, columns: str) -> int:
        places = ([EC57_LABELS.index(label) for label in side] for side in (rows, columns))
        return int(counts[np.ix_(*places)].sum())

    paired = total(beats, beats)
    found = {"QRS Se": (paired, total(beats, labels)), "QRS +P": (paired, total(labels, beats))}
    for event, label, false_rows in (("VEB", "V", "NSOX"), ("SVEB", "S", "NVFOX")):
        others = beats.replace(label, "")
        right, false = total(label, label), total(false_rows, label)
        found |= {
            f"{event} Se": (right, total(label, labels)),
            f"{event} +P": (right, right + false),
            f"{event} FPR": (false, false + total(others + "OX", others)),
        }
    return found


def ec57_statistics(matrix: ArrayLike) -> dict[str, float]:
    """Return each statistic of a matrix as a fraction; NaN where its denominator is 0."""
    return {
        name: top / bottom if bottom else np.nan
        for name, (top, bottom) in ec57_counts(matrix).items()
    }


def summarise_ec57(matrices: Mapping[str, ArrayLike]) -> dict[str, Any]:
    """Return the statistics of several records.

    Args:
        matrices: record -> `(7, 7)` counts.

    Returns:
        JSON-ready: labels; n_records; matrix, the sum over records; gross, the statistics of that
        sum, in which every beat counts the same (EC57:1998, section 3.5.2); average, the mean of
        the records' own statistics, in which every record counts the same (section 3.5.3); and
        n_records_averaged, the records in which each statistic is defined, as others are left out.
        Statistics are by event and name; None where one is not defined.
    """
    table = tabulate_ec57(matrices).set_index("record")
    statistics = table[[name for name in table.columns if " " in name]].T
    return {
        "labels": list(EC57_LABELS),
        "n_records": len(matrices),
        "matrix": _add(matrices).tolist(),
        "gross": _nest(statistics["gross"]),
        "average": _nest(statistics["average"]),
        "n_records_averaged": _nest(statistics.iloc[:, :-2].notna().sum(axis=1)),
    }


def tabulate_ec57(matrices: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Return one row per record, then `gross` and `average`: cells of the matrix and statistics.

    A cell is named as in EC57: capital of the reference, small letter of the test (`Vn`); the
    average has none. A statistic is named `VEB +P`; NaN where it is not defined.
    """
    cells = {
        f"{reference}{test.lower()}": (r, c)
        for r, reference in enumerate(EC57_LABELS)
        for c, test in enumerate(EC57_LABELS)
        if not (reference in "OX" and test in "OX")
    }
    rows: list[dict[str, Any]] = []
    for record, matrix in {**matrices, "gross": _add(matrices)}.items():
        of_record = {name: np.asarray(matrix)[place] for name, place in cells.items()}
        rows.append({"record": record, **of_record, **ec57_statistics(matrix)})
    by_record = pd.DataFrame(rows[:-1]).drop(columns=["record", *cells])
    known = {name: values.dropna().to_numpy() for name, values in by_record.items()}
    average = {name: each.mean() if len(each) else np.nan for name, each in known.items()}
    table = pd.DataFrame([*rows, {"record": "average", **average}])
    return table.astype(dict.fromkeys(cells, "Int64"))


def _add(matrices: Mapping[str, ArrayLike]) -> NDArray[np.int64]:
    return np.sum([np.asarray(matrix) for matrix in matrices.values()], axis=0)


def _nest(statistics: pd.Series[Any]) -> dict[str, dict[str, float | None]]:
    """Return statistics by event, then by name, as JSON holds them."""
    found: dict[str, dict[str, float | None]] = {}
    for label, value in statistics.to_dict().items():
        event, name = str(label).split(" ")
        found.setdefault(event, {})[name] = None if np.isnan(value) else value
    return found


def annotate_predictions(
    predictions: pd.DataFrame, records: Iterable[str]
) -> dict[str, Annotations]:
    """Return predictions as test annotations at the beats they stand for.

    Args:
        predictions: one row per beat; reads db, record_id, sample and predicted.
        records: "db/record_id" of each record that is wanted.

    Returns:
        By record; one without a prediction has no beat, and so misses all.
    """
    keys = record_keys(predictions)
    rows_of = predictions.groupby(keys.to_numpy()).indices
    found = {record: predictions.iloc[rows_of.get(record, [])] for record in records}
    return {
        record: make_annotations(rows["sample"].to_numpy(), rows["predicted"].to_numpy(dtype=str))
        for record, rows in found.items()
    }


def _window_samples(fs: float) -> int:
    # The small term keeps a whole number of samples whole in spite of rounding.
    return int(MATCH_WINDOW_S * fs + 1e-9)


def _inside(sample: int, intervals: Iterable[tuple[int, int]]) -> bool:
    return any(first <= sample <= last for first, last in intervals)
