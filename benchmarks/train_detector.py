"""Train the trees that judge candidates for R peaks, and say how well they do by folds of patients.

    python benchmarks/train_detector.py --physionet /path/to/physionet --folds 5    # measures
    python benchmarks/train_detector.py --physionet /path/to/physionet --save       # ships

Both see the train and val records of the protocol `base` alone. Beside each record as it is, the
trees learn from it slowed down, speeded up, with noise and with artefacts, and from noise alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.signal import butter, sosfiltfilt

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.candidates import CANDIDATE_FS, find_candidates
from cnns_spectrograms.ecg.detection import JUDGE, choose_beats
from cnns_spectrograms.ecg.trees import Trees
from cnns_spectrograms.evaluation.ec57 import (
    MATCH_WINDOW_S,
    Annotations,
    compare_annotations,
    read_annotations,
)
from cnns_spectrograms.inference.signals import prepare_signal
from cnns_spectrograms.recordings.leads import choose_lead
from cnns_spectrograms.recordings.opening import open_recording

FS = 360.0  # of the shipped model, Hz
ROOT = Path(__file__).parents[1]
SPLITS = ROOT / "conf" / "base" / "feature_engineering" / "parameters_split.yml"

Signal = NDArray[np.float64]
Beats = NDArray[np.int64]
Example = tuple[NDArray[np.float32], NDArray[np.bool_]]  # features and whether each is a beat


def list_records(split: str) -> list[str]:
    """Return db/record of one split of the protocol `base`: train (with val) or test."""
    records = OmegaConf.to_container(OmegaConf.load(SPLITS), resolve=False)["_protocols"]["base"]
    names = ("train", "val") if split == "train" else (split,)
    return [
        f"{db}/{record}"
        for db, of_db in records["records"].items()
        for name in names
        for record in of_db[name]
    ]


def read_record(physionet: Path, name: str) -> tuple[Signal, Annotations]:
    """Return the lead of training without its baseline, and the beats, both at `FS`."""
    recording = open_recording(physionet / name)
    lead = choose_lead(recording.lead_names, "MLII")
    signal = prepare_signal(recording, lead, FS).signal
    return np.array(signal, dtype=np.float64), read_annotations(physionet / name, "atr", fs=FS)


def make_example(signal: Signal, beats: Beats, left_out: list[tuple[float, float]]) -> Example:
    """Describe the candidates of a signal; nearest to each beat is the one that is it.

    Args:
        signal: mV, at `FS`.
        beats: samples.
        left_out: stretches, samples, whose candidates are in no example.
    """
    at, features = find_candidates(signal, FS)
    at = at * (FS / CANDIDATE_FS)
    is_beat = np.zeros(len(at), dtype=bool)
    if len(at) > 1 and len(beats):
        after = np.clip(np.searchsorted(at, beats), 1, len(at) - 1)
        nearest = np.where(at[after] - beats < beats - at[after - 1], after, after - 1)
        is_beat[nearest[np.abs(at[nearest] - beats) <= MATCH_WINDOW_S * FS]] = True
    kept = np.ones(len(at), dtype=bool)
    for first, stop in left_out:
        kept &= ~((at >= first) & (at <= stop))
    return features[kept], is_beat[kept]


def slow_down(signal: Signal, beats: Beats, rng: np.random.Generator) -> tuple[Signal, Beats]:
    """Lay 40 beats, each with its T wave, 1.3 to 3.2 s apart, with noise between them.

    Returns:
        The signal and its beats; both empty where the heart is too fast to cut beats apart.
    """
    before, after = round(0.25 * FS), round(0.45 * FS)
    free = np.diff(beats, append=len(signal)) > after + before // 2
    free &= (beats > before) & (beats < len(signal) - after)
    if free.sum() < 50:
        return signal[:0], beats[:0]
    first = rng.integers(free.sum() - 40)
    cycle = rng.uniform(1.3, 3.2) * rng.uniform(0.9, 1.1, 40)
    at = np.cumsum(cycle * FS).astype(np.int64)
    n = at[-1] + round(FS)
    placed, known = np.zeros(n), np.zeros(n, dtype=bool)
    for beat, to in zip(beats[free][first : first + 40], at, strict=True):
        piece = signal[beat - before : beat + after]
        placed[to - before : to + after] = piece - np.median(piece)
        known[to - before : to + after] = True
    where = np.flatnonzero(known)
    slow = np.interp(np.arange(n), where, placed[where])
    return slow + rng.uniform(0.002, 0.02) * rng.normal(size=n), at


def make_noise(n: int, rng: np.random.Generator) -> Signal:
    """Return what an electrode without a heart gives: noise of some colour, hum, a slow wave."""
    noise = rng.normal(size=n)
    kind = rng.integers(4)
    if kind == 1:
        noise = np.cumsum(noise)
        noise -= np.linspace(noise[0], noise[-1], n)
    elif kind == 2:
        low = rng.uniform(1, 20)
        band = (low, low + rng.uniform(2, 60))
        noise = sosfiltfilt(butter(2, band, "bandpass", fs=FS, output="sos"), noise)
    noise /= noise.std() + 1e-12
    if rng.random() < 0.3:  # muscle, in bursts
        loudness = rng.normal(size=round(n / FS) + 2)
        noise *= np.exp(np.interp(np.arange(n) / FS, np.arange(len(loudness)), loudness))
    hum = np.sin(2 * np.pi * rng.choice([50, 60]) * np.arange(n) / FS)
    return np.exp(rng.uniform(-6.5, 0)) * (noise + rng.choice([0, 1, 10]) * hum)


def add_artefacts(
    signal: Signal, beats: Beats, rng: np.random.Generator
) -> tuple[Signal, Beats, list[tuple[float, float]]]:
    """Spoil a signal about every 12 s: pops, steps, an electrode that is off, saturation.

    Returns:
        The signal; the beats that are still to be seen; the moments beside which none is learnt.
    """
    signal = signal.copy()
    left_out = []
    for first in range(round(4 * FS), len(signal) - round(40 * FS), round(12 * FS)):
        at = first + int(rng.integers(0, 6 * FS))
        size = np.exp(rng.uniform(0, np.log(100))) * rng.choice([-1, 1])
        kind = rng.integers(4)
        stop = at
        if kind == 0:
            width = rng.uniform(0.003, 0.015) * FS
            t = np.arange(-round(0.2 * FS), round(0.2 * FS))
            signal[at + t] += size * np.exp(-0.5 * (t / width) ** 2)
        elif kind == 1:
            signal[at:] += size
        else:
            stop = at + round(np.exp(rng.uniform(0, np.log(30))) * FS)
            level = signal[at] + rng.choice([0, size])
            noise = 0.2 * make_noise(stop - at, rng) if kind == 2 and rng.random() < 0.8 else 0
            signal[at:stop] = level + noise
            beats = beats[(beats < at) | (beats >= stop)]
        left_out += [(each - 0.2 * FS, each + 0.2 * FS) for each in (at, stop)]
    return np.asarray(remove_baseline(signal, FS), dtype=np.float64), beats, left_out


def make_examples(physionet: Path, name: str) -> list[Example]:
    """Return the examples of one record: the record as it is first, then what is made of it."""
    signal, reference = read_record(physionet, name)
    rng = np.random.default_rng(sum(name.encode()))
    beats = reference.sample
    vf = [(first - FS / 2, stop + FS / 2) for first, stop in reference.vf]
    examples = [make_example(signal, beats, vf)]

    def excerpt(seconds: float) -> tuple[Signal, Beats, list[tuple[float, float]]]:
        first = int(rng.integers(len(signal) - round(seconds * FS)))
        stop = first + round(seconds * FS)
        inside = beats[(beats >= first) & (beats < stop)] - first
        return signal[first:stop], inside, [(a - first, b - first) for a, b in vf]

    for _ in range(2):
        slow, at = slow_down(signal, beats, rng)
        if len(at):
            examples.append(make_example(slow, at, []))
    for _ in range(4):
        piece, inside, out = excerpt(300)
        spoilt, seen, near = add_artefacts(piece, inside, rng)
        examples.append(make_example(spoilt, seen, out + near))
    for _ in range(3):
        piece, inside, out = excerpt(180)
        noise = make_noise(len(piece), rng)
        # About 26 to 3 dB.
        size = np.exp(rng.uniform(np.log(0.02), np.log(0.5)))
        noise *= size * np.quantile(np.abs(piece), 0.99) / noise.std()
        examples.append(make_example(piece + noise, inside, out))
    fast = rng.uniform(1.2, 2.2)
    piece, inside, out = excerpt(240)
    shorter = np.interp(np.arange(0, len(piece) - 1, fast), np.arange(len(piece)), piece)
    at = np.rint(inside / fast).astype(np.int64)
    if len(inside) > 1 and np.median(np.diff(at)) > 0.24 * FS:
        examples.append(make_example(shorter, at, [(a / fast, b / fast) for a, b in out]))
    examples += [make_example(make_noise(round(30 * FS), rng), beats[:0], []) for _ in range(12)]
    return examples


def fit(examples: list[Example], n_trees: int) -> Trees:
    """Fit boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=n_trees,
        learning_rate=0.12,
        max_leaf_nodes=16,
        max_depth=7,
        min_samples_leaf=50,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=0,
    )
    features = np.concatenate([each for each, _ in examples])
    model.fit(features, np.concatenate([each for _, each in examples]))
    nodes = [predictor[0].nodes for predictor in model._predictors]
    shape = (len(nodes), max(len(each) for each in nodes))
    feature = np.zeros(shape, np.int16)
    threshold, value = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    children = np.broadcast_to(np.arange(shape[1], dtype=np.int16), (2, *shape)).copy()
    for i, tree in enumerate(nodes):
        inner = np.flatnonzero(tree["is_leaf"] == 0)
        feature[i, inner] = tree["feature_idx"][inner]
        threshold[i, inner] = tree["num_threshold"][inner]
        children[:, i, inner] = tree["left"][inner], tree["right"][inner]
        value[i, : len(tree)] = np.where(tree["is_leaf"], tree["value"], 0)
    depth = max(int(each["depth"].max()) for each in nodes)
    bias = float(np.ravel(model._baseline_prediction)[0])
    trees = Trees(feature, threshold, children, value, bias, depth)
    some = features[:: max(1, len(features) // 5000)]
    difference = np.abs(trees.predict(some) - model.predict_proba(some)[:, 1])
    print(f"{len(features)} candidates; the arrays differ by {difference.max():.1e} at most")
    return trees


def main() -> None:
    """Measure by folds, or train on all training records and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--trees", type=int, default=160)
    parser.add_argument("--save", action="store_true", help=f"write {JUDGE.name}")
    options = parser.parse_args()
    names = list_records("train")
    examples = {name: make_examples(options.physionet, name) for name in names}
    if options.folds:
        shuffled = np.random.default_rng(0).permutation(names).tolist()
        rows = []
        for fold in range(options.folds):
            held_out = shuffled[fold :: options.folds]
            trees = fit(
                [each for name in names if name not in held_out for each in examples[name]],
                options.trees,
            )
            rows += [score(options.physionet, name, trees) for name in held_out]
        table = pd.DataFrame(rows)
        print(table.sort_values("f1").head(12).to_string())
        total = table.groupby("db")[["tp", "fn", "fp"]].sum()
        total.loc["both"] = total.sum()
        total["f1"] = 2 * total["tp"] / (2 * total["tp"] + total["fn"] + total["fp"])
        print(total.to_string())
    if options.save:
        fit([each for name in names for each in examples[name]], options.trees).save(JUDGE)


def score(physionet: Path, name: str, trees: Trees) -> dict[str, object]:
    """Compare the candidates that trees choose in a record with its beats."""
    signal, reference = read_record(physionet, name)
    at, features = find_candidates(signal, FS)
    probability = trees.predict(features)
    chosen = choose_beats(at, probability, len(signal) / FS)
    at = np.rint(at[chosen] * (FS / CANDIDATE_FS)).astype(np.int64)
    found = Annotations(at, np.full(len(at), "N"))
    matrix = compare_annotations(reference, found, fs=FS, learning_period_s=0)
    fn, fp = int(matrix[:5, 5].sum()), int(matrix[5, :5].sum())
    tp = int(matrix[:5, :5].sum())
    f1 = 2 * tp / (2 * tp + fn + fp)
    return {"db": name.split("/")[0], "record": name, "tp": tp, "fn": fn, "fp": fp, "f1": f1}


if __name__ == "__main__":
    main()
