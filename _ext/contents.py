"""Directives for what is collected from all chapters; see tools.contents.

``{chapters} foundations`` lists a part's chapters with a line and a time each;
``{all-claims}``, ``{all-differences}``, ``{untested-claims}`` and ``{key-terms}`` make their
pages.
"""

import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.contents import (
    glossary,
    list_of_chapters,
    list_of_untested,
    table_of_claims,
    table_of_differences,
)

PAGES = {
    "chapters": list_of_chapters,
    "all-claims": table_of_claims,
    "all-differences": table_of_differences,
    "untested-claims": list_of_untested,
    "key-terms": glossary,
}


class Collected(SphinxDirective):
    """Parse as Markdown what its function collects."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # other pages decide what stands here
        text = PAGES[self.name]("".join(self.arguments))
        found = nodes.container(classes=[self.name])
        self.state.nested_parse(StringList(text.splitlines(), self.name), 0, found)
        return [found]


def setup(app: Sphinx) -> dict[str, bool]:
    for name in PAGES:
        app.add_directive(name, Collected)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
