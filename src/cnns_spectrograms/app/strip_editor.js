// What corrects beats on a chart of live_plot.js: keys, buttons, a cursor and calipers.
//
// A correction is on the screen at once, as a badge over the beat, and goes to the server in an
// outbox: every message holds all corrections that the server has not confirmed, numbered, so that
// none is lost or done twice. The next figure shows them itself, and the badges go. Each names its
// study, since the chart stays when another recording is opened.
//
// What chooses another beat goes the same way, in the same order: a correction is of the beat that
// is chosen once all before it is done, though the figure of that is still to come.

const SVG = 'http://www.w3.org/2000/svg';
const SETTLED_MS = 1500; // after the last correction: the rest of the page may follow
const RESEND_MS = 1000; // as long as the server has not confirmed
const STEP_S = 0.01, STEP_MV = 0.05; // of the cursor, ten times as much with Shift
const MOVES = ['choose', 'step']; // messages that correct nothing
const ARROWS = { ArrowLeft: 'left', ArrowRight: 'right' };

function make(name, attributes, parent, text) {
  const svg = ['svg', 'g', 'line', 'rect', 'text', 'circle'].includes(name);
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent?.appendChild(element);
  return element;
}

function isTyping(target) {
  return Boolean(target?.closest?.(
    'input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true], ' +
    '[role=combobox], [role=listbox], [role=option], [role=slider], [role=dialog]'
  ));
}

