"""What the app's Plotly figures share: their layout, shapes and time axes.

Figures are plain dictionaries in Plotly's schema: each step through a recording draws three, and
objects of plotly.py, which check every property, take ten times as long to make. The tests have
plotly.py check them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnns_spectrograms.presentation import Translator

Figure = dict[str, Any]
"""``data``, a list of traces, and ``layout``."""

CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
"""Of all charts: nothing but what their layout states."""

NICE_STEPS_S = (0.2, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
"""Steps of a time axis, s."""

UNUSABLE = "#777777"
"""Colour behind stretches of unusable signal."""


def make_figure(
    data: list[dict[str, Any]],
    t: Translator,
    height_px: int,
    axes: Mapping[str, Any] | None = None,
    **layout: Any,
) -> Figure:
    """Return a figure on the page's own background.

    Nothing can be dragged, and the axes have a faint grid and no zero line, unless `axes`, of all
    of them, or the layout states it otherwise.
    """
    axis = dict(gridcolor=t.theme.faint, zeroline=False, fixedrange=True, ticks="")
    axis |= dict(ticklabeloverflow="allow") | dict(axes or {})
    shared = dict(
        template=dict(layout=dict(xaxis=axis, yaxis=axis)),
        height=height_px,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(color=t.theme.text, size=13),
        separators=t.separators,
        dragmode=False,
        showlegend="legend" in layout,
    )
    return dict(data=data, layout={**shared, **layout})


def scatter(x: Any, y: Any, mode: str = "lines", **options: Any) -> dict[str, Any]:
    """Return a trace of points or a line."""
    return dict(type="scatter", x=x, y=y, mode=mode, **options)


def heatmap(x: Any, y: Any, z: Any, **options: Any) -> dict[str, Any]:
    """Return a trace of an image, without a scale."""
    return dict(type="heatmap", x=x, y=y, z=z, showscale=False, **options)


def name_axis(text: str) -> dict[str, Any]:
    """Return the title of an axis, close to it."""
    return dict(text=text, font=dict(size=12), standoff=4)


def shade(begin: float, end: float, color: str, opacity: float = 1.0) -> dict[str, Any]:
    """Return a shape below the traces, from one x to another and as high as the axes."""
    where = dict(xref="x", yref="y domain", x0=begin, x1=end, y0=0, y1=1, layer="below")
    return dict(type="rect", **where, fillcolor=color, opacity=opacity, line=dict(width=0))


def upright(x: float, color: str, dash: str, width: float) -> dict[str, Any]:
    """Return a shape, an upright line as high as the figure."""
    where = dict(xref="x", yref="paper", x0=x, x1=x, y0=0, y1=1)
    return dict(type="line", **where, line=dict(color=color, width=width, dash=dash))
