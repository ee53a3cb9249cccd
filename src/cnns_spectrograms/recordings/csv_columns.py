"""What the columns of a CSV file are: times, leads, or neither."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cnns_spectrograms.recordings.csv_table import SECONDS_PER, TIME, Column, Table, split_words
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import KNOWN_VOLTAGES, mv_per_unit

logger = logging.getLogger(__name__)

_MOST_LEADS = 40  # unasked: a file of more has its beats or leads in rows
_LEAST_STEPS = 9  # from which a column that rises is told from an ECG

_TIME_NAMES = {
    *("time", "elapsed", "seconds", "timestamp", "sec", "t", "ms", "milliseconds"),
    *("tiempo", "temps", "zeit"),
}
_INDEX_NAMES = {
    *("sample", "samples", "index", "n", "no", "nr", "number", "row", "line", "unnamed"),
    *("seq", "sequence", "counter", "packet"),
}
_RISES = "its numbers rise steadily, as an index or times do"

# Of a number, or of the seconds in a time, but not of the date `02.03.2024`.
_DECIMALS = r"(?::\d+|^[+-]?\d*)\.(\d+)(?![.\d])"


def choose_columns(
    table: Table, wanted: Sequence[str] | None
) -> tuple[list[Column], Column | None]:
    """Return the columns that are leads, and that of the times, or None.

    Args:
        table: in the file.
        wanted: names or numbers, from 1, of the leads; None takes the columns that are nothing
            else.

    Raises:
        RecordError: a column is not there or in no voltage, or none is a lead.
    """
    time = _find_named_time(table.columns)
    chosen = [] if wanted is None else _find_wanted(table, wanted)
    others = [column for column in table.columns if column != time and column not in chosen]
    left_out = {column: why for column in others if (why := _judge_header(column))}
    n_leads = len(others) - len(left_out)
    if wanted is None and n_leads > _MOST_LEADS:
        raise RecordError(
            f"found {n_leads} columns that may be leads; expected {_MOST_LEADS} "
            f"at most, one row per sample and one column per lead; if each row is a beat or a "
            f"lead, rewrite the table, or name the columns that are leads (--columns)"
        )
    for column in others:
        is_named = re.search("[a-z]", column.name.lower()) is not None
        if is_named and (chosen or column in left_out):
            continue
        is_time, why = judge_cells(table.probe[column.index])
        if is_time and time is None and not is_named:
            time = column
            logger.info("%s: column %r is taken for times", table.path.name, column.label)
        if why:
            left_out[column] = why
    if wanted is not None:
        return chosen, time
    chosen = [column for column in others if column not in left_out]
    reasons = ", ".join(f"{column.label!r} ({why})" for column, why in [*left_out.items()][:10])
    if not chosen:
        raise RecordError(
            f"found no column of a lead"
            f"{'; left out are ' + reasons if reasons else ''}; expected one in {KNOWN_VOLTAGES}; "
            f"correct the header, or name the column (--columns)"
        )
    if reasons:
        logger.info("%s: these columns are no leads: %s", table.path.name, reasons)
    return chosen, time


def _find_wanted(table: Table, wanted: Sequence[str]) -> list[Column]:
    """Return the columns of some names, headers or numbers, from 1."""
    known: dict[str, Column] = {}
    for key in (lambda c: str(c.index + 1), lambda c: c.header, lambda c: c.name):
        known |= {key(column): column for column in reversed(table.columns)}  # the first remains
    missing = [each for each in wanted if each not in known]
    if missing or not wanted:
        raise RecordError(
            f"found no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(repr(column.name) for column in table.columns[:50])}"
        )
    chosen = [known[each] for each in wanted]
    for column in chosen:
        if column.unit and mv_per_unit(column.unit) is None:
            raise RecordError(
                f"found column {column.name!r} in {column.unit!r}; expected "
                f"{KNOWN_VOLTAGES}; convert it to one of these, or delete the unit from the "
                f"header to have it guessed"
            )
    return chosen


def _find_named_time(columns: Sequence[Column]) -> Column | None:
    """Return the first column that is called a time, else the first in a unit of time."""
    for column in columns:
        words = set(split_words(column.header))
        is_time = words & _TIME_NAMES or column.header.lower() in SECONDS_PER
        if is_time and "sample" not in words:
            return column
    return next((each for each in columns if each.unit.strip(" .").lower() in SECONDS_PER), None)


def _judge_header(column: Column) -> str:
    """Return why the header excludes that a column is a lead; empty if it does not."""
    if column.no_ecg:
        return column.no_ecg
    if column.unit:
        return "" if mv_per_unit(column.unit) else f"in {column.unit!r}, no voltage"
    words = split_words(column.name)
    if words and _INDEX_NAMES.issuperset(words):
        return "a row number by its name"
    return "" if re.search(r"\w", column.name) else "without a name"


def judge_cells(cells: pd.Series) -> tuple[bool, str]:
    """Return whether cells are times, and why they are no ECG; empty if they may be one."""
    cells = cells.dropna()
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    if not len(cells):
        return False, "empty"
    if np.isnan(values).all():
        is_time = bool(cells.map(TIME.fullmatch).notna().all())
        return is_time, _RISES if is_time else "texts"
    if set(cells.unique()) == {"0", "1"}:
        return False, "it holds only 0 and 1, as a marker does"
    values = values[np.isfinite(values)]
    steps = np.diff(values)
    is_falling = bool((steps < 0).sum() > (steps > 0).sum())  # a counter may count down
    steps = -steps if is_falling else steps
    rises, falls = steps[steps > 0], steps[steps < 0]
    if len(steps) < _LEAST_STEPS or len(rises) < 3:
        return False, ""
    usual = np.median(rises)
    is_alike = np.abs(rises - usual) <= 1.01 * find_places(cells)[0] + 1e-6 * usual
    if not len(falls) and not is_falling:
        # Whole seconds rise at few rows; what rises at each of many need not be regular.
        if is_alike.mean() >= 0.9 or len(rises) == len(steps) >= 100:
            return bool(np.median(steps) != 1), _RISES
        return False, ""
    # A counter begins again at its least number: it falls by all that it has risen.
    height = np.ptp(values)
    is_reset = falls <= -max(0.9 * height, height - 2 * usual)
    if is_alike.mean() >= 0.95 and is_reset.all() and len(falls) <= len(rises) / 2:
        return False, "it counts and begins again, as a packet number does"
    return False, ""


def find_places(cells: pd.Series) -> tuple[float, float]:
    """Return the last decimal place of numbers or times, as text, and the last that is not zero.

    They are 0.001 and 0.01 for `0.5` and `1.120`.
    """
    digits = cells.str.extract(_DECIMALS, expand=False).fillna("")
    exponents = cells.str.extract(r"[eE]([+-]?\d+)$", expand=False).fillna("0").astype(int)
    written, rounded = (
        int((each.str.len().to_numpy(dtype=int) - exponents.to_numpy(dtype=int)).max())
        for each in (digits, digits.str.rstrip("0"))
    )
    return 10.0 ** -min(max(written, -15), 15), 10.0 ** -min(max(rounded, -15), 15)
