"""Fused primitives of the NumPy engine: where a closed form beats the composition.

Tensors give tensors and arrays give arrays. Names, arguments and layouts are
PyTorch's: a dense layer's weight is (out, in).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.arrays import Array, add_rows, as_rows, once
from helpers.autodiff import primitive
from helpers.convolution import avg_pool2d, conv2d, conv_transpose2d, max_pool2d
from helpers.recurrent import gru, lstm, rnn

__all__ = [
    "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "conv2d",
    "conv_transpose2d", "cross_entropy", "dropout", "embedding", "gelu", "gru",
    "layer_norm", "linear", "log_softmax", "lstm", "max_pool2d", "mse_loss", "relu",
    "rnn", "scaled_dot_product_attention", "self_attention", "sigmoid", "softmax", "softplus",
]  # fmt: skip


def _column_sums(x: Array) -> Array:
    """Sum (…, n) to (n,): a product with ones, four times as fast as ``sum``."""
    rows = as_rows(x)
    return np.ones(len(rows), x.dtype) @ rows


def _row_means(x: Array) -> Array:
    """Mean of (…, n) over the last axis, which stays with length 1."""
    n = x.shape[-1]
    return (x @ np.full(n, 1 / n, x.dtype))[..., None]


# Layers


@primitive
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return x Wᵀ + b: x (…, in), weight W (out, in), bias b (out,) → (…, out)."""
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x (…, in) and weight (out, in) must fit, got shapes {x.shape} and {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have shape {weight.shape[:1]}, got {bias.shape}")
    rows = as_rows(x)
    value = rows @ weight.T
    if bias is not None:
        value += bias
    return value.reshape(*x.shape[:-1], len(weight)), (
        lambda g: (as_rows(g) @ weight).reshape(x.shape),
        lambda g: as_rows(g).T @ rows,
        _column_sums,
    )


@primitive
def embedding(indices: Any, weight: Any) -> Any:
    """Return rows of a table: whole-number indices (…), weight (n, d) → (…, d)."""
    _check_labels("indices", indices, len(weight))
    flat = indices.ravel()
    return weight[indices], (None, lambda g: add_rows(as_rows(g), flat, len(weight)))


@primitive
def dropout(x: Any, p: float, rng: Any) -> Any:
    """Set each element to 0 with probability p and divide the rest by 1 − p.

    Srivastava et al. 2014, in the inverted form; ``rng`` is a NumPy generator.
    """
    if not 0 <= p < 1:
        raise ValueError(f"p must lie in 0 ≤ p < 1, got {p}")
    kept = (rng.random(x.shape) >= p) * x.dtype.type(1 / (1 - p))
    return x * kept, (lambda g: g * kept, None, None)


# Activations


@primitive
def relu(x: Any) -> Any:
    """max(x, 0), with the derivative 0 at 0."""
    value = x.clip(0, np.inf)  # np.maximum with a number takes three times as long
    return value, (lambda g: g * (value > 0),)


def _sigmoid(x: Array) -> Array:
    """Return exp(x)/(1 + exp(x)), of the two exponentials the one that cannot overflow."""
    value = np.exp(x.clip(-np.inf, 0))
    value /= 1 + np.exp(-np.abs(x))
    return value


@primitive
def sigmoid(x: Any) -> Any:
    """σ(x) = 1/(1 + exp(−x)), without overflow."""
    value = _sigmoid(x)
    return value, (lambda g: g * (value - value * value),)


@primitive
def softplus(x: Any) -> Any:
    """log(1 + exp x), without overflow."""
    return np.logaddexp(x, 0), (lambda g: g * _sigmoid(x),)


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


# Losses: the mean over all samples


def _check_labels(name: str, labels: Array, count: int) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"{name} must be an array of whole numbers, got {kind}")
    if labels.size and not (labels.min() >= 0 and labels.max() < count):
        raise ValueError(f"{name} must lie in 0 … {count - 1}, got {labels.min()} … {labels.max()}")


def _like(name: str, array: Any, other: Array) -> Array:
    """Return ``array`` in the type of ``other``, whose shape it must have; refuse empty ones."""
    if np.shape(array) != other.shape:
        raise ValueError(f"{name} must have shape {other.shape}, got {np.shape(array)}")
    if not other.size:
        raise ValueError(f"{name} must hold at least one number, got none")
    return np.asarray(array, other.dtype)


