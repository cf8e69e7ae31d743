"""Which cells of a chapter a reader of one framework needs.

Decided by the names that cells bind and read. A cell tagged with another
framework is left out, and so is, transitively, a cell for all that reads what
only such a cell binds, or names another framework. What a kept cell needs is
kept with it: NumPy's cells where the others start from their arrays, and from
a cell that compares, the statements that others read. Taken out of the cells
that stay are other frameworks' imports, and assertions that need them.
"""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple

WAYS = {"numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}
# NumPy is the others' ground: every set may import it.
MODULES = {"tensorflow": "tensorflow", "keras": "tensorflow", "torch": "torch"}
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Cell(NamedTuple):
    """A code cell, the framework it is tagged with, and whether it tests a claim."""

    source: str
    way: str | None = None
    claim: bool = False


class Kept(NamedTuple):
    """What is left of a cell, and whether it prints all that it printed."""

    source: str
    whole: bool


@dataclass
class Part:
    """A statement of a cell for all, or a whole cell of one framework."""

    cell: int
    lines: range  # counted from 0, with the blank lines and comments before it
    way: str | None
    optional: bool  # an import or an assertion, which prints nothing
    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)  # frameworks that it imports or names


class Names(ast.NodeVisitor):
    """Collect what statements read from outside and bind, in order of execution."""

    def __init__(self, part: Part) -> None:
        self.part, self.local, self.later = part, [], []

    def read(self, name: str) -> None:
        if not any(name in scope for scope in (*self.local, self.part.binds)):
            self.part.reads.add(name)

    def bind(self, name: str) -> None:
        (self.local[-1] if self.local else self.part.binds).add(name)

    def run(self, statements: list[ast.stmt]) -> None:
        self.all(statements)
        for scope, body in self.later:  # bodies run when they are called
            self.local = scope
            self.all(body)

    def all(self, nodes: list[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        (self.read if isinstance(node.ctx, ast.Load) else self.bind)(node.id)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """A key may name a framework; and who writes into an array is read by who reads it."""
        self.visit(node.value)
        if not isinstance(node.slice, ast.Constant):
            self.visit(node.slice)
        if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            self.bind(node.value.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.part.foreign |= {MODULES[node.value]} if node.value in MODULES else set()

    def visit_keyword(self, node: ast.keyword) -> None:
        """The engine's conventions have a framework's name, and need none."""
        if node.arg != "convention":
            self.visit(node.value)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = getattr(node, "module", None)
        for alias in node.names:
            root = (module or alias.name).split(".")[0]
            self.part.foreign |= {MODULES[root]} if root in MODULES else set()
            self.bind(alias.asname or (alias.name if module else root))

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Assign(self, node: ast.Assign) -> None:
        self.all([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.all([node.value, node.target])

    def visit_For(self, node: ast.For) -> None:
        self.all([node.iter, node.target, *node.body, *node.orelse])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.all([node.value, node.target])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bind(node.name or "_")
        self.generic_visit(node)

    def function(self, node: Function) -> None:
        """Visit decorators and defaults now, and the body last of all."""
        named = not isinstance(node, ast.Lambda)
        arguments = node.args
        self.all([*(node.decorator_list if named else []), *arguments.defaults])
        self.all([default for default in arguments.kw_defaults if default])
        if named:
            self.bind(node.name)
        body = node.body if named else [node.body]
        own = {a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg)}
        self.later.append(([*self.local, own | stored(body)], body))

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.all([*node.decorator_list, *node.bases, *node.keywords])
        self.bind(node.name)
        self.later.append(([*self.local, stored(node.body)], node.body))

    def comprehension(self, node: Comprehension) -> None:
        self.local.append(stored([g.target for g in node.generators]))
        self.generic_visit(node)
        self.local.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = comprehension  # noqa: N815
    visit_GeneratorExp = comprehension  # noqa: N815


def stored(nodes: list[ast.AST]) -> set[str]:
    """Return the names that are bound anywhere in these nodes."""
    return {
        name
        for node in nodes
        for n in ast.walk(node)
        for name in [getattr(n, "name", None) or getattr(n, "id", None)]
        if name and not (isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    }


@lru_cache(maxsize=1)  # the sets of one chapter follow each other
def parts(cells: tuple[Cell, ...]) -> tuple[Part, ...]:
    """Return the parts of a chapter's code cells."""
    return tuple(_parts(cells))


def _parts(cells: tuple[Cell, ...]) -> Iterator[Part]:
    for number, (source, way, claim) in enumerate(cells):
        statements, end = ast.parse(source).body, 0
        for group in [statements] if way else [[s] for s in statements]:
            lines = range(end, group[-1].end_lineno) if group else range(0)
            silent = (
                (ast.Import, ast.ImportFrom) if claim else (ast.Import, ast.ImportFrom, ast.Assert)
            )
            optional = not way and isinstance(group[0], silent)
            part = Part(number, lines, way, optional)
            Names(part).run(group)
            part.reads -= set(dir(builtins))
            yield part
            end = lines.stop


def needed(cells: list[Cell], way: str) -> list[Kept | None]:
    """Return what a reader of ``way`` needs of each code cell, None where nothing.

    Raises:
        ValueError: a cell of ``way`` reads what only another framework's cell binds.
    """
    every, needs, last = parts(tuple(cells)), [], {}
    for i, part in enumerate(every):
        needs.append({name: last[name] for name in sorted(part.reads) if name in last})
        last.update(dict.fromkeys(part.binds, i))
    kept: set[int] = set()

    @cache
    def runs(i: int, may: frozenset[str | None]) -> bool:
        """Tell whether a part runs if, besides what is kept, only ``may``'s ways do."""
        able = every[i].way in may and not every[i].foreign - {way}
        return i in kept or (able and all(runs(j, may) for j in needs[i].values()))

    def keep(i: int) -> None:
        if i not in kept:
            kept.add(i)
            for j in needs[i].values():
                keep(j)

    may = frozenset({None, way, "numpy"})
    for i in (i for i, part in enumerate(every) if part.way == way):
        if not runs(i, may):
            lacking = [name for name, j in needs[i].items() if not runs(j, may)]
            raise ValueError(
                f"code cell {every[i].cell + 1} is tagged {way} and needs {lacking or 'a module'} "
                "of another framework: give it a value of its own"
            )
        keep(i)
    runs.cache_clear()
    may = frozenset({None, way})
    found: list[Kept | None] = []
    own = [[i for i, part in enumerate(every) if part.cell == n] for n in range(len(cells))]
    for cell, mine in zip(cells, own, strict=True):
        core = [i for i in mine if not every[i].optional] or mine
        if cell.way is None and all(runs(i, may) for i in core):
            for i in mine:
                if runs(i, may):
                    keep(i)
    for cell, mine in zip(cells, own, strict=True):
        lines, left = cell.source.splitlines(), [every[i] for i in mine if i in kept]
        rest = "\n".join(lines[n] for part in left for n in part.lines).strip("\n")
        whole = all(i in kept or every[i].optional for i in mine)
        found.append(Kept(rest, whole) if rest else None)
    return found
