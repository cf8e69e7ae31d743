"""MyST Markdown turned into Markdown that any notebook program shows.

Directives and roles mean nothing in Colab, JupyterLab and VS Code: here they
become headings, quotations, numbers and links. What this module does not know
is an error, so that nothing of the kind is left over.
"""

import base64
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat
import yaml
from pybtex.database import Entry, parse_file
from pybtex.plugin import find_plugin
from pybtex.richtext import Text

from _ext.claims import VERDICTS
from tools.contents import documents, table_of_differences

FENCE = re.compile(r"^( *)(`{3,}|:{3,}|~{3,})(?:\{([\w:-]+)\} *(.*)|[^`{]*)$")
OPTION = re.compile(r"^:([\w-]+):(?: (.*))?$")
CODE = r"(?P<code>(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
ROLE = r"\{(?P<role>[\w:+-]+)\}`(?P<argument>[^`]+)`"
FORMULA = r"\$\$(?P<formula>.+?)\$\$(?:[ \t]*\((?P<equation>[\w-]+)\))?"
LINK = r"(?P<bang>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)"
REMARK = r"<!--.*?-->|^\([\w:.-]+\)=\n?|^%(?: .*)?\n?"
DEFINITION = re.compile(r"^(?P<term>[^\s:|>#$-].*)\n: +", re.M)
INLINE = re.compile(
    rf"{CODE}|{ROLE}|{FORMULA}|(?P<math>\$[^$\s](?:[^$]*[^$\s])?\$)|{LINK}|(?P<remark>{REMARK})",
    re.S | re.M,
)
# Where labels are defined, in the order in which Sphinx numbers what they name.
LABELS = re.compile(
    r"\$\$[ \t]*\((?P<equation>[\w-]+)\)"
    r"|^[`:]{3,}\{exercise\} *(?P<title>.*)\n:label: (?P<exercise>[\w-]+)"
    r"|^[`:]{3,}\{figure\}.*\n(?:(?!:name:):.*\n)*:name: (?P<figure>[\w-]+)"
    r"|^[`:]{3,}\{claim\} (?P<claim>[\w-]+)"
    r"|^\((?P<section>[\w:.-]+)\)=\n+#+ (?P<heading>.+)",
    re.M,
)
SIGNS = "attention|caution|danger|error|hint|important|note|seealso|tip|warning"
LEFT = re.compile(r"^ *[`:~]{3,}\{|\{[\w:+-]+\}`", re.M)
WORDS = {"equation": "({})", "figure": "Fig. {}", "exercise": "Exercise {}"}
BREAK = "\0"  # between the cells into which a cell is divided


@dataclass(frozen=True)
class Label:
    """What a reference leads to: its chapter, and the words for it."""

    chapter: str
    number: int
    words: str


@dataclass
class Book:
    """What the chapters' references need to know of one another."""

    root: Path
    config: dict = field(init=False)
    chapters: dict[str, nbformat.NotebookNode] = field(init=False)
    labels: dict[str, Label] = field(init=False)

    def __post_init__(self) -> None:
        self.config = yaml.safe_load((self.root / "_config.yml").read_text("utf-8"))
        self.works = parse_file(str(self.root / "references.bib"), "bibtex")
        contents = yaml.safe_load((self.root / "_toc.yml").read_text("utf-8"))
        found = [self.root / f"{name}.ipynb" for name in documents(contents)]
        self.chapters = {
            path.relative_to(self.root / "chapters").with_suffix("").as_posix(): nbformat.read(
                path, as_version=4
            )
            for path in found
            if path.exists()
        }
        self.labels = dict(self.number())

    def number(self) -> Iterator[tuple[str, Label]]:
        """Yield every label; numbers run through the book, as on the site."""
        count: Counter[str] = Counter()
        for chapter, notebook in self.chapters.items():
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    for match in LABELS.finditer(cell.source):
                        kind = match.lastgroup if match.lastgroup != "heading" else "section"
                        words = match["heading"] or (match["claim"] and f"claim {match['claim']}")
                        count[kind] += 1
                        name = f"claim-{match[kind]}" if kind == "claim" else match[kind]
                        words = words or WORDS[kind].format(count[kind])
                        yield name, Label(chapter, count[kind], words)
                elif "figure" in (options := cell.metadata.get("mystnb", {})):
                    count["figure"] += 1
                    words = WORDS["figure"].format(count["figure"])
                    name = options["figure"].get("name", f"figure {count['figure']}")
                    yield name, Label(chapter, count["figure"], words)

    @property
    def repository(self) -> str:
        return self.config["repository"]["url"]

    @cached_property
    def references(self) -> dict[str, str]:
        """The works of the bibliography in its order, each as a line of a list."""
        style = find_plugin("pybtex.style.formatting", "plain")()
        plain = find_plugin("pybtex.backends", "text")()
        lines = {}
        for entry in style.format_bibliography(self.works, sorted(self.works.entries)):
            work = self.works.entries[entry.key]
            text, address = entry.text.render(plain), address_of(work)
            doi = work.fields.get("doi", "")
            text = text.removesuffix(".").removesuffix(f"doi:{doi}").rstrip(" ,.") + "."
            lines[entry.key] = f"- {text} {f'<{address}>' if address else ''}".rstrip()
        return lines

    def page(self, path: str) -> str:
        """Return the address of a page on the site, or of another file in the repository."""
        if path.endswith(".md") and (site := self.config["html"].get("baseurl")):
            return f"{site.rstrip('/')}/{path.removesuffix('.md')}.html"
        return f"{self.repository}/blob/{self.config['repository']['branch']}/{path}"


