"""The weights of layers and models: read, written and copied.

A dense layer's W has a convention of its own: ``get_dense`` and ``set_dense`` give it as (in,
out), for x @ W + b, in all three frameworks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.convert.kinds import kind
from helpers.convert.layouts import Arrays, read, write
from helpers.convert.pairing import transfer
from helpers.parity import to_numpy


def get_weights(layer: Any) -> Arrays:
    """Return copies of a layer's arrays in PyTorch's layout and under PyTorch's names.

    Args:
        layer: a layer with weights of Keras (built), ``torch.nn`` or ``helpers.nn``: dense,
            (depthwise, transposed) convolution, batch, layer and group norm, embedding,
            simple RNN, LSTM, GRU, these in ``Bidirectional``, multi-head attention.

    Returns:
        what the ``state_dict`` of PyTorch's layer holds, but ``num_batches_tracked``: for a dense
        layer weight (out, in) and bias (out,). ``bias_hh`` is zero where Keras has one bias.

    Raises:
        TypeError: the layer is none of these.
        ConversionError: its weights have no place in PyTorch's layer.
        ValueError: a Keras layer without weights yet.
    """
    return read(layer)


def set_weights(layer: Any, weights: Mapping[str, Array]) -> None:
    """Write arrays in PyTorch's layout into a layer of any framework.

    Args:
        layer: as ``get_weights`` takes it.
        weights: the names and shapes that ``get_weights(layer)`` gives. Keras' LSTM and simple
            RNN, which have one bias, take the sum of two.

    Raises:
        ValueError: a name is missing or unknown, a shape differs, or a number is not finite;
            the layer keeps what it had.
        TypeError, ConversionError: as ``get_weights``.
    """
    write(layer, {name: to_numpy(value) for name, value in weights.items()})


def copy_weights(source: Any, target: Any) -> None:
    """Give one model the weights of another, be it of another framework.

    Layers with weights are paired by ``pairs``. Keras flattens (height, width, channels), PyTorch
    and the engine (channels, height, width): what follows a ``Flatten`` of images (and of the
    sequences of a one-dimensional convolution), up to the first dense layer, is reordered, unless
    a ``Permute`` stands before it. Running means and variances go along.

    Args:
        source: a layer, a model, or a list of them; a Keras model has to be built.
        target: the same in the same or another framework.

    Raises:
        ConversionError: the two do not match, or a layer has no counterpart. The target then
            keeps what it had.
        ValueError: a weight is not finite in the target's dtype; nothing is written either.
    """
    transfer(source, target)


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
    arrays = read(_dense(layer))
    return arrays["weight"].T.copy(), arrays.get("bias")


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
    own, w = read(_dense(layer)), np.asarray(weight)
    if w.shape != (shape := own["weight"].shape[::-1]):
        raise ValueError(f"weight must have shape (in, out) = {shape}, got {w.shape}")
    if (bias is None) != ("bias" not in own):
        raise ValueError(
            f"bias must {'' if 'bias' in own else 'not '}be given: the layer has "
            f"{'one' if 'bias' in own else 'none'}"
        )
    write(layer, {"weight": w.T} | ({} if bias is None else {"bias": np.asarray(bias)}))


def _dense(layer: Any) -> Any:
    if kind(layer) != "dense":
        raise TypeError(
            "layer must be a keras.layers.Dense, a torch.nn.Linear or a helpers.nn.Linear, got "
            f"{type(layer).__name__}"
        )
    return layer
