"""Tells the server where a chart was dragged or zoomed to, and how wide it is.

`st.plotly_chart` reports what is selected, and not what is shown. This component listens to
Plotly's own events on the chart of a given key.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

_QUIET_MS = 120  # after the last movement: a drag is one event

_JS = """
const listening = new WeakMap();

export default function ({ data, setTriggerValue }) {
  let timer = null;
  let chart = null;
  let observer = null;

  const report = (moved) => {
    clearTimeout(timer);
    timer = setTimeout(() => setTriggerValue('moved', moved), data.quiet_ms);
  };
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
    const axis = chart._fullLayout.xaxis;
    const box = chart.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    const span = axis.range[1] - axis.range[0];
    const wider = span * (event.deltaY > 0 ? 1.5 : 1 / 1.5);
    const fixed = axis.range[0] + at * span;
    report({ start: fixed - at * wider, stop: fixed + (1 - at) * wider, width: width() });
  };

  const attach = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!found || !found.on) {
      timer = setTimeout(attach, 100);
      return;
    }
    chart = found;
    if (listening.has(chart)) listening.get(chart)();
    chart.on('plotly_relayout', onRelayout);
    chart.addEventListener('wheel', onWheel, { passive: false });
    observer = new ResizeObserver(() => {
      if (Math.abs(width() - data.width) > 8) report({ width: width() });
    });
    observer.observe(chart);
    listening.set(chart, () => {
      chart.removeListener('plotly_relayout', onRelayout);
      chart.removeEventListener('wheel', onWheel);
      observer.disconnect();
    });
  };
  attach();

  return () => {
    clearTimeout(timer);
    if (chart && listening.has(chart)) {
      listening.get(chart)();
      listening.delete(chart);
    }
  };
}
"""

_component = st.components.v2.component("cnns_spectrograms_plot_events", js=_JS)


def listen(chart_key: str, width_px: int, key: str) -> dict[str, float] | None:
    """Return where a chart was moved to since the last run of the page; None if it was not.

    Args:
        chart_key: key of the `st.plotly_chart`.
        width_px: the width that the server believes it has; another is reported.
        key: of this component.

    Returns:
        width, px, and after a drag or zoom start and stop of the x axis.
    """
    result: Any = _component(
        key=key,
        data={"chart": chart_key, "width": width_px, "quiet_ms": _QUIET_MS},
        height=1,
        on_moved_change=lambda: None,
    )
    moved: dict[str, float] | None = result.moved
    return moved
