"""The steps of ``torch.nn.Sequential`` and, with the same names, of ``helpers.nn.Sequential``."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from helpers.convert.kinds import RECURRENT, framework_of, is_a, kind
from helpers.convert.steps import ACTIVATIONS, Step, activation, fail

NAMES = {name: ours for ours, name in ACTIVATIONS.items()}


def from_torch(model: Any) -> list[Step]:
    """Return the steps of a ``Sequential`` of PyTorch or the engine.

    Raises:
        ConversionError: a layer has no counterpart.
    """
    return [step for layer in _layers(model) for step in _steps(layer)]


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.children() if framework_of(model) == "torch" else model:
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer)
        else:
            yield layer


def _steps(layer: Any) -> Iterator[Step]:
    name, what = type(layer).__name__, kind(layer)
    known = type(layer).__module__.startswith(("torch.", "helpers."))
    if known and name == "Identity":
        return
    if known and what in RECURRENT:
        raise fail(
            layer,
            "it returns its outputs and its last states, which no layer after it takes",
            "Recurrent(layer) of helpers.convert.stand_ins, which returns one of them",
        )
    _check_frozen(layer)
    if known and what == "batch_norm":
        yield _norm(layer, what)
    elif known and name in HANDLERS:
        yield HANDLERS[name](layer, what)
    elif known and name in NAMES:
        yield _activation(layer, name)
    else:
        raise fail(
            layer,
            "convert knows no counterpart",
            "write the model in the other framework too, and move its weights by copy_weights",
        )


def _check_frozen(layer: Any) -> None:
    if framework_of(layer) == "torch":
        frozen = [n for n, p in layer.named_parameters() if not p.requires_grad]
        if any("bias_hh" not in name for name in frozen):
            raise fail(layer, f"{frozen} are frozen", "convert first, and freeze then")


def _get(layer: Any, name: str, default: Any = None, place: int | None = None) -> Any:
    """Return a setting; the engine keeps those of its functions as they were given."""
    if framework_of(layer) == "torch":
        return getattr(layer, name, default)
    positional = getattr(layer, "settings", ())
    if isinstance(positional, dict):
        return positional.get(name, default)
    if place is not None and len(positional) > place:
        return positional[place]
    return getattr(layer, "named", {}).get(name, getattr(layer, name, default))


def _dense(layer: Any, what: str) -> Step:
    m, n = layer.weight.shape
    return Step("dense", layer, {"n": n, "m": m, "bias": layer.bias is not None})


def _embedding(layer: Any, what: str) -> Step:
    for name in ("padding_idx", "max_norm", "scale_grad_by_freq", "sparse"):
        value = getattr(layer, name, None)
        if value is not None and value is not False:  # index 0 is a padding_idx too
            raise fail(layer, f"it has {name}={value}", f"without {name}")
    n, m = layer.weight.shape
    return Step("embedding", layer, {"n": n, "m": m})


def _conv(layer: Any, what: str) -> Step:
    dims = 1 if what.endswith("1d") else 2

    def each(name: str, default: int) -> tuple[int, ...]:
        return tuple(np.broadcast_to(_get(layer, name, default), 2).tolist()[-dims:])

    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise fail(layer, f"its padding_mode is {layer.padding_mode!r}", "padding_mode='zeros'")
    kernel, stride, dilation = layer.weight.shape[2:], each("stride", 1), each("dilation", 1)
    options: dict[str, Any] = {"kernel": tuple(kernel), "stride": stride}
    options["bias"] = layer.bias is not None
    groups = _get(layer, "groups", 1)
    if "transpose" in what:
        n, m = layer.weight.shape[:2]
        if groups != 1 or max(dilation) > 1:
            raise fail(layer, "it has groups or dilation", "groups=1 and dilation=1")
        options |= {"padding": each("padding", 0), "output_padding": each("output_padding", 0)}
        return Step(what, layer, {"n": n, "m": m, **options})
    padding = _get(layer, "padding", 0)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if any(total % 2 for total in totals):
            raise fail(layer, f"padding='same' adds {totals}, odd", "ZeroPad and padding=0")
        options["padding"] = tuple(total // 2 for total in totals)
    else:
        options["padding"] = (0,) * dims if padding == "valid" else each("padding", 0)
    m, n = layer.weight.shape[0], layer.weight.shape[1] * groups
    return Step(what, layer, {"n": n, "m": m, **options, "dilation": dilation, "groups": groups})


def _norm(layer: Any, what: str) -> Step:
    if layer.weight is None or layer.bias is None:
        raise fail(layer, "it has no weight or no bias", "both, its default")
    shape = layer.weight.shape
    if len(shape) > 1:
        raise fail(layer, f"it normalises {len(shape)} axes", "the last axis, alone")
    options: dict[str, Any] = {"n": shape[0], "eps": layer.eps}
    if what == "group_norm":
        options["groups"] = layer.num_groups
    if what == "batch_norm":
        if layer.momentum is None or layer.running_mean is None:
            raise fail(layer, "it has no momentum or no running mean", "momentum=0.1")
        options |= {"momentum": layer.momentum, "biased": is_a(layer, "helpers", "_Biased")}
    return Step(what, layer, options)


def _pool(layer: Any, what: Any) -> Step:
    dims, how = int(type(layer).__name__[-2]), "max" if "Max" in type(layer).__name__ else "avg"
    odd = {"ceil_mode": False, "return_indices": False, "dilation": 1, "divisor_override": None}
    for name, usual in odd.items():
        if _get(layer, name, usual) != usual:
            raise fail(layer, f"it has {name}={_get(layer, name)}", f"{name}={usual}")
    kernel = _get(layer, "kernel_size", None, 0)
    stride = _get(layer, "stride", None, 1)
    found = (kernel, kernel if stride is None else stride, _get(layer, "padding", 0))
    kernel, stride, padding = (tuple(np.broadcast_to(n, dims).tolist()) for n in found)
    options = {"how": how, "dims": dims, "kernel": kernel, "stride": stride, "padding": padding}
    return Step("pool", layer, {**options, "include": _get(layer, "count_include_pad", False)})


def _global_pool(layer: Any, what: Any) -> Step:
    name = type(layer).__name__
    if _get(layer, "output_size", 1, 0) not in (1, (1,), (1, 1)):
        raise fail(layer, f"its output_size is {layer.output_size}", "1, or pooling with a kernel")
    how = "max" if "Max" in name else "avg"
    return Step("global_pool", layer, {"how": how, "dims": int(name[-2])})


def _pad(layer: Any, what: Any) -> Step:
    dims = int(type(layer).__name__[-2])
    flat = np.broadcast_to(_get(layer, "padding", 0, 0), 2 * dims).tolist()
    pads = [(flat[i], flat[i + 1]) for i in reversed(range(0, 2 * dims, 2))]  # last axis first
    return Step("pad", layer, {"pads": pads})


def _flatten(layer: Any, what: Any) -> Step:
    if _get(layer, "start_dim", 1) != 1 or _get(layer, "end_dim", -1) != -1:
        raise fail(layer, "it flattens some of the axes", "Flatten()")
    return Step("flatten", layer)


def _dropout(layer: Any, what: Any) -> Step:
    return Step("dropout", layer, {"p": layer.p})


def _transpose(layer: Any, what: Any) -> Step:
    return Step("transpose", layer)


def _activation(layer: Any, name: str) -> Step:
    ours, options = NAMES[name], {}
    if ours == "softmax":
        dim = _get(layer, "dim" if framework_of(layer) == "torch" else "axis", None, 0)
        options["dim"] = -1 if dim is None and framework_of(layer) == "numpy" else dim
    elif ours == "gelu":
        options["approximate"] = _get(layer, "approximate", "none", 0)
    elif ours == "leaky_relu":
        options["slope"] = _get(layer, "negative_slope", 0.01, 0)
    elif ours == "elu":
        options["alpha"] = _get(layer, "alpha", 1.0, 0)
    elif ours == "softplus" and _get(layer, "beta", 1, 0) != 1:
        raise fail(layer, "its beta is not 1", "Softplus()")
    return activation(layer, ours, **options)


def _recurrent(layer: Any, what: Any) -> Step:
    inner = layer.layer
    shape, what = inner.weight_ih_l0.shape, kind(inner)
    if inner.num_layers != 1 or getattr(inner, "proj_size", 0) or getattr(inner, "dropout", 0):
        raise fail(layer, "it has several layers or projections", "one Recurrent for each layer")
    biases = [inner.__dict__.get(n) for n in ("bias_hh_l0", "bias_hh_l0_reverse")]
    if framework_of(layer) == "torch":
        frozen = any(
            n.startswith("bias_hh") and not p.requires_grad for n, p in inner.named_parameters()
        )
    else:
        frozen = any(isinstance(bias, np.ndarray) for bias in biases)
    options = {"n": shape[1], "m": inner.hidden_size, "bias": getattr(inner, "bias", True)}
    options |= {"both": inner.bidirectional, "sequences": layer.sequences, "frozen": frozen}
    return Step(what, layer, options | {"activation": getattr(inner, "nonlinearity", "tanh")})


HANDLERS = {
    "Linear": _dense, "Embedding": _embedding, "LayerNorm": _norm, "GroupNorm": _norm,
    "Conv1d": _conv, "Conv2d": _conv, "ConvTranspose1d": _conv, "ConvTranspose2d": _conv,
    "MaxPool1d": _pool, "MaxPool2d": _pool, "AvgPool1d": _pool, "AvgPool2d": _pool,
    "AdaptiveAvgPool1d": _global_pool, "AdaptiveAvgPool2d": _global_pool,
    "AdaptiveMaxPool1d": _global_pool, "AdaptiveMaxPool2d": _global_pool,
    "ZeroPad1d": _pad, "ZeroPad2d": _pad, "Flatten": _flatten, "Dropout": _dropout,
    "Transpose": _transpose, "Recurrent": _recurrent,
}  # fmt: skip
