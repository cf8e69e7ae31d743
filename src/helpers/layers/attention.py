"""Attention of queries to keys. Sequences are (batch, time, features)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.arrays import Array, once
from helpers.autodiff import Parameter, primitive
from helpers.layers.dense import Linear, linear
from helpers.layers.module import Module, check_sizes


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
            packed = linear(query, self.in_proj_weight, self.in_proj_bias)
            return self.out_proj(self_attention(packed, self.num_heads, mask))
        parts = (query, key, key if value is None else value)
        weights = np.split(self.in_proj_weight, 3)
        width = query.shape[2] // self.num_heads
        heads = [
            np.swapaxes(np.reshape(linear(x, w, b), (*x.shape[:2], self.num_heads, width)), 1, 2)
            for x, w, b in zip(parts, weights, np.split(self.in_proj_bias, 3), strict=True)
        ]
        if mask is not None and mask.ndim == 3:
            mask = np.expand_dims(mask, 1)
        mixed = np.swapaxes(scaled_dot_product_attention(*heads, mask), 1, 2)
        return self.out_proj(np.reshape(mixed, query.shape))
