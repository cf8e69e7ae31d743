"""Weighted sums of features, and rows of a table."""

from typing import Any

import numpy as np

from helpers.arrays import add_rows, as_rows, column_sums
from helpers.autodiff import Parameter, primitive
from helpers.layers.module import Module, check_labels, check_sizes, uniform


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
        column_sums,
    )


@primitive
def embedding(indices: Any, weight: Any) -> Any:
    """Return rows of a table: whole-number indices (…), weight (n, d) → (…, d)."""
    check_labels("indices", indices, len(weight))
    flat = indices.ravel()
    return weight[indices], (None, lambda g: add_rows(as_rows(g), flat, len(weight)))


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
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table of vectors: weight (num_embeddings, embedding_dim), from N(0, 1)."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, rng: Any = None, dtype: Any = np.float32
    ) -> None:
        check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        table = (rng or np.random).normal(size=(num_embeddings, embedding_dim))
        self.weight = Parameter(table.astype(dtype))

    def forward(self, indices: Any) -> Any:
        return embedding(indices, self.weight)
