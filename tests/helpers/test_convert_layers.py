"""Layers of every kind, whose weights go round from Keras over PyTorch and the engine and back."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import nn
from helpers.convert import copy_weights, get_weights, set_weights
from helpers.convert.kinds import framework_of, kind
from helpers.parity import to_numpy

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
sizes = st.integers(1, 4)
steady = settings(derandomize=True, deadline=None, database=None, max_examples=7)


def torch_named(torch, dtype):
    """Make PyTorch's layers in one type."""

    def make(name, *args, **kwargs):
        return getattr(torch.nn, name)(*args, dtype=getattr(torch, dtype), **kwargs)

    return make


# Each case draws settings and returns the layer in Keras, in PyTorch and in the engine (or None),
# and the shape of an input, channels first.


def dense(draw, keras, torch, dtype):
    n, m, bias = draw(sizes), draw(sizes), draw(st.booleans())
    ours = keras.Dense(m, use_bias=bias, dtype=dtype)
    return ours, torch("Linear", n, m, bias), nn.Linear(n, m, bias, dtype=dtype), (3, n)


def convolution(dims):
    def case(draw, keras, torch, dtype):
        groups = draw(st.integers(1, 2))
        n, m = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
        kernel = tuple(draw(st.integers(1, 3)) for _ in range(dims))
        same, bias = draw(st.booleans()), draw(st.booleans())
        stride, dilation = draw(st.sampled_from([(1, 1), (1, 2)] if same else [(2, 1), (1, 2)]))
        ours = getattr(keras, f"Conv{dims}D")(
            m,
            kernel,
            stride,
            padding="same" if same else "valid",
            dilation_rate=dilation,
            groups=groups,
            use_bias=bias,
            dtype=dtype,
        )
        options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": bias}
        padding = "same" if same else "valid"
        theirs = torch(f"Conv{dims}d", n, m, kernel, padding=padding, **options)
        even = same and any(k % 2 == 0 and dilation % 2 for k in kernel)
        if even:  # one zero more on the right, for which the engine has no setting
            return ours, theirs, None, (2, n, *(7, 6)[:dims])
        pads = tuple(dilation * (k - 1) // 2 if same else 0 for k in kernel)
        make, options["padding"] = (nn.Conv1d, pads[0]) if dims == 1 else (nn.Conv2d, pads)
        engine = make(n, m, kernel[0] if dims == 1 else kernel, dtype=dtype, **options)
        return ours, theirs, engine, (2, n, *(7, 6)[:dims])

    return case


def depthwise(draw, keras, torch, dtype):
    n, many, stride = draw(st.integers(2, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    ours = keras.DepthwiseConv2D(kernel, stride, depth_multiplier=many, dtype=dtype)
    options = {"stride": stride, "groups": n}
    theirs = torch("Conv2d", n, n * many, kernel, **options)
    return ours, theirs, nn.Conv2d(n, n * many, kernel, dtype=dtype, **options), (2, n, 5, 6)


def transposed(dims):
    def case(draw, keras, torch, dtype):
        n, m, stride = draw(sizes), draw(sizes), draw(st.integers(1, 3))
        kernel = tuple(stride + draw(st.integers(0, 2)) for _ in range(dims))
        ours = getattr(keras, f"Conv{dims}DTranspose")(m, kernel, stride, dtype=dtype)
        theirs = torch(f"ConvTranspose{dims}d", n, m, kernel, stride)
        engine = nn.ConvTranspose2d(n, m, kernel, stride, dtype=dtype) if dims == 2 else None
        return ours, theirs, engine, (2, n, *(3, 4)[:dims])

    return case


def batch_norm(draw, keras, torch, dtype):
    n, eps = draw(sizes), draw(st.sampled_from([1e-5, 0.25]))
    image = draw(st.booleans())
    name = "BatchNorm2d" if image else "BatchNorm1d"
    ours = keras.BatchNormalization(epsilon=eps, dtype=dtype)
    engine = getattr(nn, name)(n, eps, dtype=dtype)
    return ours, torch(name, n, eps), engine, (4, n, 3, 2) if image else (4, n)


def layer_norm(draw, keras, torch, dtype):
    # Numbers that lie close together are told apart by few digits, which ε limits: by 1/√ε.
    n, eps = draw(sizes), draw(st.sampled_from([1e-2, 0.25]))
    ours = keras.LayerNormalization(epsilon=eps, dtype=dtype)
    return ours, torch("LayerNorm", n, eps), nn.LayerNorm(n, eps, dtype=dtype), (4, n)


def group_norm(draw, keras, torch, dtype):
    groups, each = draw(sizes), draw(sizes)
    n, eps = groups * each, draw(st.sampled_from([1e-2, 0.25]))  # as above
    ours = keras.GroupNormalization(groups, epsilon=eps, dtype=dtype)
    engine = nn.GroupNorm(groups, n, eps, dtype=dtype)
    return ours, torch("GroupNorm", groups, n, eps), engine, (2, n, 3, 2)


def embedding(draw, keras, torch, dtype):
    n, m = draw(sizes), draw(sizes)
    ours = keras.Embedding(n, m, dtype=dtype)
    return ours, torch("Embedding", n, m), nn.Embedding(n, m, dtype=dtype), n


def recurrent(name):
    def case(draw, keras, torch, dtype):
        n, m, both, bias = draw(sizes), draw(sizes), draw(st.booleans()), draw(st.booleans())
        options, ours_options = {}, {}
        if name == "RNN":
            options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
            ours_options["activation"] = options["nonlinearity"]
        ours = getattr(keras, "SimpleRNN" if name == "RNN" else name)(
            m, return_sequences=True, use_bias=bias, dtype=dtype, **ours_options
        )
        ours = keras.Bidirectional(ours, dtype=dtype) if both else ours
        theirs = torch(name, n, m, bias=bias, bidirectional=both, batch_first=True, **options)
        engine = getattr(nn, name)(n, m, bidirectional=both, dtype=dtype, **options)
        return ours, theirs, engine if bias else None, (2, 5, n)

    return case


def attention(draw, keras, torch, dtype):
    # Keras rounds 1/√key_dim to float32 in double precision too; these it hits exactly.
    heads, size, bias = draw(sizes), draw(st.sampled_from([1, 4])), draw(st.booleans())
    n = heads * size
    ours = keras.MultiHeadAttention(heads, size, use_bias=bias, dtype=dtype)
    theirs = torch("MultiheadAttention", n, heads, bias=bias, batch_first=True)
    engine = nn.MultiHeadAttention(n, heads, dtype=dtype) if bias else None
    return ours, theirs, engine, (2, 4, n)


CASES = {
    "dense": dense,
    "conv1d": convolution(1),
    "conv2d": convolution(2),
    "depthwise": depthwise,
    "transposed1d": transposed(1),
    "transposed2d": transposed(2),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "embedding": embedding,
    "rnn": recurrent("RNN"),
    "lstm": recurrent("LSTM"),
    "gru": recurrent("GRU"),
    "attention": attention,
}


def call(layer, x):
    """Predict, channels first in all frameworks."""
    package, what = framework_of(layer), kind(layer)
    if package != "keras":
        layer.eval()
        x = __import__("torch").tensor(x) if package == "torch" else x
        y = layer(x, x, x) if what == "attention" and package == "torch" else layer(x)
        return to_numpy(y[0] if isinstance(y, tuple) else y)
    if what.startswith(("conv", "batch", "group")):
        return np.moveaxis(to_numpy(layer(np.moveaxis(x, 1, -1))), -1, 1)
    return to_numpy(layer(x, x) if what == "attention" else layer(x))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # PyTorch's, on a copy
def test_layers_compute_the_same_and_weights_go_round(name, dtype, tf, torch):
    @steady
    @given(st.data(), st.integers(0, 99))
    def check(data, seed):
        rng = np.random.default_rng(seed)
        make = torch_named(torch, dtype)
        ours, theirs, engine, shape = CASES[name](data.draw, tf.keras.layers, make, dtype)
        if name == "embedding":
            x = rng.integers(0, shape, (3, 4))
        else:
            x = rng.normal(size=shape).astype(dtype)
        call(ours, x)  # builds it
        start = get_weights(ours)
        # Positive, as a running variance has to be.
        drawn = {n: rng.uniform(0.1, 1, a.shape).astype(dtype) for n, a in start.items()}
        if name in ("rnn", "lstm"):
            drawn |= {n: 0 * a for n, a in drawn.items() if n.startswith("bias_hh")}
        set_weights(ours, drawn)
        chain = [ours, theirs, engine] if engine is not None else [ours, theirs]
        results = [call(ours, x)]
        for one, other in itertools.pairwise(chain):
            copy_weights(one, other)
            results.append(call(other, x))
        set_weights(ours, {n: np.zeros_like(a) for n, a in drawn.items()})
        copy_weights(chain[-1], ours)
        for key, array in get_weights(ours).items():
            np.testing.assert_array_equal(array, drawn[key], strict=True)
        for result in results[1:]:
            assert result.dtype == dtype
            np.testing.assert_allclose(
                result, results[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
            )

    check()
