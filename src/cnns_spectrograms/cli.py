"""The project's own `kedro run`: Kedro's, where --params adds to what --config says."""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run


class _Run(click.Command):
    """Kedro's `--params` replaces all parameters of a `--config` file, without a word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from omegaconf import OmegaConf

        try:
            rest = super().parse_args(ctx, args)
        except KeyError as error:
            if error.args != (ctx.info_name,):
                raise
            raise click.UsageError(
                f"the --config file has no section '{ctx.info_name}'; it holds options of this "
                f"command, as conf/two_cores.yml does (run: params: ...), and is no file of "
                f"parameters: put those into conf/local/parameters.yml, or give --params",
                ctx,
            ) from error
        of_file = (ctx.default_map or {}).get("params")
        if of_file is not None:
            (option,) = (each for each in self.params if each.name == "params")
            both: list[dict[str, Any]] = [option.process_value(ctx, of_file), ctx.params["params"]]
            ctx.params["params"] = OmegaConf.to_container(OmegaConf.merge(*both))
        return rest


@click.group()
def cli() -> None:
    """Commands of this project."""


run = _Run(
    name=kedro_run.name,
    callback=kedro_run.callback,
    params=kedro_run.params,
    help=f"{kedro_run.help} Where --config and --params name the same parameter, --params counts.",
)
cli.add_command(run)
