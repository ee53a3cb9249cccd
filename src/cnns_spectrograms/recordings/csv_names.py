"""Names of the columns of a CSV file: their words, and the units in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS_PER = {
    word: seconds
    for words, seconds in {
        "ns nsec nanosec nanosecond nanoseconds": 1e-9,
        "us \N{MICRO SIGN}s usec microsec microsecond microseconds": 1e-6,
        "ms msec millisec millisecond milliseconds": 1e-3,
        "s sec secs second seconds": 1.0,
        "min mins minute minutes": 60.0,
        "h hr hrs hour hours": 3600.0,
    }.items()
    for word in words.split()
}
"""Length of a unit of time, s, by its names."""

_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]")
_UNIT_AT_END = re.compile(
    r"(?:(.*?)[\s_,./-]+)?([mun\N{MICRO SIGN}]v|(?:milli|micro|nano)?volts?)", re.IGNORECASE
)
LEAD = re.compile(
    r"m?l?i{1,3}|m?v\d+r?|cm\d|d[123]|av[rlf]|[xyz]|e[ck]g.*|lead.*|ch(annel)?\W*\d+", re.IGNORECASE
)
"""Names of leads, which are no units in the brackets of another name: `ECG (II)`."""


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        index: place in the table, from 0.
        header: text in the header; without a header, the place from 1.
        name: header without the unit.
        unit: unit that the file states; empty where it states none.
        no_ecg: why the file itself states that this is no ECG; empty where it does not.
    """

    index: int
    header: str
    name: str
    unit: str = ""
    no_ecg: str = ""

    @property
    def label(self) -> str:
        """What errors and the log call the column."""
        return self.name or self.header or f"column {self.index + 1}"


def split_unit(header: str) -> tuple[str, str]:
    """Return name and unit of a header such as `MLII (mV)`, `time [s]`, `ECG_uV`; or no unit."""
    header = header.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    found = _IN_BRACKETS.fullmatch(header)
    if found and not LEAD.fullmatch(found[2]):
        return found[1], "" if found[2] == "-" else found[2]
    found = _UNIT_AT_END.fullmatch(header)
    return (found[1] or header, found[2]) if found else (header, "")


def split_words(text: str) -> list[str]:
    """Return the words of a name, in lower case; `TimeMs` has two, `milliSec` one."""
    text = text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = re.sub(r"(milli|micro|nano)[\W_]+(?=s)", r"\1", text, flags=re.IGNORECASE)
    return [word for word in re.split(r"[^a-z\N{MICRO SIGN}]+", text.lower()) if word]
