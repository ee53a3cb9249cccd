"""The Streamlit app: a clinical and a technical report, in Spanish and English."""
