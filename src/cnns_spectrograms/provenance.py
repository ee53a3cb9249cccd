"""The provenance of each product: a stamp saved with it, and the one comparison of stamps.

A stamp maps groups of settings to JSON values: the parameters that shaped a product and its inputs,
and digests of the data that were read. It travels in a table's ``attrs``, which Parquet keeps, the
index of signals, a cache's manifest, a network's description, or operating points.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pandas as pd

from cnns_spectrograms.parameters import Parameters, SpectrogramParameters

_PRODUCTS = {
    "ingestion": ("records", "beats", "signals"),
    "feature_engineering": ("windows", "typical_beats", "spec_cache", "images"),
    "balancing": ("smote_windows", "smote_signals", "spec_cache_aug", "train_index"),
    "modelling": ("model", "predictions"),
    "reporting": ("operating_points",),
}
STEPS = tuple(_PRODUCTS)
MADE_BY = {product: step for step, products in _PRODUCTS.items() for product in products}
"""Pipeline of each product."""
ENVIRONMENT = "CNNS_SPECTROGRAMS_ENV"
"""Variable with the Kedro environment of this run, which processes that it starts inherit."""

# Groups of parameters whose change begins at another pipeline than feature_engineering.
_BEGINS_AT = {"ingestion": "ingestion", "balancing": "balancing"}
# Training parameters: images are the same from the cache and from memory, and the model's own
# parameters hold what `pretrained` gives it.
_SHAPES_NOTHING = {
    "ingestion": {"download", "on_bad_record"},
    "split": {"protocol"},
    "training": {"num_workers", "tta_views", "images", "pretrained"},
}
# What stamps leave out when it is the default.
_DEFAULTS = {"spectrogram.kind": "stft", "ingestion.n_leads": 1}
_KEY = "made_of"
_ABSENT = object()
_Table = TypeVar("_Table", bound=pd.DataFrame)


class StampedSignals(dict[str, Any]):
    """Signals, or what makes each, by "db/record_id", with their stamp."""

    def __init__(self, signals: Mapping[str, Any], made_of: Mapping[str, Any]) -> None:
        super().__init__(signals)
        self.made_of = made_of


def name_command(options: str) -> str:
    """Return `kedro run` with some options, in the environment of this run."""
    env = os.environ.get(ENVIRONMENT)
    return f"kedro run {f'--env={env} ' if env else ''}{options}"


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings as ("a.b.c", leaf)."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flatten(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def fingerprint(value: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serialisable value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def settings(**parameters: Parameters) -> dict[str, Any]:
    """Return the groups of a stamp that parameters are, without what shapes no product."""
    groups = {
        name: each.model_dump(mode="json", exclude=_SHAPES_NOTHING.get(name))
        for name, each in parameters.items()
    }
    if (windows := groups.get("windows")) and windows["mode"] == "beat":
        del windows["step_s"], windows["label_rule"]
    return groups


def view_settings(spectrogram: SpectrogramParameters) -> dict[str, Any]:
    """Return the group of a product that is cut for a spectrogram's views, not drawn."""
    return {"spectrogram.extra_views": [[v.of, v.window_s] for v in spectrogram.extra_views]}


def hash_table(table: pd.DataFrame) -> str:
    """Return a hex digest of a table's values, equal for equal rows in equal order."""
    values = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256(values.tobytes()).hexdigest()


def stamp_table(table: _Table, made_of: Mapping[str, Any]) -> _Table:
    """Return the table, stamped; text, since pandas copies attrs with every selection."""
    table.attrs[_KEY] = json.dumps(made_of)
    return table


def read_stamp(product: Any) -> dict[str, Any]:
    """Return the stamp of a product; empty if it carries none."""
    if isinstance(product, pd.DataFrame):
        return dict(json.loads(product.attrs.get(_KEY, "{}")))
    if isinstance(product, tuple):
        product = product[1]  # of a network, its description
    return dict(product.get(_KEY, {}) if type(product) is dict else getattr(product, _KEY, {}))


def require_fresh(expected: Mapping[str, Any], /, **products: Any) -> dict[str, Any]:
    """Return the stamp of what is made from products, if none of these is stale.

    Args:
        expected: groups of settings as the parameters are now, see `settings`.
        products: the products, in dependency order.

    Returns:
        All groups of the products' stamps, and the expected ones.

    Raises:
        ValueError: a product carries no stamp, or was made with other parameters or from something
            else than those before it; the message names all that differs, and what to run.
    """
    together = dict(expected)
    known_from = dict.fromkeys(expected, "the parameters")
    for name, product in products.items():
        made_by = STEPS.index(MADE_BY[name])
        stamp, faults, first = read_stamp(product), [], made_by
        for group, value in stamp.items():
            known = known_from.setdefault(group, name)
            wanted = {group: together.setdefault(group, value)}
            if found := list_differences({group: value}, name, wanted, known):
                faults += found
                if known == "the parameters":
                    begins_at = _BEGINS_AT.get(group, "feature_engineering")
                    first = min(first, STEPS.index(begins_at))
        if not stamp:
            faults, first = ["it carries no stamp of what it was made of"], 0
        if faults:
            advice = _advise(name, first, made_by)
            raise ValueError(f"{name} is stale: {'; '.join(faults)}. {advice}")
    return together


def _advise(name: str, first: int, made_by: int) -> str:
    """Return what to run for a product, and all after it that a training reads."""
    if name == "predictions":  # the network need not be trained again
        command = name_command("--pipelines=modelling --only-missing-outputs")
        return f"Delete predictions.parquet in 07_model_output and run `{command}` to make it again"
    steps = ",".join(STEPS[first : max(made_by, STEPS.index("balancing")) + 1])
    command = name_command(f"--pipelines={steps}")
    return (
        f"Run `{command}` to make it again, with the --params and --config of the run that made "
        f"it, or set the parameters back"
    )


def list_differences(
    found: Mapping[str, Any], here: str, expected: Mapping[str, Any], there: str
) -> list[str]:
    """Return a line for each setting that differs: "a.b is 1 in {here} and 2 in {there}"."""
    one, other = dict(flatten(found)), dict(flatten(expected))
    return [
        f"{key} is {_shorten(a, b)} in {here} and {_shorten(b, a)} in {there}"
        for key in {**one, **other}
        if (a := one.get(key, absent := _DEFAULTS.get(key, _ABSENT)))
        != (b := other.get(key, absent))
    ]


def _shorten(value: Any, other: Any) -> str:
    """Return a value as text; of a digest its beginning, of a list what the other lacks."""
    if isinstance(value, list) and isinstance(other, list):
        value = [item for item in value if item not in other] or value
    text = "absent" if value is _ABSENT else str(value)
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text
