"""Derivatives by central differences, the judge of those by hand.

(f(x + h) − f(x − h)) / 2h is off by O(h²) from cutting Taylor's series and
by O(ε/h) from rounding; in float64, h ≈ ε^(1/3) ≈ 6e-6 balances the two.
"""

from collections.abc import Callable, Mapping

import numpy as np

STEP = float(np.finfo(np.float64).eps ** (1 / 3))


class GradientError(AssertionError):
    """A gradient does not match its finite difference."""


def numerical_gradient(
    f: Callable[[np.ndarray], float], x: np.ndarray, step: float = STEP
) -> np.ndarray:
    """Differentiate a scalar function by central differences.

    Args:
        f: takes an array like ``x``, returns one number.
        x: where to differentiate, float64, any shape; not changed.
        step: h, relative to max(1, |x|) of each element.

    Returns:
        df/dx, the shape of ``x``.

    Raises:
        TypeError: ``x`` is not float64.
        ValueError: ``f`` does not return one finite number, or the step is
            not positive.

    Source:
        W. H. Press et al., "Numerical Recipes", 3rd ed. 2007, section 5.7.
    """
    x = _float64("x", x).copy()
    every = np.arange(x.size)
    return _differences(lambda: f(x), x, every, step).reshape(x.shape)


def check(
    f: Callable[[Mapping[str, np.ndarray]], float],
    parameters: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    *,
    samples: int = 20,
    rtol: float = 1e-6,
    seed: int = 0,
) -> None:
    """Check gradients against central differences and print what agrees.

    Args:
        f: takes parameters like ``parameters``, returns the scalar loss.
        parameters: float64 arrays by name; restored if changed.
        gradients: df/dparameter by name, each the shape of its parameter.
        samples: how many elements of each array are checked, drawn at
            random; arrays of at most so many elements are checked whole.
        rtol: allowed difference, relative to the largest magnitude of the
            gradient checked.
        seed: seed of the draw.

    Raises:
        GradientError: one differs; the message names parameter, index and
            both values.
        TypeError: an array is not float64.
        ValueError: names or shapes do not match, there is nothing to check,
            or the loss is not one finite number.
    """
    if parameters.keys() != gradients.keys():
        odd = sorted(parameters.keys() ^ gradients.keys())
        raise ValueError(f"parameters and gradients must have the same names; only one has {odd}")
    if not parameters:
        raise ValueError("parameters must hold at least one array, got none")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    # Copies: a loss that fails half-way must not leave the reader's arrays shifted.
    trial = {name: _float64(name, p).copy() for name, p in parameters.items()}
    rng = np.random.default_rng(seed)
    lines = []
    for name, parameter in trial.items():
        gradient = _float64(f"gradient of {name}", gradients[name])
        if gradient.shape != parameter.shape:
            raise ValueError(
                f"gradient of {name} must have shape {parameter.shape}, got {gradient.shape}"
            )
        chosen = np.arange(parameter.size)
        if parameter.size > samples:
            chosen = np.sort(rng.choice(parameter.size, size=samples, replace=False))
        _refuse_not_finite(name, gradient)
        numerical = _differences(lambda: f(trial), parameter, chosen, STEP)
        _judge(name, gradient, chosen, numerical, rtol)
        lines.append((name, str(parameter.shape), f"{len(chosen)} of {parameter.size}"))
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    for line in lines:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"{cells}  match central differences within {rtol:g}")


def _refuse_not_finite(name: str, gradient: np.ndarray) -> None:
    """Raise GradientError at the first element that is NaN or infinite."""
    wrong = np.argwhere(~np.isfinite(gradient))
    if len(wrong):
        at = wrong[0].tolist()
        raise GradientError(f"{name}{at}: gradient {gradient[tuple(at)]}, expected a finite number")


def _judge(
    name: str, gradient: np.ndarray, chosen: np.ndarray, numerical: np.ndarray, rtol: float
) -> None:
    """Raise GradientError where a relative difference is beyond ``rtol``."""
    ours = gradient.reshape(-1)[chosen]
    scale = max(np.abs(gradient).max(initial=0), np.abs(numerical).max(initial=0)) or 1.0
    difference = np.abs(ours - numerical) / scale
    if not difference.size:
        return
    worst = int(difference.argmax())
    if difference[worst] > rtol:
        at = [int(i) for i in np.unravel_index(chosen[worst], gradient.shape)]
        raise GradientError(
            f"{name}{at}: gradient {ours[worst]:.8g}, central difference "
            f"{numerical[worst]:.8g}; relative difference {difference[worst]:.2e}, "
            f"allowed {rtol:g}"
        )


def _differences(
    f: Callable[[], float], x: np.ndarray, chosen: np.ndarray, step: float
) -> np.ndarray:
    """Differentiate f by the chosen elements of x, which f reads; restore x."""
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    flat = x.reshape(-1)
    result = np.empty(len(chosen))
    for i, index in enumerate(chosen):
        kept = flat[index]
        above, below = (kept + sign * step * max(1.0, abs(kept)) for sign in (1, -1))
        try:
            flat[index] = above
            upper = _scalar(f())
            flat[index] = below
            lower = _scalar(f())
        finally:
            flat[index] = kept
        # above − below is the step as rounded, not as intended.
        result[i] = (upper - lower) / (above - below)
    return result


def _scalar(value: float) -> float:
    array = np.asarray(value)
    number = array.dtype.kind in "biuf" and array.size == 1
    if not number or not np.isfinite(array).all():
        raise ValueError(f"f must return one finite number, got {value!r}")
    return float(array.item())


def _float64(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != np.float64:
        raise TypeError(f"{name} must be float64 for finite differences, got {array.dtype}")
    return np.ascontiguousarray(array).reshape(array.shape)
