"""The fused primitives of the NumPy engine, judged by PyTorch, TensorFlow and differences.

``CASES`` holds one case for each name of ``functional.__all__``: how to draw shapes and settings,
the same function in both frameworks, and examples that are always run. Arrays are named as the
primitive's own arguments. Every array is read-only, so that writing into an input is an error.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import functional
from helpers.autodiff import Parameter, Tensor, grad, no_grad
from helpers.gradcheck import check
from helpers.parity import to_numpy

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}  # relative to the largest magnitude
EXAMPLES = 50
steady = settings(derandomize=True, deadline=None, database=None, max_examples=EXAMPLES)
both_types = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
INF = np.inf


class Case(NamedTuple):
    """A primitive's judge.

    Attributes:
        draw: maps hypothesis' draw to shapes by the arguments' names, and settings.
        torch: the same in PyTorch, of ``torch`` and the arguments by name.
        tf: the same in TensorFlow.
        fixed: examples of what ``draw`` gives.
        sample: draws numbers for arrays that must not be standard normal, by name.
        cancels: where gradients are sums that may cancel, such as behind the norm of two numbers or
            of a weight that meets all of an image, what size their terms have; rounding is
            relative to the terms, and the tolerance to that size at least.
    """

    draw: Callable[..., Any]
    torch: Callable[..., Any]
    tf: Callable[..., Any]
    fixed: list[tuple[dict[str, tuple[int, ...]], dict[str, Any]]]
    sample: dict[str, Callable[..., Any]] = {}  # noqa: RUF012
    cancels: float = 0.0


# Numbers and layouts


def laid_out(array, layout):
    """The same numbers, read-only, elsewhere in memory."""
    if layout == "columns" and array.ndim:  # without axes it would get one
        array = np.asfortranarray(array)
    elif layout == "strided" and array.ndim:
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), 7, array.dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    elif layout == "reversed":
        array = np.flip(np.flip(array).copy())
    array = np.asarray(array).view()
    array.flags.writeable = False
    return array


def fill(case, shapes, constants, dtype, seed):
    """Numbers for the shapes, in random layouts; constants of the same float type."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        numbers = case.sample.get(name, lambda r, s: r.normal(size=s))(rng, shape)
        layout = rng.choice(["rows", "columns", "strided", "reversed"])
        arrays[name] = laid_out(np.asarray(numbers).astype(dtype), layout)
    floats = {
        k: laid_out(v.astype(dtype), "rows")
        for k, v in constants.items()
        if isinstance(v, np.ndarray) and v.dtype.kind == "f"
    }
    return arrays, constants | floats, rng


def call(name, **arguments):
    if name == "dropout":
        arguments["rng"] = np.random.default_rng(arguments["rng"])
    function = getattr(functional, name)
    names = list(inspect.signature(function).parameters)
    if all(n in arguments for n in names[: len(arguments)]) and name[0] < "l":  # half by position
        bound = inspect.signature(function).bind(**arguments)
        return function(*bound.args, **bound.kwargs)
    return function(**arguments)


def plain(tensor):
    return tensor.detach().numpy()


def torch_of(torch, value, **options):
    """In rows: with another layout of the gradient than of x, and batch and height 1, torch's
    batch norm has wrong gradients."""
    if not isinstance(value, np.ndarray):
        return value
    return torch.tensor(np.array(value, order="C"), **options)


def close(what, ours, theirs, dtype, floor=0.0):
    """Same type, same shape, and no further apart than the tolerance of the largest magnitude."""
    assert isinstance(ours, np.ndarray | np.generic), what
    assert ours.dtype == theirs.dtype == dtype, what
    assert ours.shape == theirs.shape, what
    if ours.size:
        scale = max(np.abs(theirs).max(), floor)
        error = np.abs(ours - theirs).max()
        assert error <= TOLERANCE[dtype] * scale, f"{what}: {error} of {scale}"


def ours(name, arrays, constants, rng):
    """The value, gradients by all arrays, and the random gradient by the value."""
    before = {k: v.copy() for k, v in arrays.items()}
    tensors = {k: Parameter(v) for k, v in arrays.items()}
    value = call(name, **tensors, **constants)
    gradient = laid_out(
        rng.normal(size=value.shape).astype(value.dtype), rng.choice(["rows", "columns"])
    )
    leaves = list(tensors.values())
    first = grad(value, leaves, gradient, retain_graph=True)
    # Pullbacks remember what they share: another gradient in between must not change that.
    grad(value, leaves, -2 * gradient, retain_graph=True)
    for again, g in zip(grad(value, leaves, gradient, retain_graph=True), first, strict=True):
        np.testing.assert_array_equal(again, g, strict=True)
    value.backward(gradient)
    for (k, tensor), g in zip(tensors.items(), first, strict=True):
        assert tensor.data is arrays[k] or np.shares_memory(tensor.data, arrays[k])
        np.testing.assert_array_equal(tensor.data, before[k], strict=True)
        np.testing.assert_array_equal(tensor.grad, g, strict=True)
        assert tensor.grad.flags.writeable
    # Arrays in, arrays out; and the same without a record.
    bare = call(name, **arrays, **constants)
    assert isinstance(bare, np.ndarray | np.generic)
    np.testing.assert_array_equal(bare, value.data, strict=False)
    assert bare.dtype == value.dtype
    with no_grad():
        assert not call(name, **tensors, **constants).requires_grad
    # How it lies in memory is nobody's business.
    np.testing.assert_array_equal(np.ascontiguousarray(value.data).reshape(value.shape), value.data)
    np.testing.assert_array_equal(value.reshape(-1).data, value.data.flatten())
    return value.data, dict(zip(tensors, first, strict=True)), gradient


def by_torch(torch, case, arrays, constants, gradient):
    tensors = {k: torch_of(torch, v, requires_grad=True) for k, v in arrays.items()}
    value = case.torch(torch, **tensors, **{k: torch_of(torch, v) for k, v in constants.items()})
    value.backward(torch_of(torch, np.asarray(gradient)))
    return plain(value), {k: plain(t.grad) for k, t in tensors.items()}


# Shapes


sizes = st.integers(1, 4)
shapes_ = st.lists(st.integers(0, 4), max_size=3).map(tuple)
pairs = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))


def two(value):
    return value if isinstance(value, tuple) else (value, value)


def draw_linear(draw):
    n, out = draw(sizes), draw(sizes)
    shapes = {"x": (*draw(shapes_), n), "weight": (out, n)}
    return shapes | ({"bias": (out,)} if draw(st.booleans()) else {}), {}


def draw_embedding(draw):
    n, shape = draw(sizes), draw(shapes_)
    indices = np.random.default_rng(draw(st.integers(0, 99))).integers(0, n, shape)
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    return {"weight": (n, draw(sizes))}, {"indices": np.asarray(indices, kind)}


def draw_elementwise(draw):
    return {"x": draw(shapes_)}, {}


def draw_dropout(draw):
    p = draw(st.sampled_from([0, 0.0, 0.25, 0.5, 0.9, np.float64(0.3)]))
    return {"x": draw(shapes_)}, {"p": p, "rng": draw(st.integers(0, 99))}


def draw_gelu(draw):
    return {"x": draw(shapes_)}, draw(
        st.sampled_from([{}, {"approximate": "none"}, {"approximate": "tanh"}])
    )


