"""The steps of a ``keras.Sequential``."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from helpers.convert.kinds import RECURRENT, is_a, kind
from helpers.convert.steps import (
    EITHER,
    FIRST,
    LAST,
    Step,
    activation,
    fail,
    same_padding,
    starts_first,
)


def from_keras(model: Any) -> list[Step]:
    """Return the steps of a built ``keras.Sequential``.

    Raises:
        ConversionError: a layer has no counterpart.
        ValueError: the model has no weights yet.
    """
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built; give it a keras.Input or call it")
    steps, shape = [], tuple(model.input_shape)
    for layer in keras_layers(model):
        for step in _keras_steps(layer, shape):
            step.rank = step.rank or len(shape)
            steps.append(step)
        shape = tuple(layer.compute_output_shape(shape))
    return list(_with_transposes(steps))


def keras_layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a sequential model and of those within it."""
    for layer in model.layers:
        if is_a(layer, "keras", "Sequential"):
            yield from keras_layers(layer)
        elif not is_a(layer, "keras", "InputLayer"):
            yield layer


def _with_transposes(steps: list[Step]) -> Iterator[Step]:
    """Turn sequences where a layer of PyTorch wants their axes in the other order."""
    first = starts_first(steps)
    for step in steps:
        turn = Step("transpose", step.layer)
        if step.rank == 3:
            if (step.op in FIRST and not first) or (step.op in LAST and first):
                first = not first
                yield turn
            elif step.op in EITHER and not first:
                yield from (turn, step)
                if step.op != "global_pool":
                    yield turn
                continue
        if step.op == "embedding":
            first = False
        if step.options.get("name") == "softmax":
            step.options["dim"] = 1 if step.rank == 4 or (step.rank == 3 and first) else -1
        yield step


