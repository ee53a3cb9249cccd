"""The buttons that move through a recording, and their keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from cnns_spectrograms.presentation import Translator, read_texts

BUTTONS = {
    "previous_abnormal": ("skip_previous", "h"),
    "next_abnormal": ("skip_next", "k"),
    "next_disagreement": ("difference", "d"),
    "back": ("chevron_left", "j"),
    "forward": ("chevron_right", "l"),
    "zoom_in": ("zoom_in", "i"),
    "zoom_out": ("zoom_out", "o"),
    "previous_look": ("arrow_circle_left", "e"),
    "next_look": ("arrow_circle_right", "w"),
    "previous_beat": ("arrow_back", "left"),
    "next_beat": ("arrow_forward", "right"),
    "extend_back": ("first_page", "shift+left"),
    "extend_forward": ("last_page", "shift+right"),
}
"""Icon and key of each."""

STEPS = (
    "previous_abnormal", "next_abnormal", "next_disagreement", "previous_look", "next_look",
    "previous_beat", "next_beat", "extend_back", "extend_forward",
)  # fmt: skip
"""Those that choose another beat."""

_WRITTEN = {"left": "←", "right": "→", "shift+left": "Shift ←", "shift+right": "Shift →"}


def show_button(
    name: str, t: Translator, action: Callable[..., None], *args: Any, disabled: bool = False
) -> None:
    """Show a button, with words beside its icon where the catalogue has some.

    The icon of one that goes forwards stands behind its words.
    """
    icon, key = BUTTONS[name]
    label = t(f"{name}_label") if f"{name}_label" in read_texts() else ""
    st.button(
        label,
        icon=f":material/{icon}:",
        icon_position="right" if name in ("next_abnormal", "next_look") else "left",
        key=name,
        on_click=action,
        args=args,
        type="primary" if name == "next_abnormal" else "secondary",
        help=t("shortcut_help", what=t(name), key=_WRITTEN.get(key, key.upper())),
        shortcut=key,
        disabled=disabled,
    )
