"""Which layer of one model stands for which of another, and moving arrays between them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import Parameter
from helpers.convert.kinds import ConversionError, describe, framework_of, is_a, kind
from helpers.convert.layouts import assign, read, write
from helpers.parity import to_numpy

NORMS = ("batch_norm", "layer_norm")
GATES = {"activation": "tanh", "recurrent_activation": "sigmoid"}
ORDER = (
    "Layers are paired in the order of their registration: change it in one of the models, or "
    "give two lists of layers in an order of your own"
)
REORDER = (
    "only norms and a dense layer of its features can be reordered from Keras' (height, width, "
    "channels) to (channels, height, width); put Permute((3, 1, 2)) before the Flatten"
)


def pairs(source: Any, target: Any) -> list[tuple[Any, Any]]:
    """Pair the layers with weights of two models, and check that they match.

    Layers come in the order in which they were registered (Keras: called, in functional models
    as they were first built; a loaded one has only the order of its graph).

    Args:
        source: a layer, a model, or a list of them, which fixes the order.
        target: the same.

    Returns:
        one (layer of the source, layer of the target) for each.

    Raises:
        ConversionError: the models have not as many layers, or two of a pair differ in kind, in
            the shapes of their weights, or in a setting that their results depend on.
    """
    left, right = _weighty(source), _weighty(target)
    for (s, one), (t, other) in zip(left, right, strict=False):
        if kind(one) != kind(other):
            raise ConversionError(
                f"{s} and {t} stand in one place and are of different kinds. {ORDER}"
            )
        shapes = [{n: a.shape for n, a in read(layer).items()} for layer in (one, other)]
        for name in sorted(shapes[0].keys() | shapes[1].keys()):
            found = [shape.get(name, "none") for shape in shapes]
            if found[0] != found[1]:
                raise ConversionError(
                    f"{s} has {name} of shape {found[0]} (in PyTorch's layout), {t} {found[1]}. "
                    f"{ORDER}"
                )
        ours, theirs = _settings(one), _settings(other)
        for name, value in ours.items():
            if value != theirs[name]:
                raise ConversionError(
                    f"{s} has {name}={value}, {t} {theirs[name]}, so that they would not compute "
                    "the same; make them equal"
                )
    if len(left) != len(right):
        longer = max(left, right, key=len)
        raise ConversionError(
            f"source has {len(left)} layers with weights and target {len(right)}; the first "
            f"without a partner is {longer[min(len(left), len(right))][0]}. {ORDER}"
        )
    return [(one, other) for (_, one), (_, other) in zip(left, right, strict=True)]


def transfer(
    source: Any,
    target: Any,
    get: Callable[[Any], Array] = to_numpy,
    put: Callable[[Any, Array], None] = assign,
    *,
    state: bool = True,
) -> None:
    """Move an array for each variable of a model to the other's, as ``copy_weights`` the weights.

    Args:
        source, target: as in ``copy_weights``.
        get: returns the array of a variable of the source, in its shape, say its moment.
        put: is called with each variable of the target and its array, after all have been made.
        state: with what is not learned: running means and variances.

    Raises:
        ConversionError, ValueError: as ``copy_weights``; ``put`` has not been called then.
    """
    todo: list[tuple[Any, Array]] = []
    orders = _orders(source, target)
    for one, other in pairs(source, target):
        arrays = read(one, get, state=state)
        for layer in (one, other):
            if id(layer) in orders:
                order = orders[id(layer)]
                order = order if layer is one else np.argsort(order)
                arrays = {n: a if _is_bias(one, n) else a[..., order] for n, a in arrays.items()}
        write(other, arrays, lambda variable, array: todo.append((variable, array)), state=state)
    for variable, array in todo:
        put(variable, array)


def _is_bias(layer: Any, name: str) -> bool:
    return kind(layer) == "dense" and name == "bias"


def _weighty(model: Any) -> list[tuple[str, Any]]:
    """Return a model's layers with weights, each with what to call it."""
    return [(label, layer) for label, layer in _walk(model) if kind(layer)]


