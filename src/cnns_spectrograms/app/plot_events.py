"""Tells the server where a chart was dragged or zoomed to, and how wide it is.

`st.plotly_chart` reports what is selected, and not what is shown. This component listens to
Plotly's own events on the chart of a given key.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

_QUIET_MS = 120  # after the last movement: a drag is one event

_JS = """
export default function ({ data, setTriggerValue }) {
  let timer = null;
  let chart = null;
  let detach = () => {};

  const report = (moved) => {
    clearTimeout(timer);
    timer = setTimeout(() => setTriggerValue('moved', moved), data.quiet_ms);
  };

  // Streamlit may put another chart in the place of the first.
  const attach = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!found || !found.on || found === chart) return;
    detach();
    chart = found;
    const width = () => chart.getBoundingClientRect().width;
    const onRelayout = (change) => {
      const range = change['xaxis.range'] ??
        [change['xaxis.range[0]'], change['xaxis.range[1]']];
      if (typeof range[0] === 'number' && typeof range[1] === 'number') {
        report({ start: range[0], stop: range[1], width: width() });
      }
    };
    // Zoom with the wheel only while Ctrl is held: without it the wheel moves the page.
    const onWheel = (event) => {
      if (!event.ctrlKey || !chart._fullLayout) return;
      event.preventDefault();
      const [first, last] = chart._fullLayout.xaxis.range;
      const box = chart.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width;
      const span = (last - first) * (event.deltaY > 0 ? 1.5 : 1 / 1.5);
      const fixed = first + at * (last - first);
      report({ start: fixed - at * span, stop: fixed + (1 - at) * span, width: width() });
    };
    const observer = new ResizeObserver(() => {
      if (Math.abs(width() - data.width) > 8) report({ width: width() });
    });
    chart.on('plotly_relayout', onRelayout);
    chart.addEventListener('wheel', onWheel, { passive: false });
    observer.observe(chart);
    detach = () => {
      chart.removeListener('plotly_relayout', onRelayout);
      chart.removeEventListener('wheel', onWheel);
      observer.disconnect();
    };
  };
  attach();
  const watch = setInterval(attach, 200);

  return () => {
    clearInterval(watch);
    clearTimeout(timer);
    detach();
  };
}
"""

_component = st.components.v2.component("cnns_spectrograms_plot_events", js=_JS)


def listen(
    chart_key: str, width_px: int, key: str, on_moved: Callable[[dict[str, float]], None]
) -> None:
    """Call a function when a chart was moved, before the page runs again.

    Args:
        chart_key: key of the `st.plotly_chart`.
        width_px: the width that the server believes it has; another is reported.
        key: of this component.
        on_moved: is given the width, px, and after a drag or zoom start and stop of the x axis.
    """

    def call() -> None:
        state = st.session_state.get(key)  # gone, if the page was left meanwhile
        if state is not None and state.get("moved") is not None:
            on_moved(state["moved"])

    _component(
        key=key,
        data={"chart": chart_key, "width": width_px, "quiet_ms": _QUIET_MS},
        height=1,
        on_moved_change=call,
    )
