"""Kedro's settings of this project: context, hooks and how configuration is merged."""

from cnns_spectrograms.context import ProjectContext
from cnns_spectrograms.hooks.checkpoints import CheckpointHooks
from cnns_spectrograms.hooks.preflight import PreflightHooks
from cnns_spectrograms.hooks.summary import SummaryHooks
from cnns_spectrograms.hooks.versions import VersionHooks
from cnns_spectrograms.tracking.hook import MLflowHooks

CONTEXT_CLASS = ProjectContext
HOOKS = (PreflightHooks(), VersionHooks(), MLflowHooks(), CheckpointHooks(), SummaryHooks())
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment changes single values of base, it does not replace whole sections.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "**/mlflow*"]},
}
