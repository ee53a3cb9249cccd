"""Leads: their units, their names, and which signals of a file are leads."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnns_spectrograms.recordings.errors import RecordError

logger = logging.getLogger(__name__)

KNOWN_VOLTAGES = "V, mV, uV or nV"
"""What `mv_per_unit` knows, for errors."""

_MV_PER_PREFIX = {
    "": 1e3, "m": 1.0, "milli": 1.0, "u": 1e-3, "micro": 1e-3, "n": 1e-6, "nano": 1e-6,
}  # fmt: skip

# The micro sign and the Greek letter, each also as it looks where UTF-8 is read as Latin-1.
_MICRO = ("\u00c2\u00b5", "\u00ce\u00bc", "\u00b5", "\u03bc")

# Of the standard 12, as `_plain_lead` writes them.
_LEADS = {"i", "ii", "iii", "avr", "avl", "avf", *(f"v{i}" for i in range(1, 7))}


def mv_per_unit(text: str) -> float | None:
    """Return how many millivolts a unit is; None for one that is no voltage.

    Case does not matter (no ECG is in megavolts), nor how the micro sign is written: `uV`, `µV`,
    `UV`, `microvolts`.
    """
    match = re.fullmatch(r"([a-z]*?)(?:v|volts?)", spell_micro(text).strip(" .").lower())
    return None if match is None else _MV_PER_PREFIX.get(match[1])


def spell_micro(text: str) -> str:
    """Return text with every form of the micro sign as `u`."""
    for sign in _MICRO:
        text = text.replace(sign, "u")
    return text


def choose_lead(leads: Sequence[str], preferred: str | None) -> int:
    """Return the index of the lead that training reads and that prediction suggests.

    It is the preferred lead; else that lead under another name, as `II` or `ECG II` for `MLII`;
    else the first that is called ECG or EKG, which in a sleep recording is not the first of all;
    else the first.

    Raises:
        ValueError: there is no lead at all.
    """
    if not leads:
        raise ValueError("no lead to choose from; expected at least one signal name")
    if preferred in leads:
        return leads.index(preferred)
    same = [i for i, name in enumerate(leads) if preferred and is_same_lead(name, preferred)]
    called = [i for i, name in enumerate(leads) if _contains_ecg(name)]
    return (same + called + [0])[0]


def is_same_lead(name: str, other: str) -> bool:
    """Return whether two names are of one lead, such as `MLII`, `II`, `ECG II` and `lead ii`."""
    return _plain_lead(name) == _plain_lead(other)


def is_called_ecg(name: str) -> bool:
    """Return whether a signal's name contains ECG or EKG, or is that of an ECG lead."""
    return _contains_ecg(name) or _plain_lead(name) in _LEADS


def _contains_ecg(name: str) -> bool:
    return re.search("ecg|ekg", name, re.IGNORECASE) is not None


def _plain_lead(name: str) -> str:
    plain = re.sub(r"[\W_]", "", name.lower())
    plain = re.sub(r"^(?:ecg|ekg|lead)+(?=.)", "", plain)
    limb = re.fullmatch(r"(?:ml|d)(i{1,3}|[123])", plain)  # modified; as some languages write it
    return "i" * int(limb[1]) if limb and limb[1].isdecimal() else limb[1] if limb else plain


def find_lead(
    lead_names: Sequence[str], lead: int | str, left_out: Mapping[str, str] | None = None
) -> int:
    """Return the index of a lead given by name (case does not matter) or index.

    Args:
        lead_names: of the recording.
        lead: which.
        left_out: signals of the recording that are no leads -> why, for the error.

    Raises:
        ValueError: there is no such lead.
    """
    index = _find_name(lead_names, lead) if isinstance(lead, str) else lead
    if 0 <= index < len(lead_names):
        return index
    why = {name.lower(): reason for name, reason in (left_out or {}).items()}
    reason = why.get(str(lead).lower())
    found = f"signal {lead} cannot be used: {reason}" if reason else f"there is no lead {lead}"
    raise ValueError(
        f"{found}; the recording has "
        f"{', '.join(f'{i}: {name}' for i, name in enumerate(lead_names))}: give one of these"
    )


