"""The README's tables of results, from the predictions that runs have left in `data/`.

    python benchmarks/results.py                            # every protocol and model that has run
    python benchmarks/results.py --resamples 200            # coarser intervals, sooner
    python benchmarks/results.py --data data data_1 data_2  # and the spread over trainings

Nothing is trained. For each model: scores of the most probable class as a report has them (the mean
over leads, F by its form too), by the network alone and by the first lead alone, and at the
operating point whose macro F1 is best on val (temperature and offsets of the classes, fitted on val
alone), with 95 % intervals over patients; where a whole test split is scored, also as if its
classes were equally frequent. The mean of the networks' probabilities follows. The title states
where recordings are simulated. Further data folders hold other trainings of the same recipe
(another seed). Each network that all of them hold has another row, the mean of its trainings'
probabilities, and the mean, lowest and highest score of its trainings. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from cnns_spectrograms.app.run_results import find_results
from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.evaluation.bootstrap import bootstrap_scores
from cnns_spectrograms.evaluation.calibration import apply_operating_point, fit_operating_points
from cnns_spectrograms.evaluation.metrics import average_leads, select_subset
from cnns_spectrograms.parameters import SubsetParameters

ROOT = Path(__file__).resolve().parents[1]
PACED = ["102", "104", "107", "217"]
DS2 = SubsetParameters(databases=["mitdb"], without={"mitdb": PACED}, classes=[*"NSVF"])
# Title -> folder of the environment below data/, and the part of its test split.
TABLES: dict[str, tuple[str, SubsetParameters | None]] = {
    "`source`: the source system's recipe and test records": ("source", None),
    "`source_records`: our recipe, the source system's test records": ("source_records", None),
    "`base`: DS2 with its paced records, and 21 records of svdb": ("", None),
    "`base`, DS2 without paced records, over N, S, V, F": ("", DS2),
    "`mitdb_to_svdb`: trained on mitdb, tested on svdb": ("mitdb_to_svdb", None),
}


def average_network(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over leads alone, no beat being given to F for its form."""
    return average_leads(predictions.drop(columns="intermediate"))


