"""Annotated ECG of HL7 (aECG, `.xml`), opened as recordings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.leads import mv_per_unit
from cnns_spectrograms.recordings.recording import Recording, check_shape
from cnns_spectrograms.recordings.signals import (
    Signal,
    Stretch,
    choose_stretch,
    make_recording,
)

# Of the HL7 aECG Implementation Guide (Brown and Badilini, March 21, 2005): the sequences of
# samples of a series, or of one derived from it, are AnnotatedECG/component/series/component/
# sequenceSet/component/sequence.
_ROOT = "AnnotatedECG"

_LEAD_PREFIXES = ("MDC_ECG_LEAD_", "MDC_ECG_ELEC_POTL_")
_LEADS = {name.upper(): name for name in ("aVR", "aVL", "aVF")}

_S_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

_BLOCK_BYTES = 1 << 20

_AGAIN = "export or copy it again"


def is_aecg(path: Path) -> bool:
    """Return whether the root element of a file is that of an annotated ECG."""
    with open(path, "rb") as file:
        _, root = next(ElementTree.iterparse(file, ["start"]))
    return root.tag.rpartition("}")[2] == _ROOT


def open_aecg(path: Path) -> Recording:
    """Open an annotated ECG: of several series, the longest that was recorded.

    Raises:
        RecordError: the file is absent, another kind of XML, truncated or damaged, or holds no
            voltage.
    """
    with tempfile.TemporaryFile() as digits, open(path, "rb") as file:
        parser = ElementTree.XMLParser(target=_Builder(digits))
        while block := file.read(_BLOCK_BYTES):
            parser.feed(block)
        root = parser.close()
        digits.flush()
        n_stored = digits.tell() // 4
        stored = (
            np.memmap(digits, "<i4", "r", shape=(n_stored,)) if n_stored else np.empty(0, "<i4")
        )
    return make_recording(path, choose_stretch(path, list(_list_stretches(root, stored))))


class _Builder(ElementTree.TreeBuilder):
    """Builds the elements of a file, with the numbers of its sequences in a file of their own.

    An element `digits` has the attributes first and last, its place among these numbers. Names are
    without namespaces, and annotations are left out.
    """

    def __init__(self, digits: IO[bytes]) -> None:
        super().__init__()
        self._digits = digits
        self._skipped = 0  # the depth of annotations that are left out
        self._text: list[str] | None = None  # of digits that are not stored yet
        self._n_signs = self._n_stored = 0
        self._is_aecg = False

    def doctype(self, *_: str | None) -> None:
        # What it defines may grow without limit; no annotated ECG has one.
        raise RecordError("found a document type (DTD); expected none; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # type: ignore[override]
        tag = tag.rpartition("}")[2]
        check(
            self._is_aecg or tag == _ROOT,
            f"XML of the kind {tag[:80]!r}",
            f"{_ROOT} (HL7 aECG)",
            "export the ECG as that, as DICOM or as EDF",
        )
        self._is_aecg = True
        if self._skipped or tag == "annotationSet":
            self._skipped += 1
            return
        if tag == "digits" and self._text is None:
            self._text, self._n_signs = [], 0
            self._open = super().start(tag, {"first": str(self._n_stored)})
        else:
            super().start(tag, attributes)

    def data(self, text: str) -> None:
        if self._text is None:
            return  # of other elements the attributes say it all
        self._text.append(text)
        self._n_signs += len(text)
        if self._n_signs > _BLOCK_BYTES:
            whole = "".join(self._text)
            end = max(whole.rfind(blank) for blank in " \n\r\t") + 1
            self._store(whole[:end])
            self._text, self._n_signs = [whole[end:]], len(whole) - end

    def end(self, tag: str) -> None:  # type: ignore[override]
        if self._skipped:
            self._skipped -= 1
            return
        tag = tag.rpartition("}")[2]
        if tag == "digits" and self._text is not None:
            self._store("".join(self._text))
            self._open.set("last", str(self._n_stored))
            self._text = None
        super().end(tag)

    def _store(self, text: str) -> None:
        numbers = np.array(text.split(), dtype="<i4")
        self._digits.write(numbers.tobytes())
        self._n_stored += numbers.size


def _list_stretches(
    root: ElementTree.Element, stored: NDArray[np.int32]
) -> Iterator[tuple[Stretch, list[Signal]]]:
    """Yield every set of sequences: when it was sampled, and its voltages."""
    for series in root.iter():
        if series.tag not in ("series", "derivedSeries"):
            continue
        began = series.find("effectiveTime/low")
        for sequences in series.findall("component/sequenceSet"):
            found = sequences.findall("component/sequence")
            leads = [each for each in found if each.find("value/digits") is not None]
            if not leads:
                continue
            n_samples = max(last - first for first, last in map(_find_digits, leads))
            fs, start = _find_times(found)
            check_shape(fs, n_samples, len(leads))
            stretch = Stretch(
                fs=fs,
                n_samples=n_samples,
                start=f"{'' if began is None else began.get('value')} {start}",
                is_derived=series.tag == "derivedSeries",
                label=_find_code(series),
            )
            yield stretch, [_make_signal(each, stretch, stored) for each in leads]


def _find_code(element: ElementTree.Element) -> str:
    code = element.find("code")
    return "" if code is None else code.get("code", "")


def _find_digits(sequence: ElementTree.Element) -> tuple[int, int]:
    digits = sequence.find("value/digits")
    assert digits is not None
    return int(digits.attrib["first"]), int(digits.attrib["last"])


def _find_times(sequences: list[ElementTree.Element]) -> tuple[float, str]:
    """Return rate, Hz, and start of a set of sequences, by the one that holds times."""
    for each in sequences:
        increment, head = each.find("value/increment"), each.find("value/head")
        if increment is None:
            continue
        value, unit = increment.get("value", ""), increment.get("unit", "")
        try:
            step_s = _parse_number(value) * _S_PER_UNIT[unit.strip().lower()]
        except (ValueError, KeyError):
            raise RecordError(
                f"found times with the increment {value!r} {unit!r}; expected a number of "
                f"{', '.join(_S_PER_UNIT)}; correct it, or {_AGAIN}"
            ) from None
        # Six decimals, since 1/360 s is written as 0.0027777778.
        fs = round(1 / step_s, 6) if step_s > 0 else step_s
        return fs, "" if head is None else head.get("value", "")
    raise RecordError(
        f"found sequences of samples without their times; expected a sequence "
        f"TIME_ABSOLUTE or TIME_RELATIVE with an increment beside them; {_AGAIN}"
    )


def _make_signal(
    sequence: ElementTree.Element, stretch: Stretch, stored: NDArray[np.int32]
) -> Signal:
    """Return a sequence with its scale: a number n stands for origin + scale * n."""
    label = _find_code(sequence)
    for prefix in _LEAD_PREFIXES:
        label = label.removeprefix(prefix)
    first, last = _find_digits(sequence)
    scale, unit = _find_quantity(sequence, "scale")
    origin, origin_unit = _find_quantity(sequence, "origin")
    fault = ""
    if not scale or not np.isfinite(scale):
        fault = f"its scale is {scale:g}, expected another than 0"
    elif last - first != stretch.n_samples:
        fault = f"it has {last - first} samples, where others have {stretch.n_samples}"
    elif origin != 0 and origin_unit != unit:
        factor, of_scale = mv_per_unit(origin_unit), mv_per_unit(unit)
        origin *= factor / of_scale if factor and of_scale else np.nan
    if not fault and not np.isfinite(origin):
        fault = f"its origin in {origin_unit!r} cannot be added to its scale in {unit!r}"
    return Signal(
        label=_LEADS.get(label, label),
        unit=unit,
        fs=stretch.fs,
        n_samples=stretch.n_samples,
        read=partial(_read, stored[first:last], scale, origin),
        fault=fault,
    )


def _find_quantity(sequence: ElementTree.Element, name: str) -> tuple[float, str]:
    """Return number and unit of an element beside the digits; NaN for no number, 0 for none."""
    found = sequence.find(f"value/{name}")
    if found is None:
        return 0.0, ""
    try:
        return _parse_number(found.get("value", "")), found.get("unit", "")
    except ValueError:
        return np.nan, found.get("unit", "")


def _parse_number(text: str) -> float:
    """Return a number, which some programs write with a decimal comma."""
    return float(text.replace(",", "."))


def _read(
    digits: NDArray[np.int32], scale: float, origin: float, start: int, stop: int
) -> NDArray[np.floating]:
    return digits[start:stop] * scale + origin