def _find_name(lead_names: Sequence[str], lead: str) -> int:
    """Return the index of the lead of a name, else the number that it is, else -1."""
    if lead in lead_names:
        return lead_names.index(lead)
    lower = [name.lower() for name in lead_names]
    if lower.count(lead.lower()) == 1:
        return lower.index(lead.lower())
    return int(lead) if lead.isdecimal() and len(lead) < 6 else -1


def choose_recording_lead(
    lead_names: Sequence[str],
    lead: int | str | None,
    preferred: str | None,
    left_out: Mapping[str, str] | None = None,
) -> int:
    """Return the index of the lead to analyse: the one asked for, else that of training.

    Args:
        lead_names: of the recording.
        lead: a name or an index, as the user asks for it.
        preferred: the lead that the model was trained on, see `choose_lead`.
        left_out: see `find_lead`.

    Raises:
        ValueError: there is no such lead.
    """
    if lead is not None:
        return find_lead(lead_names, lead, left_out)
    return choose_lead(lead_names, preferred)


def name_leads(names: Sequence[str | None]) -> tuple[str, ...]:
    """Return one name per lead, all different: unnamed and repeated ones are numbered."""
    named: list[str] = []
    for i, name in enumerate(names, start=1):
        text = (name or "").strip() or f"lead {i}"
        while text in named:
            text = f"{text} ({i})"
        named.append(text)
    return tuple(named)


@dataclass(frozen=True)
class SelectedLeads:
    """The signals of a file that are the leads of a recording.

    Attributes:
        signals: their places in the file.
        names: one a lead, all different.
        mv_per_unit: what one unit of each is in mV.
        fs: sampling rate of all of them, Hz.
        left_out: name of each other signal -> why it is no lead.
    """

    signals: tuple[int, ...]
    names: tuple[str, ...]
    mv_per_unit: tuple[float, ...]
    fs: float
    left_out: dict[str, str]


def select_leads(
    name: str,
    labels: Sequence[str | None],
    units: Sequence[str | None],
    rates: Sequence[float],
    faults: Mapping[int, str],
) -> SelectedLeads:
    """Return which signals are leads: sound voltages of one rate.

    The rate is that of the signals whose name is an ECG's, where there are any, else that of most
    signals. Voltages that are left out are logged.

    Args:
        name: of the recording.
        labels: name of each signal.
        units: unit of each signal.
        rates: sampling rate of each signal, Hz.
        faults: signal -> why it cannot be read. Only a lead that is asked for must be sound.

    Raises:
        RecordError: no signal is a voltage, or none of these is sound.
    """
    names = name_leads(labels)
    factors = {i: mv for i, unit in enumerate(units) if (mv := mv_per_unit(unit or "")) is not None}
    if not factors:
        raise RecordError(
            f"{name}: found signals in {sorted({unit or '' for unit in units})}; expected a "
            f"voltage ({KNOWN_VOLTAGES}) in one at least"
        )
    left_out = {
        names[i]: f"its unit is {unit!r}, which is no voltage"
        for i, unit in enumerate(units)
        if i not in factors
    }
    unsound = {names[i]: faults[i] for i in factors if i in faults}
    faulty = "; ".join(f"{lead}: {fault}" for lead, fault in list(unsound.items())[:10])
    sound = [i for i in factors if i not in faults]
    if not sound:
        raise RecordError(f"{name}: found no sound signal ({faulty}); correct the header")
    if unsound:
        logger.warning("%s: signals that cannot be read are left out: %s", name, faulty)
    called = [i for i in sound if is_called_ecg(names[i])]
    counted = [rates[i] for i in called or sound]
    fs = max(counted, key=lambda rate: (counted.count(rate), rate))
    slow = [i for i in sound if rates[i] != fs]
    if slow:
        logger.info(
            "%s: read at %g Hz; signals of another rate are left out: %s",
            name,
            fs,
            ", ".join(f"{names[i]} ({rates[i]:g} Hz)" for i in slow[:10]),
        )
    left_out |= unsound | {names[i]: f"its rate is {rates[i]:g} Hz, not {fs:g} Hz" for i in slow}
    kept = [i for i in sound if rates[i] == fs]
    return SelectedLeads(
        tuple(kept), tuple(names[i] for i in kept), tuple(factors[i] for i in kept), fs, left_out
    )
