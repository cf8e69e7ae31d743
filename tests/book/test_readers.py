"""The reader notebooks: plain, complete, each running by itself where helpers is missing."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat import NotebookNode

from tools.contents import documents
from tools.fresh import PIP, fresh_environment
from tools.needs import MODULES, WAYS, Cell, Kept, needed
from tools.plain import Book, Plain
from tools.readers import COMPARED, SETS, reader, write
from tools.twins import CHAPTERS, KERNEL_ENVIRONMENT, ROOT

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
NAMES = [n.removeprefix("chapters/") for n in documents(TOC) if (ROOT / f"{n}.ipynb").exists()]
EVERY = [(chapter, name) for chapter in NAMES for name in SETS]
BUDGET = 30  # seconds of processor time that running notebooks may take on every machine
# What only another framework's notebook may import, by the beginning of a package's name.
PACKAGES = {"tensorflow": ("tensorflow", "keras"), "torch": ("torch",)}


@cache
def book() -> Book:
    return Book(ROOT)


@cache
def made(chapter: str, name: str) -> NotebookNode:
    return reader(book(), chapter, name)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def ways(cell: NotebookNode) -> set[str]:
    return set(WAYS) & set(cell.metadata.get("tags", []))


def without_code(text: str) -> str:
    text = re.sub(r"^ *(`{3,})(?!\{).*?^ *\1`*$", "", text, flags=re.S | re.M)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.S)


def words(text: str) -> list[str]:
    """Return the words of a text, without directives' names and options, labels and roles."""
    text = re.sub(r"\{(?:cite|eq|ref|numref|doc)[:\w]*\}`(?:([^`<]*) <)?[^`]*`", r" \1 ", text)
    text = re.sub(
        r"^ *[`:]{3,}(?:\{(?:solution[\w-]*|claim|figure|grid[\w-]*)\}.*)?$", "", text, flags=re.M
    )
    text = re.sub(r"^ *[`:]{3,}\{[\w-]+\}|^:[\w-]+:.*$|^\([\w-]+\)=$", "", text, flags=re.M)
    text = re.sub(r"\$\$\s*\([\w-]+\)", "", text)
    return re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", text))


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_markdown_is_plain(chapter: str, name: str) -> None:
    for text in markdown(made(chapter, name)):
        rest = without_code(text)
        assert not re.search(r"^ *[`:~]{3,} *\{|\{(?:eq|ref|cite|numref|doc)\b", rest, re.M)
        assert not re.search(
            r":::|<!--|^\([\w-]+\)=|\$\$ *\([\w-]+\)|^:\w+:|^---$|\0", rest, re.M
        ), text


@pytest.mark.parametrize("chapter", NAMES)
def test_nothing_is_lost(chapter: str) -> None:
    """Every code cell with its outputs, and every word, in order."""
    whole, source = made(chapter, "all"), book().chapters[chapter]
    ours, theirs = code(whole)[1:], code(source)
    assert [(c.source, c.outputs) for c in ours] == [(c.source, c.outputs) for c in theirs]
    found = iter(words("\n".join(markdown(whole))))
    for text in markdown(source):
        for word in words(text):
            assert word in found, f"{word!r} of {text[:80]!r} is missing"
    kinds = [c.cell_type for c in whole.cells if c.cell_type == "code" or "### Ex" not in c.source]
    assert kinds.count("code") == len(theirs) + 1
    for cell in theirs:
        if caption := cell.metadata.get("mystnb", {}).get("figure", {}).get("caption"):
            assert (
                words(caption)[:5]
                == words(next(m for m in markdown(whole) if caption[:40] in m))[2:7]
            )


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_the_first_cells_install_and_introduce(chapter: str, name: str) -> None:
    notebook = made(chapter, name)
    first, second = notebook.cells[:2]
    assert first.metadata.tags == ["install"] and len(first.source.splitlines()) == 6
    assert first.source.startswith("try:\n    import helpers\nexcept ModuleNotFoundError:\n")
    assert f'"git+{book().repository}"' in first.source and not first.outputs
    assert f"[{book().config['title']}](http" in second.source
    assert f"**{SETS[name]}**" in second.source and "\n" not in second.source
    assert notebook.metadata.kernelspec.name == "python3"
    nbformat.validate(notebook)


