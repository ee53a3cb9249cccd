"""Small WFDB records that tests write, and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_record(
    folder: Path,
    record_id: str = "100",
    *,
    fs: float = 360,
    signals: np.ndarray | None = None,
    samples: tuple[int, ...] = (1000, 2000, 3000),
    symbols: tuple[str, ...] = ("N", "+", "V"),
    leads: tuple[str, ...] = ("MLII", "V5"),
    units: tuple[str, ...] | None = None,
) -> Path:
    """Write 10 s of noise and its annotations with WFDB; return the path without extension."""
    import wfdb

    folder.mkdir(parents=True, exist_ok=True)
    if signals is None:
        rng = np.random.default_rng(0)
        signals = rng.integers(-500, 500, size=(round(10 * fs), len(leads)))
    wfdb.wrsamp(
        record_id,
        fs=fs,
        units=list(units or ["mV"] * len(leads)),
        sig_name=list(leads),
        d_signal=signals,
        fmt=["16"] * len(leads),
        adc_gain=[200.0] * len(leads),
        baseline=[0] * len(leads),
        write_dir=str(folder),
    )
    if samples:
        wfdb.wrann(
            record_id,
            "atr",
            np.array(samples),
            symbol=list(symbols),
            custom_labels=[(42, "Z", "not in WFDB's table")] if "Z" in symbols else None,
            write_dir=str(folder),
        )
    return folder / record_id


def replace_in_header(path: Path, old: str, new: str) -> None:
    hea = path.with_name(f"{path.name}.hea")
    text = hea.read_text()
    assert old in text
    hea.write_text(text.replace(old, new))


def damage_no_signal_file(path: Path) -> None:
    path.with_name("100.dat").unlink()


def damage_flipped_bit(path: Path) -> None:
    dat = path.with_name("100.dat")
    data = bytearray(dat.read_bytes())
    data[4321] ^= 0x10
    dat.write_bytes(bytes(data))


def damage_truncated_annotations(path: Path) -> None:
    atr = path.with_name("100.atr")
    atr.write_bytes(atr.read_bytes()[:-2])