def _walk(part: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the layers with weights, and Keras' Flatten and Permute, in order and once."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, list | tuple):
        for i, each in enumerate(part):
            yield from _walk(each, f"{path}[{i}]", seen)
        return
    framework = framework_of(part)
    if not framework:
        raise TypeError(
            "source and target must be layers or models of Keras, PyTorch or helpers.nn, got "
            f"{describe(part)}"
        )
    label = describe(part) + (f" at {path!r}" if path else "")
    if kind(part) or any(is_a(part, "keras", name) for name in ("Flatten", "Permute")):
        yield label, part
        return
    children = _children(part, framework)
    if odd := _own_weights(part, framework, [child for _, child in children]):
        raise ConversionError(
            f"{label} holds weights of its own, {odd}, for which no counterpart is known; put them "
            "into layers that have one (positions, for instance, into an Embedding)"
        )
    for name, child in children:
        yield from _walk(
            child, name if framework == "keras" or not path else f"{path}.{name}", seen
        )


def _children(part: Any, framework: str) -> list[tuple[str, Any]]:
    if framework == "torch":
        return list(part.named_children())
    if framework == "numpy":
        return list(part.children())
    layers = list(part._layers)  # attributes, in order; functional: by distance to the output
    if is_a(part, "keras", "Functional"):
        numbers = [_call_number(layer) for layer in layers]
        if None not in numbers:
            layers = [layers[i] for i in np.argsort(numbers, kind="stable")]
    return [("", layer) for layer in layers]


def _call_number(layer: Any) -> int | None:
    """Return the number that Keras gave the layer's first output, in order of creation."""
    if is_a(layer, "keras", "InputLayer"):
        return -1
    nodes = getattr(layer, "_inbound_nodes", ())
    name, _, number = nodes[0].outputs[0].name.rpartition("_") if nodes else ("", "", "")
    return int(number) if name == "keras_tensor" and number.isdigit() else None


def _own_weights(part: Any, framework: str, children: list[Any]) -> list[str]:
    if framework == "torch":
        return [name for name, _ in part.named_parameters(recurse=False)]
    if framework == "numpy":
        return [name for name, value in part._parts() if isinstance(value, Parameter)]
    below = {id(w) for child in children for w in child.weights}
    return [w.name for w in part.weights if id(w) not in below]


def _settings(layer: Any) -> dict[str, Any]:
    """Return what, besides its weights, a layer's result depends on, in all frameworks alike."""
    what, framework = kind(layer), framework_of(layer)
    if "conv" in what:
        dims = 1 if what.endswith("1d") else 2
        if framework == "keras":
            groups = getattr(layer, "groups", 1)
            if hasattr(layer, "depth_multiplier"):
                groups = layer.kernel.shape[-2]
            found = (layer.strides, layer.dilation_rate, groups)
        elif framework == "torch":
            found = (layer.stride, layer.dilation, layer.groups)
        else:
            found = tuple(layer.settings.get(n, 1) for n in ("stride", "dilation", "groups"))
        # The engine keeps two numbers for Conv1d too; its one is the last.
        stride, dilation = (tuple(np.broadcast_to(n, 2).tolist()[-dims:]) for n in found[:2])
        return {"stride": stride, "dilation": dilation, "groups": found[2]}
    if what.endswith("norm"):
        found = {"eps": layer.epsilon if framework == "keras" else layer.eps}
        if what == "group_norm":
            found["groups"] = layer.groups if framework == "keras" else layer.num_groups
        return found
    if what == "attention":
        return {"heads": layer.num_heads}
    if what in ("rnn", "lstm", "gru") and framework == "keras":
        cell = getattr(layer, "forward_layer", layer).cell
        functions = ("activation", "recurrent_activation")
        return {n: getattr(cell, n).__name__ for n in functions if hasattr(cell, n)}
    if what == "rnn":
        return {"activation": layer.nonlinearity}
    return {} if what in ("dense", "embedding") else GATES


def _orders(source: Any, target: Any) -> dict[int, Array]:
    """Return, by id of Keras' layers, where in their last axis PyTorch's features lie."""
    models = [m for m in (source, target) if framework_of(m) == "keras"]
    if len(models) != 1:
        return {}
    orders: dict[int, Array] = {}
    order, before, flatten, convolution = None, None, "", False
    for label, layer in _walk(models[0]):
        what = kind(layer)
        if is_a(layer, "keras", "Flatten"):
            shape = _flattened(layer)
            images = len(shape) == 3 or (len(shape) == 2 and convolution)
            if images and not is_a(before, "keras", "Permute") and max(shape) < np.prod(shape):
                order = np.moveaxis(np.arange(np.prod(shape)).reshape(shape), -1, 0).ravel()
                flatten = label
        elif what and order is not None:
            if what not in (*NORMS, "dense") or read(layer)["weight"].shape[-1:] != order.shape:
                raise ConversionError(f"{label} follows {flatten}: {REORDER}")
            orders[id(layer)] = order
            order = None if what == "dense" else order
        elif what and what not in ("batch_norm", "group_norm"):  # these keep the channels' place
            convolution = what.startswith("conv")
        before = layer
    if order is not None:
        raise ConversionError(f"no dense layer follows {flatten}: {REORDER}")
    return orders


def _flattened(layer: Any) -> tuple[int, ...]:
    """Return the shape that Keras' Flatten met, without the batch."""
    try:
        shape = tuple(layer.input.shape)[1:]
    except (AttributeError, ValueError):  # in a subclassed model no symbolic input is kept
        shape = tuple((layer.get_build_config() or {}).get("input_shape", ()))[1:]
    if not shape or None in shape:
        raise ConversionError(
            f"{describe(layer)} must know its input's shape to reorder it, got {shape}; call the "
            "model once, or give keras.Input every size"
        )
    return shape
