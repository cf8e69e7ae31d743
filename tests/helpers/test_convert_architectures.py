"""Three published architectures, written in each framework, moved and trained further.

PyTorch's text serves the engine too, whose names are the same.
"""

import types

import numpy as np
import pytest

from helpers import nn
from helpers.convert import convert_optimizer, copy_weights
from helpers.convert.stand_ins import numpy_layers
from helpers.parity import to_numpy

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
STEPS = 50
CLASSES = 3


def native(library, dtype):
    """What the two libraries with PyTorch's names differ in."""
    if library is nn:
        typed = {"dtype": dtype}
        norm = numpy_layers.BiasedBatchNorm2d
        return types.SimpleNamespace(typed=typed, norm=norm, batch_first={})
    from helpers.convert.stand_ins import torch_layers

    norm = torch_layers.BiasedBatchNorm2d  # Keras' running variance
    typed = {"dtype": getattr(pytest.importorskip("torch"), dtype)}
    return types.SimpleNamespace(typed=typed, norm=norm, batch_first={"batch_first": True})


def resnet(library, dtype):
    """He et al. 2016: a stem, a block, a block with stride and projection, global pooling."""
    own = native(library, dtype)

    class Block(library.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()

            def conv(n, size, stride, padding):
                return library.Conv2d(
                    n, outputs, size, stride=stride, padding=padding, bias=False, **own.typed
                )

            self.relu = library.ReLU()
            self.conv1, self.norm1 = conv(inputs, 3, stride, 1), own.norm(outputs, **own.typed)
            self.conv2, self.norm2 = conv(outputs, 3, 1, 1), own.norm(outputs, **own.typed)
            self.short = None
            if stride > 1:
                self.short = library.Sequential(
                    conv(inputs, 1, stride, 0), own.norm(outputs, **own.typed)
                )

        def forward(self, x):
            y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
            return self.relu(y + (x if self.short is None else self.short(x)))

    return library.Sequential(
        library.Conv2d(2, 4, 3, padding=1, bias=False, **own.typed),
        own.norm(4, **own.typed),
        library.ReLU(),
        Block(4, 4, 1),
        Block(4, 6, 2),
        library.AdaptiveAvgPool2d(1),
        library.Flatten(),
        library.Linear(6, CLASSES, **own.typed),
    )


def keras_resnet(keras, dtype):
    layers = keras.layers

    def conv(x, filters, size, stride=1):
        if size == 3 and stride == 2:  # Keras' own "same" would pad on the right only
            x = layers.ZeroPadding2D(1, dtype=dtype)(x)
        padding = "same" if stride == 1 else "valid"
        x = layers.Conv2D(filters, size, stride, padding=padding, use_bias=False, dtype=dtype)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype)(x)

    def relu(x):
        return layers.ReLU(dtype=dtype)(x)

    def block(x, filters, stride):
        y = conv(relu(conv(x, filters, 3, stride)), filters, 3)
        return relu(layers.Add(dtype=dtype)([y, conv(x, filters, 1, stride) if stride > 1 else x]))

    inputs = keras.Input((6, 6, 2), dtype=dtype)
    x = block(block(relu(conv(inputs, 4, 3)), 4, 1), 6, 2)
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, dtype=dtype)(x))


def tagger(library, dtype):
    """A bidirectional LSTM (Graves and Schmidhuber 2005) that gives each word its scores."""
    own = native(library, dtype)

    class Tagger(library.Module):
        def __init__(self):
            super().__init__()
            self.words = library.Embedding(9, 4, **own.typed)
            self.lstm = library.LSTM(4, 5, bidirectional=True, **own.typed, **own.batch_first)
            self.tags = library.Linear(10, CLASSES, **own.typed)
            for name in ("bias_hh_l0", "bias_hh_l0_reverse"):  # Keras has one bias
                if library is nn:
                    setattr(self.lstm, name, getattr(self.lstm, name).data)
                    self.lstm.buffers = (*self.lstm.buffers, name)
                else:
                    getattr(self.lstm, name).requires_grad_(False)

        def forward(self, x):
            return self.tags(self.lstm(self.words(x))[0])

    return Tagger()


