"""Losses: the mean over all samples."""

from typing import Any

import numpy as np

from helpers.arrays import Array, as_rows
from helpers.autodiff import primitive
from helpers.layers.activations import logistic
from helpers.layers.module import check_labels


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
    check_labels("target", target, logits.shape[-1])
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
        lambda g: g / logits.size * (logistic(logits) - target),
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
