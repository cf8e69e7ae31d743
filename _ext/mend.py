"""Mend in the written pages what the theme and extensions leave inaccessible, heavy or vague.

Each repair names what axe, Lighthouse or a reader found without it.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

REPAIRS = [
    # region: the logo stood outside of every landmark.
    (
        r'<div class="bd-sidebar-primary',
        '<div role="complementary" aria-label="Book" class="bd-sidebar-primary',
    ),
    # summary-name: the arrows that unfold a part had no name.
    (r"<summary>(?=<span class=\"toctree-toggle)", '<summary aria-label="Chapters of this part">'),
    # aria-deprecated-role, aria-required-children: the bibliography's.
    (r' role="doc-biblioentry"', ""),
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    # empty-table-header: the corner of a table with row names.
    (r'<th class="head[^"]*"><p></p></th>', "<td></td>"),
    # scrollable-region-focusable: a wide table could not be scrolled by keyboard.
    (
        r'<div class="pst-scrollable-table-container">',
        r'<div tabindex="0" class="pst-scrollable-table-container">',
    ),
    # total-byte-weight: 1.5 MB that draw the icons which the style sheet draws already.
    (r"<script src=\"[^\"]*fontawesome[^\"]*all\.min\.js[^\"]*\"></script>\n?", ""),
    # first-contentful-paint: fonts of icons before text, and scripts before everything.
    (r'<link rel="preload" as="font"[^>]*fontawesome[^>]*>\n?', ""),
    (
        r'<script (?=src="[^"]*_static/(scripts/|clipboard|copybutton|togglebutton|print))',
        "<script defer ",
    ),
    # link previews: the page's own description, not its first words.
    (
        r'(<meta content="([^"]*)" name="description"(?s:.*?)og:description" content=")[^"]*',
        r"\1\2",
    ),
    # duplicate-id: sphinx-exercise gives all contents the same.
    (r' id="(exercise|solution)-content"', ""),
]


def mend(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for pattern, repair in REPAIRS:
            text = re.sub(pattern, repair, text)
        if 'class="math' not in text:  # total-byte-weight: MathJax without a formula
            text = re.sub(r"<script [^>]*tex-chtml.js[^>]*></script>\n?", "", text)
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
