"""Where the arrays of a layer lie in Keras, PyTorch and the NumPy engine.

One layout is common to all: PyTorch's, which is the engine's too. Every relayout is linear, a
transposition, a permutation or a sum, so that gradients and moments move as weights do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import Tensor
from helpers.convert.kinds import (
    KERAS,
    RECURRENT,
    ConversionError,
    describe,
    framework_of,
    is_a,
    kind,
)
from helpers.parity import to_numpy

Arrays = dict[str, Array]


@dataclass(frozen=True)
class Slot:
    """Some variables of a layer, and the arrays of the common layout that hold the same."""

    names: tuple[str, ...]
    variables: tuple[Any, ...]
    forth: Callable[..., tuple[Array, ...]] = lambda *arrays: arrays
    back: Callable[..., tuple[Array, ...]] = lambda *arrays: arrays
    learned: bool = True


def read(layer: Any, get: Callable[[Any], Array] = to_numpy, *, state: bool = True) -> Arrays:
    """Return copies of a layer's arrays in the common layout.

    Args:
        layer: a built layer of a kind in ``kinds``, or Keras' Bidirectional.
        get: what to read of each variable, an array of its shape: itself, or, say, its moment.
        state: with what is not learned, the running mean and variance of batch norm.

    Returns:
        arrays by the names of PyTorch's ``state_dict``, without ``num_batches_tracked``. Where
        Keras has one bias, ``bias_hh`` is zero.

    Raises:
        TypeError: the layer is of another kind.
        ConversionError: the layer has settings that PyTorch's layout cannot hold.
        ValueError: a Keras layer without weights yet.
    """
    arrays = {}
    for slot in slots(layer):
        if slot.learned or state:
            parts = slot.forth(*(get(variable) for variable in slot.variables))
            arrays |= {n: np.array(a, order="C") for n, a in zip(slot.names, parts, strict=True)}
    return arrays


def write(
    layer: Any,
    arrays: Mapping[str, Array],
    put: Callable[[Any, Array], None] | None = None,
    *,
    state: bool = True,
) -> None:
    """Put arrays of the common layout where a layer has them; the reverse of ``read``.

    Keras' one recurrent bias gets the sum of the two.

    Args:
        layer, state: as in ``read``.
        arrays: exactly the names and shapes that ``read`` gives.
        put: is called with each variable and its array; by default assigns it, in the
            variable's own dtype.

    Raises:
        ValueError: a name is missing or unknown, a shape differs, or a number is not finite in
            the variable's dtype. Nothing is then written.
        TypeError, ConversionError: as ``read``.
    """
    own = {name: array.shape for name, array in read(layer, state=state).items()}
    if own.keys() != arrays.keys():
        missing, unknown = sorted(own.keys() - arrays.keys()), sorted(arrays.keys() - own.keys())
        raise ValueError(
            f"weights of {describe(layer)} must have its names: {missing=}, {unknown=}"
        )
    for name, shape in own.items():
        if np.shape(arrays[name]) != shape:
            raise ValueError(
                f"{name} of {describe(layer)} must have shape {shape}, got {np.shape(arrays[name])}"
            )
    todo = []
    for slot in slots(layer):
        if slot.learned or state:
            parts = slot.back(*(np.asarray(arrays[name]) for name in slot.names))
            label = " and ".join(slot.names)
            for variable, part in zip(slot.variables, parts, strict=True):
                todo.append((variable, cast(label, part, variable)))
    for variable, part in todo:
        (put or assign)(variable, part)


def cast(name: str, value: Any, variable: Any) -> Array:
    """Return a copy in the type of the layer's variable, all of it finite."""
    with np.errstate(over="ignore"):
        copy = np.array(value, dtype=to_numpy(variable).dtype, order="C")
    if not np.isfinite(copy).all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite {copy.dtype} numbers")
    return copy


