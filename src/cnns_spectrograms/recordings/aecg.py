"""Annotated ECG of HL7 (aECG, `.xml`), opened as recordings."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import mv_per_unit
from cnns_spectrograms.recordings.recording import Recording, check_shape
from cnns_spectrograms.recordings.stretches import StoredSignal, Stretch, open_stretch

# Of the HL7 aECG Implementation Guide (Brown and Badilini, March 21, 2005): the sequences of
# samples of a series, or of one derived from it, are AnnotatedECG/component/series/component/
# sequenceSet/component/sequence.
_ROOT = "AnnotatedECG"

_LEAD_PREFIXES = ("MDC_ECG_LEAD_", "MDC_ECG_ELEC_POTL_")
_LEADS = {name.upper(): name for name in ("aVR", "aVL", "aVF")}

_S_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

_BLOCK_BYTES = 1 << 20

_MAX_DEPTH = 64

_AGAIN = "export or copy it again"


def is_aecg(path: Path) -> bool:
    """Return whether the root element of a file is that of an annotated ECG."""
    with open(path, "rb") as file, tempfile.TemporaryFile() as digits:
        target = _Target(path.name, digits)
        with contextlib.suppress(Exception):  # what else is wrong, opening it states
            ElementTree.XMLParser(target=target).feed(file.read(_BLOCK_BYTES))
    return target.is_aecg


def open_aecg(path: Path) -> Recording:
    """Open an annotated ECG: of several series, the longest that was recorded.

    Raises:
        RecordError: the file is absent, another kind of XML, truncated or damaged, or holds no
            voltage.
    """
    if not path.is_file():
        raise RecordError(f"found no file {path}; expected an annotated ECG; correct the path")
    with tempfile.TemporaryFile() as digits:
        target = _Target(path.name, digits)
        try:
            with open(path, "rb") as file:
                parser = ElementTree.XMLParser(target=target)
                while block := file.read(_BLOCK_BYTES):
                    parser.feed(block)
                root = parser.close()
        except RecordError:
            raise
        except Exception as error:  # whatever expat raises on a corrupt file
            raise RecordError(
                f"{path.name}: found corrupt XML ({error}); expected an annotated ECG (HL7 aECG); "
                f"the file is truncated or damaged: {_AGAIN}"
            ) from error
        digits.flush()
        n_stored = digits.tell() // 4
        stored = (
            np.memmap(digits, "<i4", "r", shape=(n_stored,)) if n_stored else np.empty(0, "<i4")
        )
    signals = list(_list_signals(path.name, root, stored))
    if not signals:
        raise RecordError(
            f"{path.name}: found no sequence of samples; expected one per lead within the file "
            f"(series/component/sequenceSet); export it with its waveforms"
        )
    return open_stretch(path, path.stem, signals)


class _Target:
    """Builds the elements of a file, with the numbers of its sequences in a file of their own.

    An element `digits` has the attributes first and last, its place among these numbers. Names are
    without namespaces, and annotations are left out.
    """

    def __init__(self, name: str, digits: IO[bytes]) -> None:
        self._name, self._digits = name, digits
        self._tree = ElementTree.TreeBuilder()
        self._skipped = 0  # the depth of annotations that are left out
        self._text: list[str] | None = None  # of digits that are not stored yet
        self._n_signs = self._n_stored = 0
        self.depth = 0
        self.is_aecg = False

    def doctype(self, *_: str | None) -> None:
        # What it defines may grow without limit; no annotated ECG has one.
        raise RecordError(f"{self._name}: found a document type (DTD); expected none; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition("}")[2]
        self.is_aecg |= not self.depth and tag == _ROOT
        if not self.is_aecg:
            raise RecordError(
                f"{self._name}: found XML of the kind {tag[:80]!r}; expected {_ROOT} (HL7 aECG); "
                f"export the ECG as that, as DICOM or as EDF"
            )
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise RecordError(
                f"{self._name}: found elements nested {self.depth} deep; expected at most "
                f"{_MAX_DEPTH}; {_AGAIN}"
            )
        if self._skipped or tag == "annotationSet":
            self._skipped += 1
            return
        if tag == "digits" and self._text is None:
            self._text, self._n_signs = [], 0
            self._open = self._tree.start(tag, {"first": str(self._n_stored)})
        else:
            self._tree.start(tag, attributes)

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

    def end(self, tag: str) -> None:
        self.depth -= 1
        if self._skipped:
            self._skipped -= 1
            return
        tag = tag.rpartition("}")[2]
        if tag == "digits" and self._text is not None:
            self._store("".join(self._text))
            self._open.set("last", str(self._n_stored))
            self._text = None
        self._tree.end(tag)

    def close(self) -> ElementTree.Element:
        return self._tree.close()

    def _store(self, text: str) -> None:
        try:
            numbers = np.array(text.split(), dtype="<i4")
        except (ValueError, OverflowError) as error:
            raise RecordError(
                f"{self._name}: found digits that are no whole numbers ({str(error)[:80]}); "
                f"expected whole numbers with blanks between them; {_AGAIN}"
            ) from None
        self._digits.write(numbers.tobytes())
        self._n_stored += numbers.size


def _list_signals(
    name: str, root: ElementTree.Element, stored: NDArray[np.int32]
) -> Iterator[StoredSignal]:
    """Yield the sequences of voltages of every set."""
    for series in root.iter():
        if series.tag not in ("series", "derivedSeries"):
            continue
        code = series.find("code")
        label = "" if code is None else code.get("code", "")
        began = series.find("effectiveTime/low")
        for sequences in series.findall("component/sequenceSet"):
            found = sequences.findall("component/sequence")
            leads = [each for each in found if each.find("value/digits") is not None]
            if not leads:
                continue
            n_samples = max(last - first for first, last in map(_find_digits, leads))
            fs, start = _find_times(name, found)
            check_shape(name, fs, n_samples, len(leads))
            stretch = Stretch(
                fs=fs,
                n_samples=n_samples,
                start=f"{'' if began is None else began.get('value')} {start}",
                is_derived=series.tag == "derivedSeries",
                label=label,
            )
            yield from (_make_signal(each, stretch, stored) for each in leads)


def _find_digits(sequence: ElementTree.Element) -> tuple[int, int]:
    digits = sequence.find("value/digits")
    assert digits is not None
    return int(digits.attrib["first"]), int(digits.attrib["last"])


def _find_times(name: str, sequences: list[ElementTree.Element]) -> tuple[float, str]:
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
                f"{name}: found times with the increment {value!r} {unit!r}; expected a number of "
                f"{', '.join(_S_PER_UNIT)}; correct it, or {_AGAIN}"
            ) from None
        # Six decimals, since 1/360 s is written as 0.0027777778.
        fs = round(1 / step_s, 6) if step_s > 0 else step_s
        return fs, "" if head is None else head.get("value", "")
    raise RecordError(
        f"{name}: found sequences of samples without their times; expected a sequence "
        f"TIME_ABSOLUTE or TIME_RELATIVE with an increment beside them; {_AGAIN}"
    )


def _make_signal(
    sequence: ElementTree.Element, stretch: Stretch, stored: NDArray[np.int32]
) -> StoredSignal:
    """Return a sequence with its scale: a number n stands for origin + scale * n."""
    code = sequence.find("code")
    label = "" if code is None else code.get("code", "")
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
    return StoredSignal(
        label=_LEADS.get(label, label),
        unit=unit,
        stretch=stretch,
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
