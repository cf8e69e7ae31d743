"""What a layer is: its framework, its kind, and how to call it in a message."""

from typing import Any

from helpers.layers.module import Module

PACKAGES = {"keras": "keras", "torch": "torch", "numpy": "helpers"}  # Python's, by framework
TORCH = {
    "Linear": "dense",
    "Conv1d": "conv1d", "Conv2d": "conv2d",
    "ConvTranspose1d": "conv_transpose1d", "ConvTranspose2d": "conv_transpose2d",
    "BatchNorm1d": "batch_norm", "BatchNorm2d": "batch_norm",
    "LayerNorm": "layer_norm", "GroupNorm": "group_norm", "Embedding": "embedding",
    "RNN": "rnn", "LSTM": "lstm", "GRU": "gru",
    "MultiheadAttention": "attention", "MultiHeadAttention": "attention",
}  # fmt: skip
KERAS = {
    "Dense": "dense",
    "Conv1D": "conv1d", "Conv2D": "conv2d",
    "DepthwiseConv1D": "conv1d", "DepthwiseConv2D": "conv2d",
    "Conv1DTranspose": "conv_transpose1d", "Conv2DTranspose": "conv_transpose2d",
    "BatchNormalization": "batch_norm", "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm", "Embedding": "embedding",
    "SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru",
    "MultiHeadAttention": "attention",
}  # fmt: skip
RECURRENT = ("rnn", "lstm", "gru")


class ConversionError(ValueError):
    """What has no counterpart: the message says the layer, the reason and what works nearby."""


def is_a(layer: Any, package: str, name: str) -> bool:
    """Tell a layer's class by name, so that neither framework is imported."""
    return name in _classes(layer, package)


def _classes(layer: Any, package: str) -> list[str]:
    return [c.__name__ for c in type(layer).__mro__ if c.__module__.split(".")[0] == package]


def framework_of(model: Any) -> str:
    """Return "numpy", "torch" or "keras", or "" for what is of none of them.

    Args:
        model: a layer, a model, or a list of them, which is of the framework of its first.
    """
    if isinstance(model, list | tuple) and model:
        return framework_of(model[0])
    if isinstance(model, Module):
        return "numpy"
    if is_a(model, "torch", "Module"):
        return "torch"
    return "keras" if is_a(model, "keras", "Layer") else ""


def kind(layer: Any) -> str | None:
    """Return what a layer is, such as "dense" or "lstm"; None for what holds no known weights."""
    framework = framework_of(layer)
    if framework == "keras" and is_a(layer, "keras", "Bidirectional"):
        return kind(layer.forward_layer)
    table = KERAS if framework == "keras" else TORCH
    names = _classes(layer, PACKAGES.get(framework, ""))
    return next((table[name] for name in names if name in table), None)


def describe(layer: Any) -> str:
    """Name a layer for a message: its class and, in Keras, its name."""
    framework = "" if isinstance(layer, list | tuple) else framework_of(layer)
    if framework == "keras":
        return f"keras {type(layer).__name__} {layer.name!r}"
    module = {"torch": "torch.nn.", "numpy": "helpers.nn."}.get(framework, "")
    return f"{module}{type(layer).__name__}"
