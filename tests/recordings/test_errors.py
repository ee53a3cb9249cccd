"""Errors: each names its file once, and what a library raises becomes a RecordError."""

from __future__ import annotations

import pytest

from cnns_spectrograms.recordings.errors import RecordError, check, naming


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RecordError("found 0 leads"), "r: found 0 leads"),
        (RecordError("r.hea: found 0 leads"), "r.hea: found 0 leads"),
        (RecordError("rate is 0"), "r: rate is 0"),
        (KeyError("x"), "r: cannot be read (KeyError: 'x'); expected a whole file of its kind; "),
        (
            FileNotFoundError(2, "none", "a/r.dat"),
            "r: the file a/r.dat is missing; correct the path, ",
        ),
    ],
)
def test_an_error_names_the_file(error, told):
    with pytest.raises(RecordError) as caught, naming("r"):
        raise error
    assert str(caught.value).startswith(told)
    assert caught.value is error or caught.value.__cause__ is error


@pytest.mark.parametrize(("advice", "end"), [("", ""), ("correct it", "; correct it")])
def test_what_is_not_sound_is_refused_in_one_form(advice, end):
    check([1], "0 leads", "one", advice)
    with pytest.raises(RecordError, match=f"^found 0 leads; expected one{end}$"):
        check([], "0 leads", "one", advice)
