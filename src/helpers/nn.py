"""Layers of the NumPy engine, with PyTorch's names, arguments and weight layouts.

The state of a model is a flat dictionary of arrays under PyTorch's names, so
that ``model.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})``
copies a PyTorch model. Sequences are (batch, time, features).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from helpers import functional
from helpers.autodiff import Parameter, Tensor
from helpers.convolution import Conv1d, Conv2d, ConvTranspose2d
from helpers.module import Module, check_sizes, fit, train_step, uniform
from helpers.recurrent import GRU, LSTM, RNN

__all__ = [
    "ELU", "GELU", "GRU", "LSTM", "RNN", "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d",
    "BatchNorm2d", "Conv1d", "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "Flatten",
    "GroupNorm", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module",
    "MultiHeadAttention", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Tanh", "ZeroPad2d", "fit", "functional", "train_step",
]  # fmt: skip


class Linear(Module):
    """Dense layer, x Wᵀ + b: weight (out_features, in_features), bias (out_features,)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(in_features=in_features, out_features=out_features)
        self.weight = uniform(rng, in_features, (out_features, in_features), dtype)
        self.bias = uniform(rng, in_features, (out_features,), dtype) if bias else None

    def forward(self, x: Any) -> Any:
        return functional.linear(x, self.weight, self.bias)


