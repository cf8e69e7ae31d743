"""The book on paper: the PDF, made once, and a page that is printed from the browser."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page
from pypdf import PageObject, PdfReader

from tools.contents import documents
from tools.pdf import SETTLED
from tools.twins import ROOT

NAMES = {"numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}
DOCUMENTS = documents()
# Printing every chapter takes minutes: CI does, with PAGES=all; else the book has these.
SAMPLE = ("index", "start/reading-this-book", "networks/backpropagation")
NOTEBOOKS = [
    name
    for name in DOCUMENTS
    if (ROOT / f"{name}.ipynb").is_file()
    and (os.environ.get("PAGES") == "all" or name.removeprefix("chapters/") in SAMPLE)
]
BOUND = [n for n in DOCUMENTS if n in NOTEBOOKS or not (ROOT / f"{n}.ipynb").is_file()]
TEXT_WIDTH = 665  # pixels: A4 without the margins of print.css
ANSI = re.compile(r"\x1b\[[0-9;]*m")

# What stands out of the text's width, and code whose lines are wrapped though they have
# no more than 72 columns, or are cut.
MISFITS = """() => {
  const main = document.querySelector("main").getBoundingClientRect();
  const wide = [...document.querySelectorAll("main *:not(mjx-assistive-mml, mjx-assistive-mml *)")]
    .filter((e) => e.getBoundingClientRect().right > main.right + 1);
  const pres = [...document.querySelectorAll("main pre")].filter((e) => {
    const style = getComputedStyle(e), lines = e.textContent.trimEnd().split("\\n");
    const text = e.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const wrapped = Math.max(...lines.map((line) => line.length)) <= 72
      && text > (lines.length + 0.5) * parseFloat(style.lineHeight);
    return wrapped || e.scrollWidth > e.clientWidth || parseFloat(style.fontSize) < 10;
  });
  return [...wide, ...pres].map((e) => e.outerHTML.slice(0, 200));
}"""


class Book(NamedTuple):
    """The PDF, the text of its pages, the sizes of the code's letters, and what was printed."""

    pdf: PdfReader
    texts: list[str]
    sizes: set[float]
    html: Path

    @property
    def pages(self) -> list[str]:
        """Return the pages' texts without white space."""
        return [squash(text) for text in self.texts]


def squash(text: str) -> str:
    return "".join(text.split())


def letters(text: str) -> str:
    """Reduce a heading to what is the same in Markdown and in print."""
    return re.sub(r"[\W_]", "", text)


def cells(name: str, kind: str) -> list[dict]:
    notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def markdown(name: str) -> str:
    if (ROOT / f"{name}.ipynb").is_file():
        return "\n\n".join("".join(cell["source"]) for cell in cells(name, "markdown"))
    return (ROOT / f"{name}.md").read_text(encoding="utf-8")


def solutions(name: str) -> int:
    """Count a document's solutions."""
    return markdown(name).count("{solution-start}")


def headings(name: str) -> list[str]:
    """Return what has to be in the contents, in order."""
    text = re.sub(r"(?ms)^(`{3,}|:{3,}).*?^\1$", "", markdown(name))
    return re.findall(r"(?m)^#{1,3} (.+)", text) + ["Solutions"] * (solutions(name) > 0)