def _keras_steps(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    _check_keras(layer)
    name, what = type(layer).__name__, kind(layer) or ""
    known = type(layer).__module__.startswith("keras.") or name == "UnbiasedBatchNormalization"
    handle: Callable[..., Any] | None = None
    if name in ("Dropout", "Flatten", "Activation", "LeakyReLU", "ReLU", "ELU", "Softmax"):
        handle = _keras_simple
    elif name.startswith(("ZeroPadding", "Cropping")):
        handle = _keras_pad
    elif "Pooling" in name:
        handle = _keras_pool
    elif what.startswith("conv"):
        handle = _keras_conv
    elif "Norm" in name:
        handle = _keras_norm
    elif what in RECURRENT:
        handle = _keras_recurrent
    elif what in ("dense", "embedding"):
        handle = _keras_dense if what == "dense" else _keras_embedding
    if handle is None or not known or name.endswith("3D"):
        raise fail(
            layer,
            "convert knows no counterpart",
            "write the model in the other framework too, and move its weights by copy_weights",
        )
    yield from handle(layer, shape)
    function = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if handle in (_keras_dense, _keras_conv) and function != "linear":
        out = len(layer.compute_output_shape(shape))
        options = {"slope": _rounded(0.2)} if function == "leaky_relu" else {}
        step = activation(layer, function, **options)
        step.rank = out
        yield step


def _check_keras(layer: Any) -> None:
    if not layer.trainable:
        raise fail(layer, "it is frozen (trainable=False)", "convert first, and freeze then")
    if layer.compute_dtype != layer.variable_dtype:
        raise fail(layer, f"its policy is {layer.dtype_policy.name}", "float32 or float64")
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise fail(layer, "its data_format is channels_first", "channels_last, Keras' own")
    inner = [getattr(layer, "forward_layer", layer), getattr(layer, "backward_layer", layer)]
    for part in [layer, *inner, *(p.cell for p in inner if hasattr(p, "cell"))]:
        for name, value in vars(part).items():
            if name.endswith(("_regularizer", "_constraint")) and value is not None:
                raise fail(layer, f"it has a {name}", f"{name}=None, and a term in the loss")


def _keras_simple(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    name = type(layer).__name__
    if name == "Dropout":
        if layer.noise_shape is not None:
            raise fail(layer, "it has a noise_shape", "Dropout of single numbers")
        yield Step("dropout", layer, {"p": float(layer.rate)})
    elif name == "Flatten":
        yield Step("flatten", layer)
    elif name == "Activation":
        function = layer.activation.__name__
        if function == "gelu_tanh":
            yield activation(layer, "gelu", approximate="tanh")
        elif function == "leaky_relu":
            yield activation(layer, function, slope=_rounded(0.2))
        elif function != "linear":
            yield activation(layer, function)
    elif name == "LeakyReLU":
        yield activation(layer, "leaky_relu", slope=_rounded(layer.negative_slope))
    elif name == "ELU":
        yield activation(layer, "elu", alpha=float(layer.alpha))
    elif name == "Softmax":
        if layer.axis not in (-1, len(shape) - 1):
            raise fail(layer, f"its axis is {layer.axis}", "the last axis")
        yield activation(layer, "softmax")
    elif layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise fail(layer, "it has a threshold or two slopes", "ReLU() or LeakyReLU()")
    elif layer.max_value is not None:
        if layer.max_value != 6:
            raise fail(layer, f"it has max_value={layer.max_value}", "max_value=6")
        yield activation(layer, "relu6")
    elif layer.negative_slope:
        yield activation(layer, "leaky_relu", slope=_rounded(layer.negative_slope))
    else:
        yield activation(layer, "relu")


def _rounded(slope: float) -> float:
    """Return the slope that Keras' leaky ReLU has, which is rounded to float32 in any dtype."""
    return float(np.float32(slope))


def _keras_dense(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    if len(shape) > 3:
        raise fail(layer, "PyTorch's Linear works on the last axis, the width", "Conv2D of size 1")
    n, m = layer.kernel.shape
    yield Step("dense", layer, {"n": n, "m": m, "bias": layer.use_bias})


def _keras_embedding(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    if layer.mask_zero:
        raise fail(layer, "mask_zero=True masks what follows", "mask_zero=False")
    if len(shape) != 2:
        raise fail(layer, f"its input has shape {shape}", "numbers of shape (batch, time)")
    yield Step("embedding", layer, {"n": layer.input_dim, "m": layer.output_dim})


def _keras_conv(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    what = kind(layer)
    stride, dilation = tuple(layer.strides), tuple(layer.dilation_rate)
    kernel = tuple(layer.kernel_size)
    options = {"kernel": kernel, "stride": stride, "bias": layer.use_bias}
    if "transpose" in what:
        out, n = layer.kernel.shape[-2:]
        if layer.output_padding is not None or max(dilation) > 1:
            raise fail(layer, "it has output_padding or dilation_rate", "their defaults")
        gaps = [k - s for k, s in zip(kernel, stride, strict=True)]
        same = layer.padding == "same"
        if same and any(g > 0 and g % 2 for g in gaps):
            raise fail(
                layer,
                f"padding='same' crops {gaps} numbers, not as many on both sides, which PyTorch's "
                "padding and output_padding cannot",
                "kernel_size − strides even, or padding='valid' and then Cropping2D",
            )
        options["padding"] = tuple(max(g, 0) // 2 if same else 0 for g in gaps)
        options["output_padding"] = tuple(max(-g, 0) for g in gaps)
        yield Step(what, layer, {"n": n, "m": out, **options})
        return
    depthwise = hasattr(layer, "depth_multiplier")
    n = shape[-1]
    m = n * layer.depth_multiplier if depthwise else layer.filters
    options |= {"dilation": dilation, "groups": n if depthwise else layer.groups}
    pads = _keras_pads(layer, shape, kernel, stride, dilation)
    if any(low != high for low, high in pads):
        yield Step("pad", layer, {"pads": pads})
        pads = [(0, 0)] * len(pads)
    options["padding"] = tuple(low for low, _ in pads)
    yield Step(what, layer, {"n": n, "m": m, **options})


def _keras_pads(
    layer: Any, shape: tuple[Any, ...], kernel: Any, stride: Any, dilation: Any
) -> list[tuple[int, int]]:
    """Return the zeros before and after each axis; alike on both sides where stride is not 1."""
    if layer.padding == "valid":
        return [(0, 0)] * len(kernel)
    if layer.padding == "causal":
        return [(dilation[0] * (kernel[0] - 1), 0)]
    sides = list(zip(shape[1:-1], kernel, stride, dilation, strict=True))
    sizes = "×".join(str(n) for n in shape[1:-1])
    if any(n is None and s > 1 and k > 1 for n, k, s, _ in sides):
        raise fail(
            layer,
            f"with strides {stride} padding='same' pads by the size of its input, here {sizes}",
            "keras.Input with fixed sizes, or ZeroPadding and padding='valid'",
        )
    pads = [same_padding(*side) for side in sides]
    if any(low != high and s > 1 for (low, high), s in zip(pads, stride, strict=True)):
        around = f"ZeroPadding{len(pads)}D({tuple(pads) if len(pads) > 1 else pads[0]})"
        raise fail(
            layer,
            f"with strides {stride} padding='same' adds {pads} to an input of {sizes}, more after "
            "than before, which PyTorch's padding cannot",
            f"{around} before it and padding='valid'",
        )
    return pads


def _keras_pool(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    name = type(layer).__name__
    how, dims = "max" if "Max" in name else "avg", len(shape) - 2
    if name.startswith("Adaptive"):
        raise fail(layer, "it is adaptive", "pooling with a pool_size, or GlobalAveragePooling")
    if name.startswith("Global"):
        yield Step("global_pool", layer, {"how": how, "dims": dims})
        if not layer.keepdims:
            yield Step("flatten", layer)
        return
    kernel, stride = tuple(np.broadcast_to(layer.pool_size, dims).tolist()), tuple(layer.strides)
    pads = _keras_pads(layer, shape, kernel, stride, (1,) * dims)
    if any(low != high or low > k // 2 for (low, high), k in zip(pads, kernel, strict=True)):
        raise fail(layer, f"padding='same' adds {pads}, more after than before", "padding='valid'")
    options = {"how": how, "dims": dims, "kernel": kernel, "stride": stride, "include": False}
    yield Step("pool", layer, {**options, "padding": tuple(low for low, _ in pads)})


def _keras_pad(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    crop = type(layer).__name__.startswith("Cropping")
    pads = layer.cropping if crop else layer.padding
    pads = [tuple(pads)] if len(shape) == 3 else [tuple(side) for side in pads]
    sign = -1 if crop else 1
    yield Step("pad", layer, {"pads": [(sign * low, sign * high) for low, high in pads]})


def _keras_norm(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    what, n = kind(layer), shape[-1]
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if what is None or [a % len(shape) for a in axes] != [len(shape) - 1]:
        raise fail(layer, f"it normalises axis {layer.axis}", "its last axis, alone")
    if not (layer.scale and layer.center):
        raise fail(layer, "it lacks scale or center", "both, as PyTorch learns both or none")
    options = {"n": n, "eps": float(layer.epsilon)}
    if what == "layer_norm" and len(shape) > 3:
        raise fail(layer, "PyTorch's LayerNorm begins at the last axis, the width", "GroupNorm")
    if what == "group_norm":
        options["groups"] = n if layer.groups == -1 else layer.groups
    if what == "batch_norm":
        if layer.renorm:
            raise fail(layer, "renorm=True", "renorm=False")
        options["momentum"] = 1 - layer.momentum
        options["biased"] = type(layer).__name__ != "UnbiasedBatchNormalization"
    yield Step(what, layer, options)


def _keras_recurrent(layer: Any, shape: tuple[Any, ...]) -> Iterator[Step]:
    what, both = kind(layer), hasattr(layer, "forward_layer")
    inner = layer.forward_layer if both else layer
    if both and (layer.merge_mode != "concat" or type(layer.backward_layer) is not type(inner)):
        raise fail(layer, f"its merge_mode is {layer.merge_mode!r}", "merge_mode='concat'")
    cell = inner.cell
    for name in ("go_backwards", "stateful", "return_state", "dropout", "recurrent_dropout"):
        if getattr(inner, name, None) or getattr(cell, name, None):
            if both and name == "return_state":
                continue
            raise fail(layer, f"it has {name}={getattr(inner, name)}", f"without {name}")
    if what == "gru" and not cell.reset_after:
        raise fail(layer, "reset_after=False resets before the product", "reset_after=True")
    allowed = ("tanh", "relu") if what == "rnn" else ("tanh",)
    function = cell.activation.__name__
    gate = getattr(getattr(cell, "recurrent_activation", None), "__name__", "sigmoid")
    if function not in allowed or gate != "sigmoid":
        raise fail(layer, f"its activations are {function} and {gate}", "tanh and sigmoid")
    options = {"n": shape[-1], "m": cell.units, "bias": cell.use_bias, "both": both}
    options |= {"sequences": inner.return_sequences, "activation": function}
    yield Step(what, layer, options | {"frozen": what != "gru"})  # one bias, trained once