class _Function(Module):
    """A layer without parameters: a function of ``functional`` and its settings."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, *settings: Any, **named: Any) -> None:
        self.settings, self.named = settings, named

    def forward(self, x: Any) -> Any:
        return type(self).function(x, *self.settings, **self.named)


class MaxPool2d(_Function):
    """Settings: kernel_size, stride (by default the kernel's size)."""

    function = functional.max_pool2d


class AvgPool2d(_Function):
    """Settings: kernel_size, stride (by default the kernel's size)."""

    function = functional.avg_pool2d


class AdaptiveAvgPool2d(_Function):
    """Mean of each channel's whole image: (batch, channels, H, W) → (batch, channels, 1, 1).

    Setting: output_size, of which 1 alone is possible.
    """

    @staticmethod
    def function(x: Any, output_size: Any = 1) -> Any:
        if output_size not in (1, (1, 1)):
            raise ValueError(f"output_size must be 1, got {output_size!r}; use AvgPool2d")
        return np.mean(x, axis=(2, 3), keepdims=True)


class ZeroPad2d(_Function):
    """Zeros around an image. Setting: padding, a number or (left, right, top, bottom)."""

    @staticmethod
    def function(x: Any, padding: int | tuple[int, int, int, int]) -> Any:
        if np.shape(padding) not in ((), (4,)) or np.min(padding) < 0:
            raise ValueError(
                "padding must be a number from 0 or four, (left, right, top, bottom), got "
                f"{padding!r}"
            )
        left, right, top, bottom = np.broadcast_to(padding, 4).tolist()
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


class Flatten(_Function):
    """(batch, …) → (batch, n)."""

    def forward(self, x: Any) -> Any:
        return np.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class ReLU(_Function):
    function = functional.relu


class Tanh(_Function):
    function = np.tanh


class Sigmoid(_Function):
    function = functional.sigmoid


class GELU(_Function):
    """Setting: approximate, "none" or "tanh"."""

    function = functional.gelu


class Softmax(_Function):
    """Setting: axis, by default the last."""

    function = functional.softmax


class LeakyReLU(_Function):
    """Setting: negative_slope, the derivative at 0 and below, by default 0.01."""

    @staticmethod
    def function(x: Any, negative_slope: float = 0.01) -> Any:
        return np.where(x > 0, x, x * float(negative_slope))


class ELU(_Function):
    """x above 0, α(exp(x) − 1) elsewhere (Clevert et al. 2016). Setting: alpha, by default 1."""

    @staticmethod
    def function(x: Any, alpha: float = 1.0) -> Any:
        # exp(x) of a large x would overflow, and the gradient be 0 · ∞.
        return np.where(x > 0, x, np.expm1(np.where(x > 0, 0, x)) * float(alpha))


class SiLU(_Function):
    """x σ(x), Swish (Ramachandran et al. 2017)."""

    @staticmethod
    def function(x: Any) -> Any:
        return x * functional.sigmoid(x)


class Softplus(_Function):
    function = functional.softplus


class Dropout(Module):
    """Dropout in training, nothing in evaluation; ``rng`` as for the weights."""

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in 0 ≤ p < 1, got {p}")
        self.p, self.rng = p, rng

    def forward(self, x: Any) -> Any:
        if not (self.training and self.p):
            return x
        return functional.dropout(x, self.p, self.rng or np.random)


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
        return functional.layer_norm(x, self.weight, self.bias, self.eps)


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
        normal = np.reshape(
            functional.batch_norm(np.reshape(x, rows), one, one * 0, eps=self.eps), x.shape
        )
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
            return functional.batch_norm(
                x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
            )
        data = x.data if isinstance(x, Tensor) else x
        if data.ndim < 2:
            raise ValueError(f"x must have shape (batch, channels, …), got {x.shape}")
        axes = (0, *range(2, data.ndim))
        count = data.size // max(data.shape[1], 1)
        if count < 2:
            raise ValueError(f"x must hold more than one value a channel to train, got {x.shape}")
        result = functional.batch_norm(x, self.weight, self.bias, eps=self.eps)
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


class Embedding(Module):
    """A table of vectors: weight (num_embeddings, embedding_dim), from N(0, 1)."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, rng: Any = None, dtype: Any = np.float32
    ) -> None:
        check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        table = (rng or np.random).normal(size=(num_embeddings, embedding_dim))
        self.weight = Parameter(table.astype(dtype))

    def forward(self, indices: Any) -> Any:
        return functional.embedding(indices, self.weight)


class MultiHeadAttention(Module):
    """Attention in several heads: PyTorch's ``MultiheadAttention``, batch first.

    Args:
        embed_dim: features, a multiple of ``num_heads``.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, rng: Any = None, dtype: Any = np.float32
    ) -> None:
        check_sizes(embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim={embed_dim}, got {num_heads}")
        self.num_heads = num_heads
        bound = math.sqrt(6 / (4 * embed_dim))  # Glorot's, of (3 d, d)
        weight = (rng or np.random).uniform(-bound, bound, (3 * embed_dim, embed_dim))
        self.in_proj_weight = Parameter(weight.astype(dtype))
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, dtype))
        self.out_proj = Linear(embed_dim, embed_dim, rng=rng, dtype=dtype)
        self.out_proj.bias.data[:] = 0

    def forward(self, query: Any, key: Any = None, value: Any = None, mask: Any = None) -> Any:
        """Attend to ``key`` and ``value``, by default to the query's own sequence.

        Args:
            query: (batch, queries, embed_dim).
            key, value: (batch, keys, embed_dim); value is by default key.
            mask: (queries, keys), (batch, queries, keys) or with the heads in between: True
                where a query may look, or numbers to be added.

        Returns:
            (batch, queries, embed_dim).
        """
        if query.ndim != 3:
            raise ValueError(f"query must have shape (batch, queries, d), got {query.shape}")
        if key is None and value is not None:
            raise ValueError("key must be given with value, got value alone")
        if key is None:
            packed = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
            return self.out_proj(functional.self_attention(packed, self.num_heads, mask))
        parts = (query, key, key if value is None else value)
        weights = np.split(self.in_proj_weight, 3)
        width = query.shape[2] // self.num_heads
        heads = [
            np.swapaxes(
                np.reshape(functional.linear(x, w, b), (*x.shape[:2], self.num_heads, width)), 1, 2
            )
            for x, w, b in zip(parts, weights, np.split(self.in_proj_bias, 3), strict=True)
        ]
        if mask is not None and mask.ndim == 3:
            mask = np.expand_dims(mask, 1)
        mixed = np.swapaxes(functional.scaled_dot_product_attention(*heads, mask), 1, 2)
        return self.out_proj(np.reshape(mixed, query.shape))


class Sequential(Module):
    """Layers one after the other; their names are their numbers, as in PyTorch."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"layers must be modules, got {type(layer).__name__}")
            setattr(self, str(i), layer)

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self.children())

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = layer(x)
        return x
