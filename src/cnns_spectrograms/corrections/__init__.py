"""Beats that a person has corrected: changed, undone, saved, grouped, and handed on."""
