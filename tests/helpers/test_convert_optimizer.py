"""Optimisers that go on in another framework, judged by their steps from the same gradients.

Gradients are random numbers, moved to the other model by the relayout of the weights, so that no
model has to be differentiated; whole models that are trained are in ``test_convert_models``.
"""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import nn, optim
from helpers.convert import ConversionError, convert_optimizer, copy_weights, transfer
from helpers.convert.kinds import framework_of, is_a
from helpers.convert.layouts import assign
from helpers.parity import to_numpy

FRAMEWORKS = ("keras", "torch", "numpy")
# Keras rounds learning rates and powers of decay rates to float32, in float64 too.
TOLERANCE = {"exact": 1e-12, "keras": 2e-6, "float32": 2e-5}
steady = settings(derandomize=True, deadline=None, database=None, max_examples=25)


def variables(model):
    if framework_of(model) == "keras":
        return model.trainable_variables
    return list(model.parameters())


def dense(package, dtype="float64"):
    """A layer of 3 to 4 in one of the frameworks."""
    if package == "keras":
        import keras

        layer = keras.layers.Dense(4, dtype=dtype)
        layer.build((None, 3))
        return layer
    if package == "torch":
        import torch

        return torch.nn.Linear(3, 4, dtype=getattr(torch, dtype))
    return nn.Linear(3, 4, dtype=dtype)


def make(name, model, options):
    """An optimiser of the model's framework, by PyTorch's names of the options."""
    package, options = framework_of(model), dict(options)
    if package == "torch":
        import torch

        return getattr(torch.optim, name)(model.parameters(), **options)
    if package == "numpy":
        return getattr(optim, name)(model.parameters(), **options)
    import keras

    options.pop("momentum_decay", None)
    if "betas" in options:
        options["beta_1"], options["beta_2"] = options.pop("betas")
    names = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}
    options = {names.get(n, n): value for n, value in options.items()}
    return getattr(keras.optimizers, name.replace("NAdam", "Nadam"))(**options)


def step(optimizer, model, gradients):
    """Take one step by gradients, which are listed by the id of their variable."""
    own = variables(model)
    if framework_of(model) == "keras":
        optimizer.apply([gradients[id(v)].astype(v.dtype) for v in own], own)
        return
    for v in own:
        if id(v) not in gradients:
            continue
        g = gradients[id(v)].astype(to_numpy(v).dtype)
        v.grad = g.copy() if framework_of(model) == "numpy" else v.new_tensor(g)
    optimizer.step()


def draw_gradients(rng, parameters):
    """Gradients of all sizes from 1e-3 to 1."""
    shapes = {id(v): tuple(v.shape) for v in parameters}
    return {k: rng.normal(size=s) * 10 ** rng.uniform(-3, 0, size=s) for k, s in shapes.items()}


def randomize(rng, model):
    for v in variables(model):
        assign(v, rng.normal(size=tuple(v.shape)).astype(to_numpy(v).dtype))


def moved(source, target, get, start):
    """What ``get`` gives of source's variables, by the id of target's, elsewhere ``start``."""
    found = {id(v): np.full(tuple(v.shape), start) for v in variables(target)}
    transfer(source, target, get, lambda v, array: found.update({id(v): array}), state=False)
    return found


def race(optimizer, source, target, before=3, after=10, seed=0, trained=None):
    """Train source, convert in the middle, train both on, and return how far apart they are."""
    rng, trained = np.random.default_rng(seed), trained or variables(source)
    randomize(rng, source)
    for _ in range(before):
        step(optimizer, source, draw_gradients(rng, trained))
    copy_weights(source, target)
    converted = convert_optimizer(optimizer, source, target)
    begin = [to_numpy(v).copy() for v in trained]
    for _ in range(after):
        gradients = draw_gradients(rng, trained)

        def of(v, gradients=gradients):
            return gradients.get(id(v), np.zeros(tuple(v.shape)))

        step(converted, target, moved(source, target, of, 1.0))
        step(optimizer, source, gradients)
    for v, old in zip(trained, begin, strict=True):
        assert np.abs(to_numpy(v) - old).max() > 0.02  # against which errors are to be seen
    ends = moved(source, target, to_numpy, np.nan)
    return converted, max(np.abs(to_numpy(v) - ends[id(v)]).max() for v in variables(target))


