"""The calculus of the NumPy engine: one table from functions to derivatives.

A rule maps arrays to ``(value, pullbacks)``. There is one pullback for each
argument; it maps the gradient by the value, g, to the gradient by that
argument. Sums over broadcast axes are left to the backward pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers.arrays import Array, add_rows, as_rows, unbroadcast

__all__ = ["COMPOSED", "CONSTANT", "RULES", "Rule", "unbroadcast"]  # chapters read the last here

Rule = Callable[..., tuple[Array, Sequence[Callable[[Array], Array] | None]]]


def _spread(g: Array, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Array:
    """Give each summand the gradient of its sum."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, shape)


def _sum(a, axis=None, keepdims=False):
    value = np.sum(a, axis=axis, keepdims=keepdims)
    return value, (lambda g: _spread(g, a.shape, axis, keepdims),)


def _mean(a, axis=None, keepdims=False):
    value = np.mean(a, axis=axis, keepdims=keepdims)
    scale = value.size / max(a.size, 1)
    return value, (lambda g: _spread(g * scale, a.shape, axis, keepdims),)


def _extremum(function):
    def rule(a, axis=None, keepdims=False):
        kept = function(a, axis=axis, keepdims=True)

        def pullback(g):  # equal winners share, as in torch.amax and tf.reduce_max
            winners = a == kept
            share = winners / winners.sum(axis=axis, keepdims=True, dtype=a.dtype)
            return _spread(g, a.shape, axis, keepdims) * share

        return (kept if keepdims else kept.squeeze(axis)), (pullback,)

    return rule


def _larger(function, wins):
    def rule(a, b):
        # Two arrays share a tie, as in torch.maximum. A number takes it all, so
        # that np.maximum(x, 0) has the derivative of ReLU, 0 at 0.
        shared = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)

        def share(g, one, other):
            won = g * wins(one, other)
            return won + g * (one == other) * 0.5 if shared else won

        return function(a, b), (lambda g: share(g, a, b), lambda g: share(g, b, a))

    return rule


def _clip(a, low=None, high=None):
    value = np.clip(a, low, high)
    bottom, top = -np.inf if low is None else low, np.inf if high is None else high
    return value, (
        lambda g: g * (value == a),
        lambda g: g * ((a < low) & (low < top)),
        lambda g: g * ((a > high) | (high < bottom)),
    )


def _raise(a, exponent):
    """Return a ** exponent; NumPy's own takes a hundred times as long for a cube."""
    return a * a * a if isinstance(exponent, int) and exponent == 3 else a**exponent


def _power(a, b):
    value = _raise(a, b)
    if not isinstance(b, np.ndarray):
        return value, (lambda g: g * (b * _raise(a, b - 1)) if b else 0 * g, None)
    return value, (
        lambda g: g * b * a ** np.where(b == 0, 1, b - 1),
        lambda g: g * value * np.log(np.where(a > 0, a, 1)),
    )


def _matmul(a, b):
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.matmul(a, b), ()  # which NumPy refuses
    if b.ndim == 2 and a.ndim > 2:  # one product for all of a batch
        value = (as_rows(a) @ b).reshape(*a.shape[:-1], b.shape[1])
        return value, (
            lambda g: (as_rows(g) @ b.T).reshape(a.shape),
            lambda g: as_rows(a).T @ as_rows(g),
        )
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b

    def matrix(g):
        g = g[..., None] if b.ndim == 1 else g
        return g[..., None, :] if a.ndim == 1 else g

    def by_right(g):
        g = left.swapaxes(-1, -2) @ matrix(g)
        return g[..., 0] if b.ndim == 1 else g

    return a @ b, (lambda g: matrix(g) @ right.swapaxes(-1, -2), by_right)


def _einsum(subscripts, *operands):
    if "->" not in subscripts or "." in subscripts:
        raise ValueError(f"subscripts must name all axes and the output, got {subscripts!r}")
    inputs, output = subscripts.replace(" ", "").split("->")
    terms = inputs.split(",")
    if any(len(set(term)) < len(term) for term in terms):
        raise ValueError(f"subscripts must not repeat an axis in one operand, got {subscripts!r}")

    def by(i):
        def pullback(g):
            others = [t for j, t in enumerate(terms) if j != i]
            known = set(output).union(*others)
            found = "".join(c for c in terms[i] if c in known)
            arrays = [a for j, a in enumerate(operands) if j != i]
            part = np.einsum(f"{','.join([output, *others])}->{found}", g, *arrays, optimize=True)
            summed = [k for k, c in enumerate(terms[i]) if c not in known]
            part = np.expand_dims(part, summed)
            shape = [operands[i].shape[k] if k in summed else n for k, n in enumerate(part.shape)]
            return np.broadcast_to(part, shape)

        return pullback

    value = np.einsum(subscripts, *operands, optimize=True)
    return value, (None, *(by(i) for i in range(len(operands))))