@primitive
def cross_entropy(logits: Any, target: Any) -> Any:
    """Mean of −log softmax(logits)[target]: logits (…, classes), whole-number target (…)."""
    if logits.ndim < 1 or logits.shape[:-1] != np.shape(target):
        raise ValueError(
            "target must have the shape of logits without its last axis, the classes, got "
            f"{np.shape(target)} and {logits.shape}"
        )
    _check_labels("target", target, logits.shape[-1])
    rows, labels = as_rows(logits), target.ravel()
    if not labels.size:
        raise ValueError("target must hold at least one label, got none")
    shifted = rows - rows.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=1)
    picked = np.arange(len(rows)), labels
    loss = (np.log(total) - shifted[picked]).mean()

    def pullback(g: Array) -> Array:
        scale = g / len(rows)
        d = exp * (scale / total)[:, None]
        d[picked] -= scale
        return d.reshape(logits.shape)

    return loss, (pullback, None)


@primitive
def binary_cross_entropy_with_logits(logits: Any, target: Any) -> Any:
    """Mean of log(1 + exp z) − t z, without overflow; target t of the logits' shape, in [0, 1]."""
    target = _like("target", target, logits)
    if not (np.min(target) >= 0 and np.max(target) <= 1):
        raise ValueError(f"target must lie in 0 … 1, got {np.min(target)} … {np.max(target)}")
    loss = logits.clip(0, np.inf) - target * logits + np.log1p(np.exp(-np.abs(logits)))
    return loss.mean(), (
        lambda g: g / logits.size * (_sigmoid(logits) - target),
        lambda g: -g / logits.size * logits,
    )


@primitive
def mse_loss(output: Any, target: Any) -> Any:
    """Mean of (output − target)², of one shape."""
    error = output - _like("target", target, output)
    return np.square(error).mean(), (
        lambda g: (2 / error.size) * g * error,
        lambda g: (-2 / error.size) * g * error,
    )


# Normalisation


@primitive
def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Normalise the last axis to mean 0 and variance 1 (Ba et al. 2016), then scale and shift.

    Args:
        x: (…, d).
        weight, bias: (d,).
        eps: added to the variance.
    """
    for name, array in (("weight", weight), ("bias", bias)):
        if array.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have shape {x.shape[-1:]}, got {array.shape}")
    normal = x - _row_means(x)
    inverse = 1 / np.sqrt(np.vecdot(normal, normal)[..., None] / x.shape[-1] + eps)
    normal *= inverse
    value = normal * weight
    value += bias
    product = once(lambda g: g * normal)

    def by_x(g: Array) -> Array:
        share = weight / len(weight)
        d = g * weight
        d -= (g @ share)[..., None]
        d -= normal * (product(g) @ share)[..., None]
        d *= inverse
        return d

    return value, (by_x, lambda g: _column_sums(product(g)), _column_sums, None)


@primitive
def batch_norm(
    x: Any, weight: Any, bias: Any, mean: Array | None = None, var: Array | None = None, eps=1e-5
) -> Any:
    """Normalise each channel (Ioffe and Szegedy 2015), then scale and shift.

    Args:
        x: (batch, channels, …).
        weight, bias: (channels,).
        mean, var: (channels,), constants in evaluation; by default the batch's
            own, through which the gradient passes.
        eps: added to the variance.
    """
    if x.ndim < 2 or {weight.shape, bias.shape} != {x.shape[1:2]}:
        raise ValueError(
            "x must have shape (batch, channels, …) and weight and bias (channels,), got "
            f"{x.shape}, {weight.shape} and {bias.shape}"
        )
    if (mean is None) != (var is None):
        raise ValueError("mean and var must be given together, got one of them")
    axes = (0, *range(2, x.ndim))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    own = mean is None
    if own:
        mean, var = x.mean(axis=axes), x.var(axis=axes)
    inverse = 1 / np.sqrt(var + eps).astype(x.dtype, copy=False)
    normal = (x - mean.reshape(shape)) * inverse.reshape(shape)
    count = x.size // x.shape[1]
    sums = once(lambda g: (g.sum(axis=axes), (g * normal).sum(axis=axes)))

    def by_x(g: Array) -> Array:
        if own:
            by_bias, by_weight = (s.reshape(shape) / count for s in sums(g))
            g = g - by_bias - normal * by_weight
        return g * (inverse * weight).reshape(shape)

    value = normal * weight.reshape(shape) + bias.reshape(shape)
    return value, (by_x, lambda g: sums(g)[1], lambda g: sums(g)[0], None, None, None)


# Attention


def _attend(
    q: Array, k: Array, v: Array, mask: Array | None
) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Scaled dot-product attention over the last two axes, and its pullback."""
    scale = 1 / math.sqrt(q.shape[-1])
    scaled = q * scale
    # (keys, queries), so that softmax runs along the slow axis.
    p = k @ scaled.swapaxes(-1, -2)
    if mask is not None:
        if mask.dtype.kind not in "bf":
            raise TypeError(f"mask must hold booleans or floats, got {mask.dtype}")
        turned = np.swapaxes(mask, -1, -2)
        p = np.where(turned, p, -np.inf) if mask.dtype == bool else p + turned.astype(p.dtype)
    top = p.max(axis=-2, keepdims=True)
    p -= np.where(top == -np.inf, 0, top)  # a query that may look nowhere gets 0
    np.exp(p, out=p)
    total = p.sum(axis=-2, keepdims=True)
    total[total == 0] = 1
    p /= total
    value = p.swapaxes(-1, -2) @ v

    def back(g: Array) -> tuple[Array, ...]:
        d = v @ g.swapaxes(-1, -2)
        d -= np.vecdot(g, value)[..., None, :]
        d *= p
        turned = d.swapaxes(-1, -2)
        return (turned @ k) * scale, d @ scaled, p @ g, turned

    return value, back


