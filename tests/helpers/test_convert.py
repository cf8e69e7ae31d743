"""Weights on their way between NumPy, Keras and PyTorch."""

import re

import numpy as np
import pytest

from helpers import nn
from helpers.convert import get_dense, set_dense


@pytest.fixture(params=["keras", "torch", "engine"])
def dense(request):
    """Make a dense layer of each framework."""
    framework = (
        nn
        if request.param == "engine"
        else request.getfixturevalue("tf" if request.param == "keras" else "torch")
    )

    def make(inputs, outputs, bias=True, dtype="float32"):
        if request.param == "engine":
            return nn.Linear(inputs, outputs, bias, dtype=dtype)
        if request.param == "torch":
            of = getattr(framework, dtype)
            return framework.nn.Linear(inputs, outputs, bias=bias, dtype=of)
        layer = framework.keras.layers.Dense(outputs, use_bias=bias, dtype=dtype)
        layer.build((None, inputs))
        return layer

    make.framework = request.param
    make.library = framework
    return make


def forward(make, layer, x):
    if make.framework == "engine":
        return layer(x).data
    if make.framework == "torch":
        return layer(make.library.tensor(x)).detach().numpy()
    return layer(make.library.constant(x)).numpy()


def numbers(*shape, seed=5):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SHAPES = pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (2, 5), (3, 3), (1, 4), (1, 1)])


@SHAPES
def test_weights_come_back_as_they_were_set(dense, inputs, outputs):
    layer = dense(inputs, outputs)
    w, b = numbers(inputs, outputs), numbers(outputs, seed=6)
    assert set_dense(layer, w, b) is None
    found_w, found_b = get_dense(layer)
    np.testing.assert_array_equal(found_w, w, strict=True)
    np.testing.assert_array_equal(found_b, b, strict=True)


@SHAPES
def test_weights_come_back_without_bias(dense, inputs, outputs):
    layer = dense(inputs, outputs, bias=False)
    w = numbers(inputs, outputs)
    set_dense(layer, w)
    found, bias = get_dense(layer)
    np.testing.assert_array_equal(found, w, strict=True)
    assert bias is None


@SHAPES
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_computes_what_numpy_does(dense, inputs, outputs, bias):
    layer = dense(inputs, outputs, bias)
    w, b = numbers(inputs, outputs), numbers(outputs, seed=6) if bias else None
    set_dense(layer, w, b)
    x = numbers(7, inputs, seed=8)
    expected = x.astype(np.float64) @ w + (b if bias else 0)
    np.testing.assert_allclose(forward(dense, layer, x), expected, rtol=1e-6, atol=1e-6)


@SHAPES
def test_the_weights_a_layer_starts_with_are_read_in_the_numpy_layout(dense, inputs, outputs):
    layer = dense(inputs, outputs)
    w, b = get_dense(layer)
    assert (w.shape, b.shape) == ((inputs, outputs), (outputs,))
    x = numbers(7, inputs, seed=8)
    np.testing.assert_allclose(forward(dense, layer, x), x @ w + b, rtol=1e-6, atol=1e-6)


