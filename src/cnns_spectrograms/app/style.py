"""Small changes to Streamlit's look and words, and figures that follow its theme."""

from __future__ import annotations

import json
import re
import string

import streamlit as st

from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.presentation import Translator

_MARKDOWN = re.compile(f"[{re.escape(string.punctuation)}]")  # $ and : are Streamlit's own


def escape_markdown(text: str) -> str:
    """Return a text that Streamlit's Markdown shows as it is, in one line.

    Names of recordings and leads are whatever the writer of a file chose; as Markdown they could
    make the browser fetch an image from anywhere.
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


# Streamlit's widgets have a few words of their own, in English. They are hidden, and the app's
# shown in their place.
_CSS = """
<style>
.stMainBlockContainer {{ padding: 3.6rem 2rem 2rem 2rem; }}
.st-key-theme_watch {{ position: absolute; }}
.st-key-language {{ position: fixed; top: 0.55rem; right: 1rem; z-index: 999991; width: auto; }}
.stMainBlockContainer .stVerticalBlock {{ gap: 0.75rem; }}
h1 {{ font-size: 1.6rem !important; padding: 0 0 0.3rem 0 !important; }}
h2 {{ font-size: 1.3rem !important; padding: 0.8rem 0 0.5rem 0 !important; }}
h3 {{ font-size: 1.1rem !important; padding: 0.3rem 0 0.6rem 0 !important; }}
h5 {{ padding: 0.3rem 0 0.6rem 0 !important; }}
[data-testid="stMetricValue"] {{ font-size: 1.35rem; }}
[data-testid="stFileUploaderDropzone"] button p,
[data-testid="stFileUploaderDropzone"] button > div > span,
[data-testid="stFileUploaderDropzoneInstructions"] span {{ font-size: 0 !important; }}
[data-testid="stFileUploaderDropzone"] button p::after {{
  content: {browse}; font-size: 1rem;
}}
[data-testid="stFileUploaderDropzoneInstructions"] span:first-of-type::after {{
  content: {drop}; font-size: 0.9rem;
}}
.stFileChip [role="alert"], [data-testid="stTooltipErrorContent"],
[data-testid="stElementToolbar"], [data-testid="stDataFrameColumnMenu"],
[data-testid="InputInstructions"], [data-testid="stHeaderActionElements"] {{
  display: none !important;
}}
.stFileChip[aria-invalid="true"]::after {{ content: {refused}; font-size: 0.9rem; }}
.editor-bar {{ display: flex; flex-wrap: wrap; gap: 6px; margin-top: 4px; }}
.editor-button {{
  font: inherit; font-size: 0.9rem; padding: 2px 10px; cursor: pointer; border-radius: 6px;
  color: inherit; background: transparent; border: 1px solid rgba(128, 128, 128, 0.45);
}}
.editor-button:hover, .editor-button[aria-pressed="true"] {{ border-color: currentColor; }}
.editor-button[aria-pressed="true"] {{ background: rgba(86, 180, 233, 0.25); }}
.editor-button:focus-visible {{ outline: 2px solid currentColor; outline-offset: 1px; }}
.editor-N, .editor-S, .editor-V, .editor-F, .editor-Q {{ font-weight: bold; }}
.editor-status {{ min-height: 1.5em; font-size: 0.85rem; opacity: 0.85; margin-top: 3px; }}
.editor-aiming .nsewdrag {{ cursor: crosshair !important; }}
@media (max-width: 640px) {{
  .stMainBlockContainer {{ padding-left: 0.7rem; padding-right: 0.7rem; }}
  h1 {{ font-size: 1.3rem !important; }}
}}
</style>
"""


def apply_style(t: Translator) -> None:
    """Write the style sheet into the page."""
    st.html(
        _CSS.format(
            browse=json.dumps(t("upload_browse"), ensure_ascii=False),
            refused=json.dumps(t("upload_refused", limit=MAX_UPLOAD_MB), ensure_ascii=False),
            drop=json.dumps(t("upload_drop", limit=MAX_UPLOAD_MB), ensure_ascii=False),
        )
    )


# Streamlit calls this again when the theme changes.
_WATCH_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const probe = document.createElement('div');
  probe.style.backgroundColor = 'var(--st-background-color)';
  parentElement.appendChild(probe);
  const parts = getComputedStyle(probe).backgroundColor.match(/[\\d.]+/g).slice(0, 3);
  probe.remove();
  const kind = parts.reduce((sum, part) => sum + Number(part), 0) < 3 * 128 ? 'dark' : 'light';
  if (kind === data.kind || kind === parentElement.reported) return;
  parentElement.reported = kind;
  setTriggerValue('changed', kind);
}
"""

_watch = st.components.v2.component(
    "cnns_spectrograms_theme_watch", js=_WATCH_JS, isolate_styles=False
)


def follow_theme() -> None:
    """Run the page again when its theme becomes light or dark, so that figures do too."""
    _watch(
        key="theme_watch",
        data={"kind": st.context.theme.type},
        on_changed_change=lambda: None,
    )
