"""Leads: their units, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

KNOWN_VOLTAGES = "V, mV, uV or nV"
"""What `mv_per_unit` knows, for errors."""

_MV_PER_PREFIX = {
    "": 1e3, "m": 1.0, "milli": 1.0, "u": 1e-3, "micro": 1e-3, "n": 1e-6, "nano": 1e-6,
}  # fmt: skip

# The micro sign and the Greek letter, each also as it looks where UTF-8 is read as Latin-1.
_MICRO = ("\u00c2\u00b5", "\u00ce\u00bc", "\u00b5", "\u03bc")

# Of the standard 12, as `_plain_lead` writes them.
_LEADS = {"i", "ii", "iii", "avr", "avl", "avf", *(f"v{i}" for i in range(1, 7))}

# What may stand before and after the name of a lead, without blanks and signs.
_BEFORE = re.compile(
    r"^(?:ecg|ekg|lead|channel|canal|kanal|ableitung|d.riva(?:ci.n|tion|zione|..o))+(?=.)"
)
_AFTER = re.compile(r"(?<=.)(?:ecg|ekg|ref)+$")


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
    else the first with the name of an ECG lead, since an EMG may come before; else the first.
    """
    assert leads
    if preferred in leads:
        return leads.index(preferred)
    same = [i for i, name in enumerate(leads) if preferred and is_same_lead(name, preferred)]
    called = [i for i, name in enumerate(leads) if _contains_ecg(name)]
    return (same + called + choose_others(leads, -1, 1) + [0])[0]


def choose_others(leads: Sequence[str], first: int, n: int) -> list[int]:
    """Return the indices of up to n leads that are called ECG, the first lead not among them."""
    return [i for i, name in enumerate(leads) if i != first and is_called_ecg(name)][:n]


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
    plain = _AFTER.sub("", _BEFORE.sub("", plain))
    # Modified; as some languages write it; of `L1` nothing tells that it is a limb lead.
    limb = re.fullmatch(r"(?:ml|d)(i{1,3}|[123])|l(i{1,3})", plain)
    place = limb[1] or limb[2] if limb else plain
    return "i" * int(place) if limb and place.isdecimal() else place


def name_leads(names: Sequence[str | None]) -> tuple[str, ...]:
    """Return one name per lead, all different: unnamed and repeated ones are numbered."""
    named: list[str] = []
    for i, name in enumerate(names, start=1):
        text = (name or "").strip() or f"lead {i}"
        while text in named:
            text = f"{text} ({i})"
        named.append(text)
    return tuple(named)
