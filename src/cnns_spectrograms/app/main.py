"""The script that Streamlit runs: language, navigation, and the page that is chosen."""

from __future__ import annotations

import streamlit as st

from cnns_spectrograms.app import clinical, technical
from cnns_spectrograms.app.style import apply_style, follow_theme
from cnns_spectrograms.presentation import LANGUAGE_NAMES, LANGUAGES, Translator, choose_language


def main() -> None:
    """Show the app."""
    if "language" not in st.session_state:
        asked = st.query_params.get("lang")
        known = asked in LANGUAGES
        st.session_state["language"] = asked if known else choose_language(st.context.locale)
    t = Translator(st.session_state["language"])
    st.set_page_config(page_title=t("app_title"), page_icon="🫀", layout="wide")
    page = st.navigation(
        [
            st.Page(
                lambda: clinical.show(t),
                title=t("page_clinical"),
                icon=":material/monitor_heart:",
                url_path="clinical",
                default=True,
            ),
            st.Page(
                lambda: technical.show(t),
                title=t("page_technical"),
                icon=":material/query_stats:",
                url_path="technical",
            ),
        ],
        position="top",
    )
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
