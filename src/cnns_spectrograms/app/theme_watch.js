// Tells the server when the page's theme becomes light or dark; Streamlit calls this again then.
export default function ({ data, parentElement, setTriggerValue }) {
  const probe = document.createElement('div');
  probe.style.backgroundColor = 'var(--st-background-color)';
  parentElement.appendChild(probe);
  const parts = getComputedStyle(probe).backgroundColor.match(/[\d.]+/g).slice(0, 3);
  probe.remove();
  const kind = parts.reduce((sum, part) => sum + Number(part), 0) < 3 * 128 ? 'dark' : 'light';
  if (kind === data.kind || kind === parentElement.reported) return;
  parentElement.reported = kind;
  setTriggerValue('changed', kind);
}