def tolerance(dtype, *packages):
    if dtype == "float32":
        return TOLERANCE["float32"]
    return TOLERANCE["keras" if "keras" in packages else "exact"]


BETAS = (0.7, 0.9)  # whose corrections last for a few steps only, so that the count matters
EVERYWHERE = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD with decay": ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "Nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "Adam": ("Adam", {"lr": 0.05, "betas": BETAS, "eps": 1e-2}),
    "AMSGrad": ("Adam", {"lr": 0.05, "betas": BETAS, "eps": 1e-2, "amsgrad": True}),
    "AdamW": ("AdamW", {"lr": 0.05, "betas": BETAS, "eps": 1e-2, "weight_decay": 0.1}),
    "NAdam": ("NAdam", {"lr": 0.05, "betas": BETAS, "eps": 1e-2, "momentum_decay": 1.0}),
    "Adadelta": ("Adadelta", {"lr": 5.0, "rho": 0.9, "eps": 1e-2}),
    "RMSprop": ("RMSprop", {"lr": 0.05, "alpha": 0.7, "eps": 0.0}),
    "centered RMSprop": (
        "RMSprop",
        {"lr": 0.05, "alpha": 0.9, "eps": 0.0, "momentum": 0.9, "centered": True},
    ),
    "Adagrad": ("Adagrad", {"lr": 0.1, "eps": 0.0, "initial_accumulator_value": 0.1}),
    "Adamax": ("Adamax", {"lr": 0.05, "betas": BETAS, "eps": 0.0}),
}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(("there", "to"), [(a, b) for a in FRAMEWORKS for b in FRAMEWORKS])
def test_what_all_have_makes_the_same_steps(tf, torch, there, to, before):
    for label, (name, options) in EVERYWHERE.items():
        if name == "Adamax" and "numpy" in (there, to):
            continue
        source, target = dense(there), dense(to)
        converted, error = race(make(name, source, options), source, target, before)
        home = {"keras": "keras", "torch": "torch", "numpy": "helpers"}[to]
        assert is_a(converted, home, "Optimizer")
        # PyTorch holds NAdam's product of momenta in float32.
        rounded = "keras" if name == "NAdam" and there == "torch" else there
        assert error < tolerance("float64", rounded, to), label


