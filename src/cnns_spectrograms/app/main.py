"""The script that Streamlit runs: language, navigation, and the page that is chosen."""

from __future__ import annotations

from functools import partial

import streamlit as st

from cnns_spectrograms.app import clinical, technical
from cnns_spectrograms.app.style import apply_style, follow_theme
from cnns_spectrograms.presentation import (
    LANGUAGE_NAMES,
    LANGUAGES,
    Translator,
    choose_language,
    choose_theme,
)

_PAGES = (
    ("clinical", clinical.show, "monitor_heart"),
    ("technical", technical.show, "query_stats"),
)


def main() -> None:
    """Show the app."""
    if "language" not in st.session_state:
        asked = st.query_params.get("lang")
        known = asked in LANGUAGES
        st.session_state["language"] = asked if known else choose_language(st.context.locale)
    theme = choose_theme(st.context.theme.type)
    t = Translator(st.session_state["language"], theme)
    st.set_page_config(page_title=t("app_title"), page_icon="🫀", layout="wide")
    pages = [
        st.Page(partial(show, t), title=t("page_" + name), icon=f":material/{icon}:", url_path=name)
        for name, show, icon in _PAGES
    ]
    page = st.navigation(pages, position="top")
    apply_style(t)
    follow_theme()
    st.segmented_control(
        t("language"),
        LANGUAGES,
        format_func=lambda each: LANGUAGE_NAMES[each],
        key="language",
        required=True,
        label_visibility="collapsed",
        # Into the address too, so that a link keeps it.
        on_change=lambda: st.query_params.update(lang=st.session_state["language"]),
    )
    page.run()


main()
