"""The documents that have to stay in step with each other and with the project."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from kedro_project import ROOT

sys.path.append(str(ROOT / "docs"))
from run_commands import PAGES, Runner, Step, fill_in, read_steps

PAIRS = [
    ("README.md", "README.es.md"),
    ("docs/tutorials/first_run.md", "docs/es/first_run.md"),
    ("docs/tutorials/own_recordings.md", "docs/es/own_recordings.md"),
]


def read_blocks(text: str) -> list[str]:
    """Return the indented code blocks of a Markdown page."""
    return re.findall(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", text, re.MULTILINE)


@pytest.mark.parametrize(("english", "spanish"), PAIRS)
def test_spanish_has_the_headings_and_the_code_of_english(english: str, spanish: str) -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in (english, spanish)]
    levels = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in texts]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 4
    blocks = [read_blocks(text) for text in texts]
    assert blocks[0] == blocks[1]
    assert len(blocks[0]) > 3


def test_both_front_pages_have_the_same_scores() -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in ("README.md", "README.es.md")]
    scores = [sorted(re.findall(r"\b0\.\d{3}\b", text)) for text in texts]
    assert scores[0] == scores[1]
    assert len(scores[0]) > 12


def test_the_front_page_is_one_screen_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert max(map(len, text.splitlines())) <= 100
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert len(links) > 8
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_commands_of_the_front_page_exist() -> None:
    """Every environment, set of options and make target that it names."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert all((ROOT / "conf" / name).is_dir() for name in re.findall(r"--env=(\w+)", text))
    assert all((ROOT / name).is_file() for name in re.findall(r"--config=(\S+\.yml)", text))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"^    make (\w+)", text, re.MULTILINE)) <= targets


def test_every_page_is_in_the_navigation() -> None:
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if f" {page}\n" not in listed} == set()
    assert not list(Path(ROOT / "docs" / "reference").glob("*.md"))  # these are made


@pytest.mark.parametrize("page", PAGES)
def test_the_script_knows_every_command_of_the_pages_it_runs(page: str) -> None:
    steps = "\n".join(step.text for step in read_steps(page))
    lines = [line.strip() for block in read_blocks((ROOT / page).read_text()) for line in
             block.splitlines()]  # fmt: skip
    shell = [re.sub(r"\s{2,}#.*", "", line) for line in lines if re.match(r"[a-z-]+ \S", line)]
    assert len(shell) > 2
    assert [line for line in shell if line not in steps] == []


def test_the_script_sees_what_fails(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    runner = Runner(tmp_path, tmp_path / "log", tmp_path)
    assert runner.run(Step("page", "cd inner")) == ""
    assert runner.run(Step("page", "python -c 'print(open(\"missing\"))'")) == "exit status 1"
    assert runner.run(Step("page", "import os\nassert os.getcwd().endswith('inner')", True)) == ""
    assert "missing" in (tmp_path / "log").read_text()
    assert runner.run(Step("page", "source nowhere/bin/activate")).startswith("there is no")
    server = Step("page", "make app")
    assert runner.run(server) == "ended with status 2 before it answered"
    assert fill_in("predict RECORDING... -o x", tmp_path) == "predict rec.edf -o x"
