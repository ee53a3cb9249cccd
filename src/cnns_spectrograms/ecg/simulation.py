"""Synthetic ECG databases in WFDB format, with reference beats of all five AAMI classes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Literal

import numpy as np
import wfdb
from numpy.typing import NDArray
from scipy import signal as sps

from cnns_spectrograms.ecg.detection import pick_greatest
from cnns_spectrograms.ecg.simulated_patients import (
    FloatArray,
    Patient,
    evaluate_waves,
    scale_waves,
)
from cnns_spectrograms.files import replacing

Database = Literal["mitdb", "svdb"]

NOTICE = "synthetic ECG, not a patient"


@dataclass(frozen=True)
class _Format:
    """How one database is recorded, and what beats its records hold."""

    key: int  # part of the seed
    first_record: int
    fs: int
    leads: tuple[str, str]
    adc_res: int
    adc_zero: int
    lowest: int
    highest: int
    s_symbol: str
    q_symbol: str
    # Of each record in turn: the background class, and the shares of the others.
    mixes: tuple[tuple[str, dict[str, float]], ...]


# Any three neighbours of mitdb hold all five classes, and so do any two of svdb. -2048 is not
# used: format 212 keeps it for invalid samples.
_FORMATS = {
    "mitdb": _Format(
        *(1, 100, 360, ("MLII", "V1"), 11, 1024, 0, 2047, "A", "/"),
        mixes=(
            ("N", {"S": 0.25, "V": 0.03}),
            ("N", {"V": 0.12, "F": 0.20, "S": 0.02}),
            ("Q", {"N": 0.10, "V": 0.06}),
            ("N", {"S": 0.10, "V": 0.03}),
            ("N", {"V": 0.20, "F": 0.16, "S": 0.02}),
            ("Q", {"N": 0.20, "V": 0.03}),
        ),
    ),
    "svdb": _Format(
        *(2, 800, 128, ("ECG1", "ECG2"), 12, 0, -2047, 2047, "S", "Q"),
        mixes=(
            ("N", {"S": 0.20, "V": 0.05, "Q": 0.05}),
            ("N", {"S": 0.08, "V": 0.15, "F": 0.04}),
            ("N", {"S": 0.07, "V": 0.06, "Q": 0.07}),
            ("N", {"S": 0.15, "V": 0.06, "F": 0.04}),
        ),
    ),
}
_GAIN = 200.0  # ADC units per mV, both databases
_V5_FIRST = 4  # index of the mitdb-like record with leads V5, MLII
_TACHOGRAM_HZ = 4


@dataclass(frozen=True)
class SimulatedRecord:
    """One synthetic record before it is written.

    `clean` and `signal` are float64 mV of shape (n_samples, 2) at `fs` Hz, without and with
    noise. `samples` are the main QRS deflections in ascending order, `symbols` their WFDB
    symbols and `aami_classes` their AAMI classes. `rr_s` is the mean RR interval of the patient, s.
    """

    record_id: str
    fs: int
    leads: tuple[str, str]
    clean: FloatArray
    signal: FloatArray
    samples: NDArray[np.int64]
    symbols: list[str]
    aami_classes: list[str]
    rr_s: float


def simulate_database(
    folder: Path, db: Database, n_records: int, duration_s: float, seed: int
) -> None:
    """Write a synthetic database that looks like mitdb or svdb into `folder`.

    Files: a `.hea`, `.dat` (format 212) and `.atr` for every record, `RECORDS`, and
    `SYNTHETIC.txt`, which marks them as synthetic and holds the arguments. `RECORDS` is written
    last, so a killed run leaves no database that looks complete. Equal arguments give equal bytes,
    and a record does not depend on how many others are made. A complete database of the same
    arguments is left alone.

    Of mitdb-like records any 3 neighbours hold all five AAMI classes, of svdb-like records any 2,
    if they are of 20 s or more; so with 9 or more mitdb-like records any contiguous third does.

    Args:
        folder: where the files go; made if absent.
        db: the database to look like.
        n_records: 1 to 100; records are numbered from 100 (mitdb) or 800 (svdb).
        duration_s: length of every record, s, at least 10.
        seed: 0 or larger.

    Raises:
        ValueError: `folder` holds WFDB records that this function did not write.
    """
    assert 1 <= n_records <= 100, n_records
    folder = Path(folder)
    notice, index = folder / "SYNTHETIC.txt", folder / "RECORDS"
    if not notice.is_file() and (any(folder.glob("*.hea")) or index.exists()):
        raise ValueError(
            f"{folder} holds WFDB records without SYNTHETIC.txt, so they may be of patients; "
            "give another folder for the synthetic database"
        )
    text = (
        f"These {n_records} records are synthetic ECG in the form of {db}, made by "
        f"cnns_spectrograms (seed {seed}, {duration_s:g} s each); no patient was recorded.\n"
    )
    if index.is_file() and notice.read_text(encoding="utf-8") == text:
        return
    records = [simulate_record(db, i, duration_s, seed) for i in range(n_records)]
    folder.mkdir(parents=True, exist_ok=True)
    # First of all: the folder is marked as synthetic even if this is killed.
    notice.write_text(text, encoding="utf-8", newline="\n")
    index.unlink(missing_ok=True)
    for path in folder.iterdir():  # of other arguments
        if path.suffix in {".hea", ".dat", ".atr"} and path.stem.isdigit():
            path.unlink()
    for record in records:
        _write_record(folder, db, record, seed)
    with replacing(index) as partial:
        names = "".join(f"{record.record_id}\n" for record in records)
        partial.write_text(names, encoding="utf-8", newline="\n")


def simulate_record(db: Database, index: int, duration_s: float, seed: int) -> SimulatedRecord:
    """Simulate record number `index` (from 0) of a synthetic database.

    The waves of a beat are Gaussians in the phase domain, as in the dynamical model of McSharry
    et al., "A dynamical model for generating synthetic electrocardiogram signals", IEEE Trans
    Biomed Eng 50(3):289-294, 2003, section III: the z trajectory of eq. 1 on its limit cycle
    without the relaxation term is a sum of Gaussians, one per wave. Their amplitudes are dipole
    vectors seen by two leads (Sameni et al., EURASIP J Adv Signal Process 2007:43407). The
    baseline follows breathing (eq. 2). Sinus RR intervals have the bimodal spectrum of eq. 3:
    Mayer waves at 0.1 Hz and respiratory sinus arrhythmia. The phase turns with the square root
    of the record's mean RR interval in place of each RR interval (eq. 4), so that a premature
    beat is not a compressed one.

    What defines each class:
        N: sinus beat.
        S: early by 0.20 to 0.45 RR, P wave of another shape or none, normal QRS, then a pause
            of 1.00 to 1.12 RR (the sinus node is reset).
        V: early by as much, no P wave, QRS wide and larger, T opposite, full compensatory
            pause. In a paced record the pacemaker's interval restarts at the beat instead.
        F: at most 0.06 RR early, sum of the patient's N and V beats with a V share of
            0.35 to 0.65.
        Q: paced beat, a spike before a wide QRS at a fixed rate (mitdb), or a deformed beat in
            a burst of noise (svdb).

    Args:
        db: the database to look like.
        index: 0 or larger; with `db` and `seed` it determines the patient.
        duration_s: length, s, at least 10.
        seed: 0 or larger.
    """
    assert duration_s >= 10, duration_s
    assert index >= 0, index
    form = _FORMATS[db]
    background, shares = form.mixes[index % len(form.mixes)]
    rng = np.random.default_rng([seed, form.key, index])
    leads, reference = form.leads, 0
    if db == "mitdb" and index == _V5_FIRST:
        leads, reference = ("V5", "MLII"), 1
    paced, has_fusion = background == "Q", "F" in shares
    patient = Patient(rng, leads, reference, paced=paced, has_fusion=has_fusion)
    times, rr, classes = _simulate_rhythm(rng, patient, background, shares, duration_s)

    fs, n_samples = form.fs, round(duration_s * form.fs)
    dipole = np.zeros((n_samples, 3))
    spikes: FloatArray = np.zeros((n_samples, 2))
    bursts: FloatArray = np.zeros(n_samples)
    breath_phase = rng.uniform(0, 2 * np.pi)
    for time, rr_before, aami_class in zip(times, rr, classes, strict=True):
        waves = patient.draw_beat(rng, aami_class)
        breath = 0.04 * np.sin(2 * np.pi * patient.breath_hz * time + breath_phase)
        waves = scale_waves(waves, 1 + breath + rng.normal(0, 0.02))
        # QT follows the RR interval before the beat.
        stretch = np.clip(np.sqrt(rr_before / patient.rr_s), 0.8, 1.1)
        waves["time"][waves["kind"] == "T"] *= stretch
        n = np.arange(max(0, int((time - 0.45) * fs)), min(n_samples, int((time + 0.80) * fs)))
        dipole[n] += evaluate_waves(waves, n / fs - time)
        if aami_class == "Q" and paced:
            # A rectangular pulse, averaged over each sampling interval that it touches.
            start = time - patient.spike_lead_s
            inside = np.minimum((n + 1) / fs, start + patient.spike_s) - np.maximum(n / fs, start)
            spikes[n] += patient.spike_mv * inside.clip(0)[:, None] * fs
        elif aami_class == "Q":
            bursts[n] += np.exp(-0.5 * ((n / fs - time) / 0.2) ** 2)

    # The largest deflection within 0.05 s.
    near = np.rint(np.array(times) * fs).astype(np.int64)
    samples = pick_greatest(np.abs(dipole @ patient.lead), near, round(0.05 * fs))
    clean = dipole @ patient.vectors.T + spikes
    noise = _simulate_noise(rng, patient, n_samples, fs, bursts, breath_phase)
    symbol_of = {"N": "N", "S": form.s_symbol, "V": "V", "F": "F", "Q": form.q_symbol}
    return SimulatedRecord(
        record_id=str(form.first_record + index),
        fs=fs,
        leads=patient.leads,
        clean=clean,
        signal=clean + noise,
        samples=samples,
        symbols=[symbol_of[c] for c in classes],
        aami_classes=classes,
        rr_s=patient.rr_s,
    )


def _simulate_rhythm(
    rng: np.random.Generator,
    patient: Patient,
    background: str,
    shares: dict[str, float],
    duration_s: float,
) -> tuple[list[float], list[float], list[str]]:
    """Return the time (s), the RR interval before (s) and the class of every beat."""
    rr_s = patient.rr_s
    modulation = _simulate_rr_modulation(rng, duration_s, patient.breath_hz)
    # Few enough that early beats leave none of the plan beyond the end.
    n_beats = int(0.95 * duration_s / rr_s)
    ectopic = rng.permutation([c for c in shares for _ in range(round(shares[c] * n_beats))])
    # Distinct places among the others, spread so that one background beat parts two ectopic ones;
    # the first beat is background.
    n = len(ectopic)
    places = np.sort(rng.choice(n_beats - n, size=n, replace=False)) + np.arange(1, n + 1)
    plan = np.full(n_beats, background)
    plan[places] = ectopic
    beat = sinus = rr_s * rng.uniform(0.4, 0.7)
    times, intervals, classes = [beat], [rr_s], [background]
    for aami_class in chain(plan[1:].tolist(), repeat(background)):
        if patient.is_paced:
            # A demand pacemaker waits its interval from whatever beat came last.
            low, high = {"Q": (1.0, 1.0), "N": (0.86, 0.96), "V": (0.55, 0.80)}[aami_class]
            following = beat + rr_s * rng.uniform(low, high)
        else:
            drift = patient.rr_sd * modulation[int(sinus * _TACHOGRAM_HZ)]
            sinus += rr_s * (1 + drift + rng.normal(0, 0.004))
            if aami_class in "SV":
                following = beat + rr_s * rng.uniform(0.55, 0.80)
                if aami_class == "S":
                    sinus = following + rr_s * rng.uniform(0.0, 0.12)
            else:
                early = {"N": 0.0, "F": rng.uniform(0.0, 0.06), "Q": rng.uniform(-0.05, 0.05)}
                following = sinus - rr_s * early[aami_class]
        if following > duration_s - 0.2:
            break
        times.append(following)
        intervals.append(following - beat)
        classes.append(aami_class)
        beat = following
    return times, intervals, classes


def _simulate_rr_modulation(
    rng: np.random.Generator, duration_s: float, breath_hz: float
) -> FloatArray:
    """Return RR variation with mean 0 and variance 1, `_TACHOGRAM_HZ` values per second.

    Spectrum: McSharry 2003, eq. 3, two Gaussians of standard deviation 0.01 Hz, at 0.1 Hz and
    at the breathing rate, LF/HF ratio 0.5; random phases, then the inverse Fourier transform.
    """
    n = max(1024, 2 ** int(np.ceil(np.log2((duration_s + 10) * _TACHOGRAM_HZ))))
    f = np.fft.rfftfreq(n, 1 / _TACHOGRAM_HZ)
    spectrum = 0.5 * np.exp(-0.5 * ((f - 0.1) / 0.01) ** 2)
    spectrum += np.exp(-0.5 * ((f - breath_hz) / 0.01) ** 2)
    phases = rng.uniform(0, 2 * np.pi, len(f))
    tachogram = np.fft.irfft(np.sqrt(spectrum) * np.exp(1j * phases), n)
    result: FloatArray = (tachogram - tachogram.mean()) / tachogram.std()
    return result


def _simulate_noise(
    rng: np.random.Generator,
    patient: Patient,
    n_samples: int,
    fs: int,
    bursts: FloatArray,
    breath_phase: float,
) -> FloatArray:
    """Return baseline wander, mains hum, muscle noise and bursts, mV, (n_samples, 2)."""
    t = np.arange(n_samples) / fs
    breath = np.sin(2 * np.pi * patient.breath_hz * t + breath_phase)
    slow = np.zeros((n_samples, 2))
    for frequency in rng.uniform(0.02, 0.15, 5):
        phases = rng.uniform(0, 2 * np.pi, 2)
        slow += np.sin(2 * np.pi * frequency * t[:, None] + phases) / np.sqrt(5)
    hum = np.sin(2 * np.pi * 60 * t + rng.uniform(0, 2 * np.pi))
    high_pass = sps.butter(2, 20, "highpass", fs=fs, output="sos")
    muscle = sps.sosfilt(high_pass, rng.normal(size=(n_samples, 2)), axis=0)
    tension = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.03, 0.1) * t + rng.uniform(0, 2 * np.pi))
    movement = sps.butter(2, (2, 25), "bandpass", fs=fs, output="sos")
    burst = sps.sosfilt(movement, rng.normal(size=(n_samples, 2)), axis=0)
    burst /= burst.std()
    noise: FloatArray = (
        patient.offset_mv
        + patient.wander_mv * (breath[:, None] + slow)
        + patient.hum_mv * hum[:, None]
        + patient.muscle_mv * muscle * tension[:, None]
        + 0.35 * burst * bursts[:, None]
    )
    return noise


def _write_record(folder: Path, db: str, record: SimulatedRecord, seed: int) -> None:
    form = _FORMATS[db]
    digital = np.round(record.signal * _GAIN).astype(np.int64) + form.adc_zero
    out = wfdb.Record(
        record_name=record.record_id,
        n_sig=2,
        fs=record.fs,
        sig_len=len(digital),
        file_name=[f"{record.record_id}.dat"] * 2,
        fmt=["212"] * 2,
        adc_gain=[_GAIN] * 2,
        baseline=[form.adc_zero] * 2,
        units=["mV"] * 2,
        adc_res=[form.adc_res] * 2,
        adc_zero=[form.adc_zero] * 2,
        sig_name=list(record.leads),
        comments=[NOTICE, f"simulated after {db} with seed {seed}"],
        d_signal=np.clip(digital, form.lowest, form.highest),
    )
    out.set_d_features()
    out.set_defaults()
    out.wrsamp(write_dir=str(folder))

    paced = "/" in record.symbols
    events = [(int(0.05 * record.fs), "+", 0, "(P" if paced else "(N")]
    beats = list(zip(record.samples.tolist(), record.symbols, strict=True))
    events += [(sample, symbol, 0, "") for sample, symbol in beats]
    for sample, symbol in beats:
        if symbol == "Q":  # both signals noisy (3), then clean again (0)
            start, stop = sample - 0.35 * record.fs, sample + 0.35 * record.fs
            events += [(max(0, int(start)), "~", 3, ""), (int(stop), "~", 0, "")]
    events = sorted((e for e in events if e[0] < len(digital)), key=lambda e: e[0])
    samples, symbols, subtypes, notes = zip(*events, strict=True)
    wfdb.wrann(
        *(record.record_id, "atr", np.array(samples), list(symbols)),
        subtype=np.array(subtypes),
        aux_note=list(notes),
        write_dir=str(folder),
    )
