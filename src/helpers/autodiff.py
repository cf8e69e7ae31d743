"""Reverse-mode differentiation of NumPy programs.

A ``Tensor`` wraps an array and records what NumPy computes from it, so that
``np.exp(x)``, ``x @ W`` and ``np.sum(x, axis=1)`` can be differentiated as they
stand. The calculus is one table, ``RULES`` in ``helpers.rules``; this module
records, and walks the record backwards (Linnainmaa 1976).
"""

import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any

import numpy as np

from helpers.arrays import Array, unbroadcast
from helpers.rules import COMPOSED, CONSTANT, RULES, Rule

_births = itertools.count()


class _Mode(threading.local):
    recording = True


_mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the ``with`` block, in this thread only."""
    before, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = before


def apply(rule: Rule, *args: Any, **settings: Any) -> "Tensor":
    """Compute ``rule`` on tensors and constants and record how to go back.

    Args:
        rule: maps arrays to ``(value, pullbacks)``, one pullback per argument;
            a pullback maps the gradient by the value to the one by its argument.
        args: tensors, and constants: arrays, numbers, None.
        settings: passed to the rule as they are.
    """
    arrays = [a.data if isinstance(a, Tensor) else _constant(a) for a in args]
    value, pullbacks = rule(*arrays, **settings)
    result = Tensor.__new__(Tensor)
    result.data = value if type(value) is np.ndarray else np.asarray(value)
    result.grad = None
    result._birth = next(_births)
    result._edges = ()
    if _mode.recording:
        result._edges = [
            (a, p)
            for a, p in zip(args, pullbacks, strict=False)
            if isinstance(a, Tensor) and a.requires_grad and p is not None
        ]
    result.requires_grad = bool(result._edges)
    return result


def _constant(a: Any) -> Any:
    """Return what rules take: a NumPy scalar would turn float32 into float64, a number does not."""
    if isinstance(a, list):
        a = np.asarray(a)
    elif isinstance(a, np.generic):
        a = a.item()
    if isinstance(a, complex) or (isinstance(a, np.ndarray) and a.dtype.kind == "c"):
        raise TypeError(f"tensors are real; got the complex {a!r:.40}")
    return a


def primitive(rule: Rule) -> Callable[..., Any]:
    """Make a function out of a rule: of tensors it gives a tensor, of arrays an array."""
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def function(*args: Any, **settings: Any) -> Any:
        if settings:  # arrays given by name, such as a bias, take their places
            bound = signature.bind(*args, **settings)
            args, settings = bound.args, bound.kwargs
        if any(isinstance(a, Tensor) for a in args):
            return apply(rule, *args, **settings)
        return rule(*map(_constant, args), **settings)[0]

    return function


def _operators(function: np.ufunc) -> tuple[Callable[..., "Tensor"], Callable[..., "Tensor"]]:
    """Return the operator of a binary function and its reflection."""
    return (
        lambda self, other: apply(RULES[function], self, other),
        lambda self, other: apply(RULES[function], other, self),
    )


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the array method of the same name as a NumPy function."""
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def _plain(value: Any) -> Any:
    """Return ``value`` with arrays in the place of tensors."""
    if isinstance(value, list | tuple):
        return type(value)(_plain(v) for v in value)
    return value.data if isinstance(value, Tensor) else value


