"""The beats of a recording most worth a look, in the order in which to look at them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.corrections.shapes import ShapeGroups
from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.rhythm import measure_rr_intervals

QUEUE_LENGTH = 120
"""Most beats of a queue: some ten minutes' work."""

_SHARE = 0.25  # of the beats that are in the queue of a short recording

_PREMATURE = 0.15  # by which an interval is shorter than the mean of ten, at which S is likely
_COMMON = 0.05  # least share of a class's beats in a group whose shape is usual for the class
_UNUSUAL = 0.5  # by which a correlation falls short of 1 where a shape is as unusual as can be


def score_beats(beats: pd.DataFrame, groups: ShapeGroups) -> pd.DataFrame:
    """Return how much each beat is worth a look, 0 to 1, and why.

    Three doubts make the score, 1 - (1 - probability)(1 - rhythm)(1 - shape):

    * probability: 1 less the probability of the class, over the greatest it can be with five
      classes;
    * rhythm: an N after an interval much shorter than the mean of the ten around it, or an S that
      is not premature;
    * shape: a beat that correlates little with the mean of every group which holds a twentieth of
      its class's beats or more.

    Args:
        beats: as `inference.analysis.Analysis.beats` has them; unusable ones score 0.
        groups: of these beats.

    Returns:
        One row per beat: score, probability, rhythm, shape.
    """
    classes = beats["aami_class"].to_numpy(object)
    probabilities = [beats[column] for column in PROBABILITIES]
    highest = np.select([classes == name for name in AAMI_CLASSES], probabilities)
    parts = pd.DataFrame(
        {
            "probability": np.clip((1 - highest) / (1 - 1 / len(AAMI_CLASSES)), 0, 1),
            "rhythm": _doubt_rhythm(beats),
            "shape": _doubt_shape(classes, groups),
        }
    )
    score = 1 - (1 - parts).prod(axis=1)
    parts.insert(0, "score", np.where(beats["usable"].to_numpy(np.bool_), score, 0.0))
    return parts


def _doubt_rhythm(beats: pd.DataFrame) -> NDArray[np.float64]:
    after_gap = beats["rr_s"].isna().to_numpy()
    intervals = measure_rr_intervals(beats["time_s"].to_numpy(), 1.0, after_gap)
    early = 1 - (intervals["rr_previous_s"] / intervals["rr_local_s"]).to_numpy()
    early = np.nan_to_num(early / (2 * _PREMATURE))  # 1 at twice the limit
    is_n, is_s = ((beats["aami_class"] == name).to_numpy() for name in "NS")
    doubt = np.where(is_n, early - 0.5, np.where(is_s, 0.5 - early, 0.0))
    return np.asarray(np.clip(doubt, 0, 1))


def _doubt_shape(classes: NDArray[np.object_], groups: ShapeGroups) -> NDArray[np.float64]:
    best = np.full(len(classes), -1.0)
    for name in np.unique(classes):
        mine = classes == name
        counts = np.bincount(groups.of_beat[mine], minlength=groups.n_groups)
        usual = counts >= _COMMON * mine.sum()
        best[mine] = groups.correlations[mine][:, usual].max(axis=1)
    return np.clip((1 - best) / _UNUSUAL, 0, 1)


def make_queue(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the beats with the highest scores, highest first; none that scores 0.

    These are `QUEUE_LENGTH`, or a quarter of the beats if that is less, of scores (n_beats,).
    """
    n = min(QUEUE_LENGTH, math.ceil(_SHARE * len(scores)))
    order = np.argsort(-scores, kind="stable")[:n]
    return order[scores[order] > 0]
