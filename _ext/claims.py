"""The {claim} directive: a statement with an id and a tested verdict.

    :::{claim} topk-order
    :verdict: refuted
    `top_k` returns (indices, values).
    :::

The cell that follows is tagged ``claim`` and can fail. Other pages link to
it by ``{ref}`claim-topk-order```.
"""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

VERDICTS = {
    "holds": ("✓", "the test agrees"),
    "refined": ("≈", "true under conditions"),
    "refuted": ("✗", "the test disagrees"),
}


def verdict(argument: str | None) -> str:
    return directives.choice(argument, tuple(VERDICTS))


class Claim(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"verdict": verdict}

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        if "verdict" not in self.options:
            raise self.error(f"claim needs a verdict, one of {', '.join(VERDICTS)}")
        found, name = self.options["verdict"], self.arguments[0]
        label = f"claim-{name}"
        sign, meaning = VERDICTS[found]
        admonition = nodes.admonition(classes=["claim", f"claim-{found}"], ids=[label])
        self.set_source_info(admonition)
        admonition += nodes.title("", "", nodes.Text(f"Claim {name}: {sign} {found} — {meaning}"))
        self.state.nested_parse(self.content, self.content_offset, admonition)
        standard = self.env.get_domain("std")
        standard.labels[label] = (self.env.docname, label, f"claim {name}")
        standard.anonlabels[label] = (self.env.docname, label)
        return [admonition]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("claim", Claim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
