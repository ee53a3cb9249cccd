"""What `mkdocs build` adds to the pages: the front page, the configuration, and the reference."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("ecg", "recordings", "imaging", "training", "evaluation", "inference")
LIBRARIES += ("corrections", "datasets")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made from the code."""
    pages = {
        "index.md": rewrite_links((ROOT / "README.md").read_text("utf-8")),
        "configuration.md": (ROOT / "conf/README.md").read_text("utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text("utf-8"),
        "models.md": describe_models(),
        "literature.md": describe_literature(),
        "reference/parameters.md": describe_parameters(),
        "reference/catalog.md": describe_catalog(),
        "reference/commands.md": describe_commands(),
        **dict(describe_libraries()),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def rewrite_links(text: str) -> str:
    """Make links of the repository's front page those of the site."""
    text = re.sub(r"\]\(docs/([^)]*)\)", r"](\1)", text)
    text = text.replace("[Español](README.es.md)\n\n", "")
    text = text.replace("](conf/README.md)", "](configuration.md)")
    return text.replace("](CHANGELOG.md)", "](changelog.md)").replace("](LICENSE)", "](license.md)")


def describe_models() -> str:
    """Return the cards of the models that come with the package, the default first."""
    from cnns_spectrograms.files import find_shipped_models
    from cnns_spectrograms.inference.model import BeatModel

    parts = [
        "# Model cards\n\nThe models that come with the package. `predict` and the app use the "
        "first unless `--model` names another. A card is also in its file's metadata "
        "(`BeatModel.load().card`). [How the scores came about](results.md)."
    ]
    for path in find_shipped_models():
        card = BeatModel.load(path).card
        parts.append(re.sub(r"^#", "##", card.strip(), flags=re.MULTILINE))
    return "\n\n".join(parts) + "\n"


def describe_literature() -> str:
    """Return the published results beside which ours can be read."""
    from cnns_spectrograms.evaluation.report import read_literature

    head = ["source", "protocol", "macro F1", "accuracy", *"NSVFQ", "note"]
    published = read_literature().rename(columns={"macro_f1": "macro F1"})
    rows = published[head].astype(object).where(published.notna(), None).to_numpy().tolist()
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines
    )
    return (
        "# Beside the literature\n\nPublished results with the protocol of each. Ours stand in "
        "[Results](results.md), under the same names of protocols.\n\n"
        f"{table}\n\n"
        "## How to read it\n\n"
        "* Only results of one protocol can be compared. A split by beat, where a patient both "
        "trains and tests, gives 99 % and means nothing for a new patient; no such result is "
        "here.\n"
        "* **S and F are scores of single records.** Of DS2's 1,837 S beats 1,382 are in record "
        "232, and of its 388 F beats 362 are in record 213. Two methods that differ by 0.1 in S "
        "may differ in one patient. [Why S and F are hard](explanation/rare_classes.md).\n"
        "* Few papers give intervals. Ours are over patients, and about 0.2 wide in macro F1.\n"
        "* Some adapt to the test records, read two leads, or choose by the test score; the note "
        "has what is known.\n"
    )


def describe_parameters() -> str:
    """Return a table of every parameter: type, default and meaning."""
    from cnns_spectrograms import parameters

    parts = [
        "# Parameters\n\nEvery parameter of `conf/`, with its type, its default and its meaning. "
        "The default holds where `conf/` sets no value; `conf/base` sets many. A wrong key, type "
        "or value stops a run before its first node.\n"
    ]
    for name, model in inspect.getmembers(parameters, inspect.isclass):
        if not issubclass(model, parameters.Parameters) or model is parameters.Parameters:
            continue
        parts.append(f"\n## {name}\n\n{inspect.getdoc(model)}\n")
        parts.append("\n| parameter | type | default | meaning |\n| --- | --- | --- | --- |\n")
        for key, field in model.model_fields.items():
            kind = re.sub(r"[\w.]*\.(?=\w+)", "", str(inspect.formatannotation(field.annotation)))
            default = "required"
            if not field.is_required():
                default = repr(field.get_default(call_default_factory=True))
            cells = (f"`{key}`", f"`{kind}`", f"`{default}`", field.description or "")
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)


def describe_catalog() -> str:
    """Return a table of the catalog's datasets, pipeline by pipeline."""
    parts = ["# Data catalog\n\nWhat the pipelines read and write, as `conf/base` places it.\n"]
    for path in sorted((ROOT / "conf/base").glob("*/catalog*.yml")):
        parts.append(f"\n## {path.parent.name}\n\n| dataset | type | file |\n| --- | --- | --- |\n")
        for name, entry in yaml.safe_load(path.read_text("utf-8")).items():
            if name.startswith("_") or not isinstance(entry, dict):
                continue
            file = entry.get("filepath", "")
            parts.append(f"| `{name}` | `{entry.get('type', '')}` | `{file}` |\n")
    return "".join(parts)


def describe_commands() -> str:
    """Return the help texts of the command line."""
    from cnns_spectrograms.command_line import make_parser

    text = "# Command line\n"
    for name, parser in make_parser()[1].items():
        text += f"\n## cnns-spectrograms {name}\n\n```text\n{parser.format_help()}```\n"
    return text


def describe_libraries() -> Iterator[tuple[str, str]]:
    """Yield a page for each library, with every public function of its modules."""
    for library in LIBRARIES:
        try:
            package = importlib.import_module(f"cnns_spectrograms.{library}")
        except ModuleNotFoundError:
            continue
        modules = sorted(each.name for each in pkgutil.iter_modules(package.__path__))
        text = f"# {library}\n\n{inspect.getdoc(package) or ''}\n"
        for module in modules:
            text += f"\n::: cnns_spectrograms.{library}.{module}\n"
        yield f"reference/{library}.md", text
