"""What the notes above the samples of a CSV file state: rate, leads and units."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from cnns_spectrograms.recordings.csv_names import SECONDS_PER, Column

_SAMPLED = re.compile(
    r"\b(?:sampl|muestreo|abtast|amostra|campion|.chantillon)[^\d=:,;]*[\s=:,;\"(]+(?:hz\)?\W+)?"
    r"(\d+(?:[.,]\d+)?)[\s\"]*(?:(?:k|kilo)?(?:hz|her[tc]\w*)|sps|samples.*)?[\s\",;]*$",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"rate(?![a-z])|fr.(?:q|cu)|tasa|taxa|taux|velocidad|hz|her[tc]|\bsps\b"
    r"|(?:/|\bp(?:er|or|ro|ar)\b)\s*s(?:ec(?:onde?)?|egundo|ekunde)?\b",
    re.IGNORECASE,
)
_NO_RATE = re.compile(
    r"numb|numm|n.m.ro|count|anzahl|(?<![a-z])id\b|interval|p.r.od|resol|aufl.s|\bbits?\b"
    r"|\bp(?:oi|u)n[tk]|heart",
    re.IGNORECASE,
)
_KILO = re.compile(r"k(?:ilo)?(?:hz|her[tc])", re.IGNORECASE)
_INTERVAL = re.compile(r"(\d+(?:[.,]\d+)?(?:e[+-]?\d+)?)\s*(\w+)\s*/\s*sample\b", re.IGNORECASE)
_CHANNELS = re.compile(r"\W*(\d{1,4})\s+channels?\W*", re.IGNORECASE)
_THOUSANDS = re.compile(r"^([1-9]|1\d)[.,](\d{3})$")  # no ECG has so few hertz


def read_rate(line: str) -> float | None:
    """Return the sampling rate that a line states, Hz; None where it states none."""
    if (interval_s := read_interval(line)) is not None:
        fs = 1 / interval_s  # `2.77778 msec/sample` is 360 Hz
        return float(round(fs)) if abs(fs - round(fs)) <= 1e-5 * fs else fs
    found = _SAMPLED.search(line)
    if found is None:
        return None
    # From its first word: `Number of samples per file: 5000`.
    note = re.split(r"[;,\t\d]", line[: found.start()])[-1] + found[0]
    if not _RATE.search(note) or _NO_RATE.search(note):
        return None
    if _KILO.search(note):
        return float(found[1].replace(",", ".")) * 1000
    return float(_THOUSANDS.sub(r"\1\2", found[1]).replace(",", "."))


def read_interval(line: str) -> float | None:
    """Return the time between samples that a line states, as `0.5 msec/sample`, s; else None."""
    found = _INTERVAL.search(line)
    unit_s = SECONDS_PER.get(found[2].lower()) if found else None
    if found is None or unit_s is None:
        return None
    return float(found[1].replace(",", ".")) * unit_s or None


def read_channels(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and units that the lines above the header state, as AcqKnowledge writes them.

    A line such as `3 channels` comes before them, and each has a line of its own. There are none
    where other lines follow, or where no line states an interval.
    """
    for i, line in enumerate(lines):
        found = _CHANNELS.fullmatch(line)
        cells = [cell.strip(" \t\"',;") for cell in lines[i + 1 :]]
        if found and len(cells) == 2 * int(found[1]) and any(map(read_interval, lines[:i])):
            return list(zip(cells[::2], cells[1::2], strict=True))
    return []


def read_devices(line: str) -> tuple[list[Column], float | None] | None:
    """Return columns and rate from the JSON of OpenSignals; sensors belong to the last columns."""
    pairs: list[tuple[str, str]] = []
    try:
        devices = list(json.loads(line.lstrip("#% ")).values())
        for device in devices:
            headers, sensors = list(map(str, device["column"])), list(map(str, device["sensor"]))
            pairs += zip(headers, [""] * (len(headers) - len(sensors)) + sensors, strict=True)
        rates = {float(device["sampling rate"]) for device in devices}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    ecg = {sensor for _, sensor in pairs if re.search("e[ck]g", sensor.lower())}
    columns = [
        Column(i, header, sensor)
        if sensor in ecg
        else Column(i, header, header, no_ecg=f"of the sensor {sensor}" if ecg else "")
        if sensor
        else Column(i, header, header, no_ecg="of no sensor")
        for i, (header, sensor) in enumerate(pairs)
    ]
    return columns, rates.pop() if len(rates) == 1 else None
