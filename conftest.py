"""Give nbval numbers that compare as numbers, and quiet, single-threaded kernels."""

import os
from pathlib import Path

from ipykernel.kernelspec import RESOURCES
from jupyter_client.kernelspec import KernelSpec
from nbval.kernel import NbvalKernelspecManager
from nbval.plugin import IPyNbCell

from tools.comparison import sanitize
from tools.kernels import FORGE
from tools.twins import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)
IPyNbCell.sanitize = sanitize


def pytest_configure() -> None:
    """Let nbval's kernels begin with the frameworks imported, unless ``KERNELS=fresh``."""
    if os.environ.get("KERNELS") == "fresh" or not Path("/proc/self/task").is_dir():
        return

    def get_kernel_spec(_: NbvalKernelspecManager, name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, argv=FORGE.command(), language="python")

    NbvalKernelspecManager.get_kernel_spec = get_kernel_spec


def pytest_unconfigure() -> None:
    FORGE.close()
