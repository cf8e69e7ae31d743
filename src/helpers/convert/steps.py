"""What a sequential model of a framework consists of, in steps that all frameworks share.

A step has PyTorch's view of the data: channels first. Sequences are (batch, channels, time) for
what works along time, and (batch, time, features) for what works on each step's features.
"""

from dataclasses import dataclass, field
from typing import Any

from helpers.convert.kinds import RECURRENT, ConversionError, describe

ACTIVATIONS = {  # Keras' name, and PyTorch's and the engine's class
    "relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax", "gelu": "GELU",
    "elu": "ELU", "selu": "SELU", "silu": "SiLU", "leaky_relu": "LeakyReLU", "mish": "Mish",
    "softplus": "Softplus", "softsign": "Softsign", "relu6": "ReLU6",
    "hard_sigmoid": "Hardsigmoid",
}  # fmt: skip
FIRST = ("conv1d", "conv_transpose1d")  # want (batch, channels, time)
LAST = ("dense", "layer_norm", *RECURRENT)  # want (batch, time, features)
EITHER = ("batch_norm", "group_norm", "pool", "global_pool", "pad")  # are turned round alone


@dataclass
class Step:
    """One operation: ``op``, its settings, the layer it comes from and its input's rank."""

    op: str
    layer: Any
    options: dict[str, Any] = field(default_factory=dict)
    rank: int = 0


def fail(layer: Any, reason: str, nearest: str) -> ConversionError:
    """Return the error for a layer that has no counterpart."""
    return ConversionError(f"{describe(layer)} cannot be converted: {reason}. Instead: {nearest}")


def starts_first(steps: list[Step]) -> bool:
    """Tell whether a model of sequences begins with (batch, channels, time)."""
    for step in steps:
        if step.op in (*LAST, "embedding", "flatten"):
            return False
        if step.op in FIRST:
            return True
    return True


def activation(layer: Any, name: str, **options: Any) -> Step:
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise fail(layer, f"its activation is {name}", f"one of {known}")
    return Step("activation", layer, {"name": name, **options})


def same_padding(size: int | None, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return what Keras' padding="same" adds before and after; TypeError without a size."""
    span = dilation * (kernel - 1) + 1
    if stride == 1:
        total = span - 1
    elif span <= 1:
        total = 0
    else:
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2
