"""A Plotly chart that is redrawn in its place, and reports where it was moved and clicked.

`st.plotly_chart` builds another chart for every figure, three times as slow as Plotly's own way of
changing one, and does not report what is shown. This component uses the Plotly that Streamlit has
brought to the page, so some `st.plotly_chart` must stand on the same page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from cnns_spectrograms.app.figure_parts import Figure

_QUIET_MS = 120  # after the last movement: a drag is one event

_JS = """
const text = new TextDecoder();

function create(parent) {
  const div = document.createElement('div');
  parent.appendChild(div);
  const chart = { div, timers: {}, range: null };
  const width = () => div.getBoundingClientRect().width;
  // One timer per name, so that a click after a drag does not cancel the drag.
  chart.report = (name, value, wait) => {
    clearTimeout(chart.timers[name]);
    chart.timers[name] = setTimeout(() => {
      delete chart.timers[name];
      chart.send(name, { ...value, width: width() });
    }, wait);
  };
  chart.move = (start, stop) => {
    chart.range = { start, stop }; // asked for, until it is drawn
    chart.report('moved', chart.range, chart.given.quiet_ms);
  };
  chart.observer = new ResizeObserver(() => {
    if (!chart.drawn) return;
    if (Math.abs(width() - div._fullLayout.width) > 0.5) window.Plotly.Plots.resize(div);
    if (chart.given.live && Math.abs(width() - chart.given.width_px) > 8) {
      chart.report('moved', chart.timers.moved ? chart.range : {}, chart.given.quiet_ms);
    }
  });
  // Zoom with the wheel only while Ctrl is held: without it the wheel moves the page.
  div.addEventListener('wheel', (event) => {
    if (!chart.given.live || !event.ctrlKey || !chart.drawn) return;
    event.preventDefault();
    // Turns of the wheel come faster than figures: each goes on from the one before.
    const shown = div._fullLayout.xaxis.range;
    const [first, last] = chart.range ? [chart.range.start, chart.range.stop] : shown;
    const box = div.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    const span = (last - first) * (event.deltaY > 0 ? 1.5 : 1 / 1.5);
    const fixed = first + at * (last - first);
    chart.move(fixed - at * span, fixed + (1 - at) * span);
  }, { passive: false });
  return chart;
}

function listen(chart) {
  chart.div.on('plotly_relayout', (change) => {
    const range = change['xaxis.range'] ?? [change['xaxis.range[0]'], change['xaxis.range[1]']];
    if (typeof range[0] !== 'number' || typeof range[1] !== 'number') return;
    clearTimeout(chart.waits); // of a figure of where it stood before
    chart.move(...range);
  });
  chart.div.on('plotly_click', (event) => {
    const chosen = event.points.find((point) => Number.isInteger(point.customdata));
    if (chosen) chart.report('chosen', { beat: chosen.customdata }, 0);
  });
}

// Streamlit calls this for each figure, with the same parent element.
export default function ({ data, parentElement, setTriggerValue }) {
  const chart = (parentElement.chart ??= create(parentElement));
  const { figure, ...given } = JSON.parse(text.decode(data));
  chart.given = given;
  chart.send = setTriggerValue;
  chart.div.setAttribute('role', 'figure');
  chart.div.setAttribute('aria-label', given.alt);
  chart.div.style.height = `${figure.layout.height}px`;
  const draw = () => {
    if (!window.Plotly || chart.div._dragging) { // not loaded yet, or held by the mouse
      chart.waits = setTimeout(draw, 50);
      return;
    }
    window.Plotly.react(chart.div, figure.data, figure.layout, given.config);
    if (!chart.timers.moved) chart.range = null;
    if (!chart.drawn) {
      chart.drawn = true;
      listen(chart);
      chart.observer.observe(chart.div);
    }
  };
  clearTimeout(chart.waits);
  draw();
  return () => {
    Object.values(chart.timers).forEach(clearTimeout);
    clearTimeout(chart.waits);
    chart.observer.disconnect();
    if (chart.drawn) window.Plotly.purge(chart.div);
    chart.div.remove();
    delete parentElement.chart;
  };
}
"""

_CONFIG = {
    "displayModeBar": False,
    "scrollZoom": False,
    "doubleClick": False,
    "displaylogo": False,
}

_component = st.components.v2.component("cnns_spectrograms_live_plot", js=_JS, isolate_styles=False)


def show_figure(
    figure: Figure,
    key: str,
    alt: str,
    *,
    width_px: int | None = None,
    on_moved: Callable[[dict[str, float]], None] | None = None,
    on_chosen: Callable[[int], None] | None = None,
) -> None:
    """Show a figure of fixed height, as wide as its place.

    Args:
        figure: with a height.
        key: of the element, which stays the same chart while it does.
        alt: what it shows, for screen readers.
        width_px: the width that the server believes it has; another is reported to `on_moved`.
        on_moved: is called before the page runs again: with the width, px, and after a drag or
            zoom with start and stop of the x axis. None: the figure stands still.
        on_chosen: is called with the integer of `customdata` of a point that was clicked.
    """
    from plotly.io import to_json

    def call(name: str) -> Any:
        state = st.session_state.get(key)  # gone, if the page was left meanwhile
        return None if state is None else state.get(name)

    def moved() -> None:
        if (value := call("moved")) is not None and on_moved is not None:
            on_moved(value)

    def chosen() -> None:
        if (value := call("chosen")) is not None and on_chosen is not None:
            on_chosen(int(value["beat"]))

    live = on_moved is not None
    facts = json.dumps(
        {
            "alt": alt,
            "live": live,
            "width_px": width_px,
            "quiet_ms": _QUIET_MS,
            "config": _CONFIG
            | {"staticPlot": not live and figure["layout"].get("hovermode") is False},
        }
    )
    _component(
        key=key,
        data=f'{facts[:-1]}, "figure": {to_json(figure, validate=False)}}}'.encode(),
        height=int(figure["layout"]["height"]),
        on_moved_change=moved,
        on_chosen_change=chosen,
    )
