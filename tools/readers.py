"""Write the reader notebooks: the executed chapters, for Colab, JupyterLab and VS Code.

One set has all three frameworks, and one each has the cells that a framework
needs. Directives become plain Markdown, and the first cell installs the
package ``helpers`` where it is missing.

Usage: python -m tools.readers FOLDER
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import nbjson

from tools.needs import WAYS, Cell, Kept, needed
from tools.plain import Book, Plain, embedded

SETS = {"all": "NumPy, TensorFlow and PyTorch", **WAYS}
COMPARED = "*Compared with the other frameworks in the book.*"
ELSEWHERE = "*This step needs the other frameworks: see it in the book.*"
INSTALL = """\
try:
    import helpers
except ModuleNotFoundError:
    import os
    source = os.environ.get("HELPERS_SOURCE", "git+{repository}")
    %pip install --quiet {{source}}"""


def write(root: Path, folder: Path) -> list[Path]:
    """Write all sets into ``folder`` as ``<set>/<part>/<slug>.ipynb``; return the files.

    Raises:
        ValueError: a chapter holds a directive, role or reference that is not known, or a
            framework's cell needs another's; the message names the chapter.
    """
    book, written = Book(root), []
    for chapter in book.chapters:
        for name in SETS:
            path = folder / name / f"{chapter}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = nbjson.writes(reader(book, chapter, name)) + "\n"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def reader(book: Book, chapter: str, name: str) -> NotebookNode:
    """Return a chapter's notebook of the set ``name``, one of ``SETS``."""
    notebook = book.chapters[chapter]
    cells = [*opening(book, chapter, name), *body(book, chapter, name)]
    seen: dict[str, int] = {}
    for cell in cells:
        seen[cell.id] = seen.get(cell.id, 0) + 1
        if seen[cell.id] > 1:
            cell.id = f"{cell.id}-{seen[cell.id]}"
        if cell.cell_type == "markdown" and cell.source.startswith("#### Solution"):
            # Folded, as in the book: JupyterLab's way here, and Colab's in the notebook.
            cell.metadata.update({"jp-MarkdownHeadingCollapsed": True, "id": cell.id})
    kept = ("kernelspec", "language_info")
    colab = {
        "collapsed_sections": [c.id for c in cells if "id" in c.metadata],
        "toc_visible": True,
    }
    made = NotebookNode(
        cells=cells,
        metadata=NotebookNode({k: notebook.metadata[k] for k in kept}, colab=NotebookNode(colab)),
        nbformat=4,
        nbformat_minor=5,
    )
    nbformat.validate(made)
    return made


# nbformat's own makers validate each cell: half of the time of a hundred notebooks.


def markdown_cell(source: str, name: str) -> NotebookNode:
    return NotebookNode(cell_type="markdown", id=name, metadata=NotebookNode(), source=source)


def code_cell(
    source: str,
    name: str,
    metadata: dict[str, Any],
    execution_count: int | None = None,
    outputs: Sequence[NotebookNode] = (),
) -> NotebookNode:
    return NotebookNode(
        cell_type="code",
        id=name,
        metadata=NotebookNode(metadata),
        source=source,
        execution_count=execution_count,
        outputs=list(outputs),
    )


def opening(book: Book, chapter: str, name: str) -> Iterator[NotebookNode]:
    """Yield the cell that installs the package, and the one that says what this is."""
    yield code_cell(
        INSTALL.format(repository=book.repository),
        "install",
        {"tags": ["install"], "jupyter": {"source_hidden": True}},
    )
    here = Path(name, chapter).parent
    others = " · ".join(
        f"[{words}]({os.path.relpath(Path(other, f'{chapter}.ipynb'), here)})"
        for other, words in SETS.items()
        if other != name
    )
    title = f"[{book.config['title']}]({book.page(f'chapters/{chapter}.md')})"
    about = f"From {title}. This notebook: **{SETS[name]}**. The same with: {others}."
    yield markdown_cell(about, "about")


def body(book: Book, chapter: str, name: str) -> Iterator[NotebookNode]:
    """Yield the chapter's cells as the set ``name`` has them."""
    notebook, plain, said = book.chapters[chapter], Plain(book, chapter), None
    kept = iter(choose(notebook, chapter, name))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for text in plain.cells(cell.source):
                yield markdown_cell(text, cell.id)
            said = None
            continue
        found, figure = next(kept), cell.metadata.get("mystnb", {}).get("figure")
        if found:
            label = f"**{WAYS[way(cell)]}**" if name == "all" and way(cell) else None
            if label and label != said:  # what the tabs say in the book
                yield markdown_cell(label, f"{cell.id}-way")
            yield code(cell, found)
            said = label
        elif way(cell) is None:
            note = COMPARED if "parity.agree(" in cell.source else ELSEWHERE
            parts = ["" if note == said else note, image(cell) if figure else ""]
            if text := "\n\n".join(filter(None, parts)):
                yield markdown_cell(text, cell.id)
            said = note
        if figure and (found or way(cell) is None):
            caption = plain.caption(figure["name"], plain.text(figure["caption"]))
            yield markdown_cell(caption, f"{cell.id}-caption")
    if works := plain.works():
        yield markdown_cell(works, "works")


def choose(notebook: NotebookNode, chapter: str, name: str) -> list[Kept | None]:
    """Return what the set ``name`` has of each code cell."""
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    if name == "all":
        return [Kept(cell.source, True) for cell in cells]
    try:
        return needed([Cell(c.source, way(c), "claim" in tags(c)) for c in cells], name)
    except ValueError as error:
        raise ValueError(f"chapters/{chapter}: {error}") from None


def code(cell: NotebookNode, found: Kept) -> NotebookNode:
    """Return a code cell with the book's output, unless what printed it is left out."""
    hidden: dict[str, Any] = {"jupyter": {"source_hidden": True}}
    return code_cell(
        found.source,
        cell.id,
        {"tags": tags(cell)} | (hidden if {"remove-cell", "hide-input"} & {*tags(cell)} else {}),
        execution_count=cell.execution_count if found.whole else None,
        outputs=cell.outputs if found.whole else [],
    )


def image(cell: NotebookNode) -> str:
    """Return the book's figure, where the cell that draws it needs other frameworks."""
    alternative = cell.metadata["mystnb"].get("image", {}).get("alt", "")
    pictures = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    return "\n\n".join(embedded("image/png", p, alternative) for p in pictures)


def way(cell: NotebookNode) -> str | None:
    return next((name for name in WAYS if name in tags(cell)), None)


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Say where to: python -m tools.readers FOLDER")
    made = write(Path(__file__).resolve().parent.parent, Path(sys.argv[1]))
    print(f"{len(made)} reader notebooks in {sys.argv[1]}")
