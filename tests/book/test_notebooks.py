"""Every notebook: in step with its source, executed, clean, and written to the standard."""

import getpass
import json
import os
import re
import shutil
import socket
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

from tools.contents import chapters
from tools.twins import CHAPTERS, ROOT, files, is_notebook, read_source, sources

WAYS = ("numpy", "tensorflow", "torch")
TAGS = re.compile(
    r"numpy|tensorflow|torch|claim|remove-cell|hide-input|nbval-ignore-output|rtol-1e-\d+"
)
MACHINE_PATH = re.compile(r"(?<![\w.])(/(home|root|Users|tmp|work|opt|usr|var)/|[A-Z]:\\\\)")
SECTIONS = [
    "What you will be able to do",
    "When it goes wrong",
    "Exercises",
    "In one breath",
    "Key terms",
    "Sources",
]


def name(path: Path) -> str:
    return str(path.relative_to(CHAPTERS).with_suffix(""))


SOURCES = sources()
NOTEBOOKS = files(".ipynb")
# Pages of differences between the frameworks have their own form: see test_differences.py.
ROWS = [p for p in NOTEBOOKS if p.stem.startswith("rosetta-")]
LESSONS = [p for p in NOTEBOOKS if p.stem != "index" and p not in ROWS]


def load(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(notebook: nbformat.NotebookNode) -> str:
    """Return the text that a reader reads: no code, tables, formulas or directive options."""
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    text = re.sub(r"\$\$.*?\$\$(\s*\(eq-[\w-]+\))?", "", text, flags=re.S)
    text = re.sub(r"```bash.*?```", "", text, flags=re.S)
    return "\n".join(x for x in text.splitlines() if not re.match(r"\s*(\||:\w|```|:::)", x))


def test_there_are_notebooks() -> None:
    assert len(SOURCES) >= 3


def test_each_source_has_its_twin() -> None:
    assert [p.with_suffix(".ipynb") for p in SOURCES] == NOTEBOOKS


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_twins_are_in_step(source: Path) -> None:
    wanted, found = read_source(source), load(source.with_suffix(".ipynb"))
    hint = f"edit {source.name} and run: make chapter C={name(source)}"
    assert len(wanted.cells) == len(found.cells), hint
    for position, (ours, theirs) in enumerate(zip(wanted.cells, found.cells, strict=True)):
        place = f"cell {position} differs from its source; {hint}"
        assert theirs.cell_type == ours.cell_type, place
        assert theirs.source == ours.source, place
        assert theirs.metadata == ours.metadata, place
        assert theirs.id == ours.id, place


def test_a_pair_opens_in_jupyterlab_whichever_twin_is_newer(tmp_path: Path) -> None:
    """Jupytext's server extension would refuse a pair whose notebook is newer than its text."""
    shutil.copy2(ROOT / "jupytext.toml", tmp_path)
    manager = jupytext.TextFileContentsManager(root_dir=str(tmp_path))
    for source in SOURCES:
        for path in (source, source.with_suffix(".ipynb")):
            shutil.copy2(path, tmp_path)
            os.utime(tmp_path / path.name, (1e9, 1e9 + 3600 * (path.suffix == ".ipynb")))
        opened = manager.get(f"{source.stem}.ipynb", type="notebook")["content"]
        assert [c.source for c in opened.cells] == [c.source for c in read_source(source).cells]
        assert any(c.outputs for c in code_cells(opened))
    manager.notary.store.close()  # else Python 3.13 warns of it in another test


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_every_code_cell_was_executed_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(load(path))]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_outputs_are_clean(path: Path) -> None:
    names = {socket.gethostname(), getpass.getuser()} - {"root", "localhost"}
    for position, cell in enumerate(code_cells(load(path)), 1):
        for output in cell.outputs:
            place = f"code cell {position}"
            assert output.output_type != "error", place
            assert output.get("name") != "stderr", f"{place} writes to stderr"
            shown = {k: v for k, v in output.items() if k != "metadata"}
            shown["data"] = {
                k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")
            }
            text = json.dumps(shown, ensure_ascii=False)
            assert not MACHINE_PATH.search(text), f"{place} shows a path of this machine"
            assert not any(n in text for n in names), f"{place} shows a name of this machine"
            assert not re.search(r" at 0x[0-9a-f]+", text), f"{place} shows a memory address"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_no_time_stamps(path: Path) -> None:
    notebook = load(path)
    assert set(notebook.metadata) == {"book", "jupytext", "kernelspec", "language_info", "myst"}
    assert set(notebook.metadata.book) == {"seconds", "hardware", "versions"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "mystnb"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_runs_within_its_time(path: Path) -> None:
    assert load(path).metadata.book.seconds <= 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_figures_have_caption_and_alternative_text(path: Path) -> None:
    for position, cell in enumerate(code_cells(load(path)), 1):
        pictures = [
            o for o in cell.outputs if any(k.startswith("image/") for k in o.get("data", {}))
        ]
        if not pictures:
            continue
        options = cell.metadata.get("mystnb", {})
        place = f"the figure of code cell {position}"
        assert len(pictures) == 1, f"{place}: one figure a cell"
        assert len(options.get("image", {}).get("alt", "")) >= 20, f"{place} has no alt text"
        assert len(options.get("figure", {}).get("caption", "")) >= 20, f"{place} has no caption"
        assert options["figure"].get("name", "").startswith("fig-"), f"{place} has no name"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_cells_are_short_and_tagged(path: Path) -> None:
    for position, cell in enumerate(code_cells(load(path)), 1):
        lines, place = cell.source.splitlines(), f"code cell {position}"
        assert len(lines) <= 25, f"{place} has {len(lines)} lines"
        assert max(map(len, lines), default=0) <= 72, f"{place} has a line over 72 columns"
        assert all(TAGS.fullmatch(tag) for tag in tags(cell)), f"{place}: {tags(cell)}"
        assert not re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)", cell.source), place
        assert sum(way in tags(cell) for way in WAYS) <= 1, place


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_an_ignored_output_is_followed_by_an_assertion(path: Path) -> None:
    cells = code_cells(load(path))
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if "nbval-ignore-output" in tags(cell):
            assert following is not None and "assert " in following.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_imports_helpers_first_and_no_other_page(path: Path) -> None:
    imports = re.findall(
        r"^(?:import|from) ([\w.]+)", "\n".join(c.source for c in code_cells(load(path))), re.M
    )
    assert imports[0] == "helpers"
    assert not any(i.split(".")[0] in ("tests", "tools", "chapters") for i in imports)


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p not in ROWS], ids=name)
def test_three_ways_and_their_agreement(path: Path) -> None:
    cells = code_cells(load(path))
    for way in WAYS:
        assert any(way in tags(cell) for cell in cells), f"no cell in {way}"
    assert any("parity.agree(" in cell.source for cell in cells)


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_sections_of_the_standard(path: Path) -> None:
    text = "\n".join(c.source for c in load(path).cells if c.cell_type == "markdown")
    found = [s for s in re.findall(r"^## (.+)$", text, re.M) if s in SECTIONS]
    assert found == SECTIONS
    assert text.count("\n# ") + text.startswith("# ") == 1
    assert "**Before this**:" in text
    assert "in this chapter we will" not in text.lower()
    terms = text.partition("## Key terms")[2].partition("\n## ")[0].strip().splitlines()
    assert len(terms) >= 4
    for term in terms:
        assert re.match(r"- \*\*[^*]+\*\* \([^)]*[\u4e00-\u9fff][^)]*\): \S", term), term


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_exercises_are_solved_by_cells_that_assert(path: Path) -> None:
    cells, solving, solved, asserted = load(path).cells, None, set(), set()
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    exercises = re.findall(
        r"```\{exercise\}[^\n]*\n:label: (ex-[\w-]+)\n\*\*(Easy|Medium|Hard)\.\*\*", text
    )
    assert len(exercises) >= 3
    assert {level for _, level in exercises} == {"Easy", "Medium", "Hard"}
    fails = re.compile(r"^\s*assert |parity\.agree\(|gradcheck\.check\(", re.M)
    for cell in cells:
        for gate in re.finditer(
            r"```\{solution-(?:start\} (ex-[\w-]+)\n:class: dropdown|end\})", cell.source
        ):
            solving = gate[1]
            solved |= {solving} - {None}
        if cell.cell_type == "code" and solving and fails.search(cell.source):
            asserted.add(solving)
    assert solved == asserted == {label for label, _ in exercises}