@pytest.mark.parametrize(("chapter", "name"), [pair for pair in EVERY if pair[1] != "all"])
def test_a_set_holds_its_own_framework(chapter: str, name: str) -> None:
    """All of its own cells, of others' only NumPy's, and no import of another framework."""
    notebook, source = made(chapter, name), code(book().chapters[chapter])
    own = [c.source for c in code(notebook) if name in ways(c)]
    assert own == [c.source for c in source if name in ways(c)]
    for cell in code(notebook)[1:]:
        assert ways(cell) <= {name, "numpy"}
        imported = {
            alias.split(".")[0]
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in [getattr(node, "module", None) or node.names[0].name]
        }
        assert {MODULES[i] for i in imported if i in MODULES} <= {name}
    left_out = [c for c in source if not ways(c) and "parity.agree(" in c.source]
    said = sum(COMPARED in text for text in markdown(notebook))
    assert said or all(c.source in [k.source for k in code(notebook)] for c in left_out)


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_links_lead_somewhere(chapter: str, name: str, tmp_path: Path) -> None:
    files = {Path(n, f"{c}.ipynb").as_posix() for c, n in EVERY}
    for text in markdown(made(chapter, name)):
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
            if not re.match(r"(https?|data):", link):
                path = os.path.normpath(Path(name, chapter).parent / link)
                assert path in files, link
            elif link.startswith(f"{book().repository}/raw/main/"):
                assert (ROOT / link.removeprefix(f"{book().repository}/raw/main/")).exists(), link
            elif link.startswith(site_address := book().config["html"]["baseurl"]):
                page = link.removeprefix(site_address).partition("#")[0]
                assert (ROOT / page).with_suffix(".md").exists(), link


@pytest.mark.parametrize("chapter", NAMES)
def test_solutions_are_folded(chapter: str) -> None:
    """In JupyterLab by the heading's metadata, in Colab by the notebook's; nothing else is."""
    notebook = made(chapter, "all")
    text = "\n".join(c.source for c in book().chapters[chapter].cells)
    folded = [c for c in notebook.cells if c.metadata.get("jp-MarkdownHeadingCollapsed")]
    assert len(folded) == text.count("{solution-start}")
    assert all(re.fullmatch(r"#### Solution of exercise \d+", c.source) for c in folded)
    assert notebook.metadata.colab.collapsed_sections == [c.metadata.id for c in folded]


def test_writing_twice_writes_the_same_and_the_site_has_it(tmp_path: Path, site) -> None:
    assert site.status == 0, site.log
    files = write(ROOT, tmp_path)
    assert len(files) == len(EVERY) == len(list((site.html / "notebooks").rglob("*.ipynb")))
    for path in files:
        assert (
            path.read_bytes() == (site.html / "notebooks" / path.relative_to(tmp_path)).read_bytes()
        )


def test_the_numbers_are_the_sites(site) -> None:
    """Figures, equations and exercises are numbered as on the pages."""
    for chapter in NAMES:
        page = (site.html / f"chapters/{chapter}.html").read_text("utf-8")
        text = "\n".join(markdown(made(chapter, "all")))
        for theirs, ours in {
            r'caption-number">(Fig\. \d+) ': r"^\*\*(Fig\. \d+)\.\*\*",
            r'class="eqno">\((\d+)\)': r"\\tag\{(\d+)\}",
            r'caption-number">(Exercise \d+) ': r"^### (Exercise \d+):",
        }.items():
            assert re.findall(ours, text, re.M) == re.findall(theirs, page), chapter


def test_the_buttons_lead_to_the_reader_notebooks(site) -> None:
    repository = book().repository.removeprefix("https://github.com/")
    for chapter in NAMES:
        page = (site.html / f"chapters/{chapter}.html").read_text("utf-8")
        links = re.findall(r'<a href="([^"]+)" target="_blank"', page)
        path = f"notebooks/all/{chapter}.ipynb"
        assert (site.html / path).exists()
        assert f"https://mybinder.org/v2/gh/{repository}/readers?urlpath=lab/tree/{path}" in links
        assert f"https://colab.research.google.com/github/{repository}/blob/readers/{path}" in links
        downloads = [x for x in links if x.endswith(".ipynb") and not x.startswith("http")]
        targets = [((site.html / f"chapters/{chapter}").parent / x).resolve() for x in downloads]
        assert targets == [site.html.resolve() / f"notebooks/{n}/{chapter}.ipynb" for n in SETS]


# Which cells are needed


def chosen(way: str, *cells: tuple[str, str | None]) -> list[str | None]:
    found = needed([Cell(*cell) for cell in cells], way)
    return [kept.source if kept else None for kept in found]