class Tensor:
    """An array that remembers what it was computed from.

    Args:
        data: array or what becomes one; an array is not copied.
        requires_grad: whether ``backward`` shall leave a gradient here.

    Attributes:
        data: the ndarray.
        grad: ndarray of the same shape and type after ``backward``, or None.

    Raises:
        TypeError: ``data`` is not numeric, or ``requires_grad`` of integers.
    """

    __slots__ = ("_birth", "_edges", "data", "grad", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = np.asarray(data.data if isinstance(data, Tensor) else data)
        if self.data.dtype.kind not in ("f" if requires_grad else "biuf"):
            expected = "floats, to require gradients" if requires_grad else "real numbers"
            raise TypeError(f"data must hold {expected}, got dtype {self.data.dtype}")
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._birth = next(_births)
        # Pairs (parent, pullback); None once a backward pass has used them up.
        self._edges: Sequence[tuple[Tensor, Callable[[Array], Array]]] | None = ()

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradients of this tensor to the ``grad`` of all that it depends on.

        Only tensors that were not computed (parameters) keep a gradient.

        Args:
            gradient: gradient by this tensor, of its shape; 1 for a single number.
            retain_graph: keep the record for a second pass.

        Raises:
            ValueError: the tensor requires no gradient, or ``gradient`` is missing
                for more than one number or has another shape.
            RuntimeError: an earlier pass has used up the record.
        """
        walk = _walk(self, _seed(self, gradient), retain_graph)
        leaves = [(node, g) for node, g in walk if node._edges == ()]
        for (leaf, _), g in zip(leaves, _own([g for _, g in leaves]), strict=True):
            leaf.grad = g if leaf.grad is None else np.asarray(leaf.grad + g)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and ufunc in RULES:
            return apply(RULES[ufunc], *args)
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.__array_function__(function, (), args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in CONSTANT:
            return function(*_plain(args), **{k: _plain(v) for k, v in kwargs.items()})
        if function in COMPOSED:
            return COMPOSED[function](*args, **kwargs)
        if function is np.concatenate:  # its arrays come in one list
            args, kwargs = args[0], {"axis": args[1] if len(args) > 1 else 0} | kwargs
        if function not in RULES:
            name = _name(function)
            raise TypeError(
                f"{name} has no derivative rule; add one, helpers.rules.RULES[{name}] = "
                "lambda x: (value, (pullback,)), or call it on x.data if no gradient is to pass"
            )
        lists = [a for a in args if isinstance(a, list | tuple)]
        if any(isinstance(a, Tensor) for group in lists for a in group):
            raise TypeError(f"{_name(function)} got a list of tensors; np.stack them first")
        if any(isinstance(a, Tensor) for a in kwargs.values()):
            raise TypeError(f"{_name(function)} takes tensors by position, not by name")
        try:
            return apply(RULES[function], *args, **kwargs)
        except TypeError as error:
            error.add_note(f"in the rule of {_name(function)}, {RULES[function]}")
            raise

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError("a tensor that requires gradients became an array; use x.data for it")
        return np.array(self.data, dtype, copy=copy)

    def __getitem__(self, index: Any) -> "Tensor":
        return apply(RULES[np.ndarray.__getitem__], self, index=_plain(index))

    def reshape(self, *shape: Any) -> "Tensor":
        return np.reshape(self, shape[0] if isinstance(shape[0], tuple | list) else shape)

    def transpose(self, *axes: Any) -> "Tensor":
        return np.transpose(self, axes[0] if len(axes) == 1 and np.ndim(axes[0]) else axes or None)

    def astype(self, dtype: Any) -> "Tensor":
        return apply(RULES[np.astype], self, dtype=dtype)

    def detach(self) -> "Tensor":
        """Return a tensor of the same array, without its record."""
        return Tensor(self.data)

    def item(self) -> float:
        return self.data.item()

    def __reduce__(self) -> Any:
        """Copy and pickle as a new tensor: two of one age would be taken for one."""
        if self._edges != ():
            raise TypeError("a computed tensor cannot be copied or pickled; detach() it first")
        arguments = (self.data,) if isinstance(self, Parameter) else (self.data, self.requires_grad)
        return type(self), arguments

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    T = property(lambda self: np.transpose(self))
    sum, mean, var, std = map(_method, (np.sum, np.mean, np.var, np.std))
    max, min, argmax = map(_method, (np.max, np.min, np.argmax))
    squeeze, swapaxes = map(_method, (np.squeeze, np.swapaxes))
    __add__, __radd__ = _operators(np.add)
    __sub__, __rsub__ = _operators(np.subtract)
    __mul__, __rmul__ = _operators(np.multiply)
    __truediv__, __rtruediv__ = _operators(np.divide)
    __pow__, __rpow__ = _operators(np.power)
    __matmul__, __rmatmul__ = _operators(np.matmul)
    __neg__, __abs__ = map(_method, (np.negative, np.absolute))
    __lt__, __le__ = map(_method, (np.less, np.less_equal))
    __gt__, __ge__ = map(_method, (np.greater, np.greater_equal))
    __eq__, __ne__ = map(_method, (np.equal, np.not_equal))
    __hash__ = object.__hash__


class Parameter(Tensor):
    """A tensor that is to be learned: it requires gradients."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


def grad(
    output: Tensor, inputs: Sequence[Tensor], grad_output: Any = None, retain_graph: bool = False
) -> tuple[Array, ...]:
    """Return the gradients of ``output`` by ``inputs``; no ``grad`` attribute changes.

    Args:
        output: a single number, or give ``grad_output``, its gradient.
        inputs: tensors, computed ones too.
        retain_graph: keep the record for a second pass.

    Returns:
        For each input an array of its shape; zeros if ``output`` does not depend on it.

    Raises:
        ValueError, RuntimeError: as ``Tensor.backward``.
    """
    if isinstance(inputs, Tensor):
        raise TypeError("inputs must be a sequence of tensors, got one tensor")
    wanted = {t._birth: np.zeros_like(t.data) for t in inputs}
    for node, g in _walk(output, _seed(output, grad_output), retain_graph):
        if node._birth in wanted:
            wanted[node._birth] = g
    return tuple(_own([wanted[t._birth] for t in inputs]))


def _own(gradients: list[Array]) -> list[Array]:
    """Return arrays of which none shares memory with another, or with the seed.

    The pullbacks of a sum return the array that they were given.
    """
    handed: set[int] = set()
    owned = []
    for g in map(np.asarray, gradients):
        owned.append(g.copy() if g.base is not None or id(g) in handed else g)
        handed.add(id(g))
    return owned


def _name(function: Any) -> str:
    """Return how a user of NumPy calls a function: np.exp, np.add.reduce, np.linalg.norm."""
    if isinstance(getattr(function, "__self__", None), np.ufunc):
        return f"np.{function.__self__.__name__}.{function.__name__}"
    return f"np{getattr(function, '__module__', 'numpy')[5:]}.{function.__name__}"


def _seed(output: Tensor, gradient: Any) -> Array:
    if not output.requires_grad:
        raise ValueError("the tensor requires no gradient: nothing it depends on does")
    if gradient is None and output.size != 1:
        raise ValueError(f"gradient must be given for shape {output.shape}; only one number has 1")
    seed = np.asarray(1 if gradient is None else _plain(gradient), output.dtype)
    if gradient is not None and seed.shape != output.shape:
        raise ValueError(f"gradient must have shape {output.shape}, got {seed.shape}")
    return np.broadcast_to(seed, output.shape)


def _walk(root: Tensor, gradient: Array, retain_graph: bool) -> Iterator[tuple[Tensor, Array]]:
    """Yield each tensor below ``root`` with its gradient, the youngest first.

    A tensor is younger than all that it was computed from, so that once its
    turn comes all the paths to it have been added up.
    """
    waiting = {root._birth: (root, gradient)}
    births = [-root._birth]
    while births:
        node, gradient = waiting.pop(-heappop(births))
        yield node, gradient
        if node._edges is None:
            raise RuntimeError(
                "an earlier backward pass has used up this record; compute the value again, "
                "or call the first pass with retain_graph=True"
            )
        for parent, pullback in node._edges:
            g = pullback(gradient)
            if g.shape != parent.data.shape:
                g = unbroadcast(g, parent.data.shape)
            if g.dtype != parent.data.dtype:
                g = g.astype(parent.data.dtype)
            birth = parent._birth
            if birth in waiting:  # the pullbacks of a sum return one array: never add in place
                g = waiting[birth][1] + g
            else:
                heappush(births, -birth)
            waiting[birth] = (parent, g)
        if node._edges and not retain_graph:
            node._edges = None
