"""The HTML report of an analysis: one page that needs nothing else, with strips on ECG paper.

It speaks English or Spanish; the strips speak neither. Drawings are SVG in millimetres: on paper
25 mm are 1 s and 10 mm are 1 mV.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.inference.analysis import DISCLAIMER, Analysis
from cnns_spectrograms.palette import CLASS_COLORS
from cnns_spectrograms.recordings.recording import Recording

MAX_STRIPS = 600
"""Most strips on a page, some 10 KB each; the page says how many more there would be."""

STRIP_S = 10.0
"""Greatest length of a strip, s: 250 mm."""

CONTEXT_S = 2.0
"""What a strip shows before and after an abnormal beat, s."""

_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LABEL_MM = 5.0
_LEAST_UP_MV, _LEAST_DOWN_MV = 2.5, 1.5  # what a strip has room for about its median, mV
_MOST_MV = 5.0  # either way; a spike of an artefact would else make a strip of metres
_CUT = "<!--cut-->"  # in the place of words, which strips have none of
_POINTS_PER_S = 180  # of the drawn line; more is finer than a printer
_TACHOGRAM_MM = (250.0, 50.0)
_TACHOGRAM_COLUMNS = 1000

ReportLanguage = Literal["en", "es"]

_WORDS: dict[str, dict[ReportLanguage, str]] = {
    "title": {"en": "ECG {name}, lead {lead}", "es": "ECG {name}, derivación {lead}"},
    "disclaimer": {
        "en": DISCLAIMER,
        "es": "Software de investigación. No es un dispositivo médico: no apto para diagnóstico "
        "ni para uso clínico.",
    },
    "synthetic_model": {
        "en": "The model was trained on simulated recordings: it says nothing about hearts.",
        "es": "El modelo se entrenó con registros simulados: no dice nada sobre corazones.",
    },
    "N": {"en": "normal", "es": "normal"},
    "S": {"en": "supraventricular", "es": "supraventricular"},
    "V": {"en": "ventricular", "es": "ventricular"},
    "F": {"en": "fusion", "es": "fusión"},
    "Q": {"en": "paced or unclassifiable", "es": "estimulado o inclasificable"},
    "rr": {"en": "RR intervals", "es": "Intervalos RR"},
    "rr_caption": {
        "en": "Each point is a beat, coloured by class.",
        "es": "Cada punto es un latido, con el color de su clase.",
    },
    "episodes": {"en": "Abnormal episodes", "es": "Episodios anormales"},
    "beginning": {"en": "Beginning", "es": "Comienzo"},
    "none_abnormal": {
        "en": "No beat was called abnormal. The recording begins like this.",
        "es": "Ningún latido se clasificó como anormal. El registro comienza así.",
    },
    "left_out": {
        "en": "The first {n} strips; {more} more are left out. The table of beats (CSV) holds all.",
        "es": "Las primeras {n} tiras; se omiten otras {more}. La tabla de latidos (CSV) los "
        "contiene todos.",
    },
    "cut": {
        "en": " · cut off at {most} mV from the median",
        "es": " · cortada a {most} mV de la mediana",
    },
    "length": {"en": "Length", "es": "Duración"},
    "length_value": {"en": "{time} at {fs} Hz", "es": "{time} a {fs} Hz"},
    "leads": {"en": "Leads", "es": "Derivaciones"},
    "leads_value": {"en": "{leads}; analysed: {lead}", "es": "{leads}; analizada: {lead}"},
    "signal": {"en": "Signal", "es": "Señal"},
    "signal_value": {
        "en": "{clean} clean, {flat} flat, {missing} s missing",
        "es": "{clean} limpia, {flat} plana, faltan {missing} s",
    },
    "model": {"en": "Model", "es": "Modelo"},
    "model_value": {
        "en": "{name}, {file}, sha256 {sha256}, training {fingerprint}",
        "es": "{name}, {file}, sha256 {sha256}, entrenamiento {fingerprint}",
    },
    "software": {"en": "Software", "es": "Software"},
    "beats": {"en": "Beats", "es": "Latidos"},
    "beats_detected": {"en": "{n}, R peaks detected", "es": "{n}, picos R detectados"},
    "beats_given": {"en": "{n}, R peaks given", "es": "{n}, picos R dados"},
    "rate": {"en": "Heart rate", "es": "Frecuencia cardíaca"},
    "rate_value": {
        "en": "mean {mean}/min, lowest {lowest}, highest {highest} (medians of 8 intervals)",
        "es": "media {mean}/min, mínima {lowest}, máxima {highest} (medianas de 8 intervalos)",
    },
    "windows": {"en": "Windows", "es": "Ventanas"},
    "class": {"en": "Class", "es": "Clase"},
    "burden": {"en": "Burden", "es": "Carga"},
    "runs": {"en": "Runs of 3 and more", "es": "Rachas de 3 o más"},
    "longest": {"en": "Longest run", "es": "Racha más larga"},
    "longest_value": {"en": "{n} beats at {time}", "es": "{n} latidos en {time}"},
}
_SEPARATORS: dict[ReportLanguage, tuple[str, str]] = {  # of thousands and of decimals
    "en": (",", "."),
    "es": ("\u202f", ","),
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 270mm; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.warning { border: 2px solid #D55E00; padding: .5em 1em; }
figure { margin: 1em 0; page-break-inside: avoid; }
figcaption { font-size: 13px; }
svg { max-width: 100%; height: auto; border: 1px solid #e5b5b5; background: #fffafa; }
"""