def test_a_cell_that_reads_what_is_left_out_is_left_out_in_turn() -> None:
    cells = [
        ("import numpy as np\nimport torch\n\nseed = 1", None),
        ("a_np = np.ones(seed)", "numpy"),
        ("a_pt = torch.ones(seed)", "torch"),
        ("both = {'x': a_np, 'y': a_pt}", None),
        ("print(both)", None),
        ("def late():\n    return both", None),
        ("print([both for both in range(3)])", None),
    ]
    assert chosen("numpy", *cells) == [
        "import numpy as np\n\nseed = 1", cells[1][0], None, None, None, None, cells[6][0],
    ]  # fmt: skip


def test_what_the_own_cells_need_is_kept_with_them() -> None:
    cells = [
        ("import torch\nimport tensorflow as tf", None),
        ("a_np = [1]", "numpy"),
        ("unneeded = a_np", "numpy"),
        ("def answer(call):\n    return call()\n\n\nprint(tf.zeros(1), torch.zeros(1))", None),
        ("print(answer(lambda: torch.tensor(a_np)))", "torch"),
        ("print(a_np)", None),
    ]
    answer = "def answer(call):\n    return call()"
    kept = ["import torch", cells[1][0], None, answer, cells[4][0], cells[5][0]]
    assert chosen("torch", *cells) == kept


def test_an_assertion_that_needs_the_others_is_taken_out_of_a_cell_for_all() -> None:
    cells = [("x_pt = 1", "torch"), ("y = 2\nassert y == x_pt\nassert y == 2\nprint(y)", None)]
    kept = needed([Cell(*c) for c in cells], "numpy")
    assert kept == [None, Kept("y = 2\nassert y == 2\nprint(y)", True)]
    assert needed([Cell(*cells[0]), Cell(cells[1][0], None, claim=True)], "numpy") == [None, None]
    assert chosen("numpy", cells[0], ("assert x_pt == 1", None)) == [None, None]


def test_a_cell_that_names_another_framework_is_left_out_but_a_key_may() -> None:
    assert chosen("numpy", ("f('torch')", None), ("color['torch']", None)) == [
        None,
        "color['torch']",
    ]


def test_a_convention_of_the_engine_needs_no_framework() -> None:
    cells = ("o = Adam(w, convention='keras')", "numpy"), ("f(framework='keras')", None)
    assert chosen("numpy", *cells) == [cells[0][0], None]


@pytest.mark.parametrize(
    "source",
    [
        "with open(x) as x: pass",
        "x += 1",
        "x[0] = 1",
        "for i in x: x = i",
        "def f(a=x): return a",
        "class A(x): pass",
        "lambda y: x + y",
        "{k: x for k in []}",
        "x = x",
        "(y := x)",
        "f'{x}'",
    ],
)
def test_reading_is_seen(source: str) -> None:
    assert chosen("numpy", ("x = 1", "torch"), (source, None)) == [None, None]


@pytest.mark.parametrize(
    "source",
    [
        "for x in [1]: x + 1",
        "def f(x): return x",
        "def f():\n    x = 1\n    return x",
        "x = 1\nx + 1",
        "lambda x: x",
        "[x for x in []]",
        "with open('f') as x: x.read()",
        "a.x",
        "try:\n    pass\nexcept OSError as x:\n    print(x)",
        "import x\nx.y",
    ],
)
def test_own_names_are_no_reading(source: str) -> None:
    assert chosen("numpy", ("x = 1", "torch"), (source, None)) == [None, source]


def test_a_framework_that_needs_another_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"code cell 2 is tagged torch and needs \['x'\]"):
        chosen("torch", ("x = 1", "tensorflow"), ("y = x", "torch"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```{mystery}\n```", "directive {mystery}"),
        ("{mystery}`x`", "role {mystery}"),
        ("{eq}`eq-none`", "no label 'eq-none'"),
        ("{cite:t}`nobody`", "no work 'nobody'"),
        (":::{note}\nopen", "nothing closes ':::{note}'"),
        ("![A graph](none.svg)", "no picture chapters/start/none.svg"),
    ],
)
def test_what_is_not_known_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"chapters/start/x: .*{re.escape(message)}"):
        Plain(book(), "start/x").cells(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (":::{note}\nSee `{eq}`.\n:::", "> **Note**\n>\n> See `{eq}`."),
        ("::::{tip}\n:::{note}\nIn\n:::\n::::", "> **Tip**\n>\n> > **Note**\n> >\n> > In"),
        ("a <!-- no --> b", "a  b"),
        ("(label)=\n## Title", "## Title"),
        ("Term\n: meaning", "- **Term**: meaning"),
        ("```bash\n:::{note}\n```", "```bash\n:::{note}\n```"),
        ("$a[b](c)$ and [d](../index.md#e)", "$a[b](c)$ and [d](../index.ipynb)"),
        ("{doc}`../index`", "[Deep Learning, Three Ways](../index.ipynb)"),
        ("H{sub}`2`O", "H<sub>2</sub>O"),
    ],
)
def test_myst_becomes_plain(text: str, plain: str) -> None:
    assert Plain(book(), "start/x").cells(text) == [plain]


