"""Whole models: converted, or written twice and given the weights of one another."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import nn
from helpers.convert import ConversionError, convert, copy_weights, get_weights, pairs, set_weights
from helpers.parity import to_numpy

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
SMOOTH = ["relu", "tanh", "sigmoid", "elu", "silu", "softplus", "softmax"]
steady = settings(derandomize=True, deadline=None, database=None, max_examples=10)
both_types = pytest.mark.parametrize("dtype", TOLERANCE)


def keras_model(tf, layers, shape, dtype, ids=False):
    model = tf.keras.Sequential([tf.keras.Input(shape, dtype="int32" if ids else dtype), *layers])
    rng = np.random.default_rng(len(layers))
    # Each sum keeps the size of its terms: one of a thousand, in the hundreds, is exact to 3e-5 in
    # float32, and softmax passes that on.
    model.set_weights(
        [
            rng.uniform(-0.5, 1, w.shape) ** 2 / np.sqrt(np.prod(w.shape[:-1]))
            for w in model.get_weights()
        ]
    )
    return model


def predict(model, x):
    if hasattr(model, "train_on_batch") or isinstance(model, nn.Module):
        return to_numpy(model(x))
    return to_numpy(model(pytest.importorskip("torch").tensor(x)))


def images(draw, layers, dtype):
    """Draw layers of images whose counterparts are exact."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "depthwise", "transposed", "norm", "pool", "other"]))
        activation = draw(st.sampled_from([None, *SMOOTH]))
        size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        if kind == "conv":
            padding = draw(st.sampled_from(["valid", "same"])) if stride == 1 else "valid"
            options = {"padding": padding, "activation": activation, "dtype": dtype}
            options["groups"] = 2 if draw(st.booleans()) else 1
            found.append(layers.Conv2D(4, (size, 2), stride, **options))
        elif kind == "depthwise":
            options = {"depth_multiplier": 1, "activation": activation, "dtype": dtype}
            found.append(layers.DepthwiseConv2D(size, stride, padding="valid", **options))
        elif kind == "transposed":
            padding = "same" if (size - stride) % 2 == 0 else "valid"
            options = {"padding": padding, "activation": activation, "dtype": dtype}
            found.append(layers.Conv2DTranspose(4, size, stride, **options))
        elif kind == "norm":
            # What a norm divides by limits how far rounding grows: to 1/√ε.
            found.append(layers.BatchNormalization(momentum=0.75, epsilon=0.1, dtype=dtype))
            found.append(layers.GroupNormalization(2, epsilon=0.1, dtype=dtype))
        elif kind == "pool":
            make = draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
            found.append(make(2, stride, dtype=dtype))
        else:
            pads = ((size, 0), (1, stride))
            found += [layers.ZeroPadding2D(pads, dtype=dtype), layers.LeakyReLU(0.1, dtype=dtype)]
    if draw(st.booleans()):
        found += [layers.Flatten(dtype=dtype), layers.BatchNormalization(dtype=dtype)]
    else:
        found.append(layers.GlobalAveragePooling2D(dtype=dtype))
    return [*found, layers.Dense(2, "softmax", dtype=dtype)]


