"""After failing tests: one line that says where to look first."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from helpers import versions
from tools.chapter import hardware
from tools.twins import ROOT


def next_step(failed: Iterable[str]) -> str:
    """Return what to do about the tests that failed, given by their node ids.

    A page fails for one of three reasons: a package moved since it was executed, this machine
    rounds otherwise than the one that executed it, or there is a fault.
    """
    cells = [f for f in failed if re.match(r"chapters/\S+\.ipynb::Cell \d+$", f)]
    if not cells:
        return "Next: these are no pages' outputs; run a test alone by its name, as printed above."
    pages = sorted({cell.partition("::")[0] for cell in cells})
    first = pages[0].removeprefix("chapters/").removesuffix(".ipynb")
    books = [json.loads(Path(ROOT, page).read_text("utf-8"))["metadata"]["book"] for page in pages]
    present = versions()
    moved = sorted(
        f"{name} {old} → {present.get(name, 'missing')}"
        for name, old in {item for book in books for item in book["versions"].items()}
        if name != "python" and present.get(name, "").partition("+")[0] != old.partition("+")[0]
    )
    if moved:
        return (
            f"Next: a pin changed since the pages were executed ({', '.join(moved)}): read what "
            f"each new output says, then make chapter C={first} and so on."
        )
    machines = {book["hardware"] for book in books} - {hardware()}
    if machines:
        return (
            f"Next: the pages were executed on {' and '.join(sorted(machines))}, and this is "
            f"{hardware()}: make portable C={first} shows whether the result depends on the "
            "processor, which is a fault of the page."
        )
    return (
        "Next: the same packages and the same kind of machine executed these pages, so look for a "
        f"fault in what changed: .venv/bin/python -m pytest --nbval {pages[0]} shows it alone."
    )
