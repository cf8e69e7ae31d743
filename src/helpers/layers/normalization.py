"""Layers that normalise: over the features, over groups of channels, over the batch."""

import math
from typing import Any

import numpy as np

from helpers.arrays import Array, column_sums, once
from helpers.autodiff import Parameter, Tensor, primitive
from helpers.layers.module import Module, check_sizes


def _row_means(x: Array) -> Array:
    """Mean of (…, n) over the last axis, which stays with length 1."""
    n = x.shape[-1]
    return (x @ np.full(n, 1 / n, x.dtype))[..., None]


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

    return value, (by_x, lambda g: column_sums(product(g)), column_sums, None)


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


class LayerNorm(Module):
    """Layer norm over the last axis, of ``normalized_shape`` features."""

    def __init__(
        self, normalized_shape: int, eps: float = 1e-5, *, dtype: Any = np.float32
    ) -> None:
        check_sizes(normalized_shape=normalized_shape)
        self.weight = Parameter(np.ones(normalized_shape, dtype))
        self.bias = Parameter(np.zeros(normalized_shape, dtype))
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return layer_norm(x, self.weight, self.bias, self.eps)


class GroupNorm(Module):
    """Norm over the channels of each of ``num_groups`` groups and all places (Wu and He 2018).

    x: (batch, num_channels, …); weight and bias: (num_channels,).
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, *, dtype: Any = np.float32
    ) -> None:
        check_sizes(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups must divide {num_channels} channels, got {num_groups}")
        self.weight = Parameter(np.ones(num_channels, dtype))
        self.bias = Parameter(np.zeros(num_channels, dtype))
        self.num_groups, self.eps = num_groups, eps

    def forward(self, x: Any) -> Any:
        if x.ndim < 2 or x.shape[1:2] != self.weight.shape:
            raise ValueError(f"x must have shape (batch, {self.weight.size}, …), got {x.shape}")
        # Each group of each sample as the only channel of a batch norm.
        rows = (1, x.shape[0] * self.num_groups, math.prod(x.shape[1:]) // self.num_groups)
        one = np.ones(rows[1], x.dtype)
        normal = np.reshape(batch_norm(np.reshape(x, rows), one, one * 0, eps=self.eps), x.shape)
        channels = (-1,) + (1,) * (x.ndim - 2)
        return normal * np.reshape(self.weight, channels) + np.reshape(self.bias, channels)


class _BatchNorm(Module):
    """Batch norm; running ← (1 − momentum) running + momentum batch, in training.

    As in PyTorch, the running variance is the unbiased one, and the batch is
    normalised with the biased one.
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(num_features=num_features)
        self.weight = Parameter(np.ones(num_features, dtype))
        self.bias = Parameter(np.zeros(num_features, dtype))
        self.running_mean = np.zeros(num_features, dtype)
        self.running_var = np.ones(num_features, dtype)
        self.num_batches_tracked = np.array(0)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Any) -> Any:
        if not self.training:
            return batch_norm(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        data = x.data if isinstance(x, Tensor) else x
        if data.ndim < 2:
            raise ValueError(f"x must have shape (batch, channels, …), got {x.shape}")
        axes = (0, *range(2, data.ndim))
        count = data.size // max(data.shape[1], 1)
        if count < 2:
            raise ValueError(f"x must hold more than one value a channel to train, got {x.shape}")
        result = batch_norm(x, self.weight, self.bias, eps=self.eps)
        for running, batch in (
            (self.running_mean, data.mean(axis=axes)),
            (self.running_var, data.var(axis=axes) * (count / (count - 1))),
        ):
            running += self.momentum * (batch - running)
        self.num_batches_tracked += 1
        return result


class BatchNorm1d(_BatchNorm):
    """Batch norm of (batch, features) or (batch, channels, time)."""


class BatchNorm2d(_BatchNorm):
    """Batch norm of (batch, channels, height, width)."""
