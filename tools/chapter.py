"""Write a chapter's notebook anew from its text source, executed.

Before it is written it has to pass under the oldest kernels of the libraries as well.

Usage: python -m tools.chapter networks/backpropagation [more …]
"""

import os
import platform
import sys
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from numpy._core._multiarray_umath import __cpu_features__ as features

from helpers import versions
from tools import portable
from tools.twins import CHAPTERS, KERNEL_ENVIRONMENT, read_source, sources


def main(names: list[str]) -> int:
    known = {str(p.relative_to(CHAPTERS).with_suffix("")): p for p in sources()}
    for name in names:
        name = name.removeprefix("chapters/").removesuffix(".md").removesuffix(".ipynb")
        if name not in known:
            print(f"No chapter '{name}'. The chapters are: {', '.join(known)}.", file=sys.stderr)
            return 2
        if message := write(known[name]):
            print(message, file=sys.stderr)
            return 1
    if not names:
        print(f"Say which: make chapter C={next(iter(known), 'part/slug')}", file=sys.stderr)
        return 2
    return 0


def write(source: Path) -> str | None:
    """Execute a chapter and write its twin; return what went wrong, if anything."""
    notebook = read_source(source)
    os.environ.update(KERNEL_ENVIRONMENT)
    seconds: list[float] = []
    shown = source.relative_to(CHAPTERS.parent)

    def used() -> float:
        """Processor time of the kernel, which does not count what else this machine does."""
        times = psutil.Process(client.km.provisioner.pid).cpu_times()
        return times.user + times.system

    def started(cell: nbformat.NotebookNode, cell_index: int) -> None:
        seconds.append(-used())

    def executed(cell: nbformat.NotebookNode, **_: object) -> None:
        seconds[-1] += used()

    client = NotebookClient(
        notebook,
        timeout=1800,
        startup_timeout=600,
        iopub_timeout=600,  # an output that is later than that is lost
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_execute=started,
        on_cell_executed=executed,
    )
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError, TimeoutError) as error:
        return (
            f"{error}\n{shown}: code cell {len(seconds)} failed, see above. "
            f"Mend it in the .md and run make chapter again; the .ipynb is as it was."
        )
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                return (
                    f"{shown}: cell {position} writes to stderr: {output.text.strip()!r}. "
                    "Chapters run without warnings; the .ipynb is as it was."
                )
    # The first code cell is the imports', whose time no chapter is to blame for.
    work = sum(seconds[1:])
    notebook.metadata["book"] = {
        "seconds": max(1, round(work)),
        "hardware": hardware(),
        "versions": versions(),
    }
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=4) + "\n"
    if fault := portable.fault(shown.with_suffix(".ipynb"), text):
        return f"{fault}\nMend it in the .md and run make chapter again; the .ipynb is as it was."
    source.with_suffix(".ipynb").write_text(text, encoding="utf-8")
    slowest = sorted(range(1, len(seconds)), key=seconds.__getitem__, reverse=True)[:3]
    print(
        f"{shown.with_suffix('.ipynb')}: {work:.1f} s, and {sum(seconds[:1]):.1f} s of imports; "
        "slowest code cells: " + ", ".join(f"number {i + 1} {seconds[i]:.1f} s" for i in slowest)
    )
    return None


def hardware() -> str:
    """Describe this machine without naming it: its cores, and the level of its instructions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = platform.machine()
    if kind == "x86_64":  # x86-64-v3 has AVX2, v4 AVX-512
        levels = {"X86_V3": 3, "AVX2": 3, "X86_V4": 4, "AVX512_SKX": 4}
        kind = f"x86-64-v{max((n for f, n in levels.items() if features.get(f)), default=2)}"
    return f"one thread of a {cores}-core {kind} CPU"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
