"""A ``Sequential`` of PyTorch or, with the same names, of the NumPy engine, built of steps."""

from types import ModuleType
from typing import Any

import numpy as np

from helpers import nn
from helpers.convert.kinds import RECURRENT
from helpers.convert.steps import ACTIVATIONS, Step, fail


def to_torch(steps: list[Step], dtype: str) -> Any:
    """Return a ``torch.nn.Sequential`` of the steps, not yet with the source's weights."""
    import torch

    from helpers.convert.stand_ins import torch_layers

    typed = {"dtype": getattr(torch, dtype)}
    return torch.nn.Sequential(*(_module(s, torch.nn, torch_layers, typed) for s in steps))


def to_engine(steps: list[Step], dtype: str) -> Any:
    """Return a ``helpers.nn.Sequential`` of the steps, not yet with the source's weights."""
    from helpers.convert.stand_ins import numpy_layers

    return nn.Sequential(*(_module(s, nn, numpy_layers, {"dtype": dtype}) for s in steps))


def _module(step: Step, layers: ModuleType, stand_ins: ModuleType, typed: dict[str, Any]) -> Any:
    op, options, engine = step.op, step.options, layers is nn

    def make(name: str, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(layers, name):
            raise fail(step.layer, f"the NumPy engine has no {name}", 'to="torch" or to="keras"')
        return getattr(layers, name)(*args, **kwargs)

    def get(*names: str) -> list[Any]:
        return [options[name] for name in names]

    if op == "dense":
        return make("Linear", *get("n", "m", "bias"), **typed)
    if op == "embedding":
        return make("Embedding", *get("n", "m"), **typed)
    if op.startswith("conv"):
        name = f"Conv{'Transpose' * ('transpose' in op)}{op[-2:]}"
        keys = ("kernel", "stride", "padding", "dilation", "output_padding")
        sizes = {key: options[key] for key in keys if key in options}
        if op.endswith("1d"):
            sizes = {key: size[0] for key, size in sizes.items()}
        sizes["kernel_size"] = sizes.pop("kernel")
        named = sizes | {key: options[key] for key in ("bias", "groups") if key in options}
        return make(name, *get("n", "m"), **named, **typed)
    if op == "batch_norm":
        name = type(step.layer).__name__
        name = f"BatchNorm{2 if step.rank == 4 or name.endswith('2d') else 1}d"
        owner = stand_ins if options["biased"] else layers
        name = f"Biased{name}" if options["biased"] else name
        return getattr(owner, name)(*get("n", "eps", "momentum"), **typed)
    if op == "layer_norm":
        return make("LayerNorm", *get("n", "eps"), **typed)
    if op == "group_norm":
        return make("GroupNorm", *get("groups", "n", "eps"), **typed)
    if op in RECURRENT:
        return stand_ins.Recurrent(_recurrent(step, make, engine, typed), options["sequences"])
    if op == "pool":
        name = f"{options['how'].title()}Pool{options['dims']}d"
        padded = {"padding": options["padding"]} if max(options["padding"]) else {}
        if padded and engine:
            raise fail(step.layer, "the engine's pooling has no padding", "pooling without")
        if padded and options["how"] == "avg":
            padded["count_include_pad"] = options["include"]
        return make(name, *get("kernel", "stride"), **padded)
    if op == "global_pool":
        return make(f"Adaptive{options['how'].title()}Pool{options['dims']}d", 1)
    if op == "pad":
        flat = tuple(n for side in reversed(options["pads"]) for n in side)  # last axis first
        if engine and min(flat) < 0:
            raise fail(step.layer, "the engine cannot crop", 'to="torch"')
        return make(f"ZeroPad{len(options['pads'])}d", flat)
    if op == "dropout":
        return make("Dropout", options["p"])
    if op in ("flatten", "transpose"):
        return make("Flatten") if op == "flatten" else stand_ins.Transpose()
    return _activation(step, make, engine)


def _activation(step: Step, make: Any, engine: bool) -> Any:
    options = step.options
    name = options["name"]
    settings = {
        "softmax": {"axis" if engine else "dim": options.get("dim")},
        "gelu": {"approximate": options.get("approximate", "none")},
        "leaky_relu": {"negative_slope": options.get("slope")},
        "elu": {"alpha": options.get("alpha", 1.0)},
        # PyTorch leaves the formula above the threshold, at 20 visibly in double precision.
        "softplus": {} if engine else {"threshold": 40},
    }
    return make(ACTIVATIONS[name], **settings.get(name, {}))


def _recurrent(step: Step, make: Any, engine: bool, typed: dict[str, Any]) -> Any:
    options = step.options
    named = {"bidirectional": options["both"]} | typed
    if step.op == "rnn":
        named["nonlinearity"] = options["activation"]
    if engine and not options["bias"]:
        raise fail(step.layer, "the engine's recurrent layers have biases", "a layer with biases")
    if not engine:
        named |= {"bias": options["bias"], "batch_first": True}
    layer = make(step.op.upper(), options["n"], options["m"], **named)
    if options["frozen"] and options["bias"]:
        for name in ("bias_hh_l0", "bias_hh_l0_reverse")[: 1 + options["both"]]:
            if engine:  # an array instead of a parameter: part of the state, and not trained
                setattr(layer, name, np.zeros_like(getattr(layer, name).data))
                layer.buffers = (*layer.buffers, name)
            else:
                getattr(layer, name).requires_grad_(False)
    return layer