@pytest.mark.parametrize("path", LESSONS, ids=name)
def test_length(path: Path) -> None:
    text = prose(load(path)).partition("\n## Key terms")[0]
    words = len(re.findall(r"[^\W\d_][\w'’-]*", text))
    assert 1000 <= words <= 2000, f"{words} words"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_paragraphs_have_at_most_five_sentences(path: Path) -> None:
    for paragraph in re.split(r"\n\s*\n", prose(load(path))):
        sentences = len(re.findall(r"[.!?](?:\s|$)", re.sub(r"\*\*\w+\.\*\*", "", paragraph)))
        assert sentences <= 5 or re.match(r"\s*(- |1\. )", paragraph), paragraph


def test_markdown_sources_are_recognised() -> None:
    plain = [p for p in files(".md") if not is_notebook(p)]
    assert CHAPTERS / "reference/glossary.md" in plain
    assert not any(p.with_suffix(".ipynb").exists() for p in plain)
    assert ROOT / "chapters" == CHAPTERS


def test_each_term_is_defined_once() -> None:
    terms = [term for chapter in chapters() for term in chapter.terms]
    for words in ([t.english.lower() for t in terms], [t.chinese for t in terms]):
        assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize("path", sorted(CHAPTERS.rglob("*.md")), ids=name)
def test_every_page_has_a_description(path: Path) -> None:
    """For search engines, link previews and the lists of chapters."""
    head = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    assert 60 <= len(head["myst"]["html_meta"]["description"]) <= 160
