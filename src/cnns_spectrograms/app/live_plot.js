// The chart of live_plot.py: Plotly redraws it in its place, and it reports what is done to it.
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
    if (!chosen || chart.editor?.mode || performance.now() < (chart.editor?.deaf_until ?? 0)) return;
    const extend = Boolean(event.event?.shiftKey);
    if (chart.editor) chart.editor.choose(chosen.customdata, extend);
    else chart.report('chosen', { beat: chosen.customdata, extend }, 0);
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
  if (given.editor) (chart.editor ??= createEditor(chart)).take(given.editor);
  const draw = () => {
    if (!window.Plotly || chart.div._dragging) { // not loaded yet, or held by the mouse
      chart.waits = setTimeout(draw, 50);
      return;
    }
    window.Plotly.react(chart.div, figure.data, figure.layout, given.config);
    if (!chart.timers.moved) chart.range = null;
    chart.editor?.drawn();
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
    chart.editor?.close();
    if (chart.drawn) window.Plotly.purge(chart.div);
    chart.div.remove();
    delete parentElement.chart;
  };
}
