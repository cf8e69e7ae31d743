"""Turn consecutive cells tagged numpy, tensorflow, torch into one tab set.

The cells are top-level notebook cells, and so are executed and tested like
all others; cells nested inside a {tab-item} would not be. The nodes are
sphinx-design's, which synchronises and remembers the choice by its name.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx_design.shared import create_component

LABELS = {"numpy": "NumPy", "tensorflow": "TensorFlow", "torch": "PyTorch"}
ORDER = list(LABELS)


def framework(node: nodes.Node) -> str | None:
    """Return the framework that a notebook cell is tagged with, if any."""
    if isinstance(node, nodes.container) and node.get("nb_element") == "cell_code":
        for name in ORDER:
            if f"tag_{name}" in node["classes"]:
                return name
    return None


class ThreeWays(SphinxTransform):
    """Group the cells; a set ends where the order of frameworks starts again."""

    # After sphinx-exercise has gathered the cells of a gated solution.
    default_priority = 700

    def apply(self) -> None:
        first_cells = [
            node
            for node in self.document.findall(nodes.container)
            if framework(node) and not framework(previous(node))
        ]
        for cell in first_cells:
            run = [cell]
            while framework(following := run[-1].next_node(descend=False, siblings=True)):
                run.append(following)
            for group in groups(run):
                parent = group[0].parent
                parent.insert(parent.index(group[0]), tab_set(group))
                for own in group:
                    parent.remove(own)


def previous(node: nodes.Node) -> nodes.Node | None:
    at = node.parent.index(node)
    return node.parent[at - 1] if at else None


def groups(run: list[nodes.container]) -> list[list[nodes.container]]:
    """Cut a run of cells where the order of frameworks starts again."""
    found: list[list[nodes.container]] = []
    for cell in run:
        place = ORDER.index(framework(cell))
        if not found or place < ORDER.index(framework(found[-1][-1])):
            found.append([])
        found[-1].append(cell)
    return found


def tab_set(cells: list[nodes.container]) -> nodes.container:
    items = []
    for name in ORDER:
        own = [cell.deepcopy() for cell in cells if framework(cell) == name]
        if not own:
            continue
        label = nodes.rubric(
            LABELS[name],
            LABELS[name],
            classes=["sd-tab-label", f"way-{name}"],
            sync_group="framework",
            sync_id=name,
        )
        content = create_component(
            "tab-content", classes=["sd-tab-content", f"way-{name}"], children=own
        )
        items.append(create_component("tab-item", ["sd-tab-item"], children=[label, content]))
    classes = ["sd-tab-set", "three-ways", f"ways-{len(items)}"]
    made = create_component("tab-set", classes, children=items)
    made.source, made.line = cells[0].source, cells[0].line
    return made


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx_design")
    app.add_transform(ThreeWays)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
