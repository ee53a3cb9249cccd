"""Tests of the AAMI mapping against WFDB's own table and the databases' published counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.ecg.aami import (
    AAMI_CLASS_OF_SYMBOL,
    AAMI_CLASSES,
    NON_BEAT_SYMBOLS,
    map_symbols,
)

# ANSI/AAMI EC57, one string per class; B, r and ? as WFDB's bxb takes them, n as e and j.
EC57 = {"N": "NLRejBn", "S": "AaJS", "V": "VEr", "F": "F", "Q": "/fQ?"}


def test_mapping_is_that_of_ec57():
    expected = {symbol: name for name, symbols in EC57.items() for symbol in symbols}
    assert expected == AAMI_CLASS_OF_SYMBOL
    assert len(AAMI_CLASS_OF_SYMBOL) == 19
    assert AAMI_CLASSES == ("N", "S", "V", "F", "Q")


def test_symbols_are_those_of_wfdb():
    from wfdb.io.annotation import ann_label_table, is_qrs

    ours = [*AAMI_CLASS_OF_SYMBOL, *NON_BEAT_SYMBOLS]
    assert sorted(ours) == sorted(ann_label_table["symbol"])
    # WFDB's table of QRS codes also has the flutter wave, which is no beat in PhysioNet's list.
    codes = ann_label_table.set_index("symbol")["label_store"]
    beats = {symbol for symbol, code in codes.items() if is_qrs[code]}
    assert beats - {"!"} == {*AAMI_CLASS_OF_SYMBOL}


def test_map_symbols_gives_class_or_none():
    classes = map_symbols(["N", "+", "a", "B", "/", "~", "F", "r"])
    assert classes.dtype == object
    assert list(classes) == ["N", None, "S", "N", "Q", None, "F", "V"]
    assert map_symbols([]).shape == (0,)


@given(st.lists(st.sampled_from([*AAMI_CLASS_OF_SYMBOL, *" +~|x"])))
def test_map_symbols_maps_each_by_itself(symbols):
    classes = map_symbols(symbols)
    for symbol, mapped in zip(symbols, classes, strict=True):
        if mapped is None:
            assert all(symbol not in members for members in EC57.values())
        else:
            assert symbol in EC57[mapped]


@pytest.mark.parametrize("symbol", ["Z", "", "NN", float("nan"), None])
def test_map_symbols_names_an_unknown_symbol(symbol):
    with pytest.raises(ValueError, match=r"unknown annotation symbol.*WFDB table"):
        map_symbols(["N", symbol])


# Counted for the README of the databases' copy, independently of this package.
COUNTS = {
    "mitdb": {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043},
    "svdb": {"N": 162339 + 1, "S": 12198, "V": 9943, "F": 23, "Q": 79},  # one B
}


@pytest.mark.parametrize("db", COUNTS)
def test_counts_over_the_complete_databases(physionet: Path, db: str):
    import wfdb

    symbols: list[str] = []
    for record_id in (physionet / db / "RECORDS").read_text().split():
        symbols += wfdb.rdann(str(physionet / db / record_id), "atr").symbol
    counts = Counter(map_symbols(symbols))
    del counts[None]
    assert counts == COUNTS[db]