def assign(variable: Any, value: Array) -> None:
    """Write an array into a variable of any framework, in place."""
    if isinstance(variable, Tensor):
        variable.data[...] = value
    elif isinstance(variable, np.ndarray):
        variable[...] = value
    elif hasattr(variable, "detach"):
        import torch

        with torch.no_grad():
            variable.copy_(torch.from_numpy(value))
    else:
        variable.assign(value)


def slots(layer: Any) -> list[Slot]:
    """Return where a layer's arrays lie and how they are laid out; errors as in ``read``."""
    what = kind(layer)
    if what is None:
        known = sorted({*KERAS, "Bidirectional"})
        raise TypeError(
            f"layer must be one of Keras' {', '.join(known)}, or PyTorch's or the engine's "
            f"counterpart, got {describe(layer)}"
        )
    if framework_of(layer) != "keras":
        return _same_names(layer, what)
    if not layer.built:
        raise ValueError(f"layer {layer.name!r} has no weights yet; call layer.build(shape)")
    if is_a(layer, "keras", "Bidirectional"):
        return _recurrent(layer.forward_layer, what) + _recurrent(
            layer.backward_layer, what, "_reverse"
        )
    if what in RECURRENT:
        return _recurrent(layer, what)
    if what == "attention":
        return _attention(layer)
    if what == "dense":
        return [*_one("weight", layer.kernel, (1, 0)), *_one("bias", layer.bias)]
    if what == "embedding":
        return _one("weight", layer.embeddings)
    if "conv" in what:
        return [*_kernel(layer), *_one("bias", layer.bias)]
    found = [*_one("weight", layer.gamma), *_one("bias", layer.beta)]
    if what == "batch_norm":
        for name, variable in (
            ("running_mean", layer.moving_mean),
            ("running_var", layer.moving_variance),
        ):
            found.append(Slot((name,), (variable,), learned=False))
    return found


def _same_names(layer: Any, what: str) -> list[Slot]:
    """PyTorch's and the engine's layers: what they hold, as it is."""
    if getattr(layer, "num_layers", 1) != 1 or getattr(layer, "proj_size", 0):
        raise ConversionError(
            f"{describe(layer)} must have num_layers=1 and proj_size=0: Keras has a layer for each "
            f"level, and no projections; use one {type(layer).__name__} after the other"
        )
    if what == "attention":
        odd = [n for n in ("bias_k", "q_proj_weight") if getattr(layer, n, None) is not None]
        if odd:
            raise ConversionError(
                f"{describe(layer)} has {odd[0]}, for which the other frameworks have no place; "
                "use add_bias_kv=False, and kdim and vdim equal to embed_dim"
            )
    if framework_of(layer) == "torch":
        buffers = dict(layer.named_buffers())
    else:
        buffers = {name: getattr(layer, name) for name in layer.buffers}
    found = [Slot((name,), (p,)) for name, p in layer.named_parameters()]
    for name, buffer in buffers.items():
        if name != "num_batches_tracked":  # a frozen bias of the engine is among its buffers
            found.append(Slot((name,), (buffer,), learned=name.startswith("bias")))
    return found


def _one(name: str, variable: Any, axes: tuple[int, ...] | None = None) -> list[Slot]:
    if variable is None:
        return []
    if axes is None:
        return [Slot((name,), (variable,))]
    inverse = tuple(np.argsort(axes))
    return [
        Slot(
            (name,),
            (variable,),
            lambda a: (np.transpose(a, axes),),
            lambda a: (np.transpose(a, inverse),),
        )
    ]