def test_keras_and_torch_exchange_their_weights(tf, torch):
    keras, linear = tf.keras.layers.Dense(4), torch.nn.Linear(6, 4)
    keras.build((None, 6))
    x = numbers(7, 6)
    set_dense(linear, *get_dense(keras))
    ours = linear(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours, keras(x).numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(linear.weight.detach().numpy(), keras.kernel.numpy().T)


def test_float64_layers_keep_every_digit(dense):
    layer = dense(3, 2, dtype="float64")
    w, b = np.random.default_rng(0).normal(size=(3, 2)), np.array([1 / 3, 0.1])
    set_dense(layer, w, b)
    np.testing.assert_array_equal(get_dense(layer)[0], w, strict=True)
    np.testing.assert_array_equal(get_dense(layer)[1], b, strict=True)


def test_the_layer_keeps_its_dtype(dense):
    layer = dense(3, 2)
    set_dense(layer, np.arange(6.0).reshape(3, 2), [1, 2])
    w, b = get_dense(layer)
    assert (w.dtype, b.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(w, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(b, [1, 2])


@pytest.mark.parametrize(
    "view",
    [np.asfortranarray, lambda a: a[::-1], lambda a: np.repeat(a, 2, axis=0)[::2]],
    ids=["columns", "backwards", "strided"],
)
def test_views_can_be_set(dense, view):
    layer = dense(3, 2)
    w, b = view(numbers(3, 2)), view(numbers(2))
    set_dense(layer, w, b)
    np.testing.assert_array_equal(get_dense(layer)[0], w)
    np.testing.assert_array_equal(get_dense(layer)[1], b)


def test_read_only_arrays_can_be_set(dense):
    layer = dense(3, 2)
    w, b = numbers(3, 2).T.copy().T, numbers(2)
    w.flags.writeable = b.flags.writeable = False
    set_dense(layer, w, b)
    np.testing.assert_array_equal(get_dense(layer)[0], w)
    np.testing.assert_array_equal(get_dense(layer)[1], b)


def test_returned_arrays_are_copies(dense):
    layer = dense(3, 2)
    w, b = numbers(3, 2), numbers(2)
    set_dense(layer, w, b)
    for found in get_dense(layer):
        assert found.flags.writeable
        found[:] = 7
    np.testing.assert_array_equal(get_dense(layer)[0], w)
    np.testing.assert_array_equal(get_dense(layer)[1], b)


def test_arrays_read_stay_as_they_were_when_the_layer_changes(dense):
    layer = dense(3, 2)
    before = get_dense(layer)
    kept = [a.copy() for a in before]
    set_dense(layer, np.ones((3, 2)), np.ones(2))
    for found, expected in zip(before, kept, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_layer_does_not_follow_the_arrays_it_was_given(dense):
    layer = dense(3, 2)
    w, b = numbers(3, 2), numbers(2)
    set_dense(layer, w, b)
    w[:], b[:] = 7, 7
    np.testing.assert_array_equal(get_dense(layer)[0], numbers(3, 2))
    np.testing.assert_array_equal(get_dense(layer)[1], numbers(2))


def test_setting_keeps_the_variables_that_the_optimizer_knows(dense):
    layer = dense(3, 2)
    names = ("kernel" if dense.framework == "keras" else "weight", "bias")
    before = [getattr(layer, name) for name in names]
    set_dense(layer, numbers(3, 2), numbers(2))
    assert all(getattr(layer, n) is v for n, v in zip(names, before, strict=True))
    if dense.framework == "torch":
        assert all(v.requires_grad and v.is_leaf for v in before)
    elif dense.framework == "keras":
        assert len(layer.trainable_variables) == 2
    else:
        assert list(map(id, layer.parameters())) == list(map(id, before))


def test_subclasses_of_the_layers_work(tf, torch):
    class Dense2(tf.keras.layers.Dense):
        pass

    class Linear2(torch.nn.Linear):
        pass

    keras, linear = Dense2(2), Linear2(3, 2)
    keras.build((None, 3))
    for layer in (keras, linear):
        set_dense(layer, numbers(3, 2), numbers(2))
        np.testing.assert_array_equal(get_dense(layer)[0], numbers(3, 2))


def refused(layer, weight, bias, message):
    """Check that setting fails with the message and changes nothing."""
    before = get_dense(layer)
    with pytest.raises(ValueError, match=message):
        set_dense(layer, weight, bias)
    for found, expected in zip(get_dense(layer), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (6,), (3, 2, 1), (1, 2), ()])
def test_another_shape_of_the_weight_is_refused(dense, shape):
    expected = re.escape(f"weight must have shape (in, out) = (3, 2), got {shape}")
    refused(dense(3, 2), np.ones(shape), np.ones(2), expected)


@pytest.mark.parametrize("shape", [(3,), (1, 2), (2, 1), (1,), ()])
def test_another_shape_of_the_bias_is_refused(dense, shape):
    expected = r"bias of .* must have shape \(2,\), got " + re.escape(str(shape))
    refused(dense(3, 2), np.ones((3, 2)), np.ones(shape), expected)


def test_a_missing_bias_is_refused(dense):
    refused(dense(3, 2), np.ones((3, 2)), None, "bias must be given: the layer has one")


def test_a_superfluous_bias_is_refused(dense):
    layer = dense(3, 2, bias=False)
    before = get_dense(layer)[0]
    with pytest.raises(ValueError, match="bias must not be given: the layer has none"):
        set_dense(layer, np.ones((3, 2)), np.ones(2))
    np.testing.assert_array_equal(get_dense(layer)[0], before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(dense, bad):
    w, b = np.ones((3, 2)), np.ones(2)
    w[2, 0] = b[1] = bad
    refused(dense(3, 2), w, np.ones(2), "weight holds NaN or infinity, expected finite")
    refused(dense(3, 2), np.ones((3, 2)), b, "bias holds NaN or infinity, expected finite")


def test_weights_too_large_for_the_layer_are_refused(dense):
    refused(dense(3, 2), np.full((3, 2), 1e300), np.ones(2), "weight")
    refused(dense(3, 2), np.ones((3, 2)), np.full(2, -1e300), "bias")


def test_an_unbuilt_keras_layer_is_refused(tf):
    layer = tf.keras.layers.Dense(2, name="out")
    with pytest.raises(ValueError, match="layer 'out' has no weights yet"):
        get_dense(layer)
    with pytest.raises(ValueError, match="layer 'out' has no weights yet"):
        set_dense(layer, np.ones((3, 2)), np.ones(2))


class Dense:
    """Has the name of a Keras layer, and is none."""


class Linear:
    """Has the name of a PyTorch layer, and is none."""


FOREIGN = {
    "number": lambda: 3,
    "none": lambda: None,
    "Dense": Dense,
    "Linear": Linear,
    "class": lambda: Linear,
    "keras.Conv2D": lambda: pytest.importorskip("tensorflow").keras.layers.Conv2D(2, 3),
    "keras.Embedding": lambda: pytest.importorskip("tensorflow").keras.layers.Embedding(3, 2),
    "torch.Conv2d": lambda: pytest.importorskip("torch").nn.Conv2d(1, 2, 3),
    "torch.Bilinear": lambda: pytest.importorskip("torch").nn.Bilinear(3, 3, 2),
    "torch.Sequential": lambda: pytest.importorskip("torch").nn.Sequential(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_layers_are_refused(name):
    layer = FOREIGN[name]()
    expected = (
        r"layer must be a keras\.layers\.Dense, a torch\.nn\.Linear or a helpers\.nn\.Linear, "
        f"got {type(layer).__name__}"
    )
    with pytest.raises(TypeError, match=expected):
        get_dense(layer)
    with pytest.raises(TypeError, match=expected):
        set_dense(layer, np.ones((3, 2)), np.ones(2))
