"""Takes the pictures in docs/pictures: Kedro-Viz's graph, MLflow's comparison, and a report.

python docs/pictures.py [--project FOLDER] [--env ENV]

The folder is a checkout in which `kedro run --env=ENV` has trained the networks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from chromium import Browser, serving  # noqa: E402

SCORE = "test.macro_f1"
# What Kedro-Viz keeps in the browser: no hints, the light theme, and the graph alone.
_KEDRO_VIZ = {
    "showFeatureHints": False,
    "theme": "light",
    "visible": {"sidebar": False, "miniMap": False, "graph": True},
}
_REMOVE = "document.querySelectorAll(arguments[0]).forEach((each) => each.remove())"


def main() -> None:
    """Take the three pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=ROOT, help="default: %(default)s")
    parser.add_argument("--env", default="quick", help="of the report; default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    project = given.project.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        browser = Browser(Path(scratch))
        try:
            take_graph(browser, project, Path(scratch), given.output)
            take_comparison(browser, project, Path(scratch), given.output)
            browser.resize(1150, 1200)
            reports = project / "data" / given.env / "08_reporting" / "report.html"
            browser.driver.get(max(reports.glob("*/report.html")).as_uri())
            time.sleep(2)
            browser.save(given.output / "report.webp")
        finally:
            browser.close()


def take_graph(browser: Browser, project: Path, scratch: Path, output: Path) -> None:
    """Take the graph of the default pipeline, its pipelines folded."""
    command = ["kedro", "viz", "run", "--no-browser"]
    log = scratch / "viz.txt"  # Kedro-Viz refuses ports above 49151
    with contextlib.chdir(project), serving(command, log, port=4141) as url:
        browser.resize(1500, 900)
        browser.driver.get(url)
        browser.one(".pipeline-node")  # till then it writes there itself
        time.sleep(3)
        script = "localStorage.setItem('KedroViz', arguments[0])"
        browser.driver.execute_script(script, json.dumps(_KEDRO_VIZ))
        browser.driver.refresh()
        browser.one(".pipeline-node")
        time.sleep(3)  # it moves into its place
        browser.driver.execute_script(_REMOVE, ".update-reminder-unexpanded, .pipeline-toolbar")
        browser.save(output / "kedro_viz.webp")


def take_comparison(browser: Browser, project: Path, scratch: Path, output: Path) -> None:
    """Take MLflow's comparison of the latest run of each network that was scored on test."""
    store = f"sqlite:///{project / 'mlflow.db'}"
    runs, experiments = find_runs(store)
    # One worker: several are ended where they need more than five seconds to start.
    command = ["mlflow", "ui", "--workers", "1", "--backend-store-uri", store]
    with serving(command, scratch / "mlflow.txt") as url:
        browser.resize(1500, 1000)
        query = f"runs={json.dumps(runs)}&experiments={json.dumps(experiments)}"
        browser.driver.get(f"{url}/#/compare-runs?{query}")
        browser.wait(lambda: "Run details" in browser.text(), "the comparison")
        browser.click("button[aria-label=Close]")  # of the assistant beside it
        time.sleep(3)
        browser.save(output / "mlflow.webp")


def find_runs(store: str) -> tuple[list[str], list[str]]:
    """Return the ids of the latest run of each network that has scores, and of its experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiments = [each.experiment_id for each in client.search_experiments()]
    latest = {}
    for run in client.search_runs(experiments, order_by=["attributes.start_time ASC"]):
        if "model" in run.data.tags and SCORE in run.data.metrics:
            latest[run.data.tags["model"]] = run.info
    runs = list(latest.values())
    return [run.run_id for run in runs], sorted({run.experiment_id for run in runs})


if __name__ == "__main__":
    main()
