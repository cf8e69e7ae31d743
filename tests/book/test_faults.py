"""The suite bites: put a fault into a copy of the book, and see the right test fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.site import build_site
from tools.twins import ROOT, tracked

PAGE = "chapters/start/reading-this-book"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Copy what git would carry to another machine."""
    target = tmp_path / "book"
    for path in tracked():
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return target


def run_tests(book: Path, *arguments: str) -> tuple[set[str], str]:
    """Run pytest in the copy; return the names of the tests that failed, and its output."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--color=no", *arguments],
        cwd=book,
        env={**os.environ, "PYTHONPATH": str(book / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*?::([^\n]+?)(?: - .*)?$", output, re.M))
    assert (done.returncode == 1) == bool(failed), output
    return failed, output


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_notebook(book: Path, change: Any, page: str = PAGE) -> None:
    path = book / f"{page}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    change([cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_the_copy_is_sound_and_nbval_finds_three_faults(book: Path) -> None:
    """A changed number, a cell that fails and a cell that writes to stderr; no other fails."""

    def change(cells: list[dict[str, Any]]) -> None:
        output = cells[1]["outputs"][0]
        assert "".join(output["text"]) == "100000.01\n"
        output["text"] = ["100000.04\n"]
        cells[-1]["source"] = "assert 1 + 1 == 3"
        cells[-2]["source"] += ["\nimport sys\n", "print('careless', file=sys.stderr)"]

    edit_notebook(book, change)
    cells = json.loads((book / f"{PAGE}.ipynb").read_text("utf-8"))["cells"]
    last = sum(cell["cell_type"] == "code" for cell in cells) - 1
    failed, output = run_tests(book, "--nbval", f"{PAGE}.ipynb")
    assert failed == {f"Cell {n}" for n in (1, last - 1, last)}, output
    assert "100000.04" in output and "Cell execution caused an exception" in output
    assert "careless" in output


def test_nbval_finds_a_flipped_sign_in_a_helper(book: Path) -> None:
    edit(book / "src/helpers/parity.py", "abs(a / magnitude - b", "abs(a / magnitude + b")
    failed, output = run_tests(book, "--nbval", f"{PAGE}.ipynb")
    assert "Cell 4" in failed, output
    assert "ParityError" in output


DRAFT = f"---\nmyst: {{html_meta: {{description: {'A page. ' * 10}}}}}\n---\n\n# Draft\n"


def quick(book: Path) -> set[str]:
    failed, _ = run_tests(
        book, "tests/book/test_notebooks.py", "tests/book/test_pages.py", "-k", "not site"
    )
    return failed


def test_six_faults_in_the_files_are_each_found_by_their_own_test(book: Path) -> None:
    """Six faults, each where no other is; together they are one run instead of six."""
    start, tensors, network = (
        "start/reading-this-book",
        "foundations/tensors",
        "networks/backpropagation",
    )

    def unexecuted(cells: list[dict[str, Any]]) -> None:
        cells[2].update(execution_count=None, outputs=[])

    def warning(cells: list[dict[str, Any]]) -> None:
        stream = {"name": "stderr", "output_type": "stream", "text": ["Warning\n"]}
        cells[2]["outputs"].append(stream)

    def path_of_the_author(cells: list[dict[str, Any]]) -> None:
        cells[2]["outputs"][0]["text"] = ["/" + "home/me/data\n"]

    def without(part: str) -> Any:
        def change(cells: list[dict[str, Any]]) -> None:
            figure = next(c for c in cells if "mystnb" in c["metadata"])
            del figure["metadata"]["mystnb"][part]

        return change

    edit(book / f"chapters/{start}.md", "Add up a million tenths", "Add up a million tenth")
    edit_notebook(book, path_of_the_author, f"chapters/{start}")
    edit_notebook(book, unexecuted, f"chapters/{tensors}")
    edit_notebook(book, without("image"), f"chapters/{tensors}")
    edit_notebook(book, warning, f"chapters/{network}")
    edit_notebook(book, without("figure"), f"chapters/{network}")
    assert quick(book) == {
        f"test_twins_are_in_step[{start}]",
        f"test_outputs_are_clean[{start}]",
        f"test_every_code_cell_was_executed_in_order[{tensors}]",
        f"test_figures_have_caption_and_alternative_text[{tensors}]",
        f"test_twins_are_in_step[{tensors}]",  # the options of a figure are in both twins
        f"test_outputs_are_clean[{network}]",
        f"test_figures_have_caption_and_alternative_text[{network}]",
        f"test_twins_are_in_step[{network}]",
    }


def test_five_faults_of_the_pages_are_each_found_by_their_own_test(book: Path) -> None:
    """A drawing nobody can hear, a claim nobody can refute, one missing, a dead link, a draft."""
    start, tensors, network = PAGE, "chapters/foundations/tensors", "networks/backpropagation"
    edit(book / f"chapters/{network}.md", ":alt: Five boxes", ":class: five boxes")
    edit(book / f"{tensors}.md", 'assert last_only == "TypeError"\n', "")
    edit(book / f"{tensors}.md", "assert top.values.shape == (2, 4, 5)\n", "")
    edit(book / f"{start}.md", "It is what you", "It is [what](what.md) you")
    (book / "chapters/start/draft.md").write_text(DRAFT, encoding="utf-8")
    claims = "test_claims_are_the_chapters_own_and_followed_by_their_test"
    chapters = [n.removeprefix("chapters/") for n in (start, tensors)]
    assert quick(book) == {
        f"test_pictures_have_alternative_text[{network}]",
        f"{claims}[foundations/tensors]",
        "test_links_to_files_lead_somewhere[start/reading-this-book]",
        "test_contents_list_every_page_once_and_no_other",
        *(f"test_twins_are_in_step[{name}]" for name in (*chapters, network)),
    }


def test_a_missing_claim(book: Path) -> None:
    page = "foundations/tensors"
    edit(book / f"chapters/{page}.md", "{claim} topk-order", "{claim} top-k")
    failed, output = run_tests(book, "tests/book/test_pages.py", "-k", "claims")
    assert failed == {f"test_claims_are_the_chapters_own_and_followed_by_their_test[{page}]"}
    assert "topk-order" in output


def test_the_build_finds_broken_references(book: Path, tmp_path: Path) -> None:
    """A label, an equation, a work and a figure that are not there: each is named."""
    few = "root: chapters/index\nchapters: [{file: chapters/reference/bibliography}]"
    (book / "_toc.yml").write_text(f"format: jb-book\n{few}", encoding="utf-8")
    edit(
        book / "chapters/reference/bibliography.md",
        "Works that",
        "{ref}`no-label` {eq}`no-equation` {cite:p}`nobody` {numref}`no-figure` Works that",
    )
    build = build_site(book, tmp_path / "site")
    assert build.status != 0
    for missing in ("no-label", "no-equation", "nobody", "no-figure"):
        assert re.search(f"WARNING.*{missing}", build.log), missing


def test_a_failing_chapter_is_named_and_nothing_is_written(book: Path) -> None:
    source = book / f"{PAGE}.md"
    edit(source, "import math\n", "import math\nraise OSError('no such thing')\n")
    before = (book / f"{PAGE}.ipynb").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "tools.chapter", PAGE.removeprefix("chapters/")],
        cwd=book,
        env={**os.environ, "PYTHONPATH": str(book / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no such thing" in done.stderr and "OSError" in done.stderr
    assert f"{PAGE}.md: code cell 1 failed" in done.stderr.splitlines()[-1]
    assert (book / f"{PAGE}.ipynb").read_bytes() == before