_PAPER = """
<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="small" width="1" height="1" patternUnits="userSpaceOnUse">
<path d="M1 0H0V1" fill="none" stroke="#f3cfcf" stroke-width=".08"/></pattern>
<pattern id="paper" width="5" height="5" patternUnits="userSpaceOnUse">
<rect width="5" height="5" fill="url(#small)"/>
<path d="M5 0H0V5" fill="none" stroke="#e09a9a" stroke-width=".18"/></pattern>
</defs></svg>
"""


class _Speaker:
    """Gives the texts of one language, and numbers as it writes them."""

    def __init__(self, language: ReportLanguage) -> None:
        self._language = language

    def __call__(self, key: str, **values: str | float) -> str:
        """Return the text of a key with values put in."""
        told = {k: v if isinstance(v, str) else self.number(v) for k, v in values.items()}
        return _WORDS[key][self._language].format(**told)

    def number(self, value: float, decimals: int = 3) -> str:
        """Return a number with the separators of the language and no more decimals than given."""
        whole, _, rest = f"{value:,.{decimals}f}".partition(".")
        thousands, decimal = _SEPARATORS[self._language]
        rest = rest.rstrip("0")
        return whole.replace(",", thousands) + (decimal + rest if rest else "")

    def percent(self, share: float, decimals: int) -> str:
        """Return a share, 0 to 1, as a percentage with so many decimals."""
        plain = f"{100 * share:.{decimals}f}".replace(".", _SEPARATORS[self._language][1])
        return plain + ("%" if self._language == "en" else " %")


def render_report(
    analysis: Analysis,
    recording: Recording,
    language: ReportLanguage = "en",
    strips: str | None = None,
) -> str:
    """Return the page: what was found, the heart rate over time, and every abnormal episode.

    Args:
        analysis: of the recording.
        recording: gives the signal of the strips.
        language: of the page.
        strips: what `draw_strips` returned, if it was called before.
    """
    summary = analysis.summary
    say = _Speaker(language)
    title = html.escape(say("title", name=summary["recording"]["name"], lead=analysis.lead))
    planned, n_more = _plan_strips(analysis.beats, recording.duration_s)
    warnings = ["disclaimer", *(["synthetic_model"] if summary["model"]["synthetic_data"] else [])]
    parts = [
        f"<!doctype html><html lang={language}><head><meta charset=utf-8>",
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        _PAPER,
        f"<h1>{title}</h1>",
        *(f"<p class=warning><strong>{say(each)}</strong></p>" for each in warnings),
        _tabulate_facts(summary, say),
        _tabulate_classes(summary, say),
    ]
    if not analysis.sliding and len(analysis.beats) > 1:
        parts.append(f"<h2>{say('rr')}</h2>" + _draw_tachogram(analysis.beats, say))
    abnormal = (analysis.beats["aami_class"] != "N").any()
    parts.append(f"<h2>{say('episodes' if abnormal else 'beginning')}</h2>")
    if not abnormal:
        parts.append(f"<p>{say('none_abnormal')}</p>")
    if n_more:
        parts.append(f"<p>{say('left_out', n=len(planned), more=n_more)}</p>")
    strips = draw_strips(analysis, recording) if strips is None else strips
    parts.append(strips.replace(_CUT, say("cut", most=_MOST_MV)))
    parts.append("</body></html>\n")
    return "\n".join(parts)


def draw_strips(analysis: Analysis, recording: Recording) -> str:
    """Return the drawings of every abnormal episode, the same in every language.

    A strip is as high as its signal needs. Where even the highest cuts a line off, its caption has
    a mark, in whose place `render_report` says so.
    """
    strips, _ = _plan_strips(analysis.beats, recording.duration_s)
    return "\n".join(_draw_strip(analysis, recording, start, stop) for start, stop in strips)


