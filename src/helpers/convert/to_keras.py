"""A ``keras.Sequential``, built of steps."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from helpers.convert.kinds import RECURRENT
from helpers.convert.steps import EITHER, FIRST, LAST, Step, fail, same_padding, starts_first


def to_keras(steps: list[Step], dtype: str, input_shape: tuple[int | None, ...]) -> Any:
    """Return a built ``keras.Sequential``, not yet with the source's weights.

    Args:
        steps: as from PyTorch or the engine.
        dtype: of all layers.
        input_shape: of one example, channels first.

    Raises:
        ConversionError: a step has no counterpart in Keras.
    """
    import keras

    from helpers.convert.stand_ins import keras_layers

    first = len(input_shape) == 3 or (len(input_shape) == 2 and starts_first(steps))
    shape = (*input_shape[1:], input_shape[0]) if first else tuple(input_shape)
    whole = bool(steps) and steps[0].op == "embedding"
    layers = [keras.Input(shape, dtype="int32" if whole else dtype)]
    shape, convolution = (None, *shape), False
    for step in steps:
        step.rank = len(shape)
        first = _axes(step, first, convolution)
        if step.op in (*FIRST, *LAST, "embedding"):
            convolution = step.op in FIRST
        for layer in _keras_layers(step, shape, keras, keras_layers, dtype):
            try:
                shape = tuple(layer.compute_output_shape(shape))
            except ValueError as error:
                reason = f"Keras says: {error}"
                raise fail(step.layer, reason, "another input_shape, or padding") from error
            layers.append(layer)
    return keras.Sequential(layers)


def _axes(step: Step, first: bool, convolution: bool) -> bool:
    """Check that a step works on the axis that Keras has last; return if channels come first."""
    op, turned = step.op, "Transpose() of helpers.convert.stand_ins before it"
    dim = step.options.get("dim", 1)
    if step.rank == 4 and (op in ("dense", "layer_norm") or dim not in (1, -3)):
        raise fail(step.layer, "it works on an image's width", "on channels: Conv2d, GroupNorm")
    if step.rank != 3:
        if step.rank == 2 and dim not in (1, -1):
            raise fail(step.layer, f"its dim is {dim}", "dim=-1")
        return first and op != "embedding"
    if op == "transpose":
        return not first
    channels = 1 if first else -1
    if (op in LAST and first) or (op in (*FIRST, *EITHER) and not first):
        raise fail(step.layer, "it works on the axis that is time in Keras", turned)
    if step.options.get("dim", channels) not in (channels, channels % 3):
        raise fail(step.layer, f"its dim={dim} is time in Keras", f"dim={channels}")
    if op == "flatten" and first != convolution:
        raise fail(step.layer, "the order of what it flattens cannot be told", turned)
    return first


def _keras_layers(
    step: Step, shape: tuple[Any, ...], keras: ModuleType, stand_ins: ModuleType, dtype: str
) -> Iterator[Any]:
    op, o, layers = step.op, step.options, keras.layers
    if op == "dense":
        yield layers.Dense(o["m"], use_bias=o["bias"], dtype=dtype)
    elif op == "embedding":
        yield layers.Embedding(o["n"], o["m"], dtype=dtype)
    elif op.startswith("conv_transpose"):
        yield from _keras_transposed(step, layers, dtype)
    elif op.startswith("conv"):
        yield from _keras_conv(step, layers, dtype)
    elif op == "batch_norm":
        make = layers.BatchNormalization if o["biased"] else stand_ins.UnbiasedBatchNormalization
        yield make(momentum=1 - o["momentum"], epsilon=o["eps"], dtype=dtype)
    elif op == "layer_norm":
        yield layers.LayerNormalization(epsilon=o["eps"], dtype=dtype)
    elif op == "group_norm":
        yield layers.GroupNormalization(o["groups"], epsilon=o["eps"], dtype=dtype)
    elif op in RECURRENT:
        make = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}[op]
        named = {"return_sequences": o["sequences"], "use_bias": o["bias"], "dtype": dtype}
        layer = make(o["m"], activation=o["activation"], **named)
        yield layers.Bidirectional(layer, dtype=dtype) if o["both"] else layer
    elif op == "pool":
        yield from _keras_pool(step, shape, layers, dtype)
    elif op == "global_pool":
        how = {"max": "Max", "avg": "Average"}[o["how"]]
        make = getattr(layers, f"Global{how}Pooling{o['dims']}D")
        yield make(keepdims=True, dtype=dtype)
    elif op == "pad":
        yield from _keras_pad(o["pads"], layers, dtype)
    elif op == "dropout":
        yield layers.Dropout(o["p"], dtype=dtype)
    elif op == "flatten":
        yield layers.Flatten(dtype=dtype)
    elif op == "activation":
        name = o["name"]
        if name == "leaky_relu":
            yield layers.LeakyReLU(negative_slope=o["slope"], dtype=dtype)
        elif name == "elu":
            yield layers.ELU(o.get("alpha", 1.0), dtype=dtype)
        elif name == "gelu" and o.get("approximate") == "tanh":
            yield layers.Activation(stand_ins.gelu_tanh, dtype=dtype)
        else:
            yield layers.Activation(name, dtype=dtype)


def _keras_pad(pads: Any, layers: ModuleType, dtype: str) -> Iterator[Any]:
    """Yield what adds zeros, and what takes away where a number is negative."""
    for name, sign in (("ZeroPadding", 1), ("Cropping", -1)):
        amounts = [tuple(max(sign * n, 0) for n in side) for side in pads]
        if np.max(amounts):
            make = getattr(layers, f"{name}{len(pads)}D")
            yield make(tuple(amounts) if len(pads) > 1 else amounts[0], dtype=dtype)


def _keras_conv(step: Step, layers: ModuleType, dtype: str) -> Iterator[Any]:
    o, dims = step.options, len(step.options["kernel"])
    spans = zip(o["padding"], o["kernel"], o["stride"], o["dilation"], strict=True)
    same = any(o["padding"]) and all(s == 1 and 2 * p == d * (k - 1) for p, k, s, d in spans)
    if max(o["stride"]) > 1 and max(o["dilation"]) > 1:
        raise fail(step.layer, "Keras allows stride or dilation above 1, not both", "one of them")
    if not same:
        yield from _keras_pad([(p, p) for p in o["padding"]], layers, dtype)
    named = {"padding": "same" if same else "valid", "use_bias": o["bias"], "dtype": dtype}
    named |= {"strides": o["stride"], "dilation_rate": o["dilation"]}
    if o["groups"] == o["n"] > 1 and len({*o["stride"]}) == 1:
        make = getattr(layers, f"DepthwiseConv{dims}D")
        yield make(o["kernel"], depth_multiplier=o["m"] // o["n"], **named)
    else:
        make = getattr(layers, f"Conv{dims}D")
        yield make(o["m"], o["kernel"], groups=o["groups"], **named)


def _keras_transposed(step: Step, layers: ModuleType, dtype: str) -> Iterator[Any]:
    o, crops = step.options, []
    sides = zip(o["kernel"], o["stride"], o["padding"], o["output_padding"], strict=True)
    for kernel, stride, padding, extra in sides:
        after = padding - extra + max(stride - kernel, 0)  # Keras' is as long as n · stride
        if after < 0:
            reason = f"its output_padding {extra} is larger than its padding {padding}"
            raise fail(step.layer, reason, "a larger padding and kernel_size")
        crops.append((-padding, -after))
    make = getattr(layers, f"Conv{len(crops)}DTranspose")
    yield make(o["m"], o["kernel"], o["stride"], use_bias=o["bias"], dtype=dtype)
    yield from _keras_pad(crops, layers, dtype)


def _keras_pool(
    step: Step, shape: tuple[Any, ...], layers: ModuleType, dtype: str
) -> Iterator[Any]:
    o = step.options
    padding, how = "valid", {"max": "Max", "avg": "Average"}[o["how"]]
    if any(o["padding"]) and o["how"] == "avg" and o["include"]:
        yield from _keras_pad([(p, p) for p in o["padding"]], layers, dtype)
    elif any(o["padding"]):
        sides = list(zip(shape[1:-1], o["kernel"], o["stride"], o["padding"], strict=True))
        if any(n is None or same_padding(n, k, s, 1) != (p, p) for n, k, s, p in sides):
            raise fail(
                step.layer,
                f"with padding {o['padding']} and strides {o['stride']} it pads an input of "
                f"{shape[1:-1]} otherwise than Keras' padding='same'",
                "padding=0, or an input of which 'same' pads both sides alike",
            )
        padding = "same"
    make = getattr(layers, f"{how}Pooling{o['dims']}D")
    yield make(o["kernel"], o["stride"], padding=padding, dtype=dtype)