def draw_softmax(draw):
    shape = draw(st.lists(sizes, min_size=1, max_size=3))
    axis = draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    empty = draw(st.sampled_from([None, *range(len(shape))]))
    if empty is not None and empty != (axis if axis is not None else -1) % len(shape):
        shape[empty] = 0
    return {"x": tuple(shape)}, {} if axis is None else {"axis": axis}


def draw_cross_entropy(draw):
    shape, n = draw(st.lists(sizes, max_size=3).map(tuple)), draw(sizes)
    target = np.random.default_rng(draw(st.integers(0, 99))).integers(0, n, shape)
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    return {"logits": (*shape, n)}, {"target": np.asarray(target, kind)}


def draw_two_alike(first):
    def draw_(draw):
        shape = draw(st.lists(sizes, max_size=3).map(tuple))
        return {first: shape, "target": shape}, {}

    return draw_


def draw_layer_norm(draw):
    n = draw(st.integers(1, 6))
    shapes = {"x": (*draw(shapes_), n), "weight": (n,), "bias": (n,)}
    # Behind the norm of one or two numbers roundings are multiplied by 1/√eps, 316 by default.
    eps = [{"eps": 1e-1}, {"eps": 1e-2}]
    return shapes, draw(st.sampled_from([{}, *eps] if n > 2 else eps))


def draw_batch_norm(draw):
    channels, rest = draw(sizes), draw(st.lists(sizes, max_size=2))
    least = 2 if math.prod(rest) == 1 else 1
    shapes = {"x": (draw(st.integers(least, 5)), channels, *rest)}
    constants = draw(st.sampled_from([{}, {"eps": 1e-3}]))
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        constants = constants | {"mean": rng.normal(size=channels), "var": rng.random(channels) + 1}
    return shapes | {"weight": (channels,), "bias": (channels,)}, constants