def make(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-m", "tools.pdf", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def book(browser: Browser, html: Path, tmp_path_factory: pytest.TempPathFactory) -> Book:
    target = tmp_path_factory.mktemp("pdf") / "book.pdf"
    done = make(html, target, *BOUND)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pdf, sizes = PdfReader(target), set()

    def measure(text: str, cm: list, tm: list, font: dict | None, size: float) -> None:
        if text.strip() and "Mono" in (font or {}).get("/BaseFont", ""):
            sizes.add(abs(size * tm[3] * cm[3]))

    texts = [page.extract_text(visitor_text=measure) for page in pdf.pages]
    return Book(pdf, texts, sizes, target.parent / "pdf" / "book.html")


def outline(pdf: PdfReader, part: list | None = None) -> Iterator[tuple[str, int]]:
    """Yield title and page of each bookmark, in order."""
    for entry in pdf.outline if part is None else part:
        if isinstance(entry, list):
            yield from outline(pdf, entry)
        else:
            yield entry.title, pdf.get_destination_page_number(entry)


def links(page: PageObject) -> list[str]:
    """Return the names of the places in the book that a page links to, from top to bottom."""
    notes = [note.get_object() for note in page.get("/Annots", [])]
    inner = [note for note in notes if "/Dest" in note]
    return [note["/Dest"] for note in sorted(inner, key=lambda note: -note["/Rect"][3])]


# The PDF


def test_bookmarks_lead_to_every_section(book: Book) -> None:
    expected = [letters(h) for name in BOUND for h in headings(name)]
    found = [(letters(title), page) for title, page in outline(book.pdf)]
    assert [title for title, _ in found] == ["Contents", *expected]
    assert [t for t, page in found if t not in letters(book.pages[page])] == []


def test_the_contents_lead_to_every_section(book: Book) -> None:
    (_, first), *sections = outline(book.pdf)
    contents = range(first, sections[0][1])
    places = book.pdf.named_destinations
    linked = [places[name] for i in contents for name in links(book.pdf.pages[i])]
    assert [book.pdf.get_destination_page_number(p) for p in linked] == [p for _, p in sections]
    printed = letters("".join(book.pages[i] for i in contents))
    for title, page in sections:
        line = f"{letters(title)}{page + 1}"
        assert line in printed
        printed = printed.partition(line)[2]


def test_every_link_within_the_book_leads_somewhere(book: Book) -> None:
    found = [link for page in book.pdf.pages for link in links(page)]
    assert len(found) > 100
    assert set(found) <= set(book.pdf.named_destinations)
    outer = [n.get_object().get("/A", {}) for p in book.pdf.pages for n in p.get("/Annots", [])]
    # Links to chapters that the sample leaves out lead to the site they were taken from.
    allowed = ("https:", "file:")[: 1 + (len(BOUND) < len(DOCUMENTS))]
    assert [uri for a in outer if not (uri := a.get("/URI", "https:")).startswith(allowed)] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_is_there_and_whole(book: Book, name: str) -> None:
    split = []
    for cell in cells(name, "code"):
        if "remove-cell" in cell["metadata"].get("tags", []):
            continue
        shown = ["".join(cell["source"])]
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" not in data:
                text = "".join(output.get("text", data.get("text/plain", "")))
                shown.append(ANSI.sub("", text))  # a page shows colours, not their codes
        split += [s for s in shown if not any(squash(s) in page for page in book.pages)]
    assert split == []


def test_panels_bear_the_names_of_their_frameworks(book: Book) -> None:
    lines = [line.strip() for text in book.texts for line in text.splitlines()]
    for tag, label in NAMES.items():
        tags = [c["metadata"].get("tags", []) for n in NOTEBOOKS for c in cells(n, "code")]
        panels = sum(tag in own and tag not in before for before, own in pairwise([[], *tags]))
        assert lines.count(label) >= panels > 0


def test_solutions_stand_at_the_end_of_their_chapter(book: Book) -> None:
    starts = [page for title, page in outline(book.pdf)]
    titles = [title for title, _ in outline(book.pdf)]
    for name in filter(solutions, BOUND):
        own = headings(name)
        at = titles.index(own[0])
        first, last = starts[at + len(own) - 1], [*starts, len(book.pages)][at + len(own)]
        body, end = "".join(book.pages[starts[at] : first]), "".join(book.pages[first:last])
        wanted = solutions(name)
        assert end.count("SolutiontoExercise") == wanted > 0
        assert "SolutiontoExercise" not in body
        assert len(re.findall(r"Solution,page\d+", body + end)) == wanted


def test_nothing_is_cut(book: Book, new_page: Callable[..., Page]) -> None:
    page = new_page(width=TEXT_WIDTH)
    page.goto(book.html.as_uri())
    page.emulate_media(media="print")
    page.evaluate(SETTLED)
    assert page.locator("mjx-container").count() > 0
    assert page.evaluate(MISFITS) == []
    assert page.locator("mjx-merror").count() == 0


def test_pages_are_a4_and_code_is_readable(book: Book) -> None:
    for page in book.pdf.pages:
        assert page.mediabox[2:] == pytest.approx((595.3, 841.9), abs=1.5)
    # Chromium would have shrunk a page with something too wide on it.
    assert min(book.sizes) >= 7.5


def test_what_is_missing_is_said(tmp_path: Path, html: Path) -> None:
    no_chromium = make(html, tmp_path / "book.pdf", env={"PATH": ""})
    no_site = make(tmp_path, tmp_path / "book.pdf")
    for done, missing in ((no_chromium, "Chromium"), (no_site, "make book")):
        assert (done.returncode, done.stdout) == (1, "")
        assert missing in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# One page, printed


@pytest.mark.every_page
@pytest.mark.parametrize("name", [*filter(solutions, DOCUMENTS)])
def test_a_printed_page_ends_with_its_solutions(page: Page, name: str) -> None:
    page.set_viewport_size({"width": TEXT_WIDTH, "height": 1000})
    page.goto(f"{name}.html")
    page.emulate_media(media="print")
    page.evaluate(SETTLED)
    found = page.evaluate(
        """() => {
          const box = (e) => e.getBoundingClientRect();
          const article = document.querySelector(".bd-article > section");
          const solutions = [...article.querySelectorAll(".solution")];
          const others = [...article.querySelectorAll(":scope *")]
            .filter((e) => !e.closest(".solution") && !e.querySelector(".solution"));
          const shown = [...article.querySelectorAll(".solution p, .solution pre")];
          return {
            count: solutions.length,
            heading: getComputedStyle(article, "::before").content,
            before: Math.max(...others.map((e) => box(e).bottom)),
            first: Math.min(...solutions.map((e) => box(e).top)),
            links: solutions.filter((e) =>
              document.getElementById(e.querySelector("a").hash.slice(1))?.matches(".exercise")).length,
            hidden: shown.filter((e) => !e.checkVisibility({ visibilityProperty: true,
              opacityProperty: true }) || box(e).height === 0).length,
          };
        }"""
    )
    assert found["count"] == found["links"] == solutions(name) > 0
    assert found["heading"] == '"Solutions"'
    assert found["before"] <= found["first"]
    assert found["hidden"] == 0


def test_a_dark_page_is_printed_light(new_page: Callable[..., Page]) -> None:
    page = new_page(color_scheme="dark")
    page.goto("chapters/networks/backpropagation.html")
    page.evaluate(SETTLED)
    root = "document.documentElement.dataset.theme"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {root}; }})")
    folded = page.locator(".solution.toggle-hidden")
    before = folded.count()
    pdf = PdfReader(BytesIO(page.pdf(format="A4")))
    assert page.evaluate(f"[window.printed, {root}]") == ["light", "dark"]
    assert folded.count() == before > 0
    text = "\n".join(p.extract_text() for p in pdf.pages)
    assert all(re.search(rf"(?m)^ *{label} *$", text) for label in NAMES.values())
    body, _, end = text.rpartition("\nSolutions")
    assert "\nSources" in body
    assert "Solution to" not in body
    assert end.count("Solution to") == before
