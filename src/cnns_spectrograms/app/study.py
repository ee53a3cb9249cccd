"""A recording that has been analysed, as a session keeps it while its files are gone."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.app.strip_figure import Lane, make_lane
from cnns_spectrograms.corrections.database import OWN
from cnns_spectrograms.corrections.edits import encode
from cnns_spectrograms.corrections.queue import make_queue, score_beats
from cnns_spectrograms.corrections.session import Source
from cnns_spectrograms.corrections.shapes import ShapeGroups, cut_shapes, group_beats
from cnns_spectrograms.ecg.aami import map_symbols
from cnns_spectrograms.presentation import LANGUAGES
from cnns_spectrograms.recordings.recording import Recording

if TYPE_CHECKING:
    from cnns_spectrograms.inference.analysis import Analysis
    from cnns_spectrograms.inference.model import BeatModel

Progress = Callable[[str, float], None]
"""Receives the stage, "keep" or one of `inference.analysis.analyse`, and its share that is done."""

MOST_LEADS = 12
"""Leads that are kept to be shown."""

_CHUNK = 1 << 20  # samples that are copied at once


@dataclass(frozen=True)
class Contents:
    """What is known of a recording before it is analysed."""

    name: str
    fs: float
    lead_names: tuple[str, ...]
    n_samples: int
    n_reference: int
    suggested_lead: int

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return self.n_samples / self.fs


@dataclass(frozen=True, eq=False)
class BeatInput:
    """What the model saw of one beat.

    Attributes:
        window: float32 (n_samples,), mV, at the model's rate.
        views: float32 (`BeatModel.width`,), mV: the window, and the stretches of further views.
        image: uint8 (H, W) or (H, W, 3).
        rr_s: float32 (4,), s, its `ecg.rhythm.RR_COLUMNS`; NaN of an added beat.
    """

    window: NDArray[np.float32]
    views: NDArray[np.float32]
    image: NDArray[np.uint8]
    rr_s: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Study:
    """An analysed recording, and what the pages need to show it.

    Attributes:
        contents: what is known of the recording itself.
        lead: position of the analysed lead.
        signal: that lead at the model's rate, as the model sees it, float32 mV; a map of a
            temporary file that goes with the session.
        fs: rate of `signal`, Hz.
        gaps_s: begin and end of each gap in the recording, s; the signal is a straight line there.
        analysis: the classified beats, and what they amount to.
        outputs: kind -> name and contents of a file that can be downloaded; the report in each
            language.
        reference: sample (at the recording's rate) and aami_class (None outside the mapping) of
            each reference beat; None where the recording came without annotations.
        at_reference: whether the reference's R peaks were taken in place of detected ones.
        synthetic: whether the recording is simulated.
        db: database that the recording is of, `corrections.database.OWN` of none.
        leads: the recording as it was read, the analysed lead first; its samples are a map of a
            temporary file.
        lanes: the other ones of `leads`.
        source: what corrections are of.
        groups: of the beats by their shape; None without a beat.
        queue: int64, the beats most worth a look, by position, in that order.
    """

    contents: Contents
    lead: int
    signal: NDArray[np.float32]
    fs: float
    gaps_s: list[tuple[float, float]]
    analysis: Analysis
    outputs: dict[str, tuple[str, bytes]]
    reference: pd.DataFrame | None
    at_reference: bool
    synthetic: bool
    db: str
    leads: Recording
    lanes: list[Lane]
    source: Source
    groups: ShapeGroups | None
    queue: NDArray[np.int64]

    @property
    def key(self) -> str:
        """Of the recording, its lead and its beats, as they were found."""
        digest = hashlib.sha256(self.beats["sample"].to_numpy("<i8").tobytes())
        digest.update("".join(self.beats["aami_class"]).encode())
        return f"{self.source.digest} {self.source.lead} {digest.hexdigest()}"

    @property
    def beats(self) -> pd.DataFrame:
        """One row a beat, see `findings`."""
        return self.analysis.beats


def describe(recording: Recording, preferred_lead: str | None) -> Contents:
    """Return what is known of a recording, and the lead that suits a model best."""
    from cnns_spectrograms.recordings.leads import choose_lead

    reference = read_reference(recording)
    return Contents(
        name=recording.name,
        fs=recording.fs,
        lead_names=tuple(recording.lead_names),
        n_samples=recording.n_samples,
        n_reference=0 if reference is None else len(reference),
        suggested_lead=choose_lead(recording.lead_names, preferred_lead),
    )


def read_reference(recording: Recording) -> pd.DataFrame | None:
    """Return the reference beats that came with a recording; None without any."""
    if recording.reference is None:
        return None
    symbols = recording.reference["symbol"]
    beats = pd.DataFrame(
        {
            "sample": recording.reference["sample"].to_numpy(np.int64),
            "aami_class": pd.Series(map_symbols(symbols), dtype=object),
        }
    )
    kept = beats[beats["aami_class"].notna()].reset_index(drop=True)
    return kept if len(kept) else None


def make_study(
    recording: Recording,
    model: BeatModel,
    lead: int,
    *,
    at_reference: bool = False,
    synthetic: bool = False,
    db: str = OWN,
    progress: Progress | None = None,
) -> Study:
    """Analyse a recording and keep what the pages show, so that its files are needed no more.

    Args:
        recording: open.
        model: classifies.
        lead: position of the lead.
        at_reference: take the reference's R peaks, where there are any, not detected ones.
        synthetic: whether it is simulated.
        db: database that it is of.
        progress: receives the stage and how far it is.

    Raises:
        RecordError: the recording cannot be analysed, see `inference.analysis.analyse`.
    """
    from cnns_spectrograms.inference.analysis import analyse
    from cnns_spectrograms.inference.outputs import write_outputs
    from cnns_spectrograms.inference.report import draw_strips, render_report

    reference = read_reference(recording)
    peaks = None
    if at_reference and reference is not None:
        peaks = reference["sample"].to_numpy(np.int64)
    leads, digest = keep_leads(recording, lead, progress)
    analysis = analyse(recording, model, lead=lead, peaks=peaks, progress=progress)
    with tempfile.TemporaryDirectory(prefix="ecg-outputs-") as folder:
        written = write_outputs(analysis, recording, Path(folder))
        outputs = {kind: (path.name, path.read_bytes()) for kind, path in written.items()}
    strips = draw_strips(analysis, recording)
    for language in LANGUAGES:
        page = render_report(analysis, recording, language, strips)
        outputs[f"html_{language}"] = (f"{recording.name}.html", page.encode())
    return Study(
        contents=describe(recording, model.preferred_lead),
        lead=lead,
        signal=analysis.signal,
        fs=model.fs,
        gaps_s=analysis.gaps_s,
        analysis=analysis,
        outputs=outputs,
        reference=reference,
        at_reference=peaks is not None,
        synthetic=synthetic,
        db=db,
        leads=leads,
        lanes=[
            make_lane(name, leads.read_lead(place, 0, leads.n_samples), leads.fs)
            for place, name in enumerate(leads.lead_names)
            if place
        ],
        source=Source(recording.name, analysis.lead, recording.fs, recording.n_samples, digest),
        **_find_doubtful(analysis),
    )


def _find_doubtful(analysis: Analysis) -> dict[str, Any]:
    """Return the groups and the queue of an analysis."""
    if not len(analysis.beats):
        return {"groups": None, "queue": np.empty(0, np.int64)}
    shapes = cut_shapes(analysis.signal, analysis.model.fs, analysis.at_model)
    groups = group_beats(shapes, encode(analysis.beats["aami_class"].to_numpy(object)))
    scores = score_beats(analysis.beats, groups)["score"].to_numpy()
    return {"groups": groups, "queue": make_queue(scores)}


def keep_leads(
    recording: Recording, lead: int, progress: Progress | None = None
) -> tuple[Recording, str]:
    """Copy the leads of a recording to a temporary file, chunk by chunk.

    Returns:
        A recording of the copy, with the given lead first and at most `MOST_LEADS`; and the
        SHA-256 digest of that lead's samples.
    """
    order = [lead, *(i for i in range(len(recording.lead_names)) if i != lead)][:MOST_LEADS]
    digest, n = hashlib.sha256(), recording.n_samples
    with tempfile.TemporaryFile() as file:
        for place, index in enumerate(order):
            for start in range(0, n, _CHUNK):
                stop = min(start + _CHUNK, n)
                content = recording.read(index, start, stop).astype("<f4").tobytes()
                file.write(content)
                if place == 0:
                    digest.update(content)
                if progress is not None:
                    progress("keep", (place * n + stop) / (len(order) * n))
        file.flush()
        samples = np.memmap(file, "<f4", "r", shape=(len(order), n))
    kept = Recording(
        name=recording.name,
        fs=recording.fs,
        lead_names=tuple(recording.lead_names[index] for index in order),
        n_samples=n,
        reference=None,
        read_lead=lambda index, start, stop: samples[index, start:stop],
    )
    return kept, digest.hexdigest()


def show_beat(study: Study, model: BeatModel, beat: int, at: int | None = None) -> BeatInput:
    """Return what the model saw of one beat of a study, or would see of one that is added.

    Args:
        study: the analysed recording.
        model: that analysed it.
        beat: position of the beat among those that were found.
        at: of an added beat, its sample in the study's signal.
    """
    from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
    from cnns_spectrograms.ecg.windows import WindowReader

    peak = int(study.analysis.at_model[beat]) if at is None else at
    row = pd.DataFrame(
        {
            "db": ["own"],
            "record_id": ["recording"],
            "start": [peak - model.n_samples // 2],
            "n_samples": [model.n_samples],
            "synthetic": [False],
        }
    )
    beats = study.analysis.typical_beats
    typical = {} if beats is None else {"own/recording": beats}
    read = WindowReader({"own/recording": study.signal}, model.spectrogram, model.fs, typical)
    wide = read(row)
    image = np.moveaxis(model.draw(wide)[0], 0, -1)
    if at is None:
        rr_s = study.analysis.rr_intervals[list(RR_COLUMNS)].to_numpy(np.float32)[beat]
    else:
        rr_s = np.full(len(RR_COLUMNS), np.nan, np.float32)
    return BeatInput(
        window=wide[0, : model.n_samples],
        views=wide[0],
        image=image[..., 0] if image.shape[-1] == 1 else image,
        rr_s=rr_s,
    )
