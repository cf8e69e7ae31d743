"""Build the site as ``make book`` does, elsewhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Build(NamedTuple):
    """What a build left: the pages' folder, what was printed, the exit status."""

    html: Path
    log: str
    status: int


def build_site(root: Path, target: Path) -> Build:
    """Build the book that lies in ``root`` into ``target``, every warning an error."""
    command = [Path(sys.executable).parent / "jupyter-book", "build", "-W", "-n", "--keep-going"]
    done = subprocess.run(
        [*command, "--path-output", target, root],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    return Build(target / "_build" / "html", done.stdout + done.stderr, done.returncode)