def keras_tagger(keras, dtype):
    layers = keras.layers
    lstm = layers.LSTM(5, return_sequences=True, dtype=dtype)
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 4, dtype=dtype),
            layers.Bidirectional(lstm, dtype=dtype),
            layers.Dense(CLASSES, dtype=dtype),
        ]
    )


def encoder(library, dtype):
    """Vaswani et al. 2017: one layer of an encoder with learned positions, norms after sums."""
    own = native(library, dtype)
    attention = library.MultiHeadAttention if library is nn else library.MultiheadAttention

    class Encoder(library.Module):
        def __init__(self):
            super().__init__()
            self.words = library.Embedding(9, 8, **own.typed)
            self.places = library.Embedding(6, 8, **own.typed)
            self.attention = attention(8, 2, **own.typed, **own.batch_first)
            self.norm1 = library.LayerNorm(8, **own.typed)
            self.up, self.relu = library.Linear(8, 12, **own.typed), library.ReLU()
            self.down = library.Linear(12, 8, **own.typed)
            self.norm2 = library.LayerNorm(8, **own.typed)
            self.out = library.Linear(8, CLASSES, **own.typed)

        def forward(self, x):
            places = np.arange(6)
            if library is not nn:
                places = pytest.importorskip("torch").tensor(places)
            x = self.words(x) + self.places(places)
            mixed = self.attention(x) if library is nn else self.attention(x, x, x)[0]
            x = self.norm1(x + mixed)
            return self.out(self.norm2(x + self.down(self.relu(self.up(x)))))

    return Encoder()


def keras_encoder(keras, dtype):
    layers = keras.layers

    class Encoder(keras.Model):
        def __init__(self):
            super().__init__(dtype=dtype)
            self.words = layers.Embedding(9, 8, dtype=dtype)
            self.places = layers.Embedding(6, 8, dtype=dtype)
            self.attention = layers.MultiHeadAttention(2, 4, dtype=dtype)
            self.norm1 = layers.LayerNormalization(epsilon=1e-5, dtype=dtype)
            self.up = layers.Dense(12, activation="relu", dtype=dtype)
            self.down = layers.Dense(8, dtype=dtype)
            self.norm2 = layers.LayerNormalization(epsilon=1e-5, dtype=dtype)
            self.out = layers.Dense(CLASSES, dtype=dtype)

        def call(self, x):
            x = self.words(x) + self.places(keras.ops.arange(6))
            x = self.norm1(x + self.attention(x, x))
            return self.out(self.norm2(x + self.down(self.up(x))))

    model = Encoder()
    model(np.zeros((1, 6), np.int32))
    return model


MODELS = {
    "resnet": (keras_resnet, resnet),
    "tagger": (keras_tagger, tagger),
    "encoder": (keras_encoder, encoder),
}


def inputs(name, model, x):
    """Give a batch in the form that a model's framework takes."""
    if isinstance(model, nn.Module):
        return x
    if type(model).__module__.startswith("keras") or hasattr(model, "train_on_batch"):
        return np.moveaxis(x, 1, -1) if name == "resnet" else x
    return pytest.importorskip("torch").tensor(x)


def predict(name, model, x):
    if hasattr(model, "eval"):
        model.eval()
    return to_numpy(model(inputs(name, model, x)))