def mask_of(draw, shape):
    """A mask for (…, queries, keys), or a smaller one that is broadcast to it; none hides all."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = shape[draw(st.integers(0, len(shape) - 2)) :]
    shape = tuple(
        n if i == len(shape) - 1 or draw(st.booleans()) else 1 for i, n in enumerate(shape)
    )
    kind = draw(st.sampled_from(["none", "bool", "numbers", "infinite"]))
    if kind == "none":
        return {}
    seen = rng.random(shape) < 0.6
    seen[..., 0] = True
    if kind == "bool":
        return {"mask": seen}
    return {"mask": np.where(seen, rng.normal(size=shape), -INF if kind == "infinite" else -3.0)}


def draw_attention(draw):
    queries, keys, d, dv = (draw(sizes) for _ in range(4))
    lead = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    parts = {}
    for name, inner in (("query", (queries, d)), ("key", (keys, d)), ("value", (keys, dv))):
        own = lead[draw(st.integers(0, len(lead))) :]
        parts[name] = (*(n if draw(st.booleans()) else 1 for n in own), *inner)
    full = np.broadcast_shapes(*(s[:-2] for s in parts.values()))
    return parts, mask_of(draw, (*full, queries, keys))


def draw_self_attention(draw):
    batch, time, heads, d = (draw(sizes) for _ in range(4))
    constants = mask_of(draw, (batch, heads, time, time))
    mask = constants.get("mask")
    if mask is not None and mask.ndim == 3:  # which are one a sample, not one a head
        constants["mask"] = np.repeat(mask[:1], batch, axis=0)
    return {"packed": (batch, time, 3 * heads * d)}, {"heads": heads} | constants


def draw_recurrent(gates, states=("h0",), **options):
    def draw_(draw):
        batch, time, n, hidden = (draw(sizes) for _ in range(4))
        shapes = recurrent_shapes(gates, batch, time, n, hidden, states)
        return shapes, {k: draw(v) for k, v in options.items()}

    return draw_


def recurrent_shapes(gates, batch, time, n, hidden, states=("h0",)):
    rows = gates * hidden
    return {
        "x": (batch, time, n),
        "weight_ih": (rows, n),
        "weight_hh": (rows, hidden),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    } | {s: (batch, hidden) for s in states}


def draw_conv2d(draw):
    batch, channels, out = (draw(sizes) for _ in range(3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, stride = draw(st.tuples(sizes, sizes)), draw(pairs)
    padding = draw(st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2))))
    dilation = draw(pairs)
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(kernel, two(dilation), two(padding), strict=True)
    ]
    image = [n + draw(st.integers(0, 4)) for n in least]
    shapes = {"x": (batch, channels * groups, *image)}
    shapes["weight"] = (out * groups, channels, *kernel)
    chosen = {"stride": stride, "padding": padding, "dilation": dilation}
    chosen = {k: v for k, v in chosen.items() if draw(st.booleans()) or k != "stride"}
    if "dilation" not in chosen or "padding" not in chosen:  # these defaults need a larger image
        image = [n + 12 for n in image]
        shapes["x"] = (batch, channels * groups, *image)
    chosen |= {"groups": groups} if groups > 1 else {}
    return shapes | ({"bias": (out * groups,)} if draw(st.booleans()) else {}), chosen


def draw_conv_transpose2d(draw):
    batch, channels, out = (draw(sizes) for _ in range(3))
    kernel, stride = draw(st.tuples(sizes, sizes)), two(draw(pairs))
    output_padding = tuple(draw(st.integers(0, s - 1)) for s in stride)
    image = draw(st.tuples(sizes, sizes))
    full = [
        (n - 1) * s + k + o
        for n, s, k, o in zip(image, stride, kernel, output_padding, strict=True)
    ]
    padding = tuple(draw(st.integers(0, min(2, (n - 1) // 2))) for n in full)
    shapes = {"x": (batch, channels, *image), "weight": (channels, out, *kernel)}
    return shapes | ({"bias": (out,)} if draw(st.booleans()) else {}), {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
    }


def draw_pool(draw):
    kernel = draw(pairs)
    stride = draw(st.one_of(st.none(), st.integers(1, 5), st.tuples(sizes, sizes)))
    image = [k + draw(st.integers(0, 5)) for k in two(kernel)]
    batch = draw(st.integers(0, 3))
    return {"x": (batch, draw(sizes), *image)}, {"kernel_size": kernel} | (
        {} if stride is None and draw(st.booleans()) else {"stride": stride}
    )


# The same in PyTorch and TensorFlow


def torch_attention(torch, query, key, value, mask=None):
    lead = np.broadcast_shapes(*(tuple(t.shape[:-2]) for t in (query, key, value)))
    query, key, value = (t.expand(*lead, *t.shape[-2:]) for t in (query, key, value))
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)


def torch_self_attention(torch, packed, heads, mask=None):
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in packed.chunk(3, -1))
    if mask is not None and mask.ndim == 3:
        mask = mask[:, None]
    value = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    return value.transpose(1, 2).flatten(2)


def torch_recurrent(torch, function, x, h0, *weights):
    return function(x, h0[None], weights, True, 1, 0.0, False, False, True)[0].transpose(0, 1)


def torch_rnn(torch, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, relu=False):
    function = torch.rnn_relu if relu else torch.rnn_tanh
    return torch_recurrent(torch, function, x, h0, weight_ih, weight_hh, bias_ih, bias_hh)


def torch_gru(torch, x, weight_ih, weight_hh, bias_ih, bias_hh, h0):
    return torch_recurrent(torch, torch.gru, x, h0, weight_ih, weight_hh, bias_ih, bias_hh)


def torch_lstm(torch, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0):
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    out, _, c = torch.lstm(x, (h0[None], c0[None]), weights, True, 1, 0.0, False, False, True)
    return torch.cat([out.transpose(0, 1), c])


def torch_dropout(torch, x, p, rng):
    kept = torch.tensor(np.random.default_rng(rng).random(tuple(x.shape)) >= p)
    return x * kept / (1 - float(p))


def last(tf, x):
    """Channels last."""
    return tf.transpose(x, [0, 2, 3, 1])


def first(tf, x):
    return tf.transpose(x, [0, 3, 1, 2])


def explicit(padding):
    return [[0, 0], *([n, n] for n in two(padding)), [0, 0]]


def tf_conv2d(tf, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if groups > 1:  # TensorFlow's own has no gradient on a CPU
        parts = zip(tf.split(x, groups, 1), tf.split(weight, groups), strict=True)
        value = tf.concat(
            [tf_conv2d(tf, *part, None, stride, padding, dilation) for part in parts], 1
        )
        return value if bias is None else value + bias[:, None, None]
    image, kernel = last(tf, x), tf.transpose(weight, [2, 3, 1, 0])
    if dilation != 1:  # without strides; TensorFlow's own has no gradient on a CPU
        image = tf.pad(image, explicit(padding))
        value = tf.nn.atrous_conv2d(image, kernel, dilation, "VALID")
    else:
        value = tf.nn.conv2d(image, kernel, list(two(stride)), explicit(padding))
    return first(tf, value if bias is None else value + bias)


def tf_conv_transpose2d(tf, x, weight, bias=None, stride=1, padding=0, output_padding=0):
    spatial = [
        (n - 1) * s - 2 * p + k + o
        for n, s, p, k, o in zip(
            x.shape[2:],
            two(stride),
            two(padding),
            weight.shape[2:],
            two(output_padding),
            strict=True,
        )
    ]
    value = tf.nn.conv2d_transpose(
        last(tf, x),
        tf.transpose(weight, [2, 3, 1, 0]),
        [x.shape[0], *spatial, weight.shape[1]],
        list(two(stride)),
        explicit(padding),
    )
    return first(tf, value if bias is None else value + bias)


def tf_pool(function):
    def pool(tf, x, kernel_size, stride=None):
        strides = kernel_size if stride is None else stride
        return first(tf, getattr(tf.nn, function)(last(tf, x), kernel_size, strides, "VALID"))

    return pool


def tf_batch_norm(tf, x, weight, bias, mean=None, var=None, eps=1e-5):
    axes = [0, *range(2, len(x.shape))]
    if mean is None:
        mean, var = tf.nn.moments(x, axes)
    shape = [1, -1] + [1] * (len(x.shape) - 2)
    shaped = [tf.reshape(a, shape) for a in (mean, var, bias, weight)]
    return tf.nn.batch_normalization(x, *shaped, eps)


def tf_layer_norm(tf, x, weight, bias, eps=1e-5):
    mean, var = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, var, bias, weight, float(eps))


def tf_attention(tf, query, key, value, mask=None):
    scores = tf.einsum("...qd,...kd->...qk", query, key) / math.sqrt(query.shape[-1])
    if mask is not None and mask.dtype == bool:
        scores = tf.where(mask, scores, tf.constant(-INF, scores.dtype))
    elif mask is not None:
        scores += mask
    return tf.einsum("...qk,...kv->...qv", tf.nn.softmax(scores), value)


def tf_self_attention(tf, packed, heads, mask=None):
    batch, time, width = packed.shape
    parts = tf.reshape(packed, [batch, time, 3, heads, width // (3 * heads)])
    q, k, v = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
    value = tf.transpose(tf_attention(tf, q, k, v, mask), [0, 2, 1, 3])
    return tf.reshape(value, [batch, time, width // 3])


def tf_rnn(tf, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, relu=False):
    h, states = h0, []
    for t in range(x.shape[1]):
        z = x[:, t] @ tf.transpose(weight_ih) + bias_ih + h @ tf.transpose(weight_hh) + bias_hh
        h = tf.nn.relu(z) if relu else tf.tanh(z)
        states.append(h)
    return tf.stack(states)


def tf_lstm(tf, x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0):
    h, c, states = h0, c0, []
    for t in range(x.shape[1]):
        z = x[:, t] @ tf.transpose(weight_ih) + bias_ih + h @ tf.transpose(weight_hh) + bias_hh
        i, f, g, o = tf.split(z, 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        states.append(h)
    return tf.stack([*states, c])


def tf_gru(tf, x, weight_ih, weight_hh, bias_ih, bias_hh, h0):
    h, states = h0, []
    for t in range(x.shape[1]):
        r, z, n = tf.split(x[:, t] @ tf.transpose(weight_ih) + bias_ih, 3, 1)
        hr, hz, hn = tf.split(h @ tf.transpose(weight_hh) + bias_hh, 3, 1)
        update = tf.sigmoid(z + hz)
        h = (1 - update) * tf.tanh(n + tf.sigmoid(r + hr) * hn) + update * h
        states.append(h)
    return tf.stack(states)


def tf_gelu(tf, x, approximate="none"):
    if x.dtype == tf.float32:
        return tf.nn.gelu(x, approximate == "tanh")
    # tf.nn.gelu rounds √2 and 0.044715 to float32, in float64 too, which costs it 5e-9.
    root, cubic = (tf.constant(c, x.dtype) for c in (math.sqrt(2 / math.pi), 0.044715))
    if approximate == "tanh":
        return 0.5 * x * (1 + tf.tanh(root * (x + cubic * x**3)))
    return 0.5 * x * (1 + tf.math.erf(x / tf.sqrt(tf.constant(2, x.dtype))))


def tf_dropout(tf, x, p, rng):
    kept = np.random.default_rng(rng).random(tuple(x.shape)) >= p
    return tf.where(kept, x / (1 - p), tf.zeros_like(x))


def uniform(rng, shape):
    return rng.random(shape)


def causal(n):
    return np.tril(np.ones((n, n), bool))


LABELS = np.array([[0, 3], [2, 0], [1, 1]])
IMAGE = {"x": (2, 3, 5, 7)}

CASES = {
    "linear": Case(
        draw_linear,
        lambda torch, **a: torch.nn.functional.linear(**{"bias": None} | {"input": a.pop("x")} | a),
        lambda tf, x, weight, bias=0.0: tf.einsum("...i,oi->...o", x, weight) + bias,
        [
            ({"x": (3, 4), "weight": (2, 4), "bias": (2,)}, {}),
            ({"x": (2, 3, 4), "weight": (5, 4)}, {}),
            ({"x": (4,), "weight": (3, 4), "bias": (3,)}, {}),
        ],
        cancels=1.0,
    ),
    "embedding": Case(
        draw_embedding,
        lambda torch, indices, weight: torch.nn.functional.embedding(indices.long(), weight),
        lambda tf, indices, weight: tf.nn.embedding_lookup(weight, indices),
        [({"weight": (4, 3)}, {"indices": LABELS})],
    ),
    "dropout": Case(
        draw_dropout,
        torch_dropout,
        tf_dropout,
        [({"x": (4, 5)}, {"p": 0.25, "rng": 3}), ({"x": (4, 5)}, {"p": 0.0, "rng": 3})],
    ),
    "relu": Case(
        draw_elementwise,
        lambda torch, x: torch.relu(x),
        lambda tf, x: tf.nn.relu(x),
        [({"x": (3, 4)}, {})],
    ),
    "sigmoid": Case(
        draw_elementwise,
        lambda torch, x: torch.sigmoid(x),
        lambda tf, x: tf.sigmoid(x),
        [({"x": (3, 4)}, {})],
    ),
    "softplus": Case(
        draw_elementwise,
        lambda torch, x: torch.nn.functional.softplus(x),
        lambda tf, x: tf.nn.softplus(x),
        [({"x": (3, 4)}, {})],
    ),
    "gelu": Case(
        draw_gelu,
        lambda torch, x, **a: torch.nn.functional.gelu(x, **a),
        tf_gelu,
        [({"x": (3, 4)}, {}), ({"x": (3, 4)}, {"approximate": "tanh"})],
        cancels=1.0,
    ),
    "softmax": Case(
        draw_softmax,
        lambda torch, x, axis=-1: torch.softmax(x, axis),
        lambda tf, x, axis=-1: tf.nn.softmax(x, axis),
        [({"x": (3, 4)}, {}), ({"x": (2, 3, 4)}, {"axis": 1})],
        cancels=1.0,
    ),
    "log_softmax": Case(
        draw_softmax,
        lambda torch, x, axis=-1: torch.log_softmax(x, axis),
        lambda tf, x, axis=-1: tf.nn.log_softmax(x, axis),
        [({"x": (3, 4)}, {}), ({"x": (2, 3, 4)}, {"axis": 1})],
        cancels=1.0,
    ),
    "cross_entropy": Case(
        draw_cross_entropy,
        lambda torch, logits, target: torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), target.reshape(-1).long()
        ),
        lambda tf, logits, target: tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
        ),
        [({"logits": (3, 2, 4)}, {"target": LABELS}), ({"logits": (2, 4)}, {"target": LABELS[0]})],
        cancels=1.0,
    ),
    "binary_cross_entropy_with_logits": Case(
        draw_two_alike("logits"),
        lambda torch, logits, target: torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target
        ),
        lambda tf, logits, target: tf.reduce_mean(
            tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        ),
        [({"logits": (3, 4), "target": (3, 4)}, {})],
        sample={"target": uniform},
        cancels=1.0,
    ),
    "mse_loss": Case(
        draw_two_alike("output"),
        lambda torch, output, target: torch.nn.functional.mse_loss(output, target),
        lambda tf, output, target: tf.reduce_mean(tf.math.squared_difference(output, target)),
        [({"output": (3, 4), "target": (3, 4)}, {})],
    ),
    "layer_norm": Case(
        draw_layer_norm,
        lambda torch, x, eps=1e-5, **a: torch.nn.functional.layer_norm(
            x, x.shape[-1:], **a, eps=float(eps)
        ),
        tf_layer_norm,
        [
            ({"x": shape, "weight": (6,), "bias": (6,)}, {"eps": eps})
            for shape, eps in (((4, 6), 1e-5), ((2, 3, 6), 1e-3), ((2, 1, 3, 6), 1e-5))
        ],
        cancels=1.0,
    ),
    "batch_norm": Case(
        draw_batch_norm,
        lambda torch, x, mean=None, var=None, **a: torch.nn.functional.batch_norm(
            x, mean, var, **a, training=mean is None
        ),
        tf_batch_norm,
        [
            ({"x": (5, 3), "weight": (3,), "bias": (3,)}, {}),
            ({"x": (4, 3, 5), "weight": (3,), "bias": (3,)}, {"eps": 1e-3}),
            ({"x": (3, 3, 2, 4), "weight": (3,), "bias": (3,)}, {}),
            (
                {"x": (2, 3, 2, 4), "weight": (3,), "bias": (3,)},
                {"mean": np.array([0.5, -1, 0]), "var": np.array([1, 2, 0.5])},
            ),
        ],
        cancels=1.0,
    ),
    "scaled_dot_product_attention": Case(
        draw_attention,
        torch_attention,
        tf_attention,
        [
            ({"query": (2, 3, 4), "key": (2, 5, 4), "value": (2, 5, 6)}, {}),
            (
                {"query": (2, 2, 4, 3), "key": (2, 2, 4, 3), "value": (2, 2, 4, 3)},
                {"mask": causal(4)},
            ),
            ({"query": (3, 4), "key": (2, 3, 4), "value": (3, 4)}, {"mask": np.eye(3)}),
        ],
        cancels=1.0,
    ),
    "self_attention": Case(
        draw_self_attention,
        torch_self_attention,
        tf_self_attention,
        [
            ({"packed": (2, 4, 12)}, {"heads": 2}),
            ({"packed": (2, 4, 12)}, {"heads": 2, "mask": causal(4)}),
        ],
        cancels=1.0,
    ),
    "rnn": Case(
        draw_recurrent(1, relu=st.booleans()),
        torch_rnn,
        tf_rnn,
        [(recurrent_shapes(1, 3, 4, 2, 5), {}), (recurrent_shapes(1, 3, 4, 2, 5), {"relu": True})],
        cancels=1.0,
    ),
    "lstm": Case(
        draw_recurrent(4, ("h0", "c0")),
        torch_lstm,
        tf_lstm,
        [(recurrent_shapes(4, b, t, 2, 3, ("h0", "c0")), {}) for b, t in ((3, 4), (1, 1))],
        cancels=1.0,
    ),
    "gru": Case(
        draw_recurrent(3),
        torch_gru,
        tf_gru,
        [(recurrent_shapes(3, b, t, 2, 3), {}) for b, t in ((3, 4), (1, 1))],
        cancels=1.0,
    ),
    "conv2d": Case(
        draw_conv2d,
        lambda torch, x, weight, bias=None, **a: torch.nn.functional.conv2d(x, weight, bias, **a),
        tf_conv2d,
        [
            (IMAGE | {"weight": (4, 3, 3, 2), "bias": (4,)}, {"stride": 2, "padding": (1, 0)}),
            (IMAGE | {"weight": (4, 3, 2, 2)}, {"stride": 3}),
            (IMAGE | {"weight": (2, 3, 2, 3), "bias": (2,)}, {"dilation": 2, "padding": 1}),
            (IMAGE | {"weight": (6, 1, 2, 3), "bias": (6,)}, {"groups": 3, "stride": (1, 2)}),
        ],
        cancels=1.0,
    ),
    "conv_transpose2d": Case(
        draw_conv_transpose2d,
        lambda torch, x, weight, bias=None, **a: torch.nn.functional.conv_transpose2d(
            x, weight, bias, **a
        ),
        tf_conv_transpose2d,
        [
            (IMAGE | {"weight": (3, 4, 3, 2), "bias": (4,)}, {}),
            (IMAGE | {"weight": (3, 4, 3, 3)}, {"stride": 2, "padding": 1, "output_padding": 1}),
            (IMAGE | {"weight": (3, 2, 2, 3), "bias": (2,)}, {"stride": (3, 2), "padding": (0, 1)}),
        ],
        cancels=1.0,
    ),
    "max_pool2d": Case(
        draw_pool,
        lambda torch, x, **a: torch.nn.functional.max_pool2d(x, **a),
        tf_pool("max_pool2d"),
        [
            (IMAGE, {"kernel_size": 2}),
            (IMAGE, {"kernel_size": (3, 2), "stride": 1}),
            (IMAGE, {"kernel_size": 2, "stride": 3}),
        ],
    ),
    "avg_pool2d": Case(
        draw_pool,
        lambda torch, x, **a: torch.nn.functional.avg_pool2d(x, **a),
        tf_pool("avg_pool2d"),
        [
            (IMAGE, {"kernel_size": 2}),
            (IMAGE, {"kernel_size": (3, 2), "stride": 1}),
            (IMAGE, {"kernel_size": 2, "stride": 3}),
        ],
    ),
}  # fmt: skip
FIXED = [
    pytest.param(name, shapes, constants, id=f"{name}-{i}")
    for name, case in CASES.items()
    for i, (shapes, constants) in enumerate(case.fixed)
]


def test_every_primitive_has_a_case():
    assert set(CASES) == set(functional.__all__)
    assert len(functional.__all__) == len(set(functional.__all__))
    assert all(case.fixed for case in CASES.values())
    for name in functional.__all__:
        assert getattr(functional, name).__doc__


def judge(torch, name, shapes, constants, dtype, seed):
    case = CASES[name]
    arrays, constants, rng = fill(case, shapes, constants, dtype, seed)
    value, gradients, gradient = ours(name, arrays, constants, rng)
    expected, theirs = by_torch(torch, case, arrays, constants, gradient)
    close("value", value, expected, dtype)
    for k in arrays:
        close(f"gradient by {k}", gradients[k], theirs[k], dtype, case.cancels)


@both_types
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_torchs(torch, name, dtype):
    @given(st.data())
    @steady
    def agree(data):
        shapes, constants = CASES[name].draw(data.draw)
        judge(torch, name, shapes, constants, dtype, data.draw(st.integers(0, 10**6)))

    agree()


@both_types
@pytest.mark.parametrize(("name", "shapes", "constants"), FIXED)
def test_values_and_gradients_are_tensorflows(tf, name, shapes, constants, dtype):
    case = CASES[name]
    arrays, constants, rng = fill(case, shapes, constants, dtype, 5)
    value, gradients, gradient = ours(name, arrays, constants, rng)
    variables = {k: tf.Variable(np.array(v)) for k, v in arrays.items()}
    with tf.GradientTape() as tape:
        result = case.tf(tf, **variables, **constants)
        total = tf.reduce_sum(result * np.array(gradient))
    theirs = tape.gradient(total, variables)
    close("value", value, result.numpy(), dtype)
    for k in arrays:
        close(f"gradient by {k}", gradients[k], to_numpy(theirs[k]), dtype, case.cancels)


@pytest.mark.parametrize(("name", "shapes", "constants"), FIXED)
def test_gradients_match_central_differences(name, shapes, constants):
    arrays, constants, rng = fill(CASES[name], shapes, constants, np.float64, 11)
    _, gradients, gradient = ours(name, arrays, constants, rng)
    check(lambda p: float((call(name, **p, **constants) * gradient).sum()), arrays, gradients)


# Types and layouts


@pytest.mark.parametrize(("name", "shapes", "constants"), FIXED)
def test_numbers_of_numpy_as_settings_leave_float32_alone(name, shapes, constants):
    # NumPy 2 takes np.float64(0.1) for a float64 array, and 0.1 for none.
    wide = {k: np.float64(v) if isinstance(v, float) else v for k, v in constants.items()}
    arrays, wide, _ = fill(CASES[name], shapes, wide, np.float32, 5)
    assert call(name, **arrays, **wide).dtype == np.float32
    assert call(name, **{k: Tensor(v) for k, v in arrays.items()}, **wide).dtype == np.float32


def test_a_float64_mask_leaves_float32_alone():
    q = np.ones((2, 3), np.float32)
    assert functional.scaled_dot_product_attention(q, q, q, np.zeros((2, 2))).dtype == np.float32


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize(
    "kind",
    [
        bool,
        np.uint8,
        np.int64,
    ],
)
def test_targets_of_another_type_leave_float32_alone(torch, name, kind):
    output, target = np.array([0.5, -1.5], np.float32), np.array([1, 0]).astype(kind)
    z = Parameter(output)
    loss = getattr(functional, name)(z, target)
    loss.backward()
    theirs = torch.tensor(output, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs, torch.tensor(target.astype(np.float32)))
    expected.backward()
    assert z.grad.dtype == np.float32
    np.testing.assert_allclose(z.grad, plain(theirs.grad), rtol=1e-6)
    close("loss", loss.data, plain(expected), np.float32)


def test_the_gradient_of_a_number_is_an_array():
    x = Parameter(2.0)
    functional.sigmoid(x).backward()
    assert type(x.grad) is np.ndarray


def test_a_parameter_may_come_by_name_among_arrays():
    x, w, b = np.ones((2, 3)), np.ones((4, 3)), Parameter(np.zeros(4))
    value = functional.linear(x, w, bias=b)
    assert isinstance(value, Tensor)
    value.backward(np.ones((2, 4)))
    np.testing.assert_array_equal(b.grad, np.full(4, 2.0))
    kernel = Parameter(np.ones((1, 1, 2, 2)))
    value = functional.conv2d(np.ones((1, 1, 4, 4)), stride=2, weight=kernel)
    value.backward(np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(kernel.grad, np.full((1, 1, 2, 2), 4.0))
    bias = Parameter(np.zeros(3))
    functional.layer_norm(x, bias=bias, weight=np.ones(3)).backward(x)
    np.testing.assert_array_equal(bias.grad, np.full(3, 2.0))


def test_a_constant_gets_no_gradient():
    x, w = Tensor(np.ones((2, 3))), Parameter(np.ones((4, 3)))
    functional.linear(x, w).backward(np.ones((2, 4)))
    assert x.grad is None
    assert not functional.linear(x, np.ones((4, 3))).requires_grad


@pytest.mark.parametrize("wrap", [np.asarray, Tensor], ids=["array", "tensor"])
def test_masks_indices_and_labels_may_be_tensors(wrap):
    rng = np.random.default_rng(0)
    q = Parameter(rng.normal(size=(2, 4, 3)))
    for mask in (causal(4), np.where(causal(4), 0.0, -INF)):
        value = functional.scaled_dot_product_attention(q, q, q, mask=wrap(mask))
        np.testing.assert_array_equal(value.data[:, 0], q.data[:, 0])
    table = Parameter(rng.normal(size=(3, 2)))
    np.testing.assert_array_equal(
        functional.embedding(wrap(LABELS[:2] % 3), table).data, table.data[LABELS[:2] % 3]
    )
    loss = functional.cross_entropy(q, target=wrap(np.zeros((2, 4), np.int64)))
    np.testing.assert_allclose(loss.data, -functional.log_softmax(q.data)[..., 0].mean())


def test_an_additive_mask_can_be_learned(torch):
    # A relative position bias is such a mask; torch and TensorFlow differentiate by it.
    rng = np.random.default_rng(1)
    q, mask = rng.normal(size=(2, 3, 4)), Parameter(rng.normal(size=(3, 3)))
    functional.scaled_dot_product_attention(q, q, q, mask).backward(q)
    theirs = torch.tensor(mask.data, requires_grad=True)
    torch_attention(torch, *[torch.tensor(q)] * 3, theirs).backward(torch.tensor(q))
    close("gradient by mask", mask.grad, plain(theirs.grad), np.float64)


@pytest.mark.parametrize(
    ("name", "shapes", "constants"),
    [
        ("avg_pool2d", {"x": (0, 2, 4, 5)}, {"kernel_size": 2}),
        ("max_pool2d", {"x": (0, 2, 4, 5)}, {"kernel_size": 2}),
        ("linear", {"x": (0, 3), "weight": (2, 3), "bias": (2,)}, {}),
        ("linear", {"x": (2, 0), "weight": (3, 0), "bias": (3,)}, {}),
        ("layer_norm", {"x": (0, 3), "weight": (3,), "bias": (3,)}, {}),
        ("lstm", recurrent_shapes(4, 0, 2, 3, 4, ("h0", "c0")), {}),
        ("gru", recurrent_shapes(3, 0, 2, 3, 4), {}),
        ("scaled_dot_product_attention", dict.fromkeys(("query", "key", "value"), (0, 3, 2)), {}),
        *(
            case
            for case in (
                ("conv2d", {"x": (0, 2, 4, 5), "weight": (3, 2, 2, 2), "bias": (3,)}, {}),
                (
                    "conv_transpose2d",
                    {"x": (0, 2, 4, 5), "weight": (2, 3, 2, 2), "bias": (3,)},
                    {},
                ),
                ("rnn", recurrent_shapes(1, 0, 2, 3, 4), {}),
                ("self_attention", {"packed": (0, 3, 12)}, {"heads": 2}),
            )
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_empty_batches_are_torchs(torch, name, shapes, constants):
    judge(torch, name, shapes, constants, np.float64, 3)


# Ties, corners and large numbers


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), ((2, 3), (1, 2)), (2, 3)])
def test_of_equals_the_first_gets_the_gradient(torch, tf, kernel, stride):
    # Few whole numbers: almost every window has several largest.
    rng = np.random.default_rng(4)
    numbers = rng.integers(0, 3, (3, 2, 6, 8)).astype(np.float64)
    x = Parameter(numbers)
    value = functional.max_pool2d(x, kernel, stride)
    gradient = rng.normal(size=value.shape)
    value.backward(gradient)
    theirs = torch.tensor(numbers, requires_grad=True)
    torch.nn.functional.max_pool2d(theirs, kernel, stride).backward(torch.tensor(gradient))
    close("torch", x.grad, plain(theirs.grad), np.float64)
    variable = tf.Variable(numbers)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf_pool("max_pool2d")(tf, variable, kernel, stride) * gradient)
    close("TensorFlow", x.grad, tape.gradient(total, variable).numpy(), np.float64)


def test_equals_in_one_window():
    x = Parameter(np.ones((1, 1, 2, 2)))
    functional.max_pool2d(x, 2).backward(np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(x.grad[0, 0], [[1, 0], [0, 0]])
    x = Parameter(np.array([[[[0.0, 1.0], [1.0, 0.0]]]]))
    functional.max_pool2d(x, 2).backward(np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(x.grad[0, 0], [[0, 1], [0, 0]])


@both_types
def test_relu_has_the_derivative_0_at_0(torch, tf, dtype):
    numbers = np.array([-1, -0.0, 0.0, 1, 1e-30, -1e-30, 1e30], dtype)
    x, theirs, variable = (
        Parameter(numbers),
        torch.tensor(numbers, requires_grad=True),
        tf.Variable(numbers),
    )
    functional.relu(x).backward(np.ones_like(numbers))
    theirs.relu().sum().backward()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.nn.relu(variable))
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(x.grad, plain(theirs.grad))
    np.testing.assert_array_equal(x.grad, tape.gradient(total, variable).numpy())


LARGE = np.array([-1000, -100, -50, 0, 50, 100, 1000])


@both_types
@pytest.mark.parametrize("name", ["relu", "sigmoid", "softplus", "gelu", "softmax", "log_softmax"])
def test_large_numbers_do_not_overflow(torch, name, dtype):
    x = Parameter(LARGE.astype(dtype))
    theirs = torch.tensor(x.data, requires_grad=True)
    g = np.arange(1, 8).astype(dtype)
    value = getattr(functional, name)(x)
    value.backward(g)
    expected = CASES[name].torch(torch, theirs)
    expected.backward(torch.tensor(g))
    close("value", value.data, plain(expected), dtype)
    close("gradient", x.grad, plain(theirs.grad), dtype)


@both_types
def test_losses_of_large_numbers_do_not_overflow(torch, dtype):
    logits = np.stack([LARGE, -LARGE]).astype(dtype)
    for target in (np.zeros_like(logits), np.ones_like(logits), (logits > 0).astype(dtype)):
        x, theirs = Parameter(logits), torch.tensor(logits, requires_grad=True)
        loss = functional.binary_cross_entropy_with_logits(x, target)
        loss.backward()
        expected = CASES["binary_cross_entropy_with_logits"].torch(
            torch, theirs, torch.tensor(target)
        )
        expected.backward()
        close("loss", loss.data, plain(expected), dtype, 1.0)
        close("gradient", x.grad, plain(theirs.grad), dtype)
    for target in ([0, 6], [6, 0], [3, 3]):
        x, theirs = Parameter(logits), torch.tensor(logits, requires_grad=True)
        loss = functional.cross_entropy(x, np.array(target))
        loss.backward()
        expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(target))
        expected.backward()
        close("loss", loss.data, plain(expected), dtype, 1.0)
        close("gradient", x.grad, plain(theirs.grad), dtype)


@both_types
@pytest.mark.parametrize("x", [-40, -30, -20, -5])
@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
@pytest.mark.parametrize("which", ["value", "gradient"])
def test_small_values_keep_their_digits(torch, name, which, x, dtype):
    """Relative to itself, each number alone: log σ(−20) must not be −∞."""
    numbers = np.array([x], dtype)
    ours_, theirs = Parameter(numbers), torch.tensor(numbers, requires_grad=True)
    value = getattr(functional, name)(ours_)
    value.backward(np.ones(1, dtype))
    expected = CASES[name].torch(torch, theirs)
    expected.backward(torch.ones_like(theirs))
    if which == "value":
        close("value", value.data, plain(expected), dtype)
    else:
        close("gradient", ours_.grad, plain(theirs.grad), dtype)


def test_sigmoid_of_minus_20_is_not_0():
    assert functional.sigmoid(np.array([-20], np.float32)) > 0


def test_a_wrong_label_of_small_probability_has_a_gradient(torch):
    z, theirs = Parameter(np.array([-20], np.float32)), torch.tensor([-20.0], requires_grad=True)
    functional.binary_cross_entropy_with_logits(z, np.zeros(1, np.float32)).backward()
    torch.nn.functional.binary_cross_entropy_with_logits(theirs, torch.zeros(1)).backward()
    close("gradient", z.grad, plain(theirs.grad), np.float32)


@pytest.mark.parametrize("z", [10, 20])
def test_small_losses_of_right_answers_keep_their_digits(torch, z):
    logits, ones = np.array([z], np.float32), np.ones(1, np.float32)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        *map(torch.tensor, (logits, ones))
    )
    found = functional.binary_cross_entropy_with_logits(logits, ones)
    close("loss", np.asarray(found), plain(expected), np.float32)


def test_minus_infinity_is_a_probability_of_0(torch):
    numbers = np.array([[-INF, 0.0, 1.0], [2.0, -INF, -INF]])
    g = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]])
    x, theirs = Parameter(numbers), torch.tensor(numbers, requires_grad=True)
    value, expected = functional.softmax(x), torch.softmax(theirs, -1)
    close("value", value.data, plain(expected), np.float64)
    value.backward(g)
    expected.backward(torch.tensor(g))
    close("gradient", x.grad, plain(theirs.grad), np.float64)
    np.testing.assert_allclose(
        functional.log_softmax(numbers), plain(torch.log_softmax(theirs, -1)), rtol=1e-12
    )
    x, theirs = Parameter(numbers), torch.tensor(numbers, requires_grad=True)
    loss = functional.cross_entropy(x, np.array([1, 0]))
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor([1, 0]))
    loss.backward()
    expected.backward()
    close("loss", loss.data, plain(expected), np.float64)
    close("gradient", x.grad, plain(theirs.grad), np.float64)
    assert functional.cross_entropy(numbers, np.array([0, 0])) == INF


@pytest.mark.parametrize("infinite", [False, True])
def test_a_query_that_may_look_nowhere_gets_nothing(torch, infinite):
    mask = np.array([[True, False], [False, False]])
    mask = np.where(mask, 0, -INF) if infinite else mask
    q = np.random.default_rng(2).normal(size=(2, 3))
    expected = torch_attention(torch, *[torch.tensor(q)] * 3, torch.tensor(mask))
    x = Parameter(q)
    value = functional.scaled_dot_product_attention(x, x, x, mask)
    value.backward(q)
    close("value", value.data, plain(expected), np.float64)
    assert np.isfinite(x.grad).all()


def test_a_mask_of_zeros_and_ones_is_refused():
    # np.tril(np.ones((n, n), int)) hides nothing when it is added. torch refuses it.
    q = np.ones((2, 3))
    with pytest.raises((TypeError, ValueError), match="mask"):
        functional.scaled_dot_product_attention(q, q, q, np.tril(np.ones((2, 2), int)))


def test_dropout_keeps_the_mean_and_masks_the_gradient_alike():
    x = Parameter(np.ones((500, 400)))
    value = functional.dropout(x, 0.3, np.random.default_rng(0))
    share = (value.data == 0).mean()
    assert abs(share - 0.3) < 4 * math.sqrt(0.21 / x.size)
    np.testing.assert_allclose(np.unique(value.data), [0, 1 / 0.7], rtol=1e-15)
    assert abs(value.data.mean() - 1) < 4 * math.sqrt(0.3 / 0.7 / x.size)
    value.backward(2 * x.data)
    np.testing.assert_array_equal(x.grad, 2 * value.data)


def test_dropout_with_one_seed_is_one_mask():
    x = np.ones((30, 40), np.float32)
    drawn = [functional.dropout(x, 0.5, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    np.testing.assert_array_equal(
        functional.dropout(Tensor(x), 0.5, np.random.default_rng(1)).data, drawn[0]
    )


def test_long_sequences_do_not_overflow(torch):
    shapes = recurrent_shapes(4, 2, 300, 3, 4, ("h0", "c0"))
    judge(torch, "lstm", shapes, {}, np.float64, 1)
    judge(torch, "gru", recurrent_shapes(3, 2, 300, 3, 4), {}, np.float64, 1)


# Errors


ONES = {n: np.ones(n) for n in range(1, 6)}
PICTURE = np.ones((1, 2, 4, 4))


def square(n):
    return np.ones((n, n))


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "error", "message"),
    [
        (
            "linear",
            (square(2), square(3)),
            {},
            ValueError,
            r"must fit, got shapes \(2, 2\) and \(3, 3\)",
        ),
        (
            "linear",
            (square(2), ONES[2]),
            {},
            ValueError,
            r"must fit, got shapes \(2, 2\) and \(2,\)",
        ),
        ("linear", (np.ones(()), square(2)), {}, ValueError, r"must fit, got shapes \(\) and"),
        (
            "linear",
            (square(2), square(2), ONES[3]),
            {},
            ValueError,
            r"bias must have shape \(2,\), got \(3,\)",
        ),
        (
            "embedding",
            (np.array([0, 3]), square(3)),
            {},
            ValueError,
            r"indices must lie in 0 … 2, got 0 … 3",
        ),
        (
            "embedding",
            (np.array([[-1]]), square(3)),
            {},
            ValueError,
            r"indices must lie in 0 … 2, got -1 … -1",
        ),
        (
            "embedding",
            (ONES[2], square(3)),
            {},
            TypeError,
            "indices must be an array of whole numbers, got float64",
        ),
        ("embedding", (np.array([True]), square(3)), {}, TypeError, "whole numbers, got bool"),
        ("dropout", (ONES[2], 1.0, None), {}, ValueError, "p must lie in 0 ≤ p < 1, got 1.0"),
        ("dropout", (ONES[2], -0.1, None), {}, ValueError, "p must lie in 0 ≤ p < 1, got -0.1"),
        ("dropout", (ONES[2], np.nan, None), {}, ValueError, "p must lie in 0 ≤ p < 1, got nan"),
        (
            "gelu",
            (ONES[2],),
            {"approximate": "erf"},
            ValueError,
            "approximate must be 'none' or 'tanh', got 'erf'",
        ),
        ("gelu", (ONES[2], True), {}, ValueError, "approximate must be 'none' or 'tanh', got True"),
        (
            "cross_entropy",
            (square(3), np.array([0, 1])),
            {},
            ValueError,
            r"the classes, got \(2,\) and \(3, 3\)",
        ),
        (
            "cross_entropy",
            (square(2), np.array([[0], [1]])),
            {},
            ValueError,
            r"the classes, got \(2, 1\) and \(2, 2\)",
        ),
        (
            "cross_entropy",
            (square(2), square(2)),
            {},
            ValueError,
            r"the classes, got \(2, 2\) and \(2, 2\)",
        ),
        (
            "cross_entropy",
            (square(2), np.array([0, 2])),
            {},
            ValueError,
            r"target must lie in 0 … 1, got 0 … 2",
        ),
        (
            "cross_entropy",
            (square(2), np.array([0, -100])),
            {},
            ValueError,
            r"target must lie in 0 … 1, got -100 … 0",
        ),
        (
            "cross_entropy",
            (square(2), ONES[2]),
            {},
            TypeError,
            "target must be an array of whole numbers, got float64",
        ),
        (
            "cross_entropy",
            (np.ones((0, 3)), np.zeros(0, int)),
            {},
            ValueError,
            "target must hold at least one label, got none",
        ),
        (
            "cross_entropy",
            (np.ones(()), np.array(0)),
            {},
            ValueError,
            r"the classes, got \(\) and \(\)",
        ),
        (
            "binary_cross_entropy_with_logits",
            (ONES[3], ONES[2]),
            {},
            ValueError,
            r"target must have shape \(3,\), got \(2,\)",
        ),
        (
            "binary_cross_entropy_with_logits",
            (np.ones((3, 1)), ONES[3]),
            {},
            ValueError,
            r"target must have shape \(3, 1\), got \(3,\)",
        ),
        (
            "binary_cross_entropy_with_logits",
            (ONES[2], np.array([0, 2.0])),
            {},
            ValueError,
            r"target must lie in 0 … 1, got 0.0 … 2.0",
        ),
        (
            "binary_cross_entropy_with_logits",
            (ONES[2], np.array([-1, 1])),
            {},
            ValueError,
            r"target must lie in 0 … 1, got -1.0 … 1.0",
        ),
        (
            "binary_cross_entropy_with_logits",
            (ONES[2], np.array([np.nan, 1])),
            {},
            ValueError,
            "target must lie in 0 … 1, got nan",
        ),
        (
            "mse_loss",
            (np.ones((3, 1)), ONES[3]),
            {},
            ValueError,
            r"target must have shape \(3, 1\), got \(3,\)",
        ),
        (
            "layer_norm",
            (square(3), ONES[2], ONES[3]),
            {},
            ValueError,
            r"weight must have shape \(3,\), got \(2,\)",
        ),
        (
            "layer_norm",
            (square(3), ONES[3], ONES[1]),
            {},
            ValueError,
            r"bias must have shape \(3,\), got \(1,\)",
        ),
        (
            "batch_norm",
            (square(3), ONES[2], ONES[3]),
            {},
            ValueError,
            r"weight and bias \(channels,\), got \(3, 3\), \(2,\) and \(3,\)",
        ),
        (
            "batch_norm",
            (ONES[3], ONES[3], ONES[3]),
            {},
            ValueError,
            r"x must have shape \(batch, channels, …\)",
        ),
        (
            "scaled_dot_product_attention",
            (square(2), square(3), square(3)),
            {},
            ValueError,
            r"must fit, got \(2, 2\), \(3, 3\) and \(3, 3\)",
        ),
        (
            "scaled_dot_product_attention",
            (square(2), square(2), square(3)),
            {},
            ValueError,
            r"must fit, got \(2, 2\), \(2, 2\) and \(3, 3\)",
        ),
        (
            "self_attention",
            (np.ones((1, 2, 9)), 2),
            {},
            ValueError,
            r"heads dividing d, got \(1, 2, 9\)",
        ),
        (
            "self_attention",
            (np.ones((1, 2, 8)), 2),
            {},
            ValueError,
            r"packed must be \(batch, time, 3 d\)",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 3, 2, 2))),
            {},
            ValueError,
            r"got \(1, 2, 4, 4\) and \(1, 3, 2, 2\)",
        ),
        (
            "conv2d",
            (PICTURE[0], np.ones((1, 2, 2, 2))),
            {},
            ValueError,
            r"x must have shape \(batch, channels, height, width\)",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2)), ONES[2]),
            {},
            ValueError,
            r"bias must have shape \(1,\), got \(2,\)",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 5, 2))),
            {},
            ValueError,
            r"weight \(1, 2, 5, 2\) does not fit in the padded image 4×4",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 3))),
            {"dilation": (1, 2)},
            ValueError,
            "does not fit in the padded image 4×4",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((2, 2, 2, 2))),
            {"groups": 2},
            ValueError,
            r"channels in each of 2 groups, got \(1, 2, 4, 4\) and \(2, 2, 2, 2\)",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((3, 1, 2, 2))),
            {"groups": 2},
            ValueError,
            "groups must divide 3 outputs, got 2",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {"groups": 0},
            ValueError,
            "groups must be a whole number ≥ 1, got 0",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {"stride": 0},
            ValueError,
            "stride must be one or two whole numbers ≥ 1, got 0",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {"padding": -1},
            ValueError,
            "padding must be one or two whole numbers ≥ 0, got -1",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {"padding": "same"},
            ValueError,
            "padding must be .* got 'same'",
        ),
        (
            "conv2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {"dilation": (1, 2, 3)},
            ValueError,
            r"dilation must be .* got \(1, 2, 3\)",
        ),
        (
            "conv_transpose2d",
            (PICTURE, np.ones((1, 2, 2, 2))),
            {},
            ValueError,
            r"got \(1, 2, 4, 4\) and \(1, 2, 2, 2\)",
        ),
        (
            "conv_transpose2d",
            (PICTURE, np.ones((2, 1, 2, 2)), ONES[2]),
            {},
            ValueError,
            r"bias must have shape \(1,\), got \(2,\)",
        ),
        (
            "conv_transpose2d",
            (PICTURE, np.ones((2, 1, 2, 2))),
            {"stride": 2, "output_padding": 2},
            ValueError,
            r"output_padding must be less than stride \(2, 2\), got \(2, 2\)",
        ),
        (
            "conv_transpose2d",
            (PICTURE, np.ones((2, 1, 2, 2))),
            {"padding": 3},
            ValueError,
            r"padding \(3, 3\) leaves nothing of 5×5",
        ),
        (
            "max_pool2d",
            (PICTURE, 5),
            {},
            ValueError,
            r"no smaller than the window \(5, 5\), got \(1, 2, 4, 4\)",
        ),
        (
            "avg_pool2d",
            (PICTURE[0], 2),
            {},
            ValueError,
            r"x must have shape \(batch, channels, height, width\)",
        ),
        (
            "avg_pool2d",
            (PICTURE, 2.0),
            {},
            ValueError,
            "kernel_size must be one or two whole numbers ≥ 1, got 2.0",
        ),
        (
            "max_pool2d",
            (PICTURE, 2, 0),
            {},
            ValueError,
            "stride must be one or two whole numbers ≥ 1, got 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name, args, kwargs, error, message):
    function = getattr(functional, name)
    with pytest.raises(error, match=message):
        function(*args, **kwargs)
    if all(isinstance(a, np.ndarray) for a in args[:2]) and args[0].dtype.kind == "f":
        with pytest.raises(error, match=message):
            function(Parameter(args[0]), *args[1:], **kwargs)


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("wrong", ["x", "weight_ih", "bias_ih", "bias_hh", "h0", "c0"])
def test_recurrent_shapes_that_do_not_fit_are_refused(name, gates, wrong):
    states = ("h0", "c0") if name == "lstm" else ("h0",)
    shapes = recurrent_shapes(gates, 2, 3, 4, 5, states)
    if wrong not in shapes:
        pytest.skip("no such argument")
    arrays = {k: np.ones((7, *s[1:]) if k == wrong != "x" else s) for k, s in shapes.items()}
    if wrong == "x":
        arrays["x"] = np.ones((2, 4))
        message = r"x must have shape \(batch, time, in\), got \(2, 4\)"
    else:
        shape, found = (", ".join(map(str, s)) for s in (shapes[wrong], arrays[wrong].shape))
        comma = "," if len(shapes[wrong]) == 1 else ""
        message = rf"{wrong} must have shape \({shape}{comma}\), got \({found}{comma}\)"
    with pytest.raises(ValueError, match=message):
        getattr(functional, name)(**arrays)


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
def test_losses_of_nothing_are_refused(name):
    with pytest.raises(ValueError, match="at least one"):
        getattr(functional, name)(np.ones(0), np.ones(0))


def test_batch_norm_refuses_a_mean_without_a_variance():
    with pytest.raises(ValueError, match="mean"):
        functional.batch_norm(square(2), ONES[2], ONES[2], mean=np.zeros(2))


def test_tensors_and_arrays_take_the_same_labels():
    outcomes = set()
    for logits in (square(2), Tensor(square(2))):
        try:
            functional.cross_entropy(logits, [0, 1])
            outcomes.add("taken")
        except TypeError:
            outcomes.add("refused")
    assert len(outcomes) == 1
