"""Published results to compare ours with, each with the protocol it was measured under.

Scores under different protocols cannot be compared; the protocol is what makes a figure mean
something, so no entry goes without one.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

DS2_RECORDS = frozenset((
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
))  # fmt: skip
"""Records of mitdb that most published results test on (de Chazal 2004)."""


def read_literature() -> pd.DataFrame:
    """Return the published results, one per row; NaN where a score was not given.

    Returns:
        source (authors and year, and what the method uses beyond one beat's shape), protocol (what
        was trained and tested on), accuracy over all beats, the F1 of N, S, V, F and Q, macro_f1
        (mean of the F1 of the classes named in protocol or note) and note (how to read it).
    """
    table = pd.read_csv(Path(__file__).with_name("literature.csv"))
    return table.fillna({"note": ""})
