"""Give nbval numbers that compare as numbers, and kernels with one thread; advise on failures."""

import os
from pathlib import Path

import pytest
from ipykernel.kernelspec import RESOURCES
from jupyter_client.kernelspec import KernelSpec
from nbval.kernel import NbvalKernelspecManager, RunningKernel
from nbval.plugin import IPyNbCell

from tools.comparison import sanitize
from tools.kernels import FORGE
from tools.twins import KERNEL_ENVIRONMENT

if "PORTABLE" not in os.environ:  # else a leg of tools.portable has set what it wants
    os.environ.update(KERNEL_ENVIRONMENT)
IPyNbCell.sanitize = sanitize
# nbval gives a new kernel ten seconds to answer, and a cell's output five after its end. Machines
# are busy.
PATIENCE = 300
await_reply = RunningKernel.await_reply
RunningKernel.await_reply = lambda kernel, asked, timeout: await_reply(
    kernel, asked, max(timeout, PATIENCE)
)
IPyNbCell.output_timeout = property(lambda _: PATIENCE, lambda *_: None)


def pytest_configure() -> None:
    """Let nbval's kernels begin with the frameworks imported, unless ``KERNELS=fresh``."""
    if os.environ.get("KERNELS") == "fresh" or not Path("/proc/self/task").is_dir():
        return

    def get_kernel_spec(_: NbvalKernelspecManager, name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, argv=FORGE.command(), language="python")

    NbvalKernelspecManager.get_kernel_spec = get_kernel_spec


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what to do about failures."""
    stats = terminalreporter.stats
    failed = [report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])]
    if failed and "PORTABLE" not in os.environ:
        from tools.next_step import next_step

        terminalreporter.write_line(next_step(failed))


def pytest_unconfigure() -> None:
    FORGE.close()
