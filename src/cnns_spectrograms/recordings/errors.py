"""The error of files that cannot be used."""

from __future__ import annotations


class RecordError(ValueError):
    """A recording cannot be used: what was found, what was expected, and what to do."""
