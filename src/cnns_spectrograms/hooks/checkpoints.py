"""The hook that removes the checkpoints of trainings whose run has ended well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from cnns_spectrograms.pipelines.namespaces import find_training

if TYPE_CHECKING:
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline


class CheckpointHooks:
    """Removes the checkpoints of trainings whose run has ended well.

    Until then they stay, so that the same command does not train a finished model again.
    """

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Remove those of this run's saved networks; checkpoints of another training stay."""
        for node in find_training(pipeline):
            from cnns_spectrograms.training.checkpoints import (
                clear_checkpoints,
                read_checkpoint_fingerprint,
            )
            from cnns_spectrograms.training.networks import read_description

            dataset: Any = catalog.get(f"{node.namespace}.model")
            description = read_description(Path(dataset._get_load_path()))
            folder = catalog.load(f"{node.namespace}.checkpoints")
            if read_checkpoint_fingerprint(folder) == description["fingerprint"]:
                clear_checkpoints(folder)