function createEditor(chart) {
  const { div } = chart;
  const token = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
  const editor = { mode: null, outbox: [], number: 0, marks: [], caliper: [], cursor: null };
  div.style.position = 'relative';
  const overlay = make('svg', {
    class: 'editor-overlay', 'aria-hidden': 'true', width: '100%', height: '100%',
    style: 'position:absolute;inset:0;pointer-events:none;overflow:hidden;z-index:5',
  });
  const bar = make('div', { class: 'editor-bar', role: 'toolbar' });
  const status = make('div', { class: 'editor-status', role: 'status', 'aria-live': 'polite' });
  div.after(bar, status);
  const buttons = {};

  const axes = () => div._fullLayout;
  const toX = (time) => axes().xaxis._offset + axes().xaxis.l2p(time);
  const toY = (value) => axes().yaxis._offset + axes().yaxis.l2p(value);
  const beats = () => (div.data ?? []).filter((each) => each.customdata).flatMap((each) =>
    Array.from(each.x, (x, i) => ({ id: each.customdata[i], x, y: each.y[i], name: each.name })));

  // -- what goes to the server ---------------------------------------------------------------
  function send() {
    clearTimeout(editor.resends);
    if (!editor.outbox.length) return;
    chart.send('edits', { token, edits: editor.outbox });
    // What arrives while the whole page runs may be dropped.
    editor.resends = setTimeout(send, RESEND_MS);
  }

  function post(edit) {
    editor.number += 1;
    editor.outbox.push({ n: editor.number, study: editor.given.study, ...edit });
    send();
    clearTimeout(editor.settles);
  }

  function push(edit, marks) {
    if (!editor.given.enabled) {
      say(editor.given.texts.disabled);
      return;
    }
    for (const mark of marks) editor.marks.push({ ...mark, n: editor.number + 1 });
    performance.mark('editor-key-shown');
    say(editor.given.texts.saving);
    redraw();
    post(edit);
  }

  const unsaved = () => editor.outbox.filter((each) => !MOVES.includes(each.do)).length;

  function say(text) {
    status.textContent = text;
  }

  function mark(ids, label) {
    const wanted = new Set(ids);
    return beats().filter((each) => wanted.has(each.id)).map((each) => ({ ...each, label }));
  }

  // The beats that the next correction is of; null where only the server will know.
  function target() {
    const last = editor.outbox.findLast((each) => !each.do.startsWith('relabel'));
    if (!last) return editor.given.selected;
    return last.do === 'choose' && last.beat >= 0 && !last.extend ? [last.beat] : null;
  }

  function correct(name, group) {
    const beats = target(), { selected, texts, group_members: members } = editor.given;
    if (beats && !beats.length) return say(texts.choose_beat);
    const seen = group && beats === selected ? members : beats ?? [];
    push({ do: group ? 'relabel_group' : 'relabel', beats, to: name }, mark(seen, name));
  }

  function remove() {
    const beats = target();
    if (beats && !beats.length) return say(editor.given.texts.choose_beat);
    push({ do: 'delete', beats }, mark(beats ?? [], '×'));
  }

  editor.choose = (beat, extend) => post({ do: 'choose', beat, extend });

  // Do what a button of the page would, unless it is absent or has nothing to do.
  function step(name) {
    const there = document.querySelector(`.st-key-${name} button:not(:disabled)`);
    if (there) post({ do: 'step', name });
  }

  function turn(kind) {
    const preview = editor.given[kind]; // what the server would show: beats and their classes
    if (!preview && !unsaved()) return say(editor.given.texts[`no_${kind}`]);
    const marks = unsaved() ? [] : Object.entries(preview).flatMap(
      ([id, label]) => mark([Number(id)], label ?? '×'));
    push({ do: kind }, marks);
  }

  // -- the cursor: adds a beat, or measures ---------------------------------------------------
  function enter(mode) {
    if (mode === 'add' && !editor.given.enabled) return say(editor.given.texts.disabled);
    editor.mode = editor.mode === mode ? null : mode;
    editor.caliper = [];
    const { xaxis, yaxis } = axes();
    const [first, last] = xaxis.range;
    const [first_chosen] = target() ?? editor.given.selected;
    const chosen = beats().find((each) => each.id === first_chosen);
    const visible = chosen && chosen.x > first && chosen.x < last;
    editor.cursor = editor.mode && {
      x: visible ? chosen.x : (first + last) / 2, y: 0,
    };
    div.style.cursor = editor.mode ? 'crosshair' : '';
    div.classList.toggle('editor-aiming', Boolean(editor.mode));
    say(editor.mode ? editor.given.texts[`${editor.mode}_aim`] : '');
    showMode();
    redraw();
  }

  function showMode() {
    for (const name of ['add', 'measure']) {
      buttons[name].setAttribute('aria-pressed', String(editor.mode === name));
    }
  }

  function place() {
    if (editor.mode === 'add') {
      const at = { ...editor.cursor };
      enter('add'); // is over
      editor.deaf_until = performance.now() + 400; // to the same click as Plotly reports it
      push({ do: 'add', time_s: at.x }, [{ x: at.x, y: editor.given.marks_mv, label: '+' }]);
    } else if (editor.mode === 'measure') {
      if (editor.caliper.length === 2) editor.caliper = [];
      editor.caliper.push({ ...editor.cursor });
      redraw();
      if (editor.caliper.length === 2) say(measure());
    }
  }

  function measure() {
    const [a, b] = [editor.caliper[0], editor.caliper[1] ?? editor.cursor];
    const { texts, language } = editor.given;
    const write = (value, decimals) => value.toLocaleString(language, {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals,
    });
    const ms = Math.abs(b.x - a.x) * 1000;
    const parts = [`${write(ms, 0)} ms`, `${write(b.y - a.y, 2)} mV`];
    if (ms >= 150) parts.push(`${write(60000 / ms, 0)} ${texts.per_minute}`);
    return parts.join(' · ');
  }

  function move(x, y) {
    if (!editor.cursor) return;
    const { xaxis, yaxis } = axes();
    const within = (value, [low, high]) => Math.min(Math.max(value, low), high);
    editor.cursor = { x: within(x, xaxis.range), y: within(y, yaxis.range) };
    redraw();
    if (editor.mode === 'measure' && editor.caliper.length === 1) say(measure());
  }

  // -- drawing -------------------------------------------------------------------------------
  function redraw() {
    overlay.replaceChildren();
    if (!chart.drawn || !editor.given) return;
    const { colors, paper } = editor.given;
    const height = axes().height;
    for (const each of editor.marks) {
      const x = toX(each.x), y = toY(each.y), color = colors[each.label] ?? colors['?'];
      make('rect', {
        x: x - 9, y: y - 20, width: 18, height: 28, rx: 3, fill: paper, stroke: color,
        'stroke-width': 2,
      }, overlay);
      make('text', {
        x, y: y - 1, fill: color, 'text-anchor': 'middle', 'font-weight': 'bold',
        'font-size': 15, class: 'editor-mark',
      }, overlay, each.label);
    }
    if (!editor.mode) return;
    const line = (x1, y1, x2, y2, dash) => make('line', {
      x1, y1, x2, y2, stroke: colors.cursor, 'stroke-width': 1.5, 'stroke-dasharray': dash,
    }, overlay);
    const points = [...editor.caliper, ...(editor.caliper.length < 2 ? [editor.cursor] : [])];
    for (const { x, y } of points) {
      line(toX(x), 0, toX(x), height, '4 3');
      if (editor.mode === 'measure') line(0, toY(y), axes().width, toY(y), '1 4');
    }
    if (editor.mode === 'measure' && points.length === 2) {
      const [a, b] = points;
      line(toX(a.x), toY(b.y), toX(b.x), toY(b.y), '');
      line(toX(a.x), toY(a.y), toX(a.x), toY(b.y), '');
      const text = make('text', {
        x: (toX(a.x) + toX(b.x)) / 2, y: Math.max(14, toY(Math.max(a.y, b.y)) - 8),
        fill: colors.cursor, stroke: paper, 'stroke-width': 4, 'paint-order': 'stroke',
        'text-anchor': 'middle', 'font-weight': 'bold', 'font-size': 14,
        class: 'editor-measure',
      }, overlay, measure());
      const half = text.getBBox().width / 2;
      const middle = Number(text.getAttribute('x'));
      text.setAttribute('x', Math.min(Math.max(middle, half + 4), axes().width - half - 4));
    }
  }

  // -- keys, buttons and the mouse -------------------------------------------------------------
  function onKey(event) {
    if (!chart.drawn || isTyping(event.target) || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!act(key, event)) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // or a button of the page takes it too
  }

  function act(key, event) {
    if (event.ctrlKey || event.metaKey) {
      if (key === 'z') turn(event.shiftKey ? 'redo' : 'undo');
      else if (key === 'y') turn('redo');
      else return false;
      return true;
    }
    if (editor.mode && aim(key, event.shiftKey ? 10 : 1)) return true;
    const { shortcuts, steps } = editor.given;
    const moves = steps[(event.shiftKey ? 'shift+' : '') + (ARROWS[key] ?? key)];
    const in_input = Boolean(event.target?.matches?.('input'));
    if ('nsvfq'.includes(key)) correct(key.toUpperCase(), event.shiftKey);
    else if (key === 'Delete' || key === 'Backspace') remove();
    else if (key === 'a') enter('add');
    else if (key === 'm') enter('measure');
    else if (moves && !(in_input && ARROWS[key])) step(moves);
    else if (in_input && shortcuts[key]) {
      // A key of one of the page's buttons, which the page leaves alone in a switch.
      document.querySelector(`.st-key-${shortcuts[key]} button`)?.click();
    } else if (key === 'Escape' && (target()?.length ?? 2) > 1) editor.choose(-1, false);
    else return false;
    return true;
  }

  function aim(key, factor) {
    const { x, y } = editor.cursor;
    const [dx, dy] = [STEP_S * factor, STEP_MV * factor];
    if (key === 'ArrowLeft') move(x - dx, y);
    else if (key === 'ArrowRight') move(x + dx, y);
    else if (key === 'ArrowUp') move(x, y + dy);
    else if (key === 'ArrowDown') move(x, y - dy);
    else if (key === 'Enter') place();
    else if (key === 'Escape') enter(editor.mode);
    else return false;
    return true;
  }

  const fromMouse = (event) => {
    const box = div.getBoundingClientRect();
    const { xaxis, yaxis } = axes();
    move(
      xaxis.p2l(event.clientX - box.left - xaxis._offset),
      yaxis.p2l(event.clientY - box.top - yaxis._offset),
    );
  };
  let pressed = null;
  div.addEventListener('pointermove', (event) => { if (editor.mode) fromMouse(event); });
  div.addEventListener('pointerdown', (event) => { pressed = [event.clientX, event.clientY]; }, true);
  window.addEventListener('pointerup', onUp, true);
  function onUp(event) {
    if (!editor.mode || !pressed || !div.contains(event.target)) return;
    const far = Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 4;
    pressed = null;
    if (far) return; // dragged
    fromMouse(event);
    place();
  }
  window.addEventListener('keydown', onKey, true);
  // A button of the page that chooses another beat: a key may follow at once.
  window.addEventListener('click', onClick, true);
  function onClick(event) {
    if (!chart.drawn || !event.target?.closest) return;
    const name = Object.values(editor.given.steps).find((each) =>
      event.target.closest(`.st-key-${each} button`));
    if (!name) return;
    event.stopImmediatePropagation();
    step(name);
  }

  function addButton(name, label, title, action, color) {
    const button = make('button', {
      type: 'button', class: `editor-button editor-${name}`, title, 'aria-label': title,
    }, bar, label);
    if (color) button.style.color = color;
    button.addEventListener('click', (event) => action(event));
    buttons[name] = button;
  }

  function build() {
    const { texts, colors, glyphs, language } = editor.given;
    if (bar.dataset.built === `${language} ${colors.N}`) return;
    bar.dataset.built = `${language} ${colors.N}`;
    bar.setAttribute('aria-label', texts.editor_toolbar);
    bar.replaceChildren();
    for (const name of 'NSVFQ') {
      addButton(name, `${glyphs[name]} ${name}`, texts[`class_${name}`],
        (event) => correct(name, event.shiftKey), colors[name]);
    }
    const actions = {
      delete: remove, undo: () => turn('undo'), redo: () => turn('redo'),
      add: () => enter('add'), measure: () => enter('measure'),
    };
    for (const [name, action] of Object.entries(actions)) {
      addButton(name, texts[name], texts[`${name}_help`], action);
    }
    showMode();
  }

  editor.take = (given) => {
    const before = unsaved();
    if (given.study !== editor.given?.study) Object.assign(editor, { outbox: [], marks: [] });
    editor.given = given;
    const confirmed = given.token === token ? given.confirmed : 0;
    editor.outbox = editor.outbox.filter((each) => each.n > confirmed);
    editor.confirmed = confirmed;
    build();
    if (given.who) { // asked once in this browser
      document.cookie = `${given.who_cookie}=${encodeURIComponent(given.who)}; path=/; ` +
        'max-age=31536000; SameSite=Strict';
    }
    if (!editor.outbox.length) clearTimeout(editor.resends);
    if (!unsaved() && (before || given.status !== editor.last_status)) say(given.status);
    editor.last_status = given.status;
    if (!editor.outbox.length && given.is_page_behind) {
      clearTimeout(editor.settles);
      editor.settles = setTimeout(() => chart.send('settled', { token }), SETTLED_MS);
    }
  };
  editor.drawn = () => {
    if (overlay.parentElement !== div) div.appendChild(overlay);
    editor.marks = editor.marks.filter((each) => each.n > editor.confirmed);
    if (!editor.listens) {
      editor.listens = true;
      for (const event of ['plotly_relayouting', 'plotly_relayout', 'plotly_afterplot']) {
        div.on(event, redraw);
      }
    }
    redraw();
  };
  editor.close = () => {
    clearTimeout(editor.settles);
    clearTimeout(editor.resends);
    window.removeEventListener('keydown', onKey, true);
    window.removeEventListener('click', onClick, true);
    window.removeEventListener('pointerup', onUp, true);
    bar.remove();
    status.remove();
  };
  return editor;
}