ONE_WAY = [
    # Keras takes 1 − β₂ᵗ in float32, which is exact to 6e-8 / (1 − β₂): hence BETAS.
    ("keras", "torch", "Adam", {"lr": 0.05, "betas": BETAS, "weight_decay": 0.1}),
    ("keras", "torch", "NAdam", {"lr": 0.05, "weight_decay": 0.1}),
    ("keras", "torch", "Adagrad", {"lr": 0.1, "eps": 1e-2, "initial_accumulator_value": 0.1}),
    ("keras", "numpy", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("keras", "numpy", "RMSprop", {"lr": 0.05, "eps": 1e-2, "momentum": 0.9}),
    ("keras", "numpy", "Adagrad", {"lr": 0.1, "eps": 1e-2}),
    ("keras", "numpy", "NAdam", {"lr": 0.05, "weight_decay": 0.1}),
    ("torch", "numpy", "Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("torch", "numpy", "Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (
        "torch",
        "keras",
        "Adam",
        {"lr": 0.05, "betas": BETAS, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    ("torch", "numpy", "NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("torch", "numpy", "NAdam", {"lr": 0.05, "momentum_decay": 0.1}),
    ("torch", "numpy", "RMSprop", {"lr": 0.05, "eps": 1e-2, "momentum": 0.9, "centered": True}),
    ("torch", "numpy", "Adagrad", {"lr": 0.1, "eps": 1e-2, "initial_accumulator_value": 0.1}),
    ("torch", "numpy", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("numpy", "torch", "RMSprop", {"lr": 0.05, "eps": 1e-2, "momentum": 0.9}),
    ("numpy", "torch", "SGD", {"lr": 0.1, "momentum": 0.9, "convention": "keras"}),
    ("numpy", "torch", "Adam", {"lr": 0.05, "eps": 1e-2, "convention": "keras"}),
    ("numpy", "torch", "Adam", {"lr": 0.05, "weight_decay": 0.1, "convention": "keras"}),
    ("numpy", "torch", "Adagrad", {"lr": 0.1, "eps": 1e-2, "convention": "keras"}),
    ("numpy", "keras", "RMSprop", {"lr": 0.05, "eps": 1e-2, "convention": "keras"}),
    ("numpy", "keras", "SGD", {"lr": 0.1, "weight_decay": 0.1, "convention": "keras"}),
    ("numpy", "keras", "SGD", {"lr": 0.1, "momentum": 0.9, "convention": "keras"}),
]  # fmt: skip


@pytest.mark.parametrize(("there", "to", "name", "options"), ONE_WAY)
def test_what_some_have_makes_the_same_steps(tf, torch, there, to, name, options):
    source, target = dense(there), dense(to)
    _, error = race(make(name, source, options), source, target)
    assert error < tolerance("float64", "keras" if name == "NAdam" else there, to)


@steady
@given(data=st.data())
def test_any_settings_make_the_same_steps(data):
    pytest.importorskip("tensorflow")
    pytest.importorskip("torch")
    draw = data.draw
    there, to = draw(st.sampled_from(FRAMEWORKS)), draw(st.sampled_from(FRAMEWORKS))
    dtype, name = (
        draw(st.sampled_from(["float32", "float64"])),
        draw(st.sampled_from(["SGD", "Adam"])),
    )
    rates = st.floats(0.0, 0.95)
    if name == "SGD":
        options = {"momentum": draw(rates)}
        options["nesterov"] = options["momentum"] > 0 and draw(st.booleans())
    else:
        # Keras adds (g² − v)(1 − β₂) to v, which is exact to ε of the old v, not of the new.
        betas = draw(rates), draw(st.floats(0.5, 0.95))
        options = {"betas": betas, "eps": 10 ** draw(st.floats(-8, -1))}
        options["amsgrad"] = draw(st.booleans())
    source, target = dense(there, dtype), dense(to, dtype)
    optimizer = make(name, source, {"lr": 0.1} | options)
    _, error = race(optimizer, source, target, draw(st.integers(0, 4)), 5, draw(st.integers(0, 99)))
    assert error < tolerance(dtype, there, to)


def test_a_conversion_there_and_back_is_the_same_optimizer(tf, torch):
    source, other, back = dense("keras"), dense("torch"), dense("keras")
    optimizer = tf.keras.optimizers.Adam(0.05, epsilon=1e-2)
    converted, _ = race(optimizer, source, other)
    again = convert_optimizer(converted, other, back)
    assert type(again) is tf.keras.optimizers.Adam
    assert again.epsilon == 1e-2
    assert int(again.iterations) == 13
    for mine, theirs in zip(optimizer.variables, again.variables, strict=True):
        np.testing.assert_allclose(to_numpy(mine), to_numpy(theirs), rtol=1e-6, atol=1e-9)

    optimizer = torch.optim.Adam(other.parameters(), 0.05, eps=1e-2)
    converted, _ = race(optimizer, other, source)
    again = convert_optimizer(converted, source, other)
    assert "keras_epsilon" not in again.param_groups[0]
    assert again.param_groups[0]["eps"] == 1e-2


def test_the_converted_takes_steps_in_a_graph(tf, torch):
    source, target = dense("torch"), dense("keras")
    optimizer = torch.optim.Adam(source.parameters(), 0.05, betas=BETAS, eps=1e-2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        step(optimizer, source, draw_gradients(rng, variables(source)))
    copy_weights(source, target)
    converted = convert_optimizer(optimizer, source, target)

    @tf.function
    def in_graph(kernel, bias):
        converted.apply([kernel, bias], target.trainable_variables)

    for _ in range(4):
        gradients = draw_gradients(rng, variables(source))
        weight, bias = (gradients[id(p)] for p in source.parameters())
        step(optimizer, source, gradients)
        in_graph(tf.constant(weight.T), tf.constant(bias))
    np.testing.assert_allclose(to_numpy(target.kernel).T, to_numpy(source.weight), atol=2e-6)
    assert converted.epsilon == 1e-2


# Layers whose moments lie elsewhere


def images(package):
    """A convolution whose image is flattened before a dense layer, and norms."""
    if package == "keras":
        from keras import Sequential, layers

        norm = layers.BatchNormalization(epsilon=1e-5)
        parts = [layers.Conv2D(3, 2), norm, layers.Flatten(), layers.Dense(2)]
        return Sequential([layers.Input((3, 4, 2)), *parts])
    if package == "torch":
        from torch import nn as library
    else:
        library = nn
    return library.Sequential(
        library.Conv2d(2, 3, 2), library.BatchNorm2d(3), library.Flatten(), library.Linear(18, 2)
    )


def recurrent(kind):
    def build(package):
        if package == "keras":
            from keras import layers

            layer = layers.Bidirectional(getattr(layers, {"RNN": "SimpleRNN"}.get(kind, kind))(3))
            layer.build((None, None, 2))
            return layer
        if package == "torch":
            import torch

            return getattr(torch.nn, kind)(2, 3, batch_first=True, bidirectional=True)
        return getattr(nn, kind)(2, 3, bidirectional=True)

    return build


def attention(package):
    if package == "keras":
        from keras import layers

        layer = layers.MultiHeadAttention(2, 3)
        layer.build((None, 4, 6), (None, 4, 6))
        return layer
    if package == "torch":
        import torch

        return torch.nn.MultiheadAttention(6, 2, batch_first=True)
    return nn.MultiHeadAttention(6, 2)


LAYERS = {
    "images": images,
    "RNN": recurrent("RNN"),
    "LSTM": recurrent("LSTM"),
    "GRU": recurrent("GRU"),
    "attention": attention,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("there", "to"),
    [("keras", "torch"), ("torch", "keras"), ("keras", "numpy"), ("numpy", "keras")],
)
def test_moments_lie_where_their_weights_lie(tf, torch, name, there, to):
    source, target = LAYERS[name](there), LAYERS[name](to)
    parameters = variables(source)
    if there != "keras" and name in ("RNN", "LSTM"):  # Keras has one bias
        named = dict(source.named_parameters())
        parameters = [p for n, p in named.items() if "bias_hh" not in n]
    options = {"lr": 0.1, "betas": BETAS}
    if there == "keras":
        optimizer = make("Adam", source, options)
    elif there == "torch":
        optimizer = torch.optim.Adam(parameters, **options)
    else:
        optimizer = optim.Adam(parameters, **options)
    _, error = race(optimizer, source, target, 4, 3, trained=parameters)
    assert error < TOLERANCE["float32"]


@pytest.mark.parametrize("to", ["torch", "numpy"])
def test_what_is_not_trained_stays_out(tf, torch, to):
    source, target = images("keras"), images(to)
    optimizer = tf.keras.optimizers.Adam(0.1)
    if to == "torch":  # frozen after a beginning
        step(optimizer, source, draw_gradients(np.random.default_rng(0), variables(source)))
    source.layers[0].trainable = False
    converted, error = race(optimizer, source, target)
    assert error < TOLERANCE["float32"]
    kept = converted.parameters if to == "numpy" else converted.param_groups[0]["params"]
    assert {id(p) for p in kept} == {id(p) for p in list(target.parameters())[2:]}


def test_a_list_of_layers_has_one_optimizer(torch):
    source, target = [dense("torch"), dense("torch")], [dense("numpy"), dense("numpy")]
    optimizer = torch.optim.SGD([p for layer in source for p in layer.parameters()], 0.1)
    converted = convert_optimizer(optimizer, source, target)
    assert converted.parameters == [p for layer in target for p in layer.parameters()]


# Refusals


ADD, ELSEWHERE = "adds weight_decay to the gradient, Keras' shrinks", "adds eps=.* elsewhere than"
SHRINK, NONE = (
    "shrinks the weights with weight_decay, PyTorch's adds",
    "those that have are SGD, Adam",
)
KERAS_ONLY = {
    "clipnorm=1.0": "leave it out, and call clip_grad_norm_ with each parameter by itself of torch",
    "global_clipnorm=1.0": "leave it out, and call clip_grad_norm_ of torch.nn.utils or helpers.op",
    "clipvalue=0.5": "leave it out, and call clip_grad_value_ of torch.nn.utils or helpers.optim",
    "use_ema=True": "leave it out, and do the same in the training loop",
    "loss_scale_factor=8.0": "leave it out, and do the same in the training loop",
    "gradient_accumulation_steps=2": "leave it out, and do the same in the training loop",
}


@pytest.mark.parametrize("setting", KERAS_ONLY)
def test_settings_of_keras_alone_are_refused(tf, torch, setting):
    name, value = setting.split("=")
    options = {name: {"True": True, "2": 2}.get(value) or float(value)}
    optimizer = make("Adam", dense("keras"), options)
    with pytest.raises(ConversionError, match=f"keras Adam has {setting}, .*{KERAS_ONLY[setting]}"):
        convert_optimizer(optimizer, dense("keras"), dense("torch"))


@pytest.mark.parametrize(
    ("there", "to", "name", "options", "message"),
    [
        ("keras", "torch", "RMSprop", {}, f"{ELSEWHERE}.*helpers.optim.RMSprop, which has both"),
        ("torch", "keras", "RMSprop", {}, f"{ELSEWHERE}.*helpers.optim.RMSprop, which has both"),
        ("torch", "keras", "Adagrad", {}, f"{ELSEWHERE}.*helpers.optim.Adagrad, which has both"),
        ("keras", "torch", "Adamax", {}, f"{ELSEWHERE}.*use eps=0, or Adam"),
        ("keras", "numpy", "Adamax", {}, "Adamax has no counterpart in helpers.optim; use Adam"),
        ("torch", "keras", "Adam", {"weight_decay": 0.1}, f"{ADD}.*AdamW, or regularizers.L2"),
        ("numpy", "keras", "Adam", {"weight_decay": 0.1}, f"{ADD}.*AdamW, or regularizers.L2"),
        ("torch", "keras", "SGD", {"weight_decay": 0.1, "momentum": 0.9}, f"{ADD}.*use AdamW, or"),
        ("keras", "torch", "SGD", {"weight_decay": 0.1, "momentum": 0.9}, f"{SHRINK}.*use AdamW"),
        ("torch", "keras", "NAdam", {}, "momentum_decay=0.004, Keras' Nadam has 1; use that, or"),
        ("torch", "keras", "SGD", {"maximize": True}, "maximize=True, .* minimise the negative"),
        (
            "torch",
            "numpy",
            "SGD",
            {"momentum": 0.9, "dampening": 0.5},
            "dampening=0.5, .* use damp",
        ),
        ("torch", "numpy", "Adagrad", {"lr_decay": 0.5}, "lr_decay=0.5, .* use lr_decay=0"),
        ("torch", "keras", "Rprop", {}, f"torch.optim.Rprop has no counterpart; {NONE}"),
        ("keras", "torch", "Lion", {}, f"keras Lion has no counterpart; {NONE}"),
        ("torch", "keras", "SGD", {"momentum": 0.9, "lr": 0.0}, "the learning rate 0, in whose"),
    ],
)
def test_what_makes_other_steps_is_refused(tf, torch, there, to, name, options, message):
    source, target = dense(there), dense(to)
    optimizer = make(name, source, {"lr": 0.1} | options)
    with pytest.raises(ConversionError, match=message):
        convert_optimizer(optimizer, source, target)


def test_groups_with_different_settings_are_refused(torch):
    source = dense("torch")
    groups = [{"params": [source.weight]}, {"params": [source.bias], "lr": 0.5}]
    with pytest.raises(
        ConversionError, match=r"different settings, .* one optimizer for each group"
    ):
        convert_optimizer(torch.optim.SGD(groups, 0.1), source, dense("numpy"))
    groups[1]["lr"] = 0.1
    converted = convert_optimizer(torch.optim.SGD(groups, 0.1), source, dense("numpy"))
    assert len(converted.parameters) == 2


@pytest.mark.parametrize("package", ["torch", "numpy"])
def test_different_numbers_of_steps_are_refused(torch, package):
    source = dense(package)
    optimizer = make("Adam", source, {"lr": 0.1})
    gradient = np.ones((4, 3))
    source.weight.grad = gradient if package == "numpy" else torch.tensor(gradient)
    optimizer.step()
    with pytest.raises(ConversionError, match=r"updated its parameters \[0, 1\] times"):
        convert_optimizer(optimizer, source, dense("torch"))


def test_two_trained_biases_for_one_are_refused(tf, torch):
    for package in ("torch", "numpy"):
        source, target = recurrent("LSTM")(package), recurrent("LSTM")("keras")
        optimizer = make("SGD", source, {"lr": 0.1})
        with pytest.raises(
            ConversionError, match=r"is one bias for the two, .* Leave source's bias_hh"
        ):
            convert_optimizer(optimizer, source, target)


def test_half_of_a_weight_cannot_be_trained(tf, torch):
    source, target = attention("keras"), attention("torch")
    source.query_dense.trainable = False
    with pytest.raises(ConversionError, match="what source trains and what it does not; train all"):
        convert_optimizer(tf.keras.optimizers.SGD(0.1), source, target)


def test_what_is_frozen_in_one_and_trained_in_the_other_is_refused(tf, torch):
    source, target = images("torch"), images("keras")
    optimizer = torch.optim.SGD(source[3].parameters(), 0.1)
    with pytest.raises(
        ConversionError, match=r"kernel is trainable, .* set trainable = False on its"
    ):
        convert_optimizer(optimizer, source, target)
    for layer in target.layers[:2]:
        layer.trainable = False
    assert len(convert_optimizer(optimizer, source, target)._trainable_variables) == 2
    target.layers[3].trainable = False
    with pytest.raises(
        ConversionError, match=r"2 parameters .* frozen in target; .* \(trainable ="
    ):
        convert_optimizer(optimizer, source, target)
    other = images("torch").requires_grad_(False)
    with pytest.raises(
        ConversionError, match=r"2 parameters .* frozen in .* \(requires_grad = True"
    ):
        convert_optimizer(optimizer, source, other)


def test_an_optimizer_of_another_model_is_refused(tf, torch):
    optimizer = torch.optim.SGD(dense("torch").parameters(), 0.1)
    with pytest.raises(ConversionError, match="trains 2 parameters that no layer of source has"):
        convert_optimizer(optimizer, dense("torch"), dense("keras"))
    with pytest.raises(
        TypeError, match=r"must be of source's framework, keras, got torch.optim.SGD"
    ):
        convert_optimizer(optimizer, dense("keras"), dense("torch"))
    with pytest.raises(
        TypeError, match=r"must be one of keras.optimizers, torch.optim or .* got str"
    ):
        convert_optimizer("adam", dense("keras"), dense("torch"))


def test_a_class_of_ones_own_is_refused(torch):
    class Adam(torch.optim.Adam):
        """It may do anything."""

    source = dense("torch")
    with pytest.raises(ConversionError, match="Adam has no counterpart"):
        convert_optimizer(Adam(source.parameters()), source, dense("numpy"))


def test_keras_schedules_constraints_and_exclusions_are_refused(tf, torch):
    from keras import constraints, layers, optimizers

    schedule = optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    with pytest.raises(ConversionError, match=r"has a schedule .* torch.optim.lr_scheduler or"):
        convert_optimizer(optimizers.SGD(schedule), dense("keras"), dense("torch"))
    held = layers.Dense(4, kernel_constraint=constraints.NonNeg())
    held.build((None, 3))
    with pytest.raises(ConversionError, match=r"kernel has a constraint, .* after each step"):
        convert_optimizer(optimizers.SGD(0.1), held, dense("torch"))
    optimizer = optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ConversionError, match="spares some variables its weight decay; use an L2"):
        convert_optimizer(optimizer, dense("keras"), dense("torch"))


def test_neither_framework_is_imported_for_the_engine():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'tensorflow', 'keras')))\n"
        "from helpers import nn, optim\n"
        "from helpers.convert import convert_optimizer\n"
        "a, b = nn.Linear(2, 1), nn.Linear(2, 1)\n"
        "print(type(convert_optimizer(optim.Adam(a.parameters()), a, b)).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Adam\n"
