"""Weights between the layouts of NumPy, Keras and PyTorch.

The book's NumPy layout is Keras': a dense layer computes x @ W + b with W of
shape (in, out). PyTorch's ``Linear`` stores the transpose, (out, in), and so
does that of ``helpers.nn``.
"""

from typing import Any

import numpy as np

from helpers.autodiff import Tensor
from helpers.nn import Linear
from helpers.parity import to_numpy


def get_dense(layer: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a dense layer's weights in the NumPy layout.

    Args:
        layer: a built ``keras.layers.Dense``, or a ``Linear`` of ``torch.nn`` or
            ``helpers.nn``.

    Returns:
        Copies of W, (in, out), and b, (out,), or None without bias.

    Raises:
        TypeError: the layer is neither.
        ValueError: a Keras layer without weights yet.
    """
    weight, bias = _variables(layer)
    w = to_numpy(weight)
    w = w.T if _is_linear(layer) else w
    return w.copy(), None if bias is None else to_numpy(bias).copy()


def set_dense(layer: Any, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
    """Write weights in the NumPy layout into a dense layer.

    Args:
        layer: a built ``keras.layers.Dense``, or a ``Linear`` of ``torch.nn`` or
            ``helpers.nn``.
        weight: W, (in, out).
        bias: b, (out,); None exactly if the layer has no bias.

    Raises:
        TypeError: the layer is neither.
        ValueError: shapes do not match the layer, a bias is missing or
            superfluous, or a weight is not finite; the layer keeps what it
            had.
    """
    own_weight, own_bias = _variables(layer)
    torch_layout = _is_linear(layer)
    w = np.asarray(weight)
    shape = tuple(own_weight.shape)[::-1] if torch_layout else tuple(own_weight.shape)
    if w.shape != shape:
        raise ValueError(f"weight must have shape (in, out) = {shape}, got {w.shape}")
    if (bias is None) != (own_bias is None):
        raise ValueError(
            f"bias must {'not ' if own_bias is None else ''}be given: the layer has "
            f"{'none' if own_bias is None else 'one'}"
        )
    pairs = [(own_weight, _cast("weight", w.T if torch_layout else w, own_weight))]
    if own_bias is not None:
        b = np.asarray(bias)
        if b.shape != tuple(own_bias.shape):
            raise ValueError(f"bias must have shape {tuple(own_bias.shape)}, got {b.shape}")
        pairs.append((own_bias, _cast("bias", b, own_bias)))
    for variable, value in pairs:
        _assign(variable, value)


def _variables(layer: Any) -> tuple[Any, Any]:
    if _is_linear(layer):
        return layer.weight, layer.bias
    if _is(layer, "keras", "Dense"):
        if not layer.built:
            raise ValueError(f"layer {layer.name!r} has no weights yet; call layer.build(shape)")
        return layer.kernel, layer.bias
    raise TypeError(
        "layer must be a keras.layers.Dense, a torch.nn.Linear or a helpers.nn.Linear, got "
        f"{type(layer).__name__}"
    )


def _cast(name: str, value: np.ndarray, variable: Any) -> np.ndarray:
    """Return a copy in the type of the layer's variable, all of it finite."""
    with np.errstate(over="ignore"):
        cast = np.array(value, dtype=to_numpy(variable).dtype, order="C")
    if not np.isfinite(cast).all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite {cast.dtype} numbers")
    return cast


def _assign(variable: Any, value: np.ndarray) -> None:
    if isinstance(variable, Tensor):
        variable.data[...] = value
    elif hasattr(variable, "detach"):
        import torch

        with torch.no_grad():
            variable.copy_(torch.from_numpy(value))
    else:
        variable.assign(value)


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, Linear) or _is(layer, "torch", "Linear")


def _is(layer: Any, package: str, name: str) -> bool:
    """Tell a layer's class by name, so that neither framework is imported."""
    return any(
        c.__name__ == name and c.__module__.split(".")[0] == package for c in type(layer).__mro__
    )
