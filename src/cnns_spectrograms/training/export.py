"""What a network is passed on with: weights in half precision, and a card."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from cnns_spectrograms.presentation import EN
from cnns_spectrograms.training.networks import BeatClassifier

_COLUMNS = ("precision", "recall", "f1")
_score = partial(EN.number, decimals=3)


def halve_weights(classifier: BeatClassifier) -> BeatClassifier:
    """Return a copy whose parameters are float16, for `onnx_export.export_onnx`.

    Buffers, such as the statistics of batch normalisation, stay as they are: they are few, and
    a variance may pass what float16 holds.

    Raises:
        ValueError: a weight is not finite in half precision (its largest number is 65504).
    """
    small = copy.deepcopy(classifier).cpu()
    for name, parameter in small.named_parameters():
        half = parameter.detach().half()
        if not bool(torch.isfinite(half).all()):
            raise ValueError(
                f"the weights {name} reach {float(parameter.detach().abs().max()):.3g}, which "
                f"float16 does not hold (at most 65504); keep the full model"
            )
        parameter.data = half
    return small


def write_model_card(
    classifier: BeatClassifier,
    description: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    at_operating_point: Mapping[str, Any] | None,
    protocol: str,
    databases: Sequence[str],
    synthetic_data: bool,
    date: datetime.date,
    sliding: bool = False,
) -> str:
    """Return the card of a network, Markdown.

    Args:
        classifier: as `halve_weights` gives it.
        description: that of its training.
        scores: "val" and "test" -> macro_f1, accuracy, and per_class: class -> precision,
            recall, f1 (None where undefined) and support, of the most probable class.
        at_operating_point: macro_f1_val, and macro_f1, accuracy and f1 (class -> value) on test, at
            the operating point that travels with the weights; None: the scores are of means over
            augmented views, and none travels.
        protocol: name of the split.
        databases: names of the databases.
        synthetic_data: whether the recordings are simulated.
        date: of the card.
        sliding: whether it was trained on windows that slide, not on one around each beat.
    """
    spectrogram = description["spectrogram"]
    size, fs, n_samples = spectrogram["image_size"], description["fs"], description["n_samples"]
    warning = "**Trained on simulated recordings: says nothing about hearts.**\n\n"
    facts = {
        "network": f"`{classifier.params.timm_name}` of timm, with "
        f"{EN.number(sum(each.numel() for each in classifier.parameters()))} parameters in float16",
        "input": f"spectrograms of {size} x {size} pixels, {n_samples / fs:g} s at {fs} Hz "
        + ("of a sliding window" if sliding else "around each beat")
        + (", and RR intervals" if classifier.params.rr_intervals else ""),
        "data": f"{', '.join(databases)}, protocol `{protocol}`, split by patient",
        "initial weights": description.get("initial_weights", "not known"),
        "epoch": f"{description['best_epoch'] + 1}, chosen on val (macro F1 there "
        f"{_score(description['best_val_macro_f1'])})",
        "date": date.isoformat(),
        "training fingerprint": f"`{description['fingerprint']}`",
    }
    return "\n".join(
        [
            f"# Heartbeat classifier {classifier.params.timm_name}\n",
            warning if synthetic_data else "",
            "Distinguishes the AAMI classes N, S, V, F and Q, with one prediction per "
            + ("window that slides over the recording.\n" if sliding else "beat.\n"),
            f"**{EN('disclaimer')}**",
            "\n| | |\n| --- | --- |",
            *(f"| {name} | {said} |" for name, said in facts.items()),
            *(line for name in ("val", "test") for line in _tell_scores(name, scores[name])),
            *_tell_operating_point(at_operating_point),
            "\n## Limits\n",
            "* The scores are those of the full-precision network, on "
            + (
                "windows whose class is taken from the reference beats in them."
                if sliding
                else "beats at their reference annotations; a detector's errors are not in them."
            ),
            "* Few patients carry the rare classes S and F: a score of these is close to a score "
            "of one patient.",
            "* The data are few people, recorded with one kind of device. Nothing here says how "
            "it does on other people, devices or leads.",
            "* val chose the epoch, so its scores are too good; test chose nothing.",
            "",
        ]
    )


def _tell_scores(split: str, scores: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {name} | {' | '.join(_score(each[column]) for column in _COLUMNS)} "
        f"| {each['support']} |"
        for name, each in scores["per_class"].items()
    ]
    return [
        f"\n## Scores on {split}\n",
        f"Macro F1 {_score(scores['macro_f1'])}, accuracy {_score(scores['accuracy'])}.\n",
        f"| class | {' | '.join(_COLUMNS)} | beats |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]


def _tell_operating_point(at: Mapping[str, Any] | None) -> list[str]:
    if at is None:
        return [
            "\n## At the operating point\n",
            "The scores above are of means over augmented views of each beat. A recording of your "
            "own is looked at once, so no operating point travels with the weights.",
        ]
    by_class = ", ".join(f"{name} {_score(value)}" for name, value in at["f1"].items())
    return [
        "\n## At the operating point\n",
        "The tables above take the most probable class of the network itself. With the weights "
        "travel a temperature and an offset for each class, chosen on val for macro F1 "
        f"({_score(at['macro_f1_val'])} there), which are used on recordings of your own. On test "
        f"they give macro F1 {_score(at['macro_f1'])}, accuracy {_score(at['accuracy'])}, F1 "
        f"{by_class}.",
    ]