def test_works_are_cited_by_author_and_year_and_listed() -> None:
    plain = Plain(book(), "start/x")
    assert plain.cells(
        "{cite:t}`harris2020array` {cite:p}`cover1967nearest,higham1993accuracy`"
    ) == [
        "Harris *et al.* ([2020](https://doi.org/10.1038/s41586-020-2649-2)) "
        "(Cover and Hart, 1967; Higham, 1993)"
    ]
    listed = plain.works().splitlines()
    assert len(listed) == 5 and listed[0] == "**Works cited**"
    assert listed[2].startswith("- Thomas M. Cover and Peter E. Hart. Nearest neighbor")


# Each notebook by itself, in an environment without helpers


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what helpers is built from, since building leaves files behind."""
    target = tmp_path_factory.mktemp("repository")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, target)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", target / "src", ignore=ignored)
    return target


# In a process of its own, whose event loop and sockets end with it.
EXECUTE = """
import sys, nbclient, nbformat
path = sys.argv[1]
notebook = nbformat.read(path, as_version=4)
patience = {"timeout": 1800, "startup_timeout": 600, "iopub_timeout": 600}
nbclient.NotebookClient(notebook, kernel_name="reader", **patience).execute()
nbformat.write(notebook, path)
"""


def run_alone(chapter: str, name: str, folder: Path, repository: Path) -> None:
    """Execute a reader notebook where there is only its framework, and no helpers."""
    others = [p for way, names in PACKAGES.items() if name not in ("all", way) for p in names]
    python = fresh_environment(folder, *others)
    kernel, path = folder / "kernels/reader/kernel.json", folder / "notebook.ipynb"
    kernel.parent.mkdir(parents=True)
    start = [
        str(python),
        "-m",
        "ipykernel_launcher",
        "--log-level=ERROR",
        "-f",
        "{connection_file}",
    ]
    kernel.write_text(json.dumps({"argv": start, "display_name": "", "language": "python"}))
    nbformat.write(made(chapter, name), path)
    own = {"JUPYTER_PATH": str(folder), "HELPERS_SOURCE": str(repository), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path],
        cwd=folder,
        env={**os.environ, **KERNEL_ENVIRONMENT, **PIP, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((folder / "env").glob("lib/python*/site-packages/helpers/__init__.py"))
    for cell in code(nbformat.read(path, as_version=4)):
        assert not [o for o in cell.outputs if o.get("name") == "stderr"], cell.outputs


def share(name: str) -> list[str]:
    """Return the chapters whose notebook of this set is run.

    Of the set with all three, whose cells are those that nbval runs, one is
    enough. Of the other sets every chapter has its turn with one, then with the
    others, short chapters first, until the budget is spent; with READERS=all,
    as in the workflow, all are run.
    """
    if name == "all":
        return NAMES[:1]
    waiting, run, spent = [], [], 0
    for number, chapter in enumerate(NAMES):
        metadata = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text("utf-8"))["metadata"]
        for place, way in enumerate(WAYS):
            turn = (place - number) % len(WAYS)
            waiting.append((turn, metadata["book"]["seconds"], chapter, way))
    for _, seconds, chapter, way in sorted(waiting):
        spent += 4 + seconds  # four to start, with pip and the imports
        if way == name and (spent <= BUDGET or os.environ.get("READERS") == "all"):
            run.append(chapter)
    return run


# A class each, since xdist hands out classes: two workers share them.


class TestAll:
    @pytest.mark.parametrize("chapter", share("all"))
    def test_runs_alone(self, chapter: str, tmp_path: Path, repository: Path) -> None:
        run_alone(chapter, "all", tmp_path, repository)


class TestNumpy:
    @pytest.mark.parametrize("chapter", share("numpy"))
    def test_runs_alone(self, chapter: str, tmp_path: Path, repository: Path) -> None:
        run_alone(chapter, "numpy", tmp_path, repository)


class TestTensorflow:
    @pytest.mark.parametrize("chapter", share("tensorflow"))
    def test_runs_alone(self, chapter: str, tmp_path: Path, repository: Path) -> None:
        run_alone(chapter, "tensorflow", tmp_path, repository)


class TestTorch:
    @pytest.mark.parametrize("chapter", share("torch"))
    def test_runs_alone(self, chapter: str, tmp_path: Path, repository: Path) -> None:
        run_alone(chapter, "torch", tmp_path, repository)
