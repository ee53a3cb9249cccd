"""Time of the bootstrap over patients, against a resampling that draws and scores rows.

    python benchmarks/evaluation.py                     # a table of the full test split's size
    python benchmarks/evaluation.py --predictions PATH  # a predictions.parquet of a run

The table drawn here has 105,000 beats of 45 patients. The baseline, timed in turn on a few
resamples, draws patients' rows and scores them with scikit-learn. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
from paired import Ratio, measure_in_turn, seconds_of

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.bootstrap import bootstrap_difference, bootstrap_scores
from cnns_spectrograms.evaluation.metrics import evaluate_predictions

N_BASELINE = 2


def draw_predictions(n_beats: int = 105_000, n_patients: int = 45, seed: int = 0) -> pd.DataFrame:
    """Return random predictions with about the test split's shares of the classes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, n_beats, p=[0.86, 0.05, 0.05, 0.004, 0.036])
    logits = rng.normal(size=(n_beats, 5)) + 2 * np.eye(5)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patients = [f"p{i:02d}" for i in np.sort(rng.integers(0, n_patients, n_beats))]
    names = np.array(AAMI_CLASSES)
    return pd.DataFrame(
        {
            "row_id": [f"r{i:06d}" for i in range(n_beats)],
            "split": "test",
            "db": "drawn",
            "record_id": patients,
            "patient_id": patients,
            "aami_class": names[truth],
            "predicted": names[probability.argmax(axis=1)],
            **{f"prob_{name}": probability[:, k] for k, name in enumerate(AAMI_CLASSES)},
        }
    )


def resample_rows(predictions: pd.DataFrame, n_resamples: int) -> None:
    """Draw patients' rows and score them, the plain way."""
    rng = np.random.default_rng(0)
    rows_of = list(predictions.groupby("patient_id").indices.values())
    for _ in range(n_resamples):
        drawn = rng.integers(0, len(rows_of), len(rows_of))
        rows = np.concatenate([rows_of[patient] for patient in drawn])
        evaluate_predictions(predictions.iloc[rows])


def main() -> None:
    """Time both and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    if options.predictions is None:
        test = draw_predictions()
    else:
        table = pd.read_parquet(options.predictions)
        test = table[table["split"] == "test"].reset_index(drop=True)
    n = options.resamples
    seconds = measure_in_turn(
        {
            "baseline": lambda: (
                seconds_of(lambda: resample_rows(test, N_BASELINE)) / N_BASELINE * n
            ),
            "scores": lambda: seconds_of(lambda: bootstrap_scores(test, n_resamples=n)),
            "difference": lambda: seconds_of(
                lambda: bootstrap_difference(test, test, n_resamples=n)
            ),
        }
    )
    ratio = Ratio.of(seconds["baseline"], seconds["scores"])
    baseline_s, scores_s, difference_s = map(statistics.median, seconds.values())
    print(
        f"{len(test):,} beats, {test['patient_id'].nunique()} patients, {n:,} resamples: "
        f"{scores_s:.1f} s (paired difference {difference_s:.1f} s); drawing rows would take "
        f"{baseline_s:.0f} s, {ratio} times as long"
    )
    print(
        json.dumps(
            {
                "n_beats": len(test),
                "n_resamples": options.resamples,
                "scores_s": round(scores_s, 2),
                "difference_s": round(difference_s, 2),
                "baseline_s": round(baseline_s, 1),
                "ratio": ratio.listed(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "numpy": np.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