class Plain:
    """Turns the Markdown of one chapter, and remembers the works that it cites."""

    def __init__(self, book: Book, chapter: str) -> None:
        self.book, self.chapter, self.cited = book, chapter, set()

    def cells(self, text: str) -> list[str]:
        """Return the text of a cell as the cells that it becomes."""
        plain = self.text(text)
        if left := LEFT.search(re.sub(CODE, "", plain, flags=re.S)):
            raise self.error(f"tools/plain.py leaves {left[0]!r} in {text[:60]!r}")
        divided = (part.strip("\n") for part in plain.split(BREAK))
        return [re.sub(r"\n{3,}", "\n\n", part) for part in divided if part.strip()]

    def text(self, text: str) -> str:
        lines, out, prose, i = text.split("\n"), [], [], 0

        def flush() -> None:
            plain = DEFINITION.sub(r"- **\g<term>**: ", "\n".join(prose))
            out.append(INLINE.sub(self.inline, plain))
            prose.clear()

        while i < len(lines):
            if not (fence := FENCE.match(lines[i])):
                prose.append(lines[i])
                i += 1
                continue
            closing = re.compile(rf"^ *{fence[2][0]}{{{len(fence[2])},}} *$")
            end = next((j for j in range(i + 1, len(lines)) if closing.match(lines[j])), None)
            if end is None:
                raise self.error(f"nothing closes {lines[i]!r}")
            flush()
            if fence[3]:
                body = [line.removeprefix(fence[1]) for line in lines[i + 1 : end]]
                made = self.directive(fence[3], fence[4], body).split("\n")
                out.append("\n".join((fence[1] + line).rstrip(" ") for line in made))
            else:
                out.append("\n".join(lines[i : end + 1]))
            i = end + 1
        flush()
        return "\n".join(part for part in out if part)

    def error(self, message: str) -> ValueError:
        return ValueError(f"chapters/{self.chapter}: {message}")

    def directive(self, name: str, argument: str, body: list[str]) -> str:
        options = {}
        while body and (option := OPTION.match(body[0])):
            options[option[1]] = option[2] or ""
            body = body[1:]
        content = self.text("\n".join(body)).strip("\n")
        if name == "exercise":
            label = self.label(options["label"])
            return f"### {label.words}: {argument}\n\n{content}"
        if name == "solution-start":
            return f"{BREAK}#### Solution of {self.label(argument.strip()).words.lower()}{BREAK}"
        if name == "solution-end":
            return BREAK
        if name == "claim":
            sign, meaning = VERDICTS[options["verdict"]]
            title = f"Claim {argument}: {sign} {options['verdict']} — {meaning}"
            return quotation(title, content)
        if name == "all-differences":
            return self.text(table_of_differences(""))
        if name in ("figure", "image"):
            shown = self.picture(argument, options.get("alt", ""))
            if name == "image":
                return shown
            return f"{shown}\n\n{self.caption(options['name'], content)}"
        if name in SIGNS.split("|"):
            title = "See also" if name == "seealso" else name.capitalize()
            return quotation(title, f"{argument}\n{content}".strip("\n"))
        if name in ("admonition", "dropdown"):
            return quotation(argument, content)
        if name == "grid":
            return content
        if name == "grid-item-card":
            link = self.target(f"{options['link']}.md") if "link" in options else ""
            return f"- **{f'[{argument}]({link})' if link else argument}**: {content}\n"
        if name in ("code-block", "code"):
            return "\n".join([f"```{argument}", *body, "```"])
        if name == "math":
            label = options.get("label")
            return self.formula("\n" + "\n".join(body) + "\n", label)
        raise self.error(f"tools/plain.py does not know the directive {{{name}}}")

    def label(self, name: str) -> Label:
        if name not in self.book.labels:
            raise self.error(f"no label {name!r} in the book")
        return self.book.labels[name]

    def caption(self, name: str, text: str) -> str:
        return f"**{self.label(name).words}.** {text}"

    def formula(self, formula: str, label: str | None) -> str:
        tag = f"\\tag{{{self.label(label).number}}}\n" if label else ""
        return f"$${formula}{tag}$$"

    def inline(self, match: re.Match[str]) -> str:
        if match["role"]:
            return self.role(match["role"], match["argument"])
        if match["formula"]:
            return self.formula(match["formula"], match["equation"])
        if match["target"]:
            # The text of a link may hold code and roles of its own.
            text = INLINE.sub(self.inline, match["text"])
            if match["bang"]:
                return self.picture(match["target"], text)
            return f"[{text}]({self.target(match['target'])})"
        return "" if match["remark"] is not None else match[0]

    def role(self, name: str, argument: str) -> str:
        titled = re.fullmatch(r"(.*?)\s*<([^<>]+)>", argument, re.S)
        words, target = titled.groups() if titled else (None, argument)
        if name.startswith("cite"):
            return self.cite(name, [key.strip() for key in argument.split(",")])
        if name in ("eq", "ref", "numref", "prf:ref"):
            label = self.label(target)
            words = words or label.words
            words = words.replace("%s", str(label.number)).replace("{number}", str(label.number))
            if label.chapter == self.chapter:
                return words
            return f"[{words}]({self.target(f'/chapters/{label.chapter}.md')})"
        if name == "doc":
            path = self.target(f"{target}.md")
            return f"[{words or self.title(target)}]({path})"
        if name in ("sub", "sup", "kbd"):
            return f"<{name}>{argument}</{name}>"
        if name == "math":
            return f"${argument}$"
        if name in ("abbr", "term"):
            return words or argument
        raise self.error(f"tools/plain.py does not know the role {{{name}}}")

    def title(self, target: str) -> str:
        """Return the title of a page that is named from this chapter."""
        text = (self.book.root / f"{self.resolve(target)}.md").read_text("utf-8")
        return re.search(r"^# (.+)$", text, re.M)[1]

    def resolve(self, target: str) -> str:
        """Return a path, given from this chapter or as /…, from the root of the repository."""
        folder = Path("chapters", self.chapter).parent
        return target[1:] if target[:1] == "/" else os.path.normpath(folder / target)

    def target(self, target: str) -> str:
        """Return where a link leads: to a reader notebook of this set, or to the repository."""
        if target.startswith("#"):  # a label, which only the site has
            return self.book.page(f"chapters/{self.chapter}.md") + target
        if re.match(r"[a-z]+:", target):
            return target
        path = self.resolve(target.partition("#")[0])
        chapter = str(Path(path).with_suffix("")).removeprefix("chapters/")
        if chapter in self.book.chapters:
            return os.path.relpath(f"{chapter}.ipynb", Path(self.chapter).parent)
        return self.book.page(path)

    def picture(self, target: str, alternative: str) -> str:
        """Embed a picture, or link to the repository's.

        Colab shows neither attachments nor embedded SVG (googlecolab/colabtools
        issues 3836 and 2092); it shows both PNG as data and SVG by its address.
        """
        if re.match(r"[a-z]+:", target):
            return f"![{alternative}]({target})"
        path = self.resolve(target)
        kind = mimetypes.guess_type(path)[0]
        if kind in ("image/png", "image/jpeg", "image/gif"):
            return embedded(kind, (self.book.root / path).read_bytes(), alternative)
        if not (self.book.root / path).exists():
            raise self.error(f"there is no picture {path}")
        return f"![{alternative}]({self.book.page(path).replace('/blob/', '/raw/', 1)})"

    def cite(self, role: str, keys: list[str]) -> str:
        """Return author and year, the year linked to the work where its DOI or URL is known."""
        cited = []
        for key in keys:
            if key not in self.book.works.entries:
                raise self.error(f"no work {key!r} in references.bib")
            self.cited.add(key)
            work = self.book.works.entries[key]
            year, address = work.fields["year"], address_of(work)
            year = f"[{year}]({address})" if address else year
            cited.append((authors(work), year))
        if role in ("cite:t", "cite:ts"):
            return ", ".join(f"{who} ({year})" for who, year in cited)
        if role in ("cite", "cite:p", "cite:ps"):
            return f"({'; '.join(f'{who}, {year}' for who, year in cited)})"
        raise self.error(f"tools/plain.py does not know the role {{{role}}}")

    def works(self) -> str:
        """Return the works that were cited, as a list; empty without any."""
        lines = [line for key, line in self.book.references.items() if key in self.cited]
        return "**Works cited**\n\n" + "\n".join(lines) if lines else ""


def embedded(kind: str, picture: bytes | str, alternative: str) -> str:
    """Return a picture as Markdown that carries it; text is base64 already."""
    data = picture if isinstance(picture, str) else base64.b64encode(picture).decode()
    return f"![{alternative}](data:{kind};base64,{''.join(data.split())})"


def quotation(title: str, content: str) -> str:
    lines = f"**{title}**\n\n{content}".split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def address_of(work: Entry) -> str | None:
    doi = work.fields.get("doi")
    return f"https://doi.org/{doi}" if doi else work.fields.get("url")


def authors(work: Entry) -> str:
    """Return the authors' last names as the site does: one, two, or the first et al."""
    people = work.persons.get("author") or work.persons["editor"]
    names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names))) for p in people]
    if len(names) > 2 or names[-1] == "others":
        return f"{names[0]} *et al.*"
    return " and ".join(names)
