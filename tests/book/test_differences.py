"""The pages of differences between the frameworks: every row is complete and measured."""

import re
from pathlib import Path

import nbformat
import pytest

from tools.contents import chapters
from tools.twins import CHAPTERS

PAGES = sorted((CHAPTERS / "frameworks").glob("rosetta-*.ipynb"))
ROWS = [(d, c.document) for c in chapters() for d in c.differences]
WAYS = ["NumPy", "TensorFlow", "PyTorch", "To agree"]


@pytest.mark.parametrize(("row", "document"), ROWS, ids=[d.id for d, _ in ROWS])
def test_a_row_is_complete(row, document: str) -> None:
    assert list(row.ways) == WAYS
    assert all(len(words) >= 2 for words in row.ways.values())
    assert row.measured, f"no cell of {document} prints rosetta.row({row.id!r}, …)"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.id)


def test_ids_are_stable_names_of_one_row_each() -> None:
    ids = [row.id for row, _ in ROWS]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_call_of_row_belongs_to_its_heading(path: Path) -> None:
    """The cell that measures a row follows it, before the next one."""
    found, heading = [], None
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            labels = re.findall(r"^\(rosetta-([\w-]+)\)=$", cell.source, re.M)
            assert len(labels) == len(re.findall(r"^### ", cell.source, re.M)) or not labels
            if labels:
                assert len(labels) == 1, f"no cell measures {labels[:-1]}"
                heading = labels[0]
        for name in re.findall(r"rosetta\.row\(\s*\"([\w-]+)\"", cell.source):
            assert name == heading
            found.append(name)
    own = [row.id for row, document in ROWS if document.endswith(f"/{path.stem}")]
    assert found == own
