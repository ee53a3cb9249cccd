"""Stamps: what they hold, that they travel with a product, and what a difference is called."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from cnns_spectrograms.parameters import (
    IngestionParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
    ViewParameters,
    WindowParameters,
)
from cnns_spectrograms.provenance import (
    ENVIRONMENT,
    StampedSignals,
    fingerprint,
    hash_table,
    read_stamp,
    require_fresh,
    settings,
    stamp_table,
    view_settings,
)

READ = {"ingestion": {"fs": 360}, "data": {"beats": "a" * 64}}


def make_table(made_of: dict) -> pd.DataFrame:
    return stamp_table(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), made_of)


def test_fingerprint_changes_with_any_value_and_with_nothing_else() -> None:
    one = {"nperseg": 64, "noverlap": [1, 2]}
    assert fingerprint(one) == fingerprint({"noverlap": [1, 2], "nperseg": 64})
    for other in ({**one, "nperseg": 65}, {**one, "noverlap": [2, 1]}, {**one, "fs": 360}):
        assert fingerprint(other) != fingerprint(one)


def test_hash_of_a_table_depends_on_values_and_order() -> None:
    table = make_table({})
    assert hash_table(table) == hash_table(table.copy())
    assert hash_table(table) != hash_table(table.iloc[::-1])
    assert hash_table(table) != hash_table(table.assign(b=["x", "z"]))


def test_settings_leave_out_what_shapes_nothing() -> None:
    training = settings(training=TrainingParameters())["training"]
    assert training["learning_rate"] == 3e-4
    assert not {"num_workers", "tta_views", "images", "pretrained"} & set(training)
    ingestion = settings(ingestion=IngestionParameters(databases={}))["ingestion"]
    assert not {"download", "on_bad_record"} & set(ingestion)
    assert settings(split=SplitParameters(protocol="p", records={})) == {"split": {"records": {}}}
    beat, sliding = (settings(windows=WindowParameters(mode=m)) for m in ("beat", "sliding"))
    assert set(sliding["windows"]) - set(beat["windows"]) == {"step_s", "label_rule"}
    view = {"window_s": 1.0, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}
    views = tuple(ViewParameters(of=of, **view) for of in ("beat", "difference"))
    found = view_settings(SpectrogramParameters(extra_views=views))
    assert found == {"spectrogram.extra_views": [["beat", 1.0], ["difference", 1.0]]}


def test_a_stamp_travels_with_selections_and_files(tmp_path: Path) -> None:
    table = make_table(READ)
    table[table["a"] > 1].reset_index(drop=True).to_parquet(tmp_path / "t.parquet")
    assert read_stamp(pd.read_parquet(tmp_path / "t.parquet")) == READ
    assert read_stamp(StampedSignals({}, READ)) == READ
    assert read_stamp((None, {"made_of": READ, "fs": 360})) == READ
    assert read_stamp({"made_of": READ}) == READ
    for bare in (pd.DataFrame(), {}, (None, {}), object()):
        assert read_stamp(bare) == {}


class TestRequireFresh:
    def test_stamps_that_agree_give_that_of_what_is_made(self) -> None:
        now = {"ingestion": {"fs": 360}, "windows": {"window_s": 2.5}}
        found = require_fresh(now, records=make_table(READ), beats=make_table(READ))
        assert found == READ | now

    def test_other_parameters_are_named_with_what_to_run(self) -> None:
        with pytest.raises(ValueError, match="records is stale") as refusal:
            require_fresh({"ingestion": {"fs": 250, "lead": "V1"}}, records=make_table(READ))
        assert str(refusal.value) == (
            "records is stale: ingestion.fs is 360 in records and 250 in the parameters; "
            "ingestion.lead is absent in records and V1 in the parameters. Run `kedro run "
            "--pipelines=ingestion,feature_engineering,balancing` to make it again, with the "
            "--params and --config of the run that made it, or set the parameters back"
        )

    def test_of_lists_what_differs_is_told(self) -> None:
        was, now = ({"split": {"records": {"db": {"val": ["1", x]}}}} for x in ("2", "3"))
        found = "split.records.db.val is ['2'] in windows and ['3'] in the parameters"
        with pytest.raises(ValueError, match=re.escape(found)):
            require_fresh(now, windows=make_table(was))

    def test_the_command_has_the_environment_of_the_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(ENVIRONMENT, "demo")
        with pytest.raises(ValueError, match="Run `kedro run --env=demo --pipelines=ingestion,fe"):
            require_fresh({}, windows=make_table({}))

    def test_a_default_that_stamps_leave_out_is_named(self) -> None:
        was = {"spectrogram": {"kind": "scalogram"}}
        with pytest.raises(ValueError, match=r"kind is scalogram in model and stft in the param"):
            require_fresh({"spectrogram": {}}, model=({}, {"made_of": was}))

    @pytest.mark.parametrize(
        ("name", "again"),
        [
            ("signals", "=ingestion,feature_engineering,balancing`"),
            ("windows", "=feature_engineering,balancing`"),
            ("spec_cache", "=feature_engineering,balancing`"),
            ("smote_windows", "=balancing`"),
            ("model", "=modelling`"),
            ("predictions", "=modelling --only-missing-outputs`"),
            ("operating_points", "=reporting`"),
        ],
    )
    def test_what_is_not_of_those_before_it_is_made_again(self, name: str, again: str) -> None:
        other = READ | {"data": {"beats": "b" * 64}}
        found = rf"data.beats is b+\.\.\. in {name} and a+\.\.\. in records.*{again}"
        with pytest.raises(ValueError, match=found):
            require_fresh({}, records=make_table(READ), **{name: make_table(other)})

    def test_what_says_nothing_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"windows is stale: it carries no stamp .*=ingestion,fe"
        ):
            require_fresh({}, records=make_table(READ), windows=make_table({}))
