"""Sequential models from one framework to another."""

from typing import Any

from helpers.convert.from_keras import from_keras, keras_layers
from helpers.convert.from_torch import from_torch
from helpers.convert.kinds import PACKAGES, framework_of, is_a
from helpers.convert.to_keras import to_keras
from helpers.convert.to_torch import to_engine, to_torch
from helpers.convert.weights import copy_weights
from helpers.parity import to_numpy

BUILDERS = {"torch": to_torch, "numpy": to_engine}


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
    source = framework_of(model)
    if not source or not any(is_a(model, p, "Sequential") for p in PACKAGES.values()):
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
        target = to_keras(steps, dtype, tuple(input_shape))
    else:
        target = BUILDERS[to](steps, dtype)
        target.train(source != "keras" and model.training)
    copy_weights(model, target)
    return target


def _dtype(model: Any, framework: str) -> str:
    """Return the dtype of all layers: in Keras also one without weights rounds to its own."""
    if framework == "keras":
        found = sorted({layer.compute_dtype for layer in keras_layers(model)})
    else:
        found = sorted({to_numpy(p).dtype.name for p in model.parameters()})
    found = found or ["float32"]
    if len(found) > 1 or found[0] not in ("float32", "float64"):
        raise ValueError(f"model must have one dtype, float32 or float64, got {found}")
    return found[0]