def take_first_lead(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first leads."""
    return predictions[predictions["lead_idx"] == 0]


# Title -> point, and what makes one row per beat.
POINTS = {
    "most probable class": ("argmax", average_leads),
    "most probable class, by the network alone": ("argmax", average_network),
    "most probable class, first lead alone": ("argmax", take_first_lead),
    "operating point of val": ("class_thresholds", average_leads),
}


def is_simulated(folder: Path) -> bool:
    """Return whether the scores in an environment's data folder are of simulated recordings."""
    return any(run.synthetic for run in find_results(folder) if run.folder == folder)


def score(predictions: pd.DataFrame, part: SubsetParameters | None, n: int) -> list[dict[str, Any]]:
    """Return the scores of a test split, or a part of it, with intervals, at each point."""
    val = predictions[predictions["split"] == "val"].reset_index(drop=True)
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    locked = fit_operating_points(val)
    rows = []
    for point, (name, make_beats) in POINTS.items():
        if make_beats is take_first_lead and (test["lead_idx"] == 0).all():
            continue
        if make_beats is average_network and not test["intermediate"].any():
            continue
        chosen = test if name == "argmax" else apply_operating_point(test, locked, name)
        chosen = make_beats(chosen)
        classes = AAMI_CLASSES
        if part is not None:
            classes = tuple(part.classes or AAMI_CLASSES)
            chosen = select_subset(chosen, part)
        found = bootstrap_scores(chosen, classes, n_resamples=n)
        rows.append({"point": point, "n_beats": len(chosen), **found["scores"]})
        if part is None and point == "most probable class":
            rows.append({"point": f"{point}, classes equally frequent", **balance(chosen)})
    return rows


def balance(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return the scores that the same beats had if each class were as frequent as the others.

    As in a sample drawn evenly from the classes, which the source system's later figures are of.
    """
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.utils.class_weight import compute_sample_weight

    truth, called = predictions["aami_class"], predictions["predicted"]
    weight = compute_sample_weight("balanced", truth)
    names = [name for name in AAMI_CLASSES if (truth == name).any()]
    f1 = f1_score(truth, called, labels=names, average=None, sample_weight=weight, zero_division=0)
    found = {f"f1_{name}": value for name, value in zip(names, f1, strict=True)}
    found["macro_f1"] = f1.mean()
    found["accuracy"] = accuracy_score(truth, called, sample_weight=weight)
    return {key: {"estimate": float(value), "low": None} for key, value in found.items()}


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the predictions of each network that has run, and of their mean where several have."""
    files = sorted((folder / "07_model_output").glob("*/predictions.parquet"))
    tables = {file.parent.name: pd.read_parquet(file) for file in files}
    if len(tables) > 1:
        tables[f"mean of {len(tables)} networks"] = average(list(tables.values()))
    return tables


def average(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the predictions of several networks' mean probabilities for the same beats.

    Which beats have an intermediate form is taken from the first.
    """
    first = tables[0].set_index("row_id")
    mean = sum(table.set_index("row_id").loc[first.index, PROBABILITIES] for table in tables)
    first[PROBABILITIES] = mean / len(tables)
    first["predicted"] = first[PROBABILITIES].idxmax(axis=1).str.removeprefix("prob_")
    return first.reset_index()


def format_score(value: dict[str, Any] | None) -> str:
    """Return a score with its interval in words."""
    if value is None or value["estimate"] is None:
        return "-"
    if value["low"] is None:
        return f"{value['estimate']:.3f}"
    return f"{value['estimate']:.3f} [{value['low']:.2f}, {value['high']:.2f}]"


def format_spread(values: list[float]) -> str:
    """Return the mean of several trainings' scores, the lowest and the highest."""
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Print a table for each protocol that has run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[ROOT / "data"])
    parser.add_argument("--resamples", type=int, default=2000)
    args = parser.parse_args()
    result: dict[str, Any] = {}
    for title, (folder, part) in TABLES.items():
        first, *others = [read(data / folder) for data in args.data]
        if not first:
            print(f"\n{title}: has not been run")
            continue
        if is_simulated(args.data[0] / folder):
            title = f"SIMULATED RECORDINGS, which mean nothing for hearts: {title}"
        names = [name for name in AAMI_CLASSES if part is None or name in (part.classes or ())]
        columns = ["macro_f1", "accuracy", *(f"f1_{name}" for name in names)]
        head = "| model | beats called by | macro F1 | accuracy | " + " | ".join(names) + " |\n"
        head += "| --- | --- | " + " | ".join(["---"] * len(columns)) + " |"
        print(f"\n{title}\n\n{head}")
        repeated = [model for model in first if others and all(model in each for each in others)]
        for model in repeated:
            trainings = [each[model] for each in (first, *others)]
            first[f"{model}, mean of {len(trainings)} trainings"] = average(trainings)
        spread = []
        for model, predictions in first.items():
            rows = score(predictions, part, args.resamples)
            # Of these the intervals are not shown.
            again = [score(each[model], part, 1) for each in others] if model in repeated else []
            for number, row in enumerate(rows):
                name = f"| {model} | {row['point']} |"
                values = " | ".join(format_score(row.get(column)) for column in columns)
                print(f"{name} {values} |", flush=True)
                found = {c: row[c]["estimate"] for c in columns if row.get(c)}
                result[f"{title} / {model} / {row['point']}"] = found
                if again:
                    of_all = [
                        [each[number][c]["estimate"] for each in (rows, *again)] for c in found
                    ]
                    spread.append(f"{name} {' | '.join(map(format_spread, of_all))} |")
        if spread:
            print(f"\nMean, lowest and highest of {len(args.data)} trainings\n\n{head}")
            print("\n".join(spread))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
