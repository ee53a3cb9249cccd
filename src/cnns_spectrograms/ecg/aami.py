"""AAMI heartbeat classes, and the mapping of WFDB annotation symbols to them.

The mapping is that of ANSI/AAMI EC57, as laid out for the MIT-BIH databases by de Chazal et al.
(2004, doi:10.1109/TBME.2004.827359). Of the beats that they do not use, B, r and ? are mapped as
by WFDB's ``bxb``, the reference implementation of EC57, and n is N like the other escape beats.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

AAMI_CLASSES: tuple[str, ...] = ("N", "S", "V", "F", "Q")
"""The five classes; the label index of a class is its position here."""

PROBABILITIES = [f"prob_{name}" for name in AAMI_CLASSES]
"""Columns of a table with the probability of each class, in the order of AAMI_CLASSES."""

AAMI_CLASS_OF_SYMBOL: dict[str, str] = {
    "N": "N",  # normal beat
    "L": "N",  # left bundle branch block beat
    "R": "N",  # right bundle branch block beat
    "B": "N",  # bundle branch block beat, unspecified
    "e": "N",  # atrial escape beat
    "j": "N",  # nodal escape beat
    "n": "N",  # supraventricular escape beat
    "A": "S",  # atrial premature beat
    "a": "S",  # aberrated atrial premature beat
    "J": "S",  # nodal premature beat
    "S": "S",  # supraventricular premature beat
    "V": "V",  # premature ventricular contraction
    "E": "V",  # ventricular escape beat
    "r": "V",  # R-on-T premature ventricular contraction
    "F": "F",  # fusion of ventricular and normal beat
    "/": "Q",  # paced beat
    "f": "Q",  # fusion of paced and normal beat
    "Q": "Q",  # unclassifiable beat
    "?": "Q",  # beat not classified during learning
}
"""Every beat symbol of WFDB has a class: a beat counts in the rhythm, whatever it is."""

BEAT_SYMBOLS = tuple(AAMI_CLASS_OF_SYMBOL)

# Everything else that WFDB's table of annotation codes holds: rhythms, noise, waves, comments.
NON_BEAT_SYMBOLS: tuple[str, ...] = tuple(' ~|sT*D"=p^t+u![]@x()')


def map_symbols(symbols: Iterable[str]) -> NDArray[np.object_]:
    """Map WFDB annotation symbols to AAMI classes.

    Args:
        symbols: one symbol per annotation.

    Returns:
        Object array `(n_symbols,)` of class names; None where the symbol is no beat.

    Raises:
        ValueError: a symbol is not in WFDB's table of annotation codes.
    """
    symbols = list(symbols)
    unknown = sorted({repr(s) for s in symbols if s not in _CLASS_OR_NONE})
    if unknown:
        raise ValueError(
            f"unknown annotation symbol(s) {', '.join(unknown)}; expected symbols of the WFDB "
            f"table: {' '.join(sorted(_CLASS_OR_NONE)).strip()}; correct the annotation file"
        )
    return np.array([_CLASS_OR_NONE[s] for s in symbols], dtype=object)


_CLASS_OR_NONE: dict[str, str | None] = {**AAMI_CLASS_OF_SYMBOL, **dict.fromkeys(NON_BEAT_SYMBOLS)}
