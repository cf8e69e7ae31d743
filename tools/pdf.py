"""Bind the pages of the built site into one PDF, printed by Chromium.

The pages are joined into one, ``pdf/book.html`` beside the PDF. There ids begin
with their page's name, links between pages are links within the book, and
solutions stand at the end of their chapter. ``_static/print.css`` has the
layout, that of single pages that are printed too.
"""

import json
import os
import posixpath
import shutil
import sys
from copy import copy
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

from tools.contents import documents
from tools.twins import ROOT

DEFAULTS = (ROOT / "_build" / "html", ROOT / "_build" / "deep-learning-three-ways.pdf")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PAPER = {"format": "A4", "print_background": True}
COVER = """<!DOCTYPE html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"></head>
<body class="book"><header class="three-ways"><p></p><p><span class="way-numpy">NumPy</span>
<span class="way-tensorflow">TensorFlow</span> <span class="way-torch">PyTorch</span></p><p></p>
</header><nav><h1>Contents</h1></nav><main class="bd-content"></main></body></html>"""
# Formulas are set, and then all fonts are here, also those that only the formulas ask for.
SETTLED = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"
NUMBERED = """(pages) => document.querySelectorAll("nav a, .to-solution a").forEach((link) => {
  link.dataset.page = 1 + pages[decodeURIComponent(link.hash.slice(1))];
})"""


def main(arguments: list[str]) -> str | None:
    """Make the PDF of a site, both of which may be named, and after them the documents
    that it is to hold instead of all; or return what is missing."""
    named, chosen = arguments[:2], arguments[2:] or documents()
    site, pdf = (*map(Path, named), *DEFAULTS[len(named) :])
    chromium = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if chromium is None:
        return f"The PDF is printed by Chromium: install it, as one of {', '.join(CHROMIUMS)}."
    if not (site / "index.html").is_file():
        return f"There is no site in {site} yet: make book builds it."
    book = pdf.parent / "pdf" / "book.html"
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_text(bind(site, book.parent, chosen), encoding="utf-8")
    print_book(chromium, book, pdf)


def print_book(chromium: str, book: Path, pdf: Path) -> None:
    """Print once to learn on which page everything is, and again with the numbers."""
    patience = {"timeout": 600_000}  # milliseconds: a long book on a busy machine
    with (
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=chromium, **patience) as browser,
    ):
        page = browser.new_page(color_scheme="light")
        page.goto(book.resolve().as_uri(), **patience)
        page.evaluate(SETTLED)
        page.pdf(path=pdf, **PAPER)
        found = PdfReader(pdf)
        number, places = found.get_destination_page_number, found.named_destinations
        page.evaluate(NUMBERED, {key[1:]: number(places[key]) for key in places})
        page.pdf(path=pdf, **PAPER, tagged=True, outline=True)


def bind(site: Path, folder: Path, chosen: list[str]) -> str:
    """Return the chosen pages of a site as one, which is to lie in ``folder``."""
    book, to_site = BeautifulSoup(COVER, "html.parser"), os.path.relpath(site, folder)
    pages = {f"{document}.html": read(site / f"{document}.html") for document in chosen}
    first, (title, _, authors) = next(iter(pages.values())), book.header("p")
    title.string, authors.string = first.h1.text, first.find(class_="component-author").text
    fill_head(book, to_site, pages)
    for path, page in pages.items():
        article = page.select_one("article.bd-article")
        move_solutions(article)
        point_into_book(article, path, to_site, pages)
        book.main.append(article)
        part = " part" * path.endswith("index.html")
        for heading in article(["h1", "h2", "h3"]):
            link = copy(heading)
            link.name = "a"
            link.attrs = {"href": f"#{heading.parent['id']}", "class": f"to-{heading.name}{part}"}
            book.nav.append(link)
    return str(book)


def read(path: Path) -> BeautifulSoup:
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    for mark in page.select("a.headerlink"):
        mark.decompose()
    return page


def locate(page: str, link: str) -> tuple[str, str]:
    """Return the file in the site and the anchor that a page's link leads to."""
    path, anchor = (unquote(part) for part in urlsplit(link)[2::2])
    return posixpath.normpath(f"{posixpath.dirname(page)}/{path}") if path else page, anchor


def name(path: str, anchor: str = "") -> str:
    """Return the id that a page, or an anchor on it, has in the book."""
    return path.removesuffix(".html").replace("/", "-") + (anchor and f"--{anchor}")


def fill_head(book: Tag, to_site: str, pages: dict[str, Tag]) -> None:
    """Take over the style sheets and MathJax, and name each chapter at the head of its pages."""
    book.head.append(book.new_tag("title", string=book.header.p.get_text()))
    # A page with formulas has more scripts than the others.
    path, page = max(pages.items(), key=lambda item: len(item[1].head("script")))
    for tag in page.head.select("link[rel=stylesheet], script"):
        if tag.name == "link" or "mathjax" in f"{tag.get('src')} {tag.string}".lower():
            for key in {"href", "src"} & set(tag.attrs):
                tag[key] = f"{to_site}/{locate(path, tag[key])[0]}"
            book.head.append(tag)
    head = "#{0} {{ page: {0}; }} @page {0} {{ @top-right {{ content: {1}; }} }}\n"
    rules = [head.format(name(p), json.dumps(pages[p].h1.text)) for p in pages]
    book.head.append(book.new_tag("style", string="".join(rules)))


def move_solutions(article: Tag) -> None:
    """Put a chapter's solutions into a section at its end, and links to them where they were."""
    end = BeautifulSoup("<section id=solutions><h2>Solutions</h2></section>", "html.parser").section
    for solution in article.select(".solution"):
        link = f'<p class="to-solution"><a href="#{solution["id"]}">Solution</a></p>'
        exercise = article.find(id=locate("", solution.a["href"])[1])
        exercise.append(BeautifulSoup(link, "html.parser"))
        end.append(solution.extract())
    if end.div:
        article.section.append(end)


def point_into_book(article: Tag, path: str, to_site: str, pages: dict[str, Tag]) -> None:
    """Give ids and links their form in the book, and leave out what only serves a screen."""
    for tag in article.select(".three-ways > input, script"):
        tag.decompose()
    # Most tokens of code are plain names and punctuation, and each would be a tag in the PDF.
    for tag in article.select("pre span.n, pre span.p, pre span.w"):
        tag.unwrap()
    for tag in article.select("[id]"):
        tag["id"] = name(path, tag["id"])
    article["id"] = name(path)
    for tag in article.select("a[href]:not([href*=':']), img[src]"):
        key = "src" if tag.name == "img" else "href"
        target, anchor = locate(path, tag[key])
        inside = key == "href" and target in pages
        tag[key] = f"#{name(target, anchor)}" if inside else f"{to_site}/{target}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
