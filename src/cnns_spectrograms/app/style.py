"""Small changes to Streamlit's look and words, and figures that follow its theme."""

from __future__ import annotations

import json
import re
import string
from importlib.resources import files

import streamlit as st

from cnns_spectrograms.app.launch import MAX_UPLOAD_MB
from cnns_spectrograms.presentation import Translator

_FOLDER = files("cnns_spectrograms.app")
_MARKDOWN = re.compile(f"[{re.escape(string.punctuation)}]")  # $ and : are Streamlit's own


def escape_markdown(text: str) -> str:
    """Return a text that Streamlit's Markdown shows as it is, in one line.

    Names of recordings and leads are whatever the writer of a file chose; as Markdown they could
    make the browser fetch an image from anywhere.
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def apply_style(t: Translator) -> None:
    """Write the style sheet into the page, with the words that take the place of Streamlit's."""
    words = {
        "browse": t("upload_browse"),
        "refused": t("upload_refused", limit=MAX_UPLOAD_MB),
        "drop": t("upload_drop", limit=MAX_UPLOAD_MB),
    }
    quoted = "".join(f"--{k}: {json.dumps(v, ensure_ascii=False)};" for k, v in words.items())
    st.html(
        f"<style>:root {{{quoted}}}\n{_FOLDER.joinpath('style.css').read_text('utf-8')}</style>"
    )


_watch = st.components.v2.component(
    "cnns_spectrograms_theme_watch",
    js=_FOLDER.joinpath("theme_watch.js").read_text("utf-8"),
    isolate_styles=False,
)


def follow_theme() -> None:
    """Run the page again when its theme becomes light or dark, so that figures do too."""
    kind = st.context.theme.type
    _watch(key="theme_watch", data={"kind": kind}, on_changed_change=lambda: None)
