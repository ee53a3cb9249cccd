"""The technical report: data, method, and what the runs of this project measured."""

from __future__ import annotations

import streamlit as st

from cnns_spectrograms.app.texts import Translator


def show(t: Translator) -> None:
    """Show the page."""
    st.title(t("page_technical"))
