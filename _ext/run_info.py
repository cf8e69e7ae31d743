"""Say under a chapter's title how much processor time it took, on what, with what.

The figures are those that the run itself wrote into the notebook.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

NAMES = {"python": "Python", "numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}


class RunInfo(SphinxTransform):
    default_priority = 710

    def apply(self) -> None:
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            return
        book = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("book")
        title = next(self.document.findall(nodes.title), None)
        if book is None or title is None or self.env.docname == self.config.root_doc:
            return
        used = [f"{NAMES[k]} {v}" for k, v in book["versions"].items() if k in NAMES]
        text = (
            f"Takes {book['seconds']} s after the imports, on {book['hardware']}. "
            f"Last executed with {', '.join(used)}."
        )
        title.parent.insert(1, nodes.paragraph("", text, classes=["run-info"]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(RunInfo)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
