"""Let Sphinx read a chapter's executed notebook, not its text source.

Both have the same document name; Sphinx would warn and pick one.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config


def exclude_sources(app: Sphinx, config: Config) -> None:
    root = Path(app.srcdir)
    for notebook in (root / "chapters").rglob("*.ipynb"):
        config.exclude_patterns.append(notebook.with_suffix(".md").relative_to(root).as_posix())


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", exclude_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
