"""AAMI heartbeat classes, and the mapping of WFDB annotation symbols to them.

The mapping is that of ANSI/AAMI EC57, as laid out for the MIT-BIH databases by de Chazal et al.
(2004, doi:10.1109/TBME.2004.827359).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

AAMI_CLASSES: tuple[str, ...] = ("N", "S", "V", "F", "Q")
"""The five classes; the label index of a class is its position here."""

AAMI_CLASS_OF_SYMBOL: dict[str, str] = {
    "N": "N",  # normal beat
    "L": "N",  # left bundle branch block beat
    "R": "N",  # right bundle branch block beat
    "e": "N",  # atrial escape beat
    "j": "N",  # nodal escape beat
    "A": "S",  # atrial premature beat
    "a": "S",  # aberrated atrial premature beat
    "J": "S",  # nodal premature beat
    "S": "S",  # supraventricular premature beat
    "V": "V",  # premature ventricular contraction
    "E": "V",  # ventricular escape beat
    "F": "F",  # fusion of ventricular and normal beat
    "/": "Q",  # paced beat
    "f": "Q",  # fusion of paced and normal beat
    "Q": "Q",  # unclassifiable beat
}

BEAT_SYMBOLS_UNMAPPED: tuple[str, ...] = ("B", "n", "r", "?")
"""WFDB beat symbols that the mapping leaves without a class; such beats are counted, not used."""

# Everything else that WFDB's table of annotation codes holds: rhythms, noise, waves, comments.
NON_BEAT_SYMBOLS: tuple[str, ...] = tuple(' ~|sT*D"=p^t+u![]@x()')


def map_symbols(symbols: Iterable[str]) -> NDArray[np.object_]:
    """Map WFDB annotation symbols to AAMI classes.

    Args:
        symbols: one symbol an annotation.

    Returns:
        Object array `(n_symbols,)` of class names; None where the symbol is no beat, or a beat
        outside the mapping (`BEAT_SYMBOLS_UNMAPPED`).

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
    classes = np.empty(len(symbols), dtype=object)
    classes[:] = [_CLASS_OR_NONE[s] for s in symbols]
    return classes


_CLASS_OR_NONE: dict[str, str | None] = {
    **AAMI_CLASS_OF_SYMBOL,
    **dict.fromkeys(BEAT_SYMBOLS_UNMAPPED + NON_BEAT_SYMBOLS),
}
