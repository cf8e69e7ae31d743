"""Serve everything from the site itself: MathJax and its fonts; no Thebe.

sphinx-mathjax-offline ships all of MathJax 3, 24 MB; the pages need one
component and the fonts, 1.4 MB, and those alone are copied.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

COMPONENT = "tex-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def use_own_mathjax(app: Sphinx, config: Config) -> None:
    config.mathjax_path = f"mathjax/{COMPONENT}"
    config.nb_ipywidgets_js = {}


def drop_thebe(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Leave out Thebe, which runs cells on other hosts and is declared twice besides."""
    for files in ("script_files", "css_files"):
        context[files] = [f for f in context[files] if "thebe" not in f"{f} {vars(f)}"]


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html":
        return
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    shutil.copytree(source / FONTS, target / FONTS, dirs_exist_ok=True)
    shutil.copy2(source / COMPONENT, target / COMPONENT)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.mathjax")
    app.connect("config-inited", use_own_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
