"""Predict on the 22 records of DS2 without paced beats, and compare with the reference by EC57.

    python benchmarks/own_recordings.py --physionet /path/to/physionet [--model FILE]

Twice: on the beats of the reference (`predict --peaks atr`), and on detected ones. Both tables
leave out the first five minutes of each record, as the standard does. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from cnns_spectrograms.evaluation.ec57 import (
    EC57_LABELS,
    LEARNING_PERIOD_S,
    compare_annotations,
    read_annotations,
    tabulate_ec57,
)
from cnns_spectrograms.inference.api import load_model
from cnns_spectrograms.inference.batch import predict_recordings
from cnns_spectrograms.inference.outputs import ANNOTATOR
from cnns_spectrograms.parameters import InferenceParameters
from cnns_spectrograms.tracking.model_store import resolve_model

# de Chazal 2004 (doi:10.1109/TBME.2004.827359), without the paced 102, 104, 107 and 217.
RECORDS = (
    *(100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210),
    *(212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234),
)

FS = 360  # of mitdb, Hz

COLUMNS = [
    *("QRS Se", "QRS +P"),
    *("VEB Se", "VEB +P", "VEB FPR"),
    *("SVEB Se", "SVEB +P", "SVEB FPR"),
]


def compare(physionet: Path, model: Path | None, start_s: float, **options) -> tuple:
    """Predict all records; return the EC57 table and the summed matrix."""
    paths = [physionet / "mitdb" / f"{record}.hea" for record in RECORDS]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        inference = InferenceParameters(recordings=list(map(str, paths)), report=False, **options)
        table = predict_recordings(inference, folder, model)
        if (table["error"] != "").any():
            sys.exit(table.loc[table["error"] != "", "error"].to_string())
        matrices = {}
        for path in paths:
            reference = read_annotations(path.with_suffix(""), "atr", fs=FS)
            found = read_annotations(folder / path.stem, ANNOTATOR, fs=FS)
            matrices[path.stem] = compare_annotations(
                reference, found, fs=FS, learning_period_s=start_s
            )
    total = sum(matrices.values())
    return tabulate_ec57(matrices), pd.DataFrame(total, EC57_LABELS, EC57_LABELS)


def main() -> None:
    """Print both tables, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--model", help="file, MLflow URI or run; default: the shipped model")
    parser.add_argument("--accurate", action="store_true", help="the mean of the shipped models")
    parser.add_argument("--all-beats", action="store_true", help="count the first 5 minutes too")
    options = parser.parse_args()
    start_s = 0 if options.all_beats else LEARNING_PERIOD_S
    with tempfile.TemporaryDirectory() as scratch:
        model = resolve_model(options.model, Path(scratch))
        loaded = load_model(model, options.accurate)
        result: dict = {"model": loaded.name, "sha256": loaded.sha256, "start_s": start_s}
        result["averaged_with"] = [other.name for other in loaded.others]
        for label, peaks in (("reference beats (--peaks atr)", "atr"), ("detected beats", None)):
            begin = time.perf_counter()
            chosen = {"accurate": options.accurate, "peaks": peaks}
            table, matrix = compare(options.physionet, model, start_s, **chosen)
            seconds = time.perf_counter() - begin
            shown = table.set_index("record")[COLUMNS]
            print(f"\n{label}: {len(RECORDS)} records in {seconds:.0f} s\n")
            print((100 * shown).to_string(float_format="{:.2f}".format, na_rep="-"))
            print(f"\nbeats, rows the reference, columns the prediction:\n{matrix.to_string()}")
            result[label] = {
                row: {k: round(v, 5) for k, v in shown.loc[row].items() if pd.notna(v)}
                for row in ("gross", "average")
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
