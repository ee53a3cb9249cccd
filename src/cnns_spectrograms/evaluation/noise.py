"""The noise stress test of Moody, Muldrow and Mark (1984), with WFDB's `nst` definition of SNR.

The definitions are those of the manual pages nst(1) and sigamp(1) of the WFDB Applications Guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg import download as physionet
from cnns_spectrograms.ecg.resampling import resample

N_MEASUREMENTS = 300
"""Most QRS complexes, and seconds of noise, that an amplitude is measured from (sigamp(1))."""

_QRS_HALF_WINDOW_S = 0.05


def read_noises(
    folder: Path, names: Sequence[str], fs: float, *, download: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Read the first signal of noise records, such as `bw`, `em` or `ma` of nstdb.

    Args:
        folder: of the database.
        names: of the records.
        fs: rate that is wanted, Hz.
        download: whether records that the folder lacks are fetched from PhysioNet.

    Returns:
        By name `(n_samples,)` in the record's own units, which mean nothing until they are scaled.

    Raises:
        FileNotFoundError: a record is not there.
        DownloadError: PhysioNet cannot be reached, or does not hold a record.
    """
    import wfdb

    suffixes = (".hea", ".dat")  # noise has no annotations
    lacking = [n for n in names if not all((folder / f"{n}{each}").is_file() for each in suffixes)]
    shown = f"{folder} lacks the noise records {', '.join(lacking)}"
    advice = f"name fewer in reporting.robustness.noises, without {', '.join(lacking)}"
    if lacking and not download:
        raise FileNotFoundError(
            f"{shown}; set ingestion.download to true, put the MIT-BIH Noise Stress Test Database "
            f"there, or {advice}"
        )
    if lacking:
        try:
            physionet.download_database("nstdb", folder, lacking, suffixes)
        except physionet.DownloadError as error:
            raise physionet.DownloadError(f"{shown}, and {error}; or {advice}") from error
    noises = {}
    for name in names:
        # Digital: nstdb states no gain.
        record = wfdb.rdrecord(str(folder / name), physical=False, channels=[0])
        signal = record.d_signal[:, 0].astype(np.float64)
        noises[name] = resample(signal, float(record.fs), fs).astype(np.float64)
    return noises


def measure_qrs_amplitude(signal: ArrayLike, normal_peaks: ArrayLike, fs: float) -> float:
    """Return the peak-to-peak amplitude of a record's normal QRS complexes.

    The range of the signal from 50 ms before to 50 ms after each of the first 300 normal beats;
    the mean of what is left without the largest and smallest 5 %.

    Args:
        signal: `(n_samples,)`, in any unit.
        normal_peaks: `(n_beats,)` samples of the normal beats.
        fs: sampling rate, Hz.

    Raises:
        ValueError: no normal beat has its whole window in the signal.
    """
    values = np.asarray(signal, dtype=np.float64)
    half = int(_QRS_HALF_WINDOW_S * fs)
    peaks = np.sort(np.asarray(normal_peaks, dtype=np.int64))
    peaks = peaks[(peaks >= half) & (peaks + half < len(values))][:N_MEASUREMENTS]
    if len(peaks) == 0:
        raise ValueError(
            "no normal beat lies inside the signal, so its QRS amplitude and with it the SNR are "
            "not defined; leave the record out of the noise stress test"
        )
    windows = values[peaks[:, None] + np.arange(-half, half)]
    return _trimmed_mean(np.ptp(windows, axis=1))


def measure_noise_amplitude(noise: ArrayLike, fs: float) -> float:
    """Return the root mean square of a noise about its mean, second by second.

    Of the first 300 s: each second's own RMS about its own mean, and the mean of what is left
    without the largest and smallest 5 %. Wander slower than a second hardly counts.

    Args:
        noise: `(n_samples,)`, in any unit, a second or more.
        fs: sampling rate, Hz.
    """
    values = np.asarray(noise, dtype=np.float64)
    second = round(fs)
    n = min(len(values) // second, N_MEASUREMENTS)
    assert n, "the noise is shorter than a second"
    return _trimmed_mean(values[: n * second].reshape(n, second).std(axis=1))


def noise_gain(snr_db: float, qrs_amplitude: float, noise_amplitude: float) -> float:
    """Return what to multiply a noise by for an SNR, as `nst` defines it.

    SNR = 10 log10(S / (N a²)), with S = amplitude² / 8, the power of a sine of the QRS complex's
    peak-to-peak amplitude, and N = noise amplitude².
    """
    assert noise_amplitude > 0, "the noise is silent, so no gain gives it a power"
    return float(qrs_amplitude / np.sqrt(8) / noise_amplitude * 10 ** (-snr_db / 20))


def mark_noisy(
    sample: ArrayLike, fs: float, clean_s: float = 300, alternate_s: float = 120
) -> NDArray[np.bool_]:
    """Return which samples have noise: none at first, then noisy and clean parts in turn.

    Args:
        sample: `(n,)` positions in the record, samples.
        fs: sampling rate, Hz.
        clean_s: the clean beginning, s; `nst` has 300.
        alternate_s: length of each part, s; `nst` has 120.
    """
    part = np.floor((np.asarray(sample) / fs - clean_s) / alternate_s)
    noisy: NDArray[np.bool_] = (part >= 0) & (part % 2 == 0)
    return noisy


def add_noise(
    signal: ArrayLike, noise: ArrayLike, gain: float, noisy: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Add noise to parts of a signal, with the offset that `nst` keeps the signal in one piece by.

    Where the gain changes, and where the noise starts over, the level is shifted so that the
    output does not step; the shift stays until the next change.

    Args:
        signal: `(n_samples,)`, mV.
        noise: `(n_noise,)`, repeated from its beginning where it ends.
        gain: mV per unit of noise.
        noisy: `(n_samples,)`, see `mark_noisy`.

    Returns:
        `(n_samples,)` float32, mV.
    """
    values = np.asarray(signal, dtype=np.float64)
    source = np.asarray(noise, dtype=np.float64)
    assert source.size, "there is no noise"
    assert noisy.shape == values.shape, (noisy.shape, values.shape)
    added = gain * np.where(noisy, np.resize(source, len(values)), 0.0)
    starts = np.flatnonzero(np.diff(noisy.astype(np.int8))) + 1
    rewinds = np.arange(source.size, len(values), source.size)
    for at in np.union1d(starts, rewinds[noisy[rewinds]]):
        # The noise's own change at this sample is taken back from here on.
        added[at:] -= added[at] - added[at - 1]
    return (values + added).astype(np.float32)


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    cut = len(ordered) // 20
    return float(ordered[cut : len(ordered) - cut].mean())
