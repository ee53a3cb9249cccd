"""How results are shown: texts in two languages, numbers, clock times, colours of the classes.

Figures, HTML pages and the app take all of these from here, so that a class has one name and one
colour, and a number one form, wherever it stands.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from cnns_spectrograms.ecg.aami import AAMI_CLASSES

# --------------------------------------------------------------------------------------
# Classes and colours
# --------------------------------------------------------------------------------------

UNSURE = "?"
"""Called instead of a class where no probability reaches the threshold."""

CALLS: tuple[str, ...] = (*AAMI_CLASSES, UNSURE)
"""What a beat may be called."""

# The colours are from Okabe and Ito's Color Universal Design palette (2008), which people with any
# common form of colour blindness can distinguish. S, F and Q are darker than there, for 3:1 against
# white and against ECG paper. Each class has a symbol and its letter too, so that nobody depends on
# colours.
_LOOKS = {  # on a light page, on a dark one, Plotly's marker, in running text
    "N": ("#0072B2", "#56B4E9", "circle", "●"),
    "S": ("#B87700", "#E69F00", "triangle-up", "▲"),
    "V": ("#D55E00", "#FF7F2A", "square", "■"),
    "F": ("#B85C93", "#E39BC4", "diamond", "◆"),
    "Q": ("#007A5A", "#2FC59B", "star", "★"),
    UNSURE: ("#666666", "#B0B0B0", "circle-open", "○"),
}
_LIGHT, _DARK, SYMBOLS, GLYPHS = (
    dict(zip(_LOOKS, looks, strict=True)) for looks in zip(*_LOOKS.values(), strict=True)
)
CLASS_COLORS: dict[str, str] = {name: _LIGHT[name] for name in AAMI_CLASSES}


@dataclass(frozen=True)
class Theme:
    """Colours of the figures on a light or a dark page."""

    classes: dict[str, str]
    trace: str
    text: str
    faint: str
    paper: str
    minor_grid: str
    major_grid: str
    highlight: str


LIGHT = Theme(
    classes=_LIGHT,
    trace="#111111",
    text="#31333F",
    faint="#D9D9DE",
    paper="#FFFAF8",
    minor_grid="#FBE3DE",
    major_grid="#F0B8AD",
    highlight="rgba(86, 180, 233, 0.28)",
)

DARK = Theme(
    classes=_DARK,
    trace="#F2F2F2",
    text="#E6E6EA",
    faint="#3A3D46",
    paper="#15171D",
    minor_grid="#26211F",
    major_grid="#4A3530",
    highlight="rgba(86, 180, 233, 0.20)",
)


def choose_theme(kind: str | None) -> Theme:
    """Return the colours for Streamlit's theme type, "light" or "dark" (None: not known yet)."""
    return DARK if kind == "dark" else LIGHT


# --------------------------------------------------------------------------------------
# Texts and numbers
# --------------------------------------------------------------------------------------

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGE_NAMES: dict[Language, str] = {"es": "Español", "en": "English"}

NONE = "–"
"""Stands for a number that is not known or not defined."""

_NO_BREAK = "\N{NO-BREAK SPACE}"
_SEPARATORS: dict[Language, tuple[str, str, str]] = {  # of thousands, of decimals, in a list
    "en": (",", ".", ","),
    "es": ("\N{NARROW NO-BREAK SPACE}", ",", ";"),
}


class Text(NamedTuple):
    """One text in both languages; neither can be left out."""

    en: str
    es: str


@functools.cache
def read_texts() -> Mapping[str, Text]:
    """Return every text of `texts.yml`, by key."""
    import yaml

    content = (files("cnns_spectrograms") / "texts.yml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is built
    return {key: Text(**text) for key, text in yaml.load(content, loader).items()}


class Translator:
    """Gives texts, numbers, percentages and intervals in one language, and colours of figures."""

    def __init__(self, language: Language, theme: Theme = LIGHT) -> None:
        self.language = language
        self.theme = theme

    def __call__(self, key: str, /, **values: str | float) -> str:
        """Return the text of a key, with values put into its {placeholders}.

        Numbers are written with up to three decimals.

        Raises:
            KeyError: the catalogue has no such text.
        """
        text: str = getattr(read_texts()[key], self.language)
        shown = {
            name: value if isinstance(value, str) else self.number(value, 3, trim=True)
            for name, value in values.items()
        }
        return text.format(**shown) if shown else text

    @property
    def separators(self) -> str:
        """Of decimals and of thousands, one sign each, as Plotly takes them."""
        thousands, decimal, _ = _SEPARATORS[self.language]
        return decimal + thousands

    def number(self, value: float | None, decimals: int = 0, *, trim: bool = False) -> str:
        """Return a number with the separators of the language; an en dash for None and NaN.

        Args:
            value: the number.
            decimals: digits after the decimal separator.
            trim: leave out zeros at the end of these.
        """
        if value is None or not math.isfinite(value):
            return NONE
        whole, _, rest = f"{value:,.{decimals}f}".partition(".")
        thousands, decimal, _ = _SEPARATORS[self.language]
        rest = rest.rstrip("0") if trim else rest
        return whole.replace(",", thousands) + (decimal + rest if rest else "")

    def percent(self, share: float | None, decimals: int = 1) -> str:
        """Return a share, 0 to 1, as a percentage; an en dash for None and NaN."""
        shown = self.number(None if share is None else 100 * share, decimals)
        return shown if shown == NONE else f"{shown}{_NO_BREAK}%"

    def interval(self, estimate: float | None, low: float | None, high: float | None) -> str:
        """Return ``0.812 [0.70, 0.90]``, or the estimate alone where there is no interval."""
        shown = self.number(estimate, 3)
        sides = self.number(low, 2), self.number(high, 2)
        if NONE in sides:
            return shown
        separator = _SEPARATORS[self.language][2] + _NO_BREAK  # no line breaks inside
        return f"{shown} [{separator.join(sides)}]"


EN = Translator("en")
"""For what has one language: figures and reports of runs, summaries, logs."""


def choose_language(locale: str | None) -> Language:
    """Return the language for a browser's locale, such as "es-CL"."""
    return "es" if (locale or "").lower().startswith("es") else "en"


def format_clock(seconds: float, decimals: int = 0) -> str:
    """Return a time since the start as h:mm:ss, or m:ss below an hour, in any language."""
    scale = 10**decimals
    whole, part = divmod(round(abs(seconds) * scale), scale)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
    return ("-" if seconds < 0 else "") + clock + (f".{part:0{decimals}d}" if decimals else "")


def render_page(template: Path, t: Translator, **context: Any) -> str:
    """Return an HTML page that needs no other file, or a page of Markdown.

    Args:
        template: of Jinja2. It has `t` and the filters count, score, percent, interval (of a
            mapping with estimate, low and high), clock, and png (of bytes).
        t: gives the texts.
        context: what else the template reads; a name that it misspells is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def format_score(value: float | None, decimals: int = 3) -> str:
        return t.number(value, decimals)

    def format_interval(score: Mapping[str, float | None] | None) -> str:
        return t.interval(*(score[key] for key in ("estimate", "low", "high"))) if score else NONE

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=".html" in template.suffixes,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": t.number,
        "score": format_score,
        "percent": t.percent,
        "interval": format_interval,
        "clock": format_clock,
        "png": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
    }
    return environment.get_template(template.name).render(t=t, **context)
