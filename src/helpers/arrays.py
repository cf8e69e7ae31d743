"""What the rules and the layers of the NumPy engine do with arrays."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``g`` over the axes along which an array of ``shape`` was repeated."""
    extra = g.ndim - len(shape)
    repeated = [i + extra for i, n in enumerate(shape) if n == 1 != g.shape[i + extra]]
    return g.sum(axis=(*range(extra), *repeated), keepdims=True).reshape(shape)


def as_rows(x: Array) -> Array:
    """Make a matrix of (…, n): all axes but the last become one."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def once(function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Compute what several pullbacks share once for each gradient."""
    last: tuple[Any, Any] = (None, None)

    def shared(g: Array) -> Any:
        nonlocal last
        if last[0] is not g:
            last = (g, function(g))
        return last[1]

    return shared


def add_rows(g: Array, indices: Array, count: int) -> Array:
    """Add the rows of ``g`` up by their index: (n, …), (n,) → (count, …).

    Sorting first is four times as fast as ``np.add.at``.
    """
    full = np.zeros((count, *g.shape[1:]), g.dtype)
    if indices.size:
        order = np.argsort(indices, kind="stable")
        found, starts = np.unique(indices[order], return_index=True)
        full[found] = np.add.reduceat(g[order], starts, axis=0)
    return full


def column_sums(x: Array) -> Array:
    """Sum (…, n) to (n,): a product with ones, four times as fast as ``sum``."""
    rows = as_rows(x)
    return np.ones(len(rows), x.dtype) @ rows