def _reshape(a, shape, order="C"):
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', got {order!r}")
    return a.reshape(shape, order=order), (lambda g: g.reshape(a.shape, order=order),)


def _reshaped(function):
    def rule(a, axis=None):
        return function(a, axis), (lambda g: g.reshape(a.shape),)

    return rule


def _transpose(a, axes=None):
    inverse = None if axes is None else np.argsort([i % a.ndim for i in axes])
    return np.transpose(a, axes), (lambda g: np.transpose(g, inverse),)


def _concatenate(*arrays, axis=0):
    value = np.concatenate(arrays, axis)
    if axis is None:
        return value, [
            lambda g, a=a, end=end: g[end - a.size : end].reshape(a.shape)
            for a, end in zip(arrays, np.cumsum([a.size for a in arrays]), strict=True)
        ]
    ends = np.cumsum([a.shape[axis] for a in arrays])
    return value, [
        lambda g, n=a.shape[axis], end=end: g.swapaxes(0, axis)[end - n : end].swapaxes(0, axis)
        for a, end in zip(arrays, ends, strict=True)
    ]


def _getitem(a, index):
    def pullback(g):
        full = np.zeros_like(a)
        parts = index if isinstance(index, tuple) else (index,)
        if all(p is None or p is ... or isinstance(p, int | slice) for p in parts):
            full[index] = g
        else:  # an index may repeat, and then its gradients add
            np.add.at(full, index, g)
        return full

    return a[index], (pullback,)


def _take(a, indices, axis=None):
    indices = np.asarray(indices, np.intp)
    value = np.take(a, indices, axis=axis)
    n = a.size if axis is None else a.shape[axis]

    def pullback(g):
        at = 0 if axis is None else axis % a.ndim
        taken = np.moveaxis(g, range(at, at + indices.ndim), range(indices.ndim))
        taken = taken.reshape(indices.size, *taken.shape[indices.ndim :])
        summed = add_rows(taken, indices.ravel() % max(n, 1), n)
        return summed.reshape(a.shape) if axis is None else np.moveaxis(summed, 0, at)

    return value, (pullback, None)


def _take_along_axis(a, indices, axis=-1):
    value = np.take_along_axis(a, indices, axis)
    if axis is None:
        return value, (
            lambda g: add_rows(g, indices % max(a.size, 1), a.size).reshape(a.shape),
            None,
        )

    def pullback(g):
        shape = list(g.shape)
        grid = list(np.ix_(*(range(n) for n in shape)))
        grid[axis] = np.broadcast_to(indices, shape)
        shape[axis] = a.shape[axis]
        full = np.zeros(shape, g.dtype)
        np.add.at(full, tuple(grid), g)
        return full

    return value, (pullback, None)


def _pad(a, pad_width, mode="constant"):
    if mode != "constant":
        raise ValueError(f"mode must be 'constant', got {mode!r}")
    widths = np.broadcast_to(pad_width, (a.ndim, 2))
    inner = tuple(slice(w[0], w[0] + n) for w, n in zip(widths, a.shape, strict=True))
    return np.pad(a, pad_width), (lambda g: g[inner],)