def _tabulate_facts(summary: dict[str, Any], say: _Speaker) -> str:
    of, quality, model = summary["recording"], summary["signal_quality"], summary["model"]
    facts = {
        "length": say("length_value", time=_tell_time(of["duration_s"]), fs=of["fs"]),
        "leads": say("leads_value", leads=", ".join(of["leads"]), lead=of["lead"]),
        "signal": say(
            "signal_value",
            clean=say.percent(quality["clean_share"], 0),
            flat=say.percent(quality["flat_share"], 0),
            missing=quality["missing_s"],
        ),
        "model": say(
            "model_value",
            name=model["name"],
            file=model["file"],
            sha256=model["sha256"][:16],
            fingerprint=model["fingerprint"][:16],
        ),
        "software": summary["software"],
    }
    if "n_beats" in summary:
        rates = summary["heart_rate"]
        facts["beats"] = say(f"beats_{summary['peaks']}", n=summary["n_beats"])
        if rates["mean_bpm"] is not None:
            facts["rate"] = say(
                "rate_value",
                mean=rates["mean_bpm"],
                lowest=rates["lowest_bpm"],
                highest=rates["highest_bpm"],
            )
    else:
        facts["windows"] = say.number(summary["n_windows"])
    rows = (
        f"<tr><th scope=row>{say(name)}</th>"
        f"<td style='text-align:left'>{html.escape(said)}</td></tr>"
        for name, said in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _tabulate_classes(summary: dict[str, Any], say: _Speaker) -> str:
    unit = "beats" if "n_beats" in summary else "windows"
    heads = ["class", unit, "burden", *(["runs", "longest"] if unit == "beats" else [])]
    head = "".join(f"<th>{say(each)}</th>" for each in heads)
    rows = []
    for name in AAMI_CLASSES:
        share = summary["burden"][name]
        cells = [
            f"<span style='color:{CLASS_COLORS[name]}'><b>{name}</b></span> {say(name)}",
            say.number(summary["counts"][name]),
            "-" if share is None else say.percent(share, 2),
        ]
        if unit == "beats":
            longest = summary["longest_runs"].get(name)
            cells.append(say.number(summary["runs"][name]) if name in summary["runs"] else "")
            cells.append(
                say("longest_value", n=longest["n_beats"], time=_tell_time(longest["start_s"]))
                + (f", {say.number(longest['rate_bpm'])}/min" if longest["rate_bpm"] else "")
                if longest
                else "-"
            )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _plan_strips(beats: pd.DataFrame, duration_s: float) -> tuple[list[tuple[float, float]], int]:
    """Return (start, stop) in s of the strips that show every abnormal beat, and how many more."""
    times = beats.loc[beats["aami_class"] != "N", "time_s"].to_numpy()
    if not len(times):
        return [(0.0, min(STRIP_S, duration_s))], 0
    splits = np.flatnonzero(np.diff(times) > 2 * CONTEXT_S) + 1
    strips: list[tuple[float, float]] = []
    for episode in np.split(times, splits):
        start, stop = max(0.0, episode[0] - CONTEXT_S), min(duration_s, episode[-1] + CONTEXT_S)
        n_parts = max(1, math.ceil((stop - start) / STRIP_S - 1e-9))
        strips += itertools.pairwise(np.linspace(start, stop, n_parts + 1).tolist())
    return strips[:MAX_STRIPS], max(0, len(strips) - MAX_STRIPS)


def _draw_strip(analysis: Analysis, recording: Recording, start_s: float, stop_s: float) -> str:
    fs = recording.fs
    first = round(start_s * fs)
    last = min(recording.n_samples, max(first + 1, round(stop_s * fs)))
    signal = recording.read(analysis.lead, first, last)
    known = signal[np.isfinite(signal)]
    signal = signal - (np.median(known) if len(known) else 0.0)
    up, down, cut = _choose_room(signal)
    zero = _LABEL_MM + up * _MM_PER_MV
    height = zero + down * _MM_PER_MV
    width = (last - first) / fs * _MM_PER_S
    lines = _trace(np.clip(signal, -down, up), fs, zero)
    beats = analysis.beats
    shown = beats[(beats["sample"] >= first) & (beats["sample"] < last)]
    labels = "".join(
        f'<text x="{(sample - first) / fs * _MM_PER_S:.1f}" y="4" fill="{CLASS_COLORS[name]}">'
        f"{name}</text>"
        for sample, name in zip(shown["sample"], shown["aami_class"], strict=True)
    )
    counts = shown["aami_class"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in AAMI_CLASSES if name in counts)
    caption = f"{_tell_time(first / fs)} – {_tell_time(last / fs)}: {told or '-'}"
    return (
        f'<figure><svg role="img" aria-label="{caption}" width="{width:.1f}mm" '
        f'height="{height:.1f}mm" viewBox="0 0 {width:.1f} {height:.1f}">'
        f'<rect width="100%" height="100%" fill="url(#paper)"/>'
        f'<g fill="none" stroke="#111" stroke-width=".3" stroke-linejoin="round">{lines}</g>'
        f'<g font-size="4" font-weight="bold" text-anchor="middle">{labels}</g></svg>'
        f"<figcaption>{caption} · 25 mm/s, 10 mm/mV{_CUT if cut else ''}</figcaption></figure>"
    )


def _choose_room(signal_mv: NDArray[np.floating]) -> tuple[float, float, bool]:
    """Return what a strip shows above and below 0, whole half mV, and whether it cuts."""
    up, down = np.nanmax(signal_mv, initial=0), -np.nanmin(signal_mv, initial=0)
    room_up, room_down = (
        min(max(math.ceil(2 * float(needed)) / 2, least), _MOST_MV)
        for needed, least in ((up, _LEAST_UP_MV), (down, _LEAST_DOWN_MV))
    )
    return room_up, room_down, bool(up > room_up or down > room_down)


def _trace(signal_mv: NDArray[np.floating], fs: float, zero_mm: float) -> str:
    """Return the paths of a signal, broken where it has no sample."""
    step = max(1, int(fs // _POINTS_PER_S))
    if step > 1:  # lowest and highest of each pair of points, so that no peak is lost
        n = len(signal_mv) // (2 * step) * 2 * step
        pairs = signal_mv[:n].reshape(-1, 2 * step)
        order = pairs.argmin(axis=1) < pairs.argmax(axis=1)
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        signal_mv = np.stack(
            [np.where(order, low, high), np.where(order, high, low)], axis=1
        ).ravel()
    x = np.arange(len(signal_mv)) * step / fs * _MM_PER_S
    y = zero_mm - signal_mv * _MM_PER_MV
    good = np.isfinite(signal_mv)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    paths = []
    for start, stop in edges.reshape(-1, 2).tolist():
        points = " ".join(
            f"{a:.1f},{b:.1f}" for a, b in zip(x[start:stop], y[start:stop], strict=True)
        )
        paths.append(f'<polyline points="{points}"/>')
    return "".join(paths)


def _draw_tachogram(beats: pd.DataFrame, say: _Speaker) -> str:
    """Return the RR intervals over the whole recording, at most some thousand of each class."""
    width, height = _TACHOGRAM_MM
    end = float(beats["time_s"].iloc[-1]) or 1.0
    rr = beats["rr_s"].to_numpy()
    column = (beats["time_s"].to_numpy() / end * _TACHOGRAM_COLUMNS).astype(int)
    y = np.clip(height - rr / 2 * height, 0, height)
    marks: list[str] = []
    for name in AAMI_CLASSES:
        mine = (beats["aami_class"] == name).to_numpy() & np.isfinite(rr)
        # One mark for beats that would fall on each other.
        points = np.unique(np.stack([column[mine], np.round(y[mine], 0).astype(int)], 1), axis=0)
        marks.append(f'<g fill="{CLASS_COLORS[name]}">{"".join(_mark(points, width))}</g>')
    grid = "".join(
        f'<path d="M0 {height - s / 2 * height:.1f}H{width}" stroke="#ccc" stroke-width=".15"/>'
        f'<text x="1" y="{height - s / 2 * height - 0.6:.1f}" font-size="3">{say.number(s)} s'
        f"</text>"
        for s in (0.5, 1.0, 1.5)
    )
    return (
        f'<figure><svg role="img" aria-label="{say("rr")}" width="{width}mm" '
        f'height="{height}mm" viewBox="0 0 {width} {height}">{grid}{"".join(marks)}</svg>'
        f"<figcaption>0 – {_tell_time(end)}. {say('rr_caption')}</figcaption></figure>"
    )


def _mark(points: NDArray[np.int64], width: float) -> Iterable[str]:
    for x, y in points.tolist():
        yield f'<circle cx="{x / _TACHOGRAM_COLUMNS * width:.2f}" cy="{y}" r=".45"/>'


def _tell_time(seconds: float) -> str:
    """Return a time of the clock, the same in every language, as the strips are."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}"