@primitive
def scaled_dot_product_attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """softmax(Q Kᵀ/√d + mask) V (Vaswani et al. 2017).

    Args:
        query: Q (…, queries, d).
        key, value: K (…, keys, d) and V (…, keys, dv).
        mask: (…, queries, keys): True where a query may look, or numbers to be added.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            "query (…, queries, d), key (…, keys, d) and value (…, keys, dv) must fit, got "
            f"{query.shape}, {key.shape} and {value.shape}"
        )
    result, back = _attend(query, key, value, mask)
    shared = once(back)
    return result, (
        lambda g: shared(g)[0],
        lambda g: shared(g)[1],
        lambda g: shared(g)[2],
        lambda g: shared(g)[3],
    )


@primitive
def self_attention(packed: Any, heads: int, mask: Any = None) -> Any:
    """Attention of a sequence to itself in several heads, from one packed projection.

    Args:
        packed: queries, keys and values side by side, (batch, time, 3 d).
        heads: number of heads, a divisor of d.
        mask: (time, time), (batch, time, time) or (batch, heads, time, time), as for
            ``scaled_dot_product_attention``.

    Returns:
        (batch, time, d).
    """
    if packed.ndim != 3 or packed.shape[2] % (3 * heads):
        raise ValueError(f"packed must be (batch, time, 3 d), heads dividing d, got {packed.shape}")
    batch, time, width = packed.shape
    split = (batch, time, 3, heads, width // (3 * heads))
    q, k, v = packed.reshape(split).transpose(2, 0, 3, 1, 4)
    one_a_sample = mask is not None and mask.ndim == 3
    value, back = _attend(q, k, v, mask[:, None] if one_a_sample else mask)
    shared = once(lambda g: back(g.reshape(batch, time, heads, split[4]).swapaxes(1, 2)))

    def by_packed(g: Array) -> Array:
        parts = np.empty(split, g.dtype)
        for i, part in enumerate(shared(g)[:3]):
            parts[:, :, i] = part.swapaxes(1, 2)
        return parts.reshape(packed.shape)

    def by_mask(g: Array) -> Array:
        return shared(g)[3].sum(axis=1) if one_a_sample else shared(g)[3]

    return value.swapaxes(1, 2).reshape(batch, time, width // 3), (by_packed, None, by_mask)
