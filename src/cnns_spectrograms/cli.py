"""The project's own `kedro run`.

It is Kedro's, but --params adds to the parameters of --config, and an error that the user can
correct is printed as its message alone.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run


class _Run(click.Command):
    """Kedro's `--params` silently replaces all parameters of a `--config` file.

    Its errors come with a page of traceback; here only with `--verbose`, as in Kedro's other
    commands, or where the program itself is at fault.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from omegaconf import OmegaConf

        try:
            rest = super().parse_args(ctx, args)
        except KeyError as error:
            if error.args != (ctx.info_name,):
                raise
            raise click.UsageError(
                f"the --config file has no section '{ctx.info_name}'; it holds options of this "
                f"command, as conf/two_cores.yml does (run: params: ...), and is not a file of "
                f"parameters: put those into conf/local/parameters.yml, or give --params",
                ctx,
            ) from error
        of_file = (ctx.default_map or {}).get("params")
        if of_file is not None:
            (option,) = (each for each in self.params if each.name == "params")
            both: list[dict[str, Any]] = [option.process_value(ctx, of_file), ctx.params["params"]]
            ctx.params["params"] = OmegaConf.to_container(OmegaConf.merge(*both))
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.pop("verbose"):
            return super().invoke(ctx)
        node_logger = logging.getLogger("kedro.pipeline.node")
        node_logger.addFilter(_name_failed_node)
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not _is_users(error):
                raise
            raise click.ClickException(
                f"{error}\n(kedro run --verbose shows where it was raised)"
            ) from error
        finally:
            node_logger.removeFilter(_name_failed_node)


def _name_failed_node(record: logging.LogRecord) -> bool:
    """Leave the error, which is printed at the end, out of Kedro's line on the node that failed."""
    if record.levelno == logging.ERROR and isinstance(record.args, tuple):
        record.msg, record.args = "Node %s failed", record.args[:1]
    return True


def _is_users(error: BaseException) -> bool:
    """Return whether what is wrong lies in parameters, data, disk or network, not in the program.

    What Kedro raises when it loads or saves a dataset is judged by its cause.
    """
    from kedro.config import MissingConfigException
    from kedro.io import DatasetError
    from kedro.validation.exceptions import DataValidationError, ParameterValidationError
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    of_kedro = (MissingConfigException, DataValidationError, ParameterValidationError)
    if isinstance(error, (ValueError, OSError, YAMLError, OmegaConfBaseException, *of_kedro)):
        return True
    mlflow = sys.modules.get("mlflow")  # absent before a run is tracked
    if mlflow and isinstance(error, mlflow.MlflowException):
        return True
    if isinstance(error, DatasetError):
        return error.__cause__ is None or _is_users(error.__cause__)
    return False


@click.group()
def cli() -> None:
    """Commands of this project."""


run = _Run(
    name=kedro_run.name,
    callback=kedro_run.callback,
    params=[
        *kedro_run.params,
        click.Option(["--verbose", "-v"], is_flag=True, help="Show the traceback of every error."),
    ],
    help=f"{kedro_run.help} Where --config and --params name the same parameter, --params counts.",
)
cli.add_command(run)
