"""Agreement between frameworks, measured and said in words.

What is printed names the tolerance that held, never the difference itself:
differences change with the processor, and a page must not.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from helpers.autodiff import Tensor

Values = Mapping[str, Any]


class ParityError(AssertionError):
    """Two frameworks give different values."""


def to_numpy(value: Any) -> np.ndarray:
    """Return a tensor of any of the frameworks as a NumPy array.

    Args:
        value: NumPy array, tensor of ``helpers.autodiff``, TensorFlow tensor or variable (sparse
            gradients too), PyTorch tensor (on any device, with or without gradient),
            Keras variable, number, or nested list of numbers.

    Raises:
        TypeError: ``value`` does not become an array of numbers.
    """
    if isinstance(value, Tensor):
        value = value.data
    elif hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    elif hasattr(value, "dense_shape") and hasattr(value, "indices"):
        import tensorflow as tf

        value = tf.convert_to_tensor(value).numpy()
    elif hasattr(value, "numpy"):
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"expected numbers in one shape, got {value!r}") from error
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers, got {type(value).__name__} with dtype {array.dtype}")
    return array


def agree(
    quantity: str | None = None,
    /,
    *,
    rtol: float | None = None,
    elementwise: bool = False,
    equal_nan: bool = False,
    **values: Any,
) -> None:
    """Check that all frameworks give the same and print what agrees.

    Call it as ``agree("loss", numpy=a, tensorflow=b, torch=c)``, or with a
    dictionary of quantities for each: ``agree(numpy={"loss": a, "dW": g}, …)``.

    Two arrays agree if their shapes are equal and their largest difference
    is at most ``rtol`` times the largest magnitude in either; integers and
    booleans have to be equal. Infinities agree with themselves.

    Args:
        quantity: what is compared; left out with dictionaries.
        rtol: relative tolerance; by default 1e-12 if every array that is not
            of whole numbers is in double precision, else 1e-5.
        elementwise: compare each difference with the larger magnitude of the
            two *elements* instead, as is right for a curve of losses.
        equal_nan: let NaN agree with NaN in the same place.
        values: at least two, by the framework's name.

    Raises:
        ParityError: they differ; the message names the quantity, the two
            frameworks, where the largest difference is, and both values.
        ValueError: fewer than two frameworks, a negative tolerance, or
            dictionaries with different quantities.
        TypeError: dictionaries are mixed with arrays, or a value is not
            numeric.
    """
    if len(values) < 2:
        raise ValueError(f"agree needs at least two named values, got {sorted(values)}")
    if rtol is not None and not 0 <= rtol < np.inf:
        raise ValueError(f"rtol must be at least 0 and finite, got {rtol}")
    table = _by_quantity(quantity, values)
    rows = []
    for name, row in table.items():
        tolerance = _compare(name, row, rtol, elementwise, equal_nan)
        allowed = f"within {tolerance:g}" if tolerance else "exactly"
        shape = next(iter(row.values())).shape
        rows.append((name, str(shape) if shape else "scalar", " = ".join(row), allowed))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
        print("  ".join(cells))


def difference(a: Any, b: Any, *, elementwise: bool = False) -> float:
    """Return the largest relative difference that ``agree`` would judge.

    Args:
        a: array, tensor or number.
        b: the same shape.
        elementwise: as in ``agree``.

    Returns:
        The largest difference over the largest magnitude in either (or,
        elementwise, the largest quotient of the two); infinity where one
        is NaN or infinite and the other is not the same infinity.

    Raises:
        ValueError: shapes differ.
        TypeError: a value is not numeric.
    """
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {a.shape} and {b.shape}")
    return float(_difference(a, b, elementwise, equal_nan=False).max(initial=0))


def _by_quantity(quantity: str | None, values: Values) -> dict[str, dict[str, np.ndarray]]:
    """Turn {framework: {quantity: value}} into {quantity: {framework: array}}."""
    mappings = [isinstance(v, Mapping) for v in values.values()]
    if any(mappings) != all(mappings):
        raise TypeError("values must be all dictionaries or all arrays, got a mixture")
    if not all(mappings):
        values = {framework: {quantity or "value": v} for framework, v in values.items()}
    elif quantity is not None:
        raise TypeError(f"with dictionaries the quantity is left out, got {quantity!r}")
    first, *others = values
    for other in others:
        if values[other].keys() != values[first].keys():
            odd = sorted(values[first].keys() ^ values[other].keys())
            raise ValueError(
                f"{first} and {other} must hold the same quantities; only one has {odd}"
            )
    if not values[first]:
        raise ValueError("values must hold at least one quantity, got none")
    return {
        name: {framework: to_numpy(v[name]) for framework, v in values.items()}
        for name in values[first]
    }


def _compare(
    name: str, row: dict[str, np.ndarray], rtol: float | None, elementwise: bool, equal_nan: bool
) -> float:
    """Return the tolerance that held, or raise ParityError."""
    kinds = {a.dtype.kind for a in row.values()}
    if kinds <= set("biu"):
        tolerance = 0.0
    elif rtol is not None:
        tolerance = rtol
    else:
        inexact = [a.dtype for a in row.values() if a.dtype.kind in "fc"]
        tolerance = 1e-12 if all(np.finfo(d).eps < 1e-15 for d in inexact) else 1e-5
    for (left, a), (right, b) in combinations(row.items(), 2):
        if a.shape != b.shape:
            raise ParityError(f"{name}: {left} has shape {a.shape}, {right} has {b.shape}")
        gaps = _difference(a, b, elementwise, equal_nan)
        if gaps.max(initial=0) > tolerance:
            at = np.unravel_index(int(gaps.argmax()), gaps.shape)
            place = f" at {[int(i) for i in at]}" if a.ndim else ""
            raise ParityError(
                f"{name}: {left} and {right} differ most{place}: {left} {a[at]!s}, "
                f"{right} {b[at]!s}; relative difference {gaps[at]:.2e}, allowed {tolerance:g} "
                f"(shape {a.shape}, {np.count_nonzero(gaps > tolerance)} of "
                f"{gaps.size} beyond)"
            )
    return tolerance


def _difference(a: np.ndarray, b: np.ndarray, elementwise: bool, equal_nan: bool) -> np.ndarray:
    """Relative difference of each element; NaN and unequal infinities count as inf."""
    wide = np.result_type(a, b, np.float64)
    same = (a == b) | (equal_nan & np.isnan(a.astype(wide)) & np.isnan(b.astype(wide)))
    a, b = a.astype(wide), b.astype(wide)
    comparable = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(comparable, a, 0), np.where(comparable, b, 0)
    magnitude = np.maximum(abs(a), abs(b))
    if not elementwise:
        magnitude = np.full_like(magnitude, magnitude.max(initial=0))
    magnitude = np.where(magnitude == 0, 1, magnitude)
    # Scaled before subtracting, for the largest numbers of opposite sign; and
    # never 0 for what differs, as whole numbers can beyond 2**53.
    relative = np.maximum(abs(a / magnitude - b / magnitude), np.finfo(np.float64).tiny)
    return np.where(same, 0.0, np.where(comparable, relative, np.inf))
