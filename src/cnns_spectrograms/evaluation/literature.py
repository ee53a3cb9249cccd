"""Published results to compare ours with, each with the protocol it was measured under.

Scores under different protocols cannot be compared; the protocol is what makes a figure mean
something, so no entry goes without one.
"""

from __future__ import annotations

from dataclasses import dataclass

DS2_RECORDS = frozenset((
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
))  # fmt: skip
"""Records of mitdb that most published results test on (de Chazal 2004)."""

_DS2 = "mitdb DS1 -> DS2, by patient, paced records left out"


@dataclass(frozen=True)
class PublishedResult:
    """One published result; a score that was not given is None.

    Attributes:
        source: authors and year, and what the method uses beyond one beat's shape.
        protocol: what was trained and tested on.
        accuracy: over all beats.
        f1: by AAMI class.
        macro_f1: mean of the F1 of the classes named in `protocol` or `note`.
        note: how to read it.
    """

    source: str
    protocol: str
    accuracy: float | None = None
    f1: tuple[tuple[str, float], ...] = ()
    macro_f1: float | None = None
    note: str = ""

    def f1_of(self, aami_class: str) -> float | None:
        """Return the F1 of a class, None where it was not given."""
        return dict(self.f1).get(aami_class)


PUBLISHED_RESULTS: tuple[PublishedResult, ...] = (
    PublishedResult(
        "de Chazal et al. 2004 (doi:10.1109/TBME.2004.827359)",
        _DS2,
        0.862,
        (("S", 0.51), ("V", 0.80)),
        note="RR intervals and shape, two leads",
    ),
    PublishedResult(
        "Mondéjar-Guerra et al. 2019", _DS2, 0.945, (("S", 0.61), ("V", 0.94)), 0.67,
        "RR intervals and shape; mean of four F1, approximate",
    ),
    PublishedResult("Guo et al. 2019", _DS2 + "; svdb joins", None, (("S", 0.61), ("V", 0.90))),
    PublishedResult("Niu et al. 2020", _DS2, 0.964, (("S", 0.77), ("V", 0.90))),
    PublishedResult(
        "Wang et al. 2021", _DS2, 0.987, (), 0.688, "wavelet images, a CNN and four RR features"
    ),
    PublishedResult("MACN", _DS2, None, (), 0.66, "without adaptation"),
    PublishedResult(
        "MACN, adapted", _DS2, None, (), 0.725, "adapted to the test records without their labels"
    ),
    PublishedResult(
        "the earlier system this project starts from, EfficientNetV2-B0, first results",
        "mitdb and svdb by record, test records of protocol `source`",
        0.89,
        (),
        0.59,
    ),
    PublishedResult(
        "the earlier system, EfficientNetV2-B0, a later revision",
        "mitdb and svdb by record, test records of protocol `source`",
        0.83,
        (("N", 0.83), ("S", 0.80), ("V", 0.85), ("F", 0.29), ("Q", 0.90)),
        0.65,
    ),
)  # fmt: skip
