"""What the chapters say of themselves: titles, times, claims and key terms; and as Markdown.

All of it is read from the executed notebooks, so that the pages which collect
it (part openings, claims, glossary) hold nothing that is written twice.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

from _ext.claims import VERDICTS
from tools.needs import WAYS
from tools.twins import ROOT

CLAIM = re.compile(r"^:::\{claim\} (\S+)\n:verdict: (\w+)\n(.*?)\n:::", re.M | re.S)
DIFFERENCE = re.compile(r"^\(rosetta-([\w-]+)\)=\n### (.+)\n\n((?:[-  ].+\n?)+)", re.M)
WAY = re.compile(r"^- \*\*([^*]+)\*\*: (.+(?:\n  .+)*)", re.M)
MEASURED = re.compile(r"^rosetta-([\w-]+)\n((?:  .+\n?)+)", re.M)
TERM = re.compile(r"^- \*\*(.+?)\*\* \(([^)]*)\): (.+)$", re.M)


class Claim(NamedTuple):
    """A statement, its id and what its test said."""

    id: str
    verdict: str
    statement: str


class Term(NamedTuple):
    """A key term in English and Chinese, and its definition."""

    english: str
    chinese: str
    definition: str


class Difference(NamedTuple):
    """A row of the pages ``frameworks/rosetta-…``: what is said, and what its cell measured."""

    id: str
    title: str
    ways: dict[str, str]  # NumPy, TensorFlow, PyTorch, and what makes them agree
    measured: dict[str, str]  # what ``rosetta.row`` printed, by its first words


class Chapter(NamedTuple):
    """A chapter by its document name, such as ``chapters/foundations/tensors``."""

    document: str
    title: str
    description: str
    seconds: float
    claims: list[Claim]
    terms: list[Term]
    differences: list[Difference]

    @property
    def part(self) -> str:
        return self.document.split("/")[1]


def documents(node: object = None) -> list[str]:
    """Return the documents of ``_toc.yml`` in their order."""
    if node is None:
        node = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    if isinstance(node, list):
        return [name for part in node for name in documents(part)]
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for value in node.values() for name in documents(value)]
    return []


def chapters() -> list[Chapter]:
    """Return the chapters that are listed and executed, in their order."""
    paths = [(name, ROOT / f"{name}.ipynb") for name in documents()]
    return [_chapter(name, path, path.stat().st_mtime_ns) for name, path in paths if path.exists()]


@cache
def _chapter(document: str, path: Path, changed: int) -> Chapter:
    notebook = nbformat.read(path, as_version=4)
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    meta = notebook.metadata.get("myst", {}).get("html_meta", {})
    return Chapter(
        document,
        re.search(r"^# (.+)$", text, re.M)[1],
        meta.get("description", ""),
        notebook.metadata.get("book", {}).get("seconds", 0),
        [Claim(i, verdict, " ".join(s.split())) for i, verdict, s in CLAIM.findall(text)],
        [Term(*found) for found in TERM.findall(text.partition("\n## Key terms")[2])],
        _differences(notebook, text),
    )


def _differences(notebook: nbformat.NotebookNode, text: str) -> list[Difference]:
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    measured = {
        name: dict(line.strip().split(": ", 1) for line in lines.splitlines())
        for name, lines in MEASURED.findall(printed)
    }
    return [
        Difference(
            name,
            title,
            {way: " ".join(words.split()) for way, words in WAY.findall(bullets)},
            measured.get(name, {}),
        )
        for name, title, bullets in DIFFERENCE.findall(text)
    ]


def untested() -> dict[str, list[str]]:
    """Return the ids of the claims that no chapter tests yet, by the chapter that will."""
    listed = yaml.safe_load((ROOT / "tests/book/claims.yml").read_text(encoding="utf-8"))
    found = {claim.id for chapter in chapters() for claim in chapter.claims}
    left = {name: [i for i in ids if i not in found] for name, ids in listed.items()}
    return {name: ids for name, ids in left.items() if ids}


def list_of_chapters(part: str) -> str:
    """Return a part's chapters, each with its line and its time."""
    return "\n".join(
        f"[{c.title}](/{c.document})\n: {c.description} *{c.seconds} s*\n"
        for c in chapters()
        if c.part == part
    )


def table_of_claims(_: str) -> str:
    """Return all tested claims with verdict and chapter."""
    rows = [
        f"| {{ref}}`{claim.id} <claim-{claim.id}>` | {VERDICTS[claim.verdict][0]} {claim.verdict} "
        f"| {claim.statement} | [{c.title}](/{c.document}) |"
        for c in chapters()
        for claim in c.claims
    ]
    return "\n".join(["| id | verdict | claim | chapter |", "|---|---|---|---|", *rows])


def table_of_differences(_: str) -> str:
    """Return all differences between the frameworks, each with what its cell measured."""
    lines = ["| difference | TensorFlow | PyTorch | to agree |", "|---|---|---|---|"]
    for c in chapters():
        for d in c.differences:
            answers = " / ".join(d.measured[way] for way in WAYS if way in d.measured)
            before = d.measured.get("before") or (answers if len(answers) <= 40 else "unlike")
            sizes = " → ".join(filter(None, (before, d.measured.get("after"))))
            head = f"{{ref}}`rosetta-{d.id}` *{c.title.removeprefix('Rosetta: ')}*: {sizes}"
            cells = [head, *(d.ways.get(k, "") for k in ("TensorFlow", "PyTorch", "To agree"))]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def list_of_untested(_: str) -> str:
    """Return what no chapter tests yet."""
    left = untested()
    count = sum(map(len, left.values()))
    head = f"{count} claims wait for their chapters.\n\n| chapter | claims |\n|---|---|\n"
    return head + "\n".join(f"| {name} | {' · '.join(ids)} |" for name, ids in left.items())


def glossary(_: str) -> str:
    """Return all key terms, for Sphinx' glossary, which the search knows."""
    terms = sorted(
        ((term, c) for c in chapters() for term in c.terms), key=lambda t: t[0].english.lower()
    )
    entries = [
        f"{t.english}\n{t.chinese}\n  {t.definition} → [{c.title}](/{c.document})\n"
        for t, c in terms
    ]
    return "```{glossary}\n" + "\n".join(entries) + "```"