def trainer(name, model, optimizer):
    """Return what takes a step of the mean squared error for each batch."""
    if isinstance(model, nn.Module):
        return lambda batches: nn.fit(
            model.train(), lambda y, t: np.mean((y - t) ** 2), optimizer, batches
        )
    if hasattr(model, "train_on_batch"):
        tf = pytest.importorskip("tensorflow")

        @tf.function
        def step(x, t):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - t) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            # Keras squares an embedding's gradient row by row where a word is repeated.
            gradients = [tf.convert_to_tensor(g) for g in gradients]
            optimizer.apply(gradients, model.trainable_variables)

        return lambda batches: [step(inputs(name, model, x), t) for x, t in batches]
    torch = pytest.importorskip("torch")

    def run(batches):
        model.train()
        for x, t in batches:
            optimizer.zero_grad()
            ((model(inputs(name, model, x)) - torch.tensor(t)) ** 2).mean().backward()
            optimizer.step()

    return run


def draw(name, dtype, count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        if name == "resnet":
            x = rng.normal(size=(6, 2, 6, 6)).astype(dtype)
            yield x, rng.normal(size=(6, CLASSES)).astype(dtype)
        else:
            yield rng.integers(0, 9, (4, 6)), rng.normal(size=(4, 6, CLASSES)).astype(dtype)


def close(name, models, x, tolerance):
    first, *others = (predict(name, model, x) for model in models)
    assert abs(first).max() > 0.05
    for other in others:
        np.testing.assert_allclose(other, first, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", MODELS)
def test_architectures_move_there_and_back(name, dtype, tf, torch):
    in_keras, in_others = MODELS[name]
    keras, fresh = in_keras(tf.keras, dtype), in_keras(tf.keras, dtype)
    theirs, engine = in_others(torch.nn, dtype), in_others(nn, dtype)
    ((x, _),) = draw(name, dtype, 1, seed=0)
    rng = np.random.default_rng(3)
    keras.set_weights([rng.uniform(0.1, 0.6, w.shape) for w in keras.get_weights()])
    for source, target in ((keras, theirs), (theirs, engine), (engine, fresh)):
        copy_weights(source, target)
    close(name, [keras, theirs, engine, fresh], x, TOLERANCE[dtype])


@pytest.mark.parametrize("name", MODELS)
def test_architectures_of_keras_train_on_alike(name, tf, torch, dtype="float32"):
    tf.keras.utils.set_random_seed(3)
    torch.manual_seed(3)
    in_keras, in_others = MODELS[name]
    keras, theirs, engine = (
        in_keras(tf.keras, dtype),
        in_others(torch.nn, dtype),
        in_others(nn, dtype),
    )
    ((x, _),) = draw(name, dtype, 1, seed=0)
    optimizer = tf.keras.optimizers.Adam(4e-3)
    train = trainer(name, keras, optimizer)
    train(draw(name, dtype, 5, seed=1))
    for target in (theirs, engine):
        copy_weights(keras, target)
    mapped = convert_optimizer(optimizer, keras, theirs)
    ours = convert_optimizer(optimizer, keras, engine)
    before = predict(name, keras, x)
    for run in (train, trainer(name, theirs, mapped), trainer(name, engine, ours)):
        run(draw(name, dtype, STEPS, seed=2))
    assert abs(predict(name, keras, x) - before).max() > 0.03
    close(name, [keras, theirs, engine], x, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_architectures_of_pytorch_train_on_alike(name, tf, torch, dtype="float64"):
    torch.manual_seed(4)
    in_keras, in_others = MODELS[name]
    theirs, keras = in_others(torch.nn, dtype), in_keras(tf.keras, dtype)
    ((x, _),) = draw(name, dtype, 1, seed=0)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.02, momentum=0.8, nesterov=True)
    train = trainer(name, theirs, optimizer)
    train(draw(name, dtype, 5, seed=1))
    copy_weights(theirs, keras)
    mapped = convert_optimizer(optimizer, theirs, keras)
    before = predict(name, theirs, x)
    for run in (train, trainer(name, keras, mapped)):
        run(draw(name, dtype, STEPS, seed=2))
    assert abs(predict(name, keras, x) - before).max() > 0.03
    close(name, [theirs, keras], x, 1e-5)
