"""A Plotly chart that is redrawn in its place, and reports where it was moved and clicked.

`st.plotly_chart` builds another chart for every figure, three times as slow as Plotly's own way of
changing one, and does not report what is shown. This component uses the Plotly that Streamlit has
brought to the page, so some `st.plotly_chart` must stand on the same page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import streamlit as st

from cnns_spectrograms.app.figure_parts import CONFIG, Figure

_QUIET_MS = 120  # after the last movement: a drag is one event
_ROW_PX, _LINE_PX = 36, 28  # of the editor's buttons, and of its words
_WIDE_PX = 700  # in which the buttons stand in a row

_SOURCES = [
    (files("cnns_spectrograms.app") / name).read_text(encoding="utf-8")
    for name in ("live_plot.js", "strip_editor.js")
]
_component = st.components.v2.component(
    "cnns_spectrograms_live_plot", js="\n".join(_SOURCES), isolate_styles=False
)


def show_figure(
    figure: Figure,
    key: str,
    alt: str,
    *,
    width_px: int | None = None,
    on_moved: Callable[[dict[str, float]], None] | None = None,
    on_chosen: Callable[[dict[str, Any]], None] | None = None,
    editor: Mapping[str, Any] | None = None,
    on_edits: Callable[[dict[str, Any]], None] | None = None,
) -> bool:
    """Show a figure of fixed height, as wide as its place.

    Args:
        figure: with a height.
        key: of the element, which stays the same chart while it does.
        alt: what it shows, for screen readers.
        width_px: the width that the server believes it has; another is reported to `on_moved`.
        on_moved: is called before the page runs again: with the width, px, and after a drag or
            zoom with start and stop of the x axis. None: the figure stands still.
        on_chosen: is called with `beat`, the integer of `customdata` of a point that was clicked,
            and `extend`, whether Shift was held.
        editor: what `strip_editor.js` shows beside the figure; None: nothing is corrected.
        on_edits: is called with the token of the editor and its corrections that it does not know
            to be done, oldest first.

    Returns:
        Whether corrections have come to rest, and the rest of the page may follow.
    """
    from plotly.io import to_json

    def pass_on(name: str, react: Callable[[Any], None] | None) -> Callable[[], None]:
        def call() -> None:
            state = st.session_state.get(key)  # gone, if the page was left meanwhile
            if react is not None and state is not None and state.get(name) is not None:
                react(state[name])

        return call

    live = on_moved is not None
    facts = json.dumps(
        {
            "alt": alt,
            "live": live,
            "width_px": width_px,
            "quiet_ms": _QUIET_MS,
            "editor": editor,
            "config": CONFIG
            | {"staticPlot": not live and figure["layout"].get("hovermode") is False},
        }
    )
    # The editor's buttons and its line of words stand below the figure.
    rows = 1 if width_px is None or width_px >= _WIDE_PX else 3
    height = int(figure["layout"]["height"]) + (_LINE_PX + rows * _ROW_PX if editor else 0)
    result = _component(
        key=key,
        data=f'{facts[:-1]}, "figure": {to_json(figure, validate=False)}}}'.encode(),
        height=height,
        on_moved_change=pass_on("moved", on_moved),
        on_chosen_change=pass_on("chosen", on_chosen),
        on_edits_change=pass_on("edits", on_edits),
        on_settled_change=lambda: None,
    )
    return result.get("settled") is not None
