"""Functions of single elements, and softmax."""

import math
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import primitive
from helpers.layers.module import Function


def logistic(x: Array) -> Array:
    """Return exp(x)/(1 + exp(x)), of the two exponentials the one that cannot overflow."""
    value = np.exp(x.clip(-np.inf, 0))
    value /= 1 + np.exp(-np.abs(x))
    return value


@primitive
def relu(x: Any) -> Any:
    """max(x, 0), with the derivative 0 at 0."""
    value = x.clip(0, np.inf)  # np.maximum with a number takes three times as long
    return value, (lambda g: g * (value > 0),)


@primitive
def sigmoid(x: Any) -> Any:
    """σ(x) = 1/(1 + exp(−x)), without overflow."""
    value = logistic(x)
    return value, (lambda g: g * (value - value * value),)


@primitive
def softplus(x: Any) -> Any:
    """log(1 + exp x), without overflow."""
    return np.logaddexp(x, 0), (lambda g: g * logistic(x),)


@primitive
def gelu(x: Any, approximate: str = "none") -> Any:
    """x Φ(x) (Hendrycks and Gimpel 2016): exact, or with ``approximate="tanh"``."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    if approximate == "tanh":
        root, cubic = math.sqrt(2 / math.pi), 0.044715
        t = np.tanh(root * (x + cubic * x * x * x))
        slope = root * (1 + 3 * cubic * x * x)
        return 0.5 * x * (1 + t), (
            lambda g: g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope),
            None,
        )
    from scipy.special import ndtr

    cdf = ndtr(x)
    density = math.sqrt(0.5 / math.pi)
    return x * cdf, (lambda g: g * (cdf + x * density * np.exp(-0.5 * x * x)), None)


@primitive
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x)/Σ exp(x) along ``axis``."""
    p = np.exp(x - x.max(axis=axis, keepdims=True))
    p /= p.sum(axis=axis, keepdims=True)

    def pullback(g: Array) -> Array:
        gp = g * p
        return gp - p * gp.sum(axis=axis, keepdims=True)

    return p, (pullback, None)


@primitive
def log_softmax(x: Any, axis: int = -1) -> Any:
    """x − log Σ exp(x) along ``axis``."""
    shifted = x - x.max(axis=axis, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=axis, keepdims=True)
    return shifted - np.log(total), (
        lambda g: g - exp / total * g.sum(axis=axis, keepdims=True),
        None,
    )


class ReLU(Function):
    function = relu


class Tanh(Function):
    function = np.tanh


class Sigmoid(Function):
    function = sigmoid


class GELU(Function):
    """Setting: approximate, "none" or "tanh"."""

    function = gelu


class Softmax(Function):
    """Setting: axis, by default the last."""

    function = softmax


class LeakyReLU(Function):
    """Setting: negative_slope, the derivative at 0 and below, by default 0.01."""

    @staticmethod
    def function(x: Any, negative_slope: float = 0.01) -> Any:
        return np.where(x > 0, x, x * float(negative_slope))


class ELU(Function):
    """x above 0, α(exp(x) − 1) elsewhere (Clevert et al. 2016). Setting: alpha, by default 1."""

    @staticmethod
    def function(x: Any, alpha: float = 1.0) -> Any:
        # exp(x) of a large x would overflow, and the gradient be 0 · ∞.
        return np.where(x > 0, x, np.expm1(np.where(x > 0, 0, x)) * float(alpha))


class SiLU(Function):
    """x σ(x), Swish (Ramachandran et al. 2017)."""

    @staticmethod
    def function(x: Any) -> Any:
        return x * sigmoid(x)


class Softplus(Function):
    function = softplus
