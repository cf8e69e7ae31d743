"""The run itself: quiet frameworks, seeds, the device, the scale, versions."""

import contextlib
import ctypes
import importlib.abc
import importlib.util
import os
import sys
import warnings

import numpy as np

FRAMEWORKS = ("tensorflow", "torch")
SCALES = ("small", "full")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h

# oneDNN reorders floating-point sums, so TensorFlow's last digits change
# with the processor; without it the same program gives the same numbers.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
}


def quiet() -> None:
    """Keep TensorFlow silent on stderr and its sums in one order.

    Values that the reader has set in the environment are left alone.

    Warns:
        RuntimeWarning: TensorFlow is imported already, so that the settings
            come too late.
    """
    if sys.modules.get("tensorflow") and "TF_ENABLE_ONEDNN_OPTS" not in os.environ:
        warnings.warn(
            "helpers was imported after tensorflow, whose settings it can no longer "
            "change; restart and import helpers first",
            RuntimeWarning,
            stacklevel=2,
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class _TritonFirst(importlib.abc.MetaPathFinder):
    """Finds nothing, but imports Triton when TensorFlow is asked for."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "tensorflow":
            sys.meta_path.remove(self)
            with contextlib.suppress(ImportError):  # not there, or not for this machine
                importlib.import_module("triton")


def load_triton_first() -> None:
    """See that Triton, where PyTorch has brought it, is loaded before TensorFlow.

    Both carry an LLVM. TensorFlow's wheels from 2.20 on open theirs to the whole process, and a
    Triton that is loaded later, as PyTorch does with the first optimiser, takes it for its own
    and crashes Python (tensorflow/tensorflow, issue 124205). The other way round both work.
    Nothing is imported before TensorFlow is looked for.
    """
    if not any(isinstance(finder, _TritonFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TritonFirst())


def keep_freed_memory() -> bool:
    """Let the C library keep freed arrays for the next ones (Linux with glibc).

    By default glibc hands large arrays back to the system, and each new one is
    then faulted in page by page: up to half of the time of a training step of
    a small network. Not done where ``HELPERS_MALLOC=system`` or one of glibc's
    own ``MALLOC_`` variables is set.

    Returns:
        Whether the setting was made.
    """
    own = os.environ.get("HELPERS_MALLOC") == "system" or any(
        name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    )
    if own or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**25) and mallopt(_M_TRIM_THRESHOLD, 2**29))


def seed(n: int) -> np.random.Generator:
    """Seed Python, NumPy and every installed framework.

    The streams of the three frameworks differ all the same: draw shared
    numbers, such as initial weights, once from the generator returned.

    Args:
        n: the seed, 0 ≤ n < 2**32.

    Returns:
        A NumPy generator seeded with ``n``.

    Raises:
        TypeError: ``n`` is not an integer.
        ValueError: ``n`` is outside the range.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"n must be an integer, got {n!r} of type {type(n).__name__}")
    if not 0 <= n < 2**32:
        raise ValueError(f"n must lie in 0 ≤ n < 2**32, got {n}")
    n = int(n)
    import random

    random.seed(n)
    np.random.seed(n)
    if _installed("tensorflow"):
        import tensorflow as tf

        tf.keras.utils.set_random_seed(n)
    if _installed("torch"):
        import torch

        torch.manual_seed(n)
    return np.random.default_rng(n)


def device(framework: str) -> str:
    """Name the fastest device that ``framework`` finds on this machine.

    Args:
        framework: ``"tensorflow"`` or ``"torch"``.

    Returns:
        A name for ``tf.device`` (``"/GPU:0"`` or ``"/CPU:0"``), or for
        ``torch.device`` (``"cuda"``, ``"mps"`` or ``"cpu"``).

    Raises:
        ValueError: the name is unknown.
        ModuleNotFoundError: that framework is not installed.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {FRAMEWORKS}, got {framework!r}")
    if framework == "tensorflow":
        import tensorflow as tf

        return "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def scale() -> str:
    """Say how much data the reader asked for.

    Returns:
        ``"small"``, the default: data that ships inside packages; or
        ``"full"``, when the environment variable ``HELPERS_SCALE`` says so:
        the full data sets, downloaded by the frameworks' own loaders.

    Raises:
        ValueError: ``HELPERS_SCALE`` is neither.
    """
    value = os.environ.get("HELPERS_SCALE", "small")
    if value not in SCALES:
        raise ValueError(f"HELPERS_SCALE must be one of {SCALES}, got {value!r}")
    return value


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results.

    Returns:
        A dictionary such as ``{"python": "3.11.7", "numpy": "2.4.6", …}``;
        packages that are not installed are left out.
    """
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("numpy", "tensorflow", "keras", "torch"):
        for distribution in (name, f"{name}-cpu"):
            try:
                found[name] = version(distribution)
            except PackageNotFoundError:
                continue
            break
    return found


def _installed(name: str) -> bool:
    if name in sys.modules:  # None there blocks an import, which is Python's own way
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None