def _logsumexp(a, axis=0, keepdims=False):
    top = np.max(a, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # the sum of no or of vanishing numbers is 0
        kept = np.log(np.sum(np.exp(a - top), axis=axis, keepdims=True)) + top
    value = kept if keepdims else kept.squeeze(axis)
    return value, (lambda g: _spread(g, a.shape, axis, keepdims) * np.exp(a - kept),)


RULES: dict[Any, Rule] = {
    # Arithmetic
    np.add: lambda a, b: (a + b, (lambda g: g, lambda g: g)),
    np.subtract: lambda a, b: (a - b, (lambda g: g, np.negative)),
    np.multiply: lambda a, b: (a * b, (lambda g: g * b, lambda g: g * a)),
    np.divide: lambda a, b: ((y := a / b), (lambda g: g / b, lambda g: -g * y / b)),
    np.negative: lambda a: (-a, (np.negative,)),
    np.power: _power,
    np.square: lambda a: (a * a, (lambda g: g * (a + a),)),
    np.sqrt: lambda a: ((y := np.sqrt(a)), (lambda g: g / (y + y),)),
    np.absolute: lambda a: (np.absolute(a), (lambda g: g * np.sign(a),)),
    # Exponentials and angles
    np.exp: lambda a: ((y := np.exp(a)), (lambda g: g * y,)),
    np.expm1: lambda a: ((y := np.expm1(a)), (lambda g: g * (y + 1),)),
    np.log: lambda a: (np.log(a), (lambda g: g / a,)),
    np.log1p: lambda a: (np.log1p(a), (lambda g: g / (a + 1),)),
    np.tanh: lambda a: ((y := np.tanh(a)), (lambda g: g * (1 - y * y),)),
    np.sin: lambda a: (np.sin(a), (lambda g: g * np.cos(a),)),
    np.cos: lambda a: (np.cos(a), (lambda g: -g * np.sin(a),)),
    np.logaddexp: lambda a, b: (
        (y := np.logaddexp(a, b)),
        (lambda g: g * np.exp(a - y), lambda g: g * np.exp(b - y)),
    ),
    # Choice
    np.maximum: _larger(np.maximum, np.greater),
    np.minimum: _larger(np.minimum, np.less),
    np.where: lambda c, a, b: (
        np.where(c, a, b),
        (None, lambda g: np.where(c, g, 0), lambda g: np.where(c, 0, g)),
    ),
    np.clip: _clip,
    # Reductions
    np.sum: _sum,
    np.mean: _mean,
    np.max: _extremum(np.max),
    np.amax: _extremum(np.max),
    np.min: _extremum(np.min),
    np.amin: _extremum(np.min),
    np.logaddexp.reduce: _logsumexp,
    np.cumsum: lambda a, axis=None: (
        np.cumsum(a, axis),
        (lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis).reshape(a.shape),),
    ),
    # Products
    np.matmul: _matmul,
    np.einsum: _einsum,
    # Shape
    np.reshape: _reshape,
    np.ravel: lambda a, order="C": _reshape(a, -1, order),
    np.squeeze: _reshaped(np.squeeze),
    np.expand_dims: _reshaped(np.expand_dims),
    np.transpose: _transpose,
    np.swapaxes: lambda a, i, j: (np.swapaxes(a, i, j), (lambda g: np.swapaxes(g, i, j),)),
    np.moveaxis: lambda a, i, j: (np.moveaxis(a, i, j), (lambda g: np.moveaxis(g, j, i),)),
    np.flip: lambda a, axis=None: (np.flip(a, axis), (lambda g: np.flip(g, axis),)),
    np.broadcast_to: lambda a, shape: (np.broadcast_to(a, shape), (lambda g: g,)),
    np.concatenate: _concatenate,
    np.pad: _pad,
    np.astype: lambda a, dtype: (
        a.astype(dtype),
        (None if np.dtype(dtype).kind != "f" else lambda g: g,),
    ),
    # Indices
    np.ndarray.__getitem__: _getitem,
    np.take: _take,
    np.take_along_axis: _take_along_axis,
}


def _split(a, sections, axis=0):
    size = a.shape[axis]
    if isinstance(sections, int):
        if size % sections:
            raise ValueError(f"sections must divide the axis' length {size}, got {sections}")
        sections = [i * (size // sections) for i in range(1, sections)]
    bounds = zip([0, *sections], [*sections, size], strict=True)
    return [np.swapaxes(np.swapaxes(a, 0, axis)[start:stop], 0, axis) for start, stop in bounds]


def _dot(a, b):
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(b) <= 2:
        return a @ b
    columns = np.moveaxis(b, -2, 0)
    value = a @ np.reshape(columns, (columns.shape[0], -1))
    return np.reshape(value, (*a.shape[:-1], *columns.shape[1:]))


# Functions that are other functions of the table, one after the other.
COMPOSED: dict[Any, Callable[..., Any]] = {
    np.stack: lambda arrays, axis=0: np.concatenate(
        [np.expand_dims(a, axis) for a in arrays], axis
    ),
    np.split: _split,
    np.var: lambda a, axis=None, keepdims=False: np.mean(
        np.square(a - np.mean(a, axis, keepdims=True)), axis, keepdims=keepdims
    ),
    np.std: lambda a, axis=None, keepdims=False: np.sqrt(np.var(a, axis, keepdims=keepdims)),
    np.dot: _dot,
    np.outer: lambda a, b: np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1)),
}

# Functions whose values are whole numbers, decisions or shapes: no gradient
# passes, and they give plain arrays.
CONSTANT = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_and, np.logical_or, np.logical_not, np.isfinite, np.isinf, np.isnan,
    np.sign, np.floor, np.ceil, np.rint, np.round, np.argmax, np.argmin, np.argsort,
    np.all, np.any, np.allclose, np.array_equal, np.isclose, np.searchsorted, np.unique,
    np.count_nonzero, np.nonzero, np.shape, np.ndim, np.size, np.zeros_like, np.ones_like,
    np.full_like, np.empty_like, np.result_type,
}  # fmt: skip
