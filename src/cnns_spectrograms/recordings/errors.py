"""The error raised for files that cannot be used, with the file's name in its message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RecordError(ValueError):
    """A recording cannot be used: what was found, what was expected, and what to do."""


def check(is_sound: object, found: str, expected: str, advice: str = "") -> None:
    """Refuse a file in which something is not as it should be.

    Raises:
        RecordError: it is not; the message holds what was found, what was expected, and the advice.
    """
    if not is_sound:
        raise RecordError(f"found {found}; expected {expected}{advice and '; '}{advice}")


@contextmanager
def naming(name: str, expected: str = "a whole file of its kind") -> Iterator[None]:
    """Begin an error with the name of the file that it is of.

    Readers thus raise what is wrong without a name, and let pass what a library raises on a
    damaged file, which becomes a RecordError here.
    """
    try:
        yield
    except RecordError as error:
        if not str(error).startswith((f"{name}:", f"{name}.")):  # or a file of the record's name
            error.args = (f"{name}: {error}",)
        raise
    except FileNotFoundError as error:
        raise RecordError(
            f"{name}: the file {error.filename or error} is missing; correct the path, or copy or "
            f"download it"
        ) from error
    except Exception as error:
        raise RecordError(
            f"{name}: cannot be read ({type(error).__name__}: {str(error)[:200]}); expected "
            f"{expected}; correct it, or export, copy or download it again"
        ) from error