def sequences(draw, layers, dtype):
    """Draw layers of sequences, of which some want their axes in another order."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["SimpleRNN", "LSTM", "GRU", "conv", "dense", "norm"]))
        if kind == "conv":
            padding = draw(st.sampled_from(["valid", "same"]))
            found.append(layers.Conv1D(3, 3, padding=padding, activation="tanh", dtype=dtype))
        elif kind == "dense":
            found.append(layers.Dense(4, activation="softmax", dtype=dtype))
        elif kind == "norm":
            found.append(layers.BatchNormalization(dtype=dtype))
            found.append(layers.LayerNormalization(dtype=dtype))
        else:
            layer = getattr(layers, kind)(3, return_sequences=True, dtype=dtype)
            twice = draw(st.booleans())
            found.append(layers.Bidirectional(layer, dtype=dtype) if twice else layer)
    if draw(st.booleans()):
        found.append(layers.Flatten(dtype=dtype))
    else:
        found.append(layers.Bidirectional(layers.LSTM(2, dtype=dtype), dtype=dtype))
    return [*found, layers.Dropout(0.3, dtype=dtype), layers.Dense(2, dtype=dtype)]


@pytest.mark.parametrize("what", [images, sequences])
def test_models_of_keras_predict_the_same_everywhere_and_come_back(what, tf, torch):
    @steady
    @given(st.data(), st.sampled_from(sorted(TOLERANCE)))
    def check(data, dtype):
        layers = what(data.draw, tf.keras.layers, dtype)
        shape = (9, 8, 4) if what is images else (9, 3)
        ours = keras_model(tf, layers, shape, dtype)
        x = np.random.default_rng(0).normal(size=(3, *shape)).astype(dtype)
        expected = predict(ours, x)
        theirs = convert(ours, "torch")
        first = what is images or type(theirs[0]).__name__ == "Conv1d"
        moved = np.moveaxis(x, -1, 1) if first else x
        engine = convert(ours, "numpy")
        again = convert(theirs, "keras", input_shape=moved.shape[1:])
        fourth = convert(convert(theirs, "numpy"), "torch")
        assert not theirs.training
        for model in (theirs, engine, again, fourth):
            result = predict(model, x if model is again else moved)
            assert result.dtype == dtype
            scale = max(1, abs(expected).max())
            np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype] * scale)

    check()


@both_types
def test_models_of_pytorch_predict_the_same_in_keras(dtype, tf, torch):
    t = torch.nn
    typed = {"dtype": getattr(torch, dtype)}
    model = t.Sequential(
        t.Conv2d(2, 4, 3, stride=2, padding=1, bias=False, **typed),
        t.BatchNorm2d(4, momentum=0.3, **typed),
        t.ReLU(),
        t.Sequential(t.Conv2d(4, 4, 3, padding=(0, 1), groups=4, **typed), t.Identity()),
        t.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1, **typed),
        t.AvgPool2d(2, padding=1),
        t.Softmax(dim=1),
        t.GELU(approximate="tanh"),
        t.Flatten(),
        t.Linear(3 * 3 * 5, 3, **typed),
    )
    model(torch.ones(5, 2, 7, 8, **typed))  # a step of the running means
    before = copy.deepcopy(model.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 2, 7, 8)).astype(dtype)
    keras = convert(model, "keras", (2, 7, 8))
    again = convert(keras, "torch")
    assert model.training and not again.training
    expected = predict(model.eval(), x)
    # Keras' constant of the approximate GELU is rounded to float32.
    for result in (predict(keras, np.moveaxis(x, 1, -1)), predict(again, x)):
        np.testing.assert_allclose(result, expected, rtol=0, atol=max(TOLERANCE[dtype], 1e-8))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("to", ["torch", "numpy"])
def test_running_statistics_go_on_as_the_source_keeps_them(to, tf, torch):
    layers = tf.keras.layers
    x = np.random.default_rng(0).normal(2, 3, (5, 4))
    stack = [layers.Dense(3, dtype="float64"), layers.BatchNormalization(dtype="float64")]
    keras = keras_model(tf, stack, (4,), "float64")
    theirs = convert(keras, to).train()
    back = convert(theirs, "keras", (4,))
    plain = torch.nn.Sequential(torch.nn.BatchNorm1d(4, dtype=torch.float64))
    unbiased = convert(plain, "keras", (4,))
    for _ in range(3):
        for model in (keras, back, unbiased):
            model(x, training=True)
        for model in (theirs, plain):
            model(torch.tensor(x) if model is plain or to == "torch" else x)
    expected = get_weights(keras.layers[1])
    assert abs(expected["running_var"] - 1).max() > 0.1
    for model in (list(theirs)[1], back.layers[1]):
        for name, array in get_weights(model).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-12)
    for name, array in get_weights(unbiased.layers[0]).items():
        np.testing.assert_allclose(array, get_weights(plain[0])[name], rtol=1e-12)


def test_embeddings_convert(tf, torch):
    layers = tf.keras.layers
    for tail in ([layers.Flatten()], [layers.Conv1D(4, 3), layers.Flatten()], [layers.LSTM(3)]):
        ours = keras_model(
            tf, [layers.Embedding(7, 3), *tail, layers.Dense(2)], (5,), "float32", ids=True
        )
        ids = np.random.default_rng(0).integers(0, 7, (4, 5))
        theirs = convert(ours)
        again = convert(theirs, "keras", (5,))
        for result in (predict(theirs, ids), predict(again, ids)):
            np.testing.assert_allclose(result, predict(ours, ids), rtol=1e-5, atol=1e-6)


def test_the_single_bias_of_keras_stays_single(tf, torch):
    layers = tf.keras.layers
    ours = keras_model(tf, [layers.LSTM(2), layers.Dense(1)], (3, 2), "float32")
    theirs, engine = convert(ours), convert(ours, "numpy")
    assert [n for n, p in theirs.named_parameters() if not p.requires_grad] == [
        "0.layer.bias_hh_l0"
    ]
    assert "0.layer.bias_hh_l0" not in dict(engine.named_parameters())
    assert "0.layer.bias_hh_l0" in engine.state_dict()
    assert not convert(engine, "torch")[0].layer.bias_hh_l0.requires_grad


# Keras' own, of any model that it saves.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_converted_models_can_be_saved(tf, torch, tmp_path):
    layers = tf.keras.layers
    stack = [layers.Conv1D(3, 2), layers.BatchNormalization(), layers.GRU(2)]
    ours = keras_model(tf, stack, (5, 2), "float32")
    theirs = convert(ours)
    x = np.ones((1, 2, 5), np.float32)
    np.testing.assert_array_equal(
        predict(pickle.loads(pickle.dumps(theirs)), x), predict(theirs, x)
    )
    mixed = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.GELU(approximate="tanh"))
    keras = convert(mixed.eval(), "keras", (2,))
    keras.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    row = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(predict(loaded, row), predict(keras, row))


UNMAPPED = {  # Keras' layers, the shape of their input, and the reason
    "gru": (lambda k: k.GRU(2, reset_after=False), (4, 3), "reset_after=False"),
    "same": (
        lambda k: k.Conv2D(2, 3, strides=2, padding="same"),
        (8, 8, 3),
        r"more after than before.*ZeroPadding2D\(\(\(0, 1\), \(0, 1\)\)\) before it",
    ),
    "open": (
        lambda k: k.Conv2D(2, 3, strides=2, padding="same"),
        (None, None, 3),
        "pads by the size of its input, here None×None",
    ),
    "transposed": (
        lambda k: k.Conv2DTranspose(2, 3, strides=2, padding="same"),
        (4, 4, 3),
        "not as many on both sides.*padding='valid' and then Cropping2D",
    ),
    "mask": (lambda k: k.Embedding(5, 2, mask_zero=True), (4,), "mask_zero=True masks"),
    "masking": (lambda k: k.Masking(), (4, 3), "no counterpart.*copy_weights"),
    "backwards": (lambda k: k.LSTM(2, go_backwards=True), (4, 3), "go_backwards=True"),
    "dropout": (lambda k: k.LSTM(2, dropout=0.2), (4, 3), "dropout=0.2"),
    "gates": (lambda k: k.LSTM(2, activation="relu"), (4, 3), "activations are relu and sigmoid"),
    "merge": (
        lambda k: k.Bidirectional(k.LSTM(2), merge_mode="sum"),
        (4, 3),
        "merge_mode is 'sum'",
    ),
    "penalty": (lambda k: k.Dense(2, kernel_regularizer="l2"), (3,), "kernel_regularizer"),
    "frozen": (lambda k: k.Dense(2, trainable=False), (3,), "frozen.*freeze then"),
    "image": (lambda k: k.Dense(2), (4, 4, 3), "the width.*Conv2D of size 1"),
    "scale": (lambda k: k.BatchNormalization(scale=False), (3,), "lacks scale or center"),
    "axis": (lambda k: k.BatchNormalization(axis=1), (4, 3), "it normalises axis 1"),
    "separable": (lambda k: k.SeparableConv2D(2, 3), (8, 8, 3), "no counterpart"),
    "activation": (
        lambda k: k.Dense(2, activation="exponential"),
        (3,),
        "activation is exponential",
    ),
}


@pytest.mark.parametrize("name", UNMAPPED)
def test_what_cannot_be_mapped_says_layer_reason_and_way_out(name, tf):
    make, shape, message = UNMAPPED[name]
    layer = make(tf.keras.layers)
    ids = name == "mask"
    model = tf.keras.Sequential([tf.keras.Input(shape, dtype="int32" if ids else "float32"), layer])
    expected = f"{type(layer).__name__} '{layer.name}' cannot be converted: .*{message}"
    with pytest.raises(ConversionError, match=expected) as caught:
        convert(model)
    assert "Instead: " in str(caught.value)


FROM_TORCH = {
    "lstm": (lambda t: t.LSTM(3, 2), (4, 3), r"Recurrent\(layer\)"),
    "padding_idx": (lambda t: t.Embedding(5, 2, padding_idx=0), (4,), "padding_idx=0"),
    "reflect": (
        lambda t: t.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
        (3, 5, 5),
        "reflect",
    ),
    "ceil": (lambda t: t.MaxPool2d(2, ceil_mode=True), (3, 5, 5), "ceil_mode=True"),
    "pool": (lambda t: t.MaxPool2d(3, 2, padding=1), (3, 8, 8), "otherwise than Keras' padding"),
    "dilated": (lambda t: t.Conv2d(3, 2, 2, stride=2, dilation=2), (3, 8, 8), "not both"),
    "width": (lambda t: t.Linear(5, 2), (3, 5, 5), "an image's width"),
    "time": (lambda t: t.Sequential(t.Conv1d(3, 4, 2), t.Linear(4, 2)), (3, 5), "time in Keras"),
    "softmax": (lambda t: t.Softmax(dim=0), (3,), "dim is 0"),
    "affine": (lambda t: t.BatchNorm1d(3, affine=False), (3,), "no weight or no bias"),
    "prelu": (lambda t: t.PReLU(), (3,), "no counterpart"),
}


@pytest.mark.parametrize("name", FROM_TORCH)
def test_what_keras_lacks_is_refused(name, tf, torch):
    make, shape, message = FROM_TORCH[name]
    with pytest.raises(ConversionError, match=f"cannot be converted: .*{message}") as caught:
        convert(torch.nn.Sequential(make(torch.nn)), "keras", shape)
    assert "Instead: " in str(caught.value)


def test_bad_arguments_of_convert_are_refused(tf, torch):
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="input_shape must be given"):
        convert(model, "keras")
    for to in ("numpy", "jax"):
        with pytest.raises(ValueError, match=f"to must be another framework.* got '{to}'"):
            convert(model, to)
    for other in (nn.Linear(3, 2), torch.nn.Linear(3, 2), 3):
        with pytest.raises(TypeError, match="model must be a Sequential"):
            convert(other)
    with pytest.raises(ValueError, match="is not built"):
        convert(tf.keras.Sequential([tf.keras.layers.Dense(2)]))
    layers = [tf.keras.layers.Dense(2, dtype="float64"), tf.keras.layers.Flatten()]
    with pytest.raises(ValueError, match=r"must have one dtype.*'float32', 'float64'"):
        convert(tf.keras.Sequential([tf.keras.Input((3,), dtype="float64"), *layers]))
    mixed = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2).double())
    with pytest.raises(ValueError, match="must have one dtype"):
        convert(mixed, "numpy")
    with pytest.raises(ConversionError, match="the NumPy engine has no Mish"):
        convert(torch.nn.Sequential(torch.nn.Mish()), "numpy")


def refused(source, target, message):
    """Check that copying fails with the message and changes nothing."""
    before = [{n: a.copy() for n, a in get_weights(t).items()} for t in target]
    with pytest.raises(ConversionError, match=message):
        copy_weights(source, target)
    for layer, arrays in zip(target, before, strict=True):
        for name, array in get_weights(layer).items():
            np.testing.assert_array_equal(array, arrays[name])


def test_models_that_do_not_match_are_refused(tf, torch):
    t = torch.nn
    dense = tf.keras.layers.Dense(2, name="out")
    norm = tf.keras.layers.LayerNormalization(name="norm")
    for layer in (dense, norm):
        layer.build((None, 3))
    one = [t.Linear(3, 2)]
    refused([dense, norm], one, "2 layers with weights and target 1; the first .*'norm'")
    refused([norm, dense], [*one, t.LayerNorm(3)], "'norm'.* and torch.nn.Linear.*different kinds")
    refused([dense], [t.Linear(3, 4)], r"'out'.*shape \(2,\).*\(4,\)")
    refused([dense], [t.Linear(3, 2, bias=False)], "bias of shape .*none")
    refused([norm], [t.LayerNorm(3)], r"'norm'.* has eps=0\.001.* 1e-05")
    refused([nn.Conv2d(2, 2, 1, stride=2)], [t.Conv2d(2, 2, 1)], r"stride=\(2, 2\)")
    refused([nn.RNN(2, 2, nonlinearity="relu")], [t.RNN(2, 2)], "activation=relu")
    refused([nn.MultiHeadAttention(4, 2)], [t.MultiheadAttention(4, 4)], "heads=2")
    refused([nn.LSTM(2, 2, num_layers=2)], [t.LSTM(2, 2)], "must have num_layers=1")
    assert pairs([dense, norm], [*one, t.LayerNorm(3, 1e-3)])[1][0] is norm
    with pytest.raises(TypeError, match="source and target must be layers or models"):
        copy_weights(3, one[0])


def test_weights_of_a_models_own_are_refused(torch):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

    with pytest.raises(ConversionError, match=r"weights of its own, .'scale'"):
        copy_weights(Model(), Model())


def test_set_weights_refuses_what_does_not_fit_and_writes_nothing(tf):
    layer = tf.keras.layers.GRU(2)
    layer.build((None, 3, 4))
    good = get_weights(layer)
    for name, value, message in (
        ("weight_ih_l0", np.ones((6, 3)), r"must have shape \(6, 4\), got \(6, 3\)"),
        ("bias_hh_l0", np.full(6, np.nan), "bias_hh_l0 holds NaN or infinity"),
        ("more", np.ones(1), r"missing=\[\], unknown=\['more'\]"),
    ):
        ones = {n: np.ones_like(a) for n, a in good.items()} | {name: value}
        with pytest.raises(ValueError, match=message):
            set_weights(layer, ones)
        for key, array in get_weights(layer).items():
            np.testing.assert_array_equal(array, good[key])


def test_keras_heads_that_pytorch_has_no_place_for_are_refused(tf):
    attention = tf.keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 8), (None, 4, 8))
    with pytest.raises(ConversionError, match="key_dim = value_dim = features / num_heads"):
        get_weights(attention)
    gru = tf.keras.layers.GRU(2, reset_after=False, name="old")
    gru.build((None, 3, 4))
    with pytest.raises(ConversionError, match=r"'old'.*nearest is reset_after=True"):
        get_weights(gru)


def functional(keras):
    """A Keras model whose two branches have equal shapes; its layers lie in another order."""
    layers = keras.layers
    x = keras.Input((4, 5, 2))
    y = layers.Conv2D(2, 1, name="main1")(x)
    y = layers.Conv2D(2, 1, name="main2")(y)
    y = layers.Add()([y, layers.Conv2D(2, 1, name="short")(x)])
    y = layers.BatchNormalization(epsilon=1e-5)(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(3)(y))


def subclassed(keras):
    layers = keras.layers

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.main = [layers.Conv2D(2, 1), layers.Conv2D(2, 1)]
            self.short = layers.Conv2D(2, 1)
            self.flatten = layers.Flatten()
            self.head = keras.Sequential([layers.BatchNormalization(epsilon=1e-5), layers.Dense(3)])

        def call(self, x):
            y = self.main[1](self.main[0](x)) + self.short(x)
            return self.head(self.flatten(y))

    model = Model()
    model(np.zeros((1, 4, 5, 2), np.float32))
    return model


@pytest.mark.parametrize("make", [functional, subclassed])
def test_models_written_twice_exchange_weights_in_order_of_writing(make, tf, torch):
    t = torch.nn

    class Model(t.Module):
        def __init__(self):
            super().__init__()
            self.main = t.Sequential(t.Conv2d(2, 2, 1), t.Conv2d(2, 2, 1))
            self.short = t.Conv2d(2, 2, 1)
            self.head = t.Sequential(t.Flatten(), t.BatchNorm1d(40), t.Linear(40, 3))

        def forward(self, x):
            return self.head(self.main(x) + self.short(x))

    keras, theirs = make(tf.keras), Model().eval()
    rng = np.random.default_rng(0)
    keras.set_weights([rng.uniform(0.1, 1, w.shape) for w in keras.get_weights()])
    x = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    copy_weights(keras, theirs)
    expected = predict(keras, np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(predict(theirs, x), expected, rtol=1e-5, atol=1e-5)
    fresh = make(tf.keras)
    copy_weights(theirs, fresh)
    for one, other in zip(fresh.get_weights(), keras.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_flatten_that_cannot_be_reordered_is_refused(tf, torch):
    layers = tf.keras.layers
    conv, flatten = layers.Conv2D(2, 1), layers.Flatten(name="flat")
    keras = tf.keras.Sequential([tf.keras.Input((3, 3, 1)), conv, flatten])
    with pytest.raises(ConversionError, match=r"no dense layer follows .*'flat'.*Permute"):
        copy_weights(keras, torch.nn.Conv2d(1, 2, 1))
    stack = [conv, layers.Permute((3, 1, 2)), layers.Flatten()]
    copy_weights(tf.keras.Sequential([tf.keras.Input((3, 3, 1)), *stack]), torch.nn.Conv2d(1, 2, 1))
