"""The two files of a chapter: the text source and its executed twin."""

import hashlib
import re
import subprocess
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"

# One thread: sums are taken in one order, so digits repeat, and several
# notebooks can run side by side without fighting for the cores.
KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


def files(ending: str) -> list[Path]:
    """Return the chapters' files that end so, leaving out editors' hidden folders."""
    found = (p for p in CHAPTERS.rglob(f"*{ending}"))
    return sorted(p for p in found if not re.search(r"/\.", p.relative_to(ROOT).as_posix()))


def sources() -> list[Path]:
    """Return the text sources of all notebooks, in order of their names."""
    return [p for p in files(".md") if is_notebook(p)]


def is_notebook(path: Path) -> bool:
    """Tell whether a Markdown file is the source of a notebook."""
    return path.read_text(encoding="utf-8").startswith("---\njupytext:")


def read_source(path: Path) -> nbformat.NotebookNode:
    """Read a text source as a notebook without outputs.

    Cell ids are made from the contents, so that writing the same chapter
    twice writes the same file.
    """
    notebook = jupytext.read(path, fmt="md:myst")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    notebook.nbformat_minor = 5
    return notebook


def tracked() -> list[Path]:
    """Return the files that git tracks or would track: what another machine gets.

    Where there is no git repository, all files but hidden folders', built
    ones' and caches'.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [p for name in done.stdout.split("\0") if name and (p := ROOT / name).is_file()]
    built = ("_build", "__pycache__", ".venv", ".pytest_cache", ".ruff_cache", ".hypothesis")
    return [p for p in ROOT.rglob("*") if p.is_file() and not set(built) & set(p.parts)]