def _kernel(layer: Any) -> list[Slot]:
    """(height, width, in, out) ↔ (out, in, height, width); transposed: out and in exchanged."""
    shape = tuple(layer.kernel.shape)
    axes = (len(shape) - 1, len(shape) - 2, *range(len(shape) - 2))
    if not hasattr(layer, "depth_multiplier"):
        return _one("weight", layer.kernel, axes)
    grouped = (*shape[:-2], 1, shape[-2] * shape[-1])  # all channels' filters, each of one input
    inverse = tuple(np.argsort(axes))
    return [
        Slot(
            ("weight",),
            (layer.kernel,),
            lambda a: (np.transpose(a.reshape(grouped), axes),),
            lambda a: (np.transpose(a, inverse).reshape(shape),),
        )
    ]


def _recurrent(layer: Any, what: str, suffix: str = "") -> list[Slot]:
    cell = layer.cell
    order = [0]  # the gates of Keras in PyTorch's order
    if what == "lstm":
        order = [0, 1, 2, 3]  # i, f, c, o are i, f, g, o
    elif what == "gru":
        order = [1, 0, 2]  # z, r, h become r, z, n
        if not cell.reset_after:
            raise ConversionError(
                f"{describe(layer)} resets before the product (reset_after=False), which PyTorch's "
                "and the engine's GRU cannot; the nearest is reset_after=True, trained anew"
            )
    gates, hidden = len(order), cell.units

    def permuted(a: Array, axis: int) -> Array:
        return np.take(np.split(a, gates, axis), order, axis=0)  # each order is its own inverse

    def forth(a: Array) -> tuple[Array, ...]:
        return (permuted(a, 1).swapaxes(1, 2).reshape(gates * hidden, -1),)

    def back(a: Array) -> tuple[Array, ...]:
        return (np.concatenate(permuted(a, 0), axis=0).T,)

    ih, hh = f"bias_ih_l0{suffix}", f"bias_hh_l0{suffix}"
    found = [
        Slot((f"weight_ih_l0{suffix}",), (cell.kernel,), forth, back),
        Slot((f"weight_hh_l0{suffix}",), (cell.recurrent_kernel,), forth, back),
    ]
    if cell.bias is None:
        return found
    if what == "gru":
        both = Slot(
            (ih, hh),
            (cell.bias,),
            lambda a: tuple(np.concatenate(permuted(row, 0)) for row in a),
            lambda *rows: (np.stack([np.concatenate(permuted(row, 0)) for row in rows]),),
        )
    else:
        both = Slot(
            (ih, hh),
            (cell.bias,),
            lambda a: (a, np.zeros_like(a)),
            lambda a, b: (a + b,),
        )
    return [*found, both]


def _attention(layer: Any) -> list[Slot]:
    parts = [layer.query_dense, layer.key_dense, layer.value_dense]
    out = layer.output_dense
    width, heads, size = parts[0].kernel.shape  # (E, H, D)
    same = all(tuple(p.kernel.shape) == (width, heads, size) for p in parts)
    if not same or heads * size != width or out.kernel.shape[-1] != width:
        raise ConversionError(
            f"{describe(layer)} must have key_dim = value_dim = features / num_heads and as many "
            f"features in query, key, value and output, got kernels "
            f"{[tuple(p.kernel.shape) for p in (*parts, out)]}: PyTorch's heads divide the features"
        )
    found = [
        Slot(
            ("in_proj_weight",),
            tuple(p.kernel for p in parts),
            lambda *a: (np.concatenate([k.reshape(width, width).T for k in a]),),
            lambda a: tuple(k.T.reshape(width, heads, size) for k in np.split(a, 3)),
        ),
        Slot(
            ("out_proj.weight",),
            (out.kernel,),
            lambda a: (a.reshape(width, width).T,),
            lambda a: (a.T.reshape(heads, size, width),),
        ),
    ]
    if out.bias is None:
        return found
    return [
        *found,
        Slot(
            ("in_proj_bias",),
            tuple(p.bias for p in parts),
            lambda *a: (np.concatenate([b.reshape(width) for b in a]),),
            lambda a: tuple(b.reshape(heads, size) for b in np.split(a, 3)),
        ),
        *_one("out_proj.bias", out.bias),
    ]
