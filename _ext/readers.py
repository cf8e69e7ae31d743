"""Write the reader notebooks into the site, and lead a page's buttons to them.

Binder and Colab open them on the branch ``readers``, which .ci/readers publishes.
"""

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.readers import SETS, write


def lead(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    path, branch = f"{page}.ipynb", app.config.html_theme_options["repository_branch"]
    own = f"{page.removeprefix('chapters/')}.ipynb"
    menus = {menu.get("label"): menu for menu in context["header_buttons"]}
    if str(context.get("page_source_suffix")) != ".ipynb":
        return
    for button in menus["launch-buttons"]["buttons"]:
        url = button["url"].replace(f"/{branch}", "/readers", 1)
        button["url"] = url.replace(path, f"notebooks/all/{own}")
    rest = [b for b in menus["download-buttons"]["buttons"] if "source" not in b["label"]]
    menus["download-buttons"]["buttons"] = [
        {
            "type": "link",
            "url": context["pathto"](f"notebooks/{name}/{own}", 1),
            "text": f".ipynb, {words}",
            "icon": "fas fa-file",
            "tooltip": f"Download this page as a notebook: {words}",
            "label": f"download-{name}-button",
        }
        for name, words in SETS.items()
    ] + rest


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    if not exception and app.builder.format == "html":
        target = Path(app.outdir) / "notebooks"
        shutil.rmtree(target, ignore_errors=True)
        write(Path(app.srcdir), target)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", lead, priority=600)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
