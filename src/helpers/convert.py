"""Weights and models between Keras, PyTorch and the NumPy engine.

``copy_weights`` moves the weights between two models that were each written in a framework,
``convert`` builds the other model too. A dense layer's W has a convention of its own:
``get_dense`` and ``set_dense`` give it as (in, out), for x @ W + b, in all three.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from helpers import model_builders
from helpers.layouts import (
    Array,
    Arrays,
    ConversionError,
    framework,
    is_a,
    kind,
    read,
    write,
)
from helpers.model_readers import from_keras, keras_layers
from helpers.pairing import pairs, transfer
from helpers.parity import to_numpy
from helpers.torch_readers import from_torch

__all__ = [
    "ConversionError", "convert", "copy_weights", "get_dense", "get_weights", "pairs",
    "set_dense", "set_weights", "transfer",
]  # fmt: skip


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


def convert(model: Any, to: str = "torch", input_shape: Any = None) -> Any:
    """Return a sequential model of another framework that predicts the same.

    Each framework has its own axes: images are (batch, height, width, channels) in Keras, (batch,
    channels, height, width) elsewhere. Sequences are (batch, time, features) in Keras. In
    PyTorch and the engine, 1-D convolutions take (batch, channels, time) and recurrent and dense
    layers (batch, time, features); the first of them decides what the model takes, and
    ``Transpose`` stands between.

    Activations become layers of their own; recurrent layers are wrapped in ``Recurrent``; batch
    norm keeps the source's running variance, biased in Keras and unbiased in PyTorch, so that
    training may go on. What PyTorch lacks in one bias of Keras' LSTM and simple RNN is zero and
    frozen. A model of PyTorch or the engine keeps its mode; one that comes from Keras is in
    evaluation mode.

    Predictions agree to rounding. In float64 Keras' GELU and a leaky ReLU of PyTorch's slope stay
    some 5e-9 apart, as Keras rounds their constants to float32; so does attention
    unless √key_dim is a power of two. Dropout draws other numbers in each framework.

    Args:
        model: a ``keras.Sequential`` (built), ``torch.nn.Sequential`` or
            ``helpers.nn.Sequential``, of one dtype, float32 or float64. Sequential models within
            are laid out flat.
        to: "torch", "keras" or "numpy".
        input_shape: to Keras, the shape of one example as ``model`` takes it, without the batch.

    Raises:
        ConversionError: a layer has no counterpart; the message names it, the reason and what
            works instead.
        TypeError: the model is not sequential.
        ValueError: ``to`` is unknown or the model's own framework, ``input_shape`` is missing, a
            Keras model is not built, or dtypes are mixed.
    """
    source = framework(model)
    if not source or not any(is_a(model, p, "Sequential") for p in ("keras", "torch", "helpers")):
        raise TypeError(
            "model must be a Sequential of Keras, PyTorch or helpers.nn, got "
            f"{type(model).__name__}; write others in both frameworks, and use copy_weights"
        )
    if to not in ("torch", "keras", "numpy") or to == source:
        raise ValueError(
            f"to must be another framework than the model's, {source!r}, of 'torch', 'keras' and "
            f"'numpy', got {to!r}"
        )
    if to == "keras" and input_shape is None:
        raise ValueError("input_shape must be given to convert to Keras, such as (3, 32, 32)")
    steps = from_keras(model) if source == "keras" else from_torch(model)
    dtype = _dtype(model, source)
    if to == "keras":
        target = model_builders.to_keras(steps, dtype, tuple(input_shape))
    else:
        target = getattr(model_builders, f"to_{to}")(steps, dtype)
        target.train(source != "keras" and model.training)
    copy_weights(model, target)
    return target


def _dtype(model: Any, source: str) -> str:
    """Return the dtype of all layers: in Keras also one without weights rounds to its own."""
    if source == "keras":
        found = sorted({layer.compute_dtype for layer in keras_layers(model)})
    else:
        found = sorted({to_numpy(p).dtype.name for p in model.parameters()})
    found = found or ["float32"]
    if len(found) > 1 or found[0] not in ("float32", "float64"):
        raise ValueError(f"model must have one dtype, float32 or float64, got {found}")
    return found[0]


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
