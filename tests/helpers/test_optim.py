"""Optimisers, schedules and clipping, judged by PyTorch's and Keras' own."""

import inspect
import math

import numpy as np
import pytest

from helpers import optim

# One column of gradients of each magnitude; the first parameters of the zero column stay put.
SCALES = np.array([0.0, 1e-6, 1e-3, 1.0])
STEPS = 100
# Keras casts its hyperparameters through float32. These are float32 numbers, so that the cast
# changes nothing and the formulas themselves can be held to 1e-10.
B1, B2, RHO, MU, WD, LR = 0.875, 1 - 2**-10, 0.9375, 0.875, 2**-4, 2**-6
EPS = 2**-20
KERAS_NAMES = {"NAdam": "Nadam"}
NAMES = ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "NAdam"]
BOTH = pytest.mark.parametrize("convention", ["torch", "keras"])


class Parameter:
    """What an optimiser needs of the engine's parameters."""

    def __init__(self, data, grad=None):
        self.data, self.grad = np.array(data), grad

    def __repr__(self):
        return "Parameter"


@pytest.fixture
def keras(tf):
    return tf.keras


@pytest.fixture
def torch64(torch):
    """Float64 by default: NAdam keeps its product of momenta in the default type."""
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(torch.float32)


def start(dtype=np.float64):
    rng = np.random.default_rng(7)
    return (rng.normal(size=(3, 4)) * np.where(SCALES, SCALES, 1)).astype(dtype)


def gradient(step, dtype=np.float64):
    return (np.random.default_rng(step).normal(size=(3, 4)) * SCALES).astype(dtype)


def rate(step):
    """The learning rate changes half-way."""
    return LR if step < STEPS // 2 else LR / 8


def ours(name, dtype, **options):
    p = Parameter(start(dtype))
    optimizer = getattr(optim, name)([p], LR, **options)
    for step in range(STEPS):
        optimizer.lr = rate(step)
        p.grad = gradient(step, dtype)
        optimizer.step()
    assert p.data.dtype == dtype
    return p.data


def by_torch(torch, name, dtype, **options):
    w = torch.tensor(start(dtype), requires_grad=True)
    optimizer = getattr(torch.optim, name)([w], lr=LR, foreach=False, **options)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        w.grad = torch.tensor(gradient(step, dtype))
        optimizer.step()
    return w.detach().numpy()


def by_keras(keras, name, dtype, **options):
    w = keras.Variable(start(dtype), dtype=np.dtype(dtype).name)
    optimizer = getattr(keras.optimizers, KERAS_NAMES.get(name, name))(learning_rate=LR, **options)
    optimizer.build([w])
    step_of = compiled(keras, optimizer, w)
    for step in range(STEPS):
        if step in (0, STEPS // 2):
            optimizer.learning_rate = rate(step)
        step_of(gradient(step, dtype))
    return w.numpy()


def compiled(keras, optimizer, w):
    """One update as a graph: twenty times the speed of eager steps, the same values."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(w.shape, w.dtype)])
    def update(g):
        optimizer.apply([g], [w])

    return update


def difference(found, expected):
    """The largest difference, relative to the largest weight of the same magnitude."""
    return (np.abs(found - expected) / np.abs(expected).max(axis=0)).max()


TORCH = [
    ("SGD", {}),
    ("SGD", {"weight_decay": WD}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": WD}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-3, "weight_decay": WD}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": WD}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.95, "eps": 1e-7, "weight_decay": WD}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.9), "eps": 1e-3}),
    ("Adam", {"amsgrad": True, "betas": (0.9, 0.9)}),
    ("Adam", {"weight_decay": WD}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": WD, "amsgrad": True}),
    ("NAdam", {}),
    # A larger ε: coupled decay cancels gradients of 1e-6, and √v would magnify float32 rounding.
    ("NAdam", {"betas": (0.8, 0.9), "momentum_decay": 0.5, "weight_decay": WD, "eps": 1e-3}),
]

# Ours by torch's names; by_keras translates.
KERAS = [
    ("SGD", {}),
    ("SGD", {"weight_decay": WD}),
    ("SGD", {"momentum": MU}),
    ("SGD", {"momentum": MU, "nesterov": True, "weight_decay": WD}),
    ("Adagrad", {"initial_accumulator_value": 0.125, "eps": EPS}),
    ("Adagrad", {"initial_accumulator_value": 2**-30, "eps": EPS, "weight_decay": WD}),
    ("RMSprop", {"alpha": RHO, "eps": EPS}),
    ("RMSprop", {"alpha": RHO, "eps": EPS, "momentum": MU, "weight_decay": WD}),
    ("RMSprop", {"alpha": RHO, "eps": EPS, "centered": True}),
    ("RMSprop", {"alpha": RHO, "eps": EPS, "centered": True, "momentum": MU}),
    ("Adadelta", {"rho": RHO, "eps": EPS, "weight_decay": WD}),
    ("Adam", {"betas": (B1, B2), "eps": EPS}),
    ("Adam", {"betas": (B1, B2), "eps": EPS, "amsgrad": True}),
    ("Adam", {"betas": (B1, B2), "eps": EPS, "weight_decay": WD}),
    ("AdamW", {"betas": (B1, B2), "eps": EPS, "weight_decay": WD}),
]


def in_keras(options):
    translated = {{"eps": "epsilon", "alpha": "rho"}.get(k, k): v for k, v in options.items()}
    if "betas" in translated:
        translated["beta_1"], translated["beta_2"] = translated.pop("betas")
    return translated


def named(cases):
    return [pytest.param(*case, id=f"{case[0]}-{'-'.join(case[1])}") for case in cases]


@pytest.mark.parametrize(("name", "options"), named(TORCH))
@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_torch_convention_is_that_of_torch(torch64, name, options, dtype, within):
    expected = by_torch(torch64, name, dtype, **options)
    assert difference(ours(name, dtype, **options), expected) <= within


@pytest.mark.parametrize(("name", "options"), named(KERAS))
@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_keras_convention_is_that_of_keras(keras, name, options, dtype, within):
    expected = by_keras(keras, name, dtype, **in_keras(options))
    assert difference(ours(name, dtype, convention="keras", **options), expected) <= within


@pytest.mark.parametrize("options", [{}, {"weight_decay": WD}])
def test_nadam_is_that_of_keras_but_for_a_float32_constant(keras, monkeypatch, options):
    options = options | {"betas": (B1, B2), "eps": EPS}
    translated = in_keras(options)
    single = ours("NAdam", np.float32, convention="keras", **options)
    assert difference(single, by_keras(keras, "NAdam", np.float32, **translated)) <= 1e-5
    # Keras casts NAdam's 0.96 through float32 even for float64 weights.
    double = ours("NAdam", np.float64, convention="keras", **options)
    assert 1e-10 < difference(double, by_keras(keras, "NAdam", np.float64, **translated)) <= 1e-6
    cast = keras.ops.cast

    def exact(x, dtype):
        return cast(np.float64(x) if isinstance(x, float) else x, dtype)

    monkeypatch.setattr("keras.src.ops.cast", exact)
    assert difference(double, by_keras(keras, "NAdam", np.float64, **translated)) <= 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_torch(torch, name):
    signature = inspect.signature(getattr(torch.optim, name)).parameters
    optimizer = getattr(optim, name)([Parameter(1.0)])
    for option in {"lr", "weight_decay"} | optimizer.TORCH.keys():
        assert getattr(optimizer, option) == signature[option].default, option


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_keras(keras, name):
    theirs = getattr(keras.optimizers, KERAS_NAMES.get(name, name))
    signature = inspect.signature(theirs).parameters
    optimizer = getattr(optim, name)([Parameter(1.0)], convention="keras")
    options = {k: getattr(optimizer, k) for k in {"weight_decay"} | optimizer.KERAS.keys()}
    options["learning_rate"] = options.pop("lr")
    psi = options.pop("momentum_decay", None)  # Keras has no such argument: it is 1.
    assert psi == (1.0 if name == "NAdam" else None)
    for option, value in in_keras(options).items():
        assert value == (signature[option].default or 0.0), option


CONVENTIONS_PART = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "weight_decay": WD}),
    ("Adagrad", {"eps": 1e-3, "initial_accumulator_value": 0.0}),
    ("RMSprop", {"eps": 1e-3, "alpha": 0.9}),
    ("RMSprop", {"eps": 1e-3, "alpha": 0.9, "centered": True}),
    ("Adadelta", {"eps": 1e-3, "rho": 0.9, "weight_decay": WD}),
    ("Adam", {"eps": 1e-3}),
    ("Adam", {"eps": 1e-30, "weight_decay": WD}),
    ("AdamW", {"eps": 1e-3, "weight_decay": WD}),
    ("NAdam", {"eps": 1e-3}),
    ("NAdam", {"eps": 1e-30, "weight_decay": WD, "momentum_decay": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), named(CONVENTIONS_PART))
def test_conventions_differ_with_the_same_numbers(name, options):
    one, other = (ours(name, np.float64, convention=c, **options) for c in ("torch", "keras"))
    assert difference(one[:, 1:], other[:, 1:]) > 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    named(
        [
            ("SGD", {}),
            ("Adadelta", {"rho": 0.9, "eps": 1e-6}),
            ("NAdam", {"eps": 1e-8, "momentum_decay": 0.5}),
        ]
    ),
)
def test_conventions_agree_where_the_formula_is_one(name, options):
    one, other = (ours(name, np.float64, convention=c, **options) for c in ("torch", "keras"))
    np.testing.assert_array_equal(one, other)


@BOTH
@pytest.mark.parametrize("name", NAMES)
def test_step_changes_data_in_place_and_no_gradient(name, convention):
    # Transposed, without dimensions and empty: what a flat scratch array has to be cut for.
    shapes = [np.zeros((4, 3)).T, np.array(0.0), np.zeros(0), np.zeros((2, 3, 1))]
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        parameters = [Parameter(x.astype(dtype)) for x in shapes]
        arrays = [p.data for p in parameters]
        optimizer = getattr(optim, name)(parameters, 0.1, weight_decay=0.1, convention=convention)
        for _ in range(3):
            for p in parameters:
                # A float64 gradient does not make float32 parameters or states float64.
                p.grad = rng.normal(size=p.data.shape)
            kept = [(p.grad, p.grad.copy()) for p in parameters]
            optimizer.lr = np.float64(0.01)
            optimizer.step()
            for p, array, (grad, copy) in zip(parameters, arrays, kept, strict=True):
                assert p.data is array and array.dtype == dtype and np.all(array != 0)
                assert p.grad is grad
                np.testing.assert_array_equal(grad, copy)
        held = [x for state in optimizer.state for x in state.values() if np.ndim(x)]
        assert {x.dtype for x in held} <= {np.dtype(dtype)}
        optimizer.zero_grad()
        assert all(p.grad is None for p in parameters)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_two_types_are_trained_together_as_alone(name):
    parameters = [Parameter(start(np.float32)), Parameter(start(np.float64)[0])]
    optimizer = getattr(optim, name)(parameters, LR)
    for step in range(STEPS):
        optimizer.lr = rate(step)
        parameters[0].grad = gradient(step, np.float32)
        parameters[1].grad = gradient(step)[0]
        optimizer.step()
    np.testing.assert_array_equal(parameters[0].data, ours(name, np.float32))
    np.testing.assert_array_equal(parameters[1].data, ours(name, np.float64)[0])


@pytest.mark.parametrize("name", NAMES)
def test_parameter_without_gradient_is_skipped_as_in_torch(torch64, name):
    """It neither moves nor decays, nor does its count of steps go on."""
    options = {"weight_decay": WD, "eps": 1e-3} if name != "SGD" else {"weight_decay": WD}
    p, w = Parameter(start()), torch64.tensor(start(), requires_grad=True)
    mine = getattr(optim, name)([p], LR, **options)
    theirs = getattr(torch64.optim, name)([w], lr=LR, foreach=False, **options)
    for step in range(30):
        g = None if step % 3 == 0 else gradient(step)
        before = p.data.copy()
        p.grad, w.grad = g, None if g is None else torch64.tensor(g)
        mine.step()
        theirs.step()
        assert (g is None) == np.array_equal(before, p.data)
    assert difference(p.data, w.detach().numpy()) <= 1e-10


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_the_options_and_defaults_of_torch(torch, name):
    shown = inspect.signature(getattr(optim, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    assert list(shown)[:2] == ["parameters", "lr"]
    for option in shown.keys() - {"parameters", "convention"}:
        assert shown[option].default == theirs[option].default, option


def test_a_wrong_shape_of_one_gradient_leaves_all_parameters_as_they_were():
    parameters = [Parameter(np.ones(2), np.ones(2)), Parameter(np.ones(3), np.ones(2))]
    with pytest.raises(ValueError, match=r"parameters\[1\].grad must have shape \(3,\)"):
        optim.SGD(parameters, 1.0).step()
    assert (parameters[0].data == 1).all()


def test_wrong_shape_of_gradient_is_refused():
    p = Parameter(np.zeros((2, 3)), np.zeros((3, 2)))
    message = r"parameters\[0\].grad must have shape \(2, 3\), got \(3, 2\)"
    with pytest.raises(ValueError, match=message):
        optim.SGD([p]).step()
    p.grad = np.zeros(3)  # which NumPy would broadcast
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        optim.Adam([p]).step()


def test_gradients_that_are_not_finite_reach_the_parameters():
    for name in NAMES:
        p = Parameter(np.ones(2), np.array([np.nan, 1.0]))
        getattr(optim, name)([p]).step()
        assert np.isnan(p.data[0]) and np.isfinite(p.data[1])


ONE = Parameter(1.0)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ([], ValueError, "parameters must list one or more, each once, got \\[\\]"),
        (
            [ONE, ONE],
            ValueError,
            "parameters must list one or more, each once, got \\[Parameter",
        ),
        (ONE, ValueError, "parameters must list one or more, each once, got Parameter"),
        ([ONE, np.ones(2)], TypeError, r"parameters\[1\] must have .grad and float .data, got arr"),
        ([Parameter(1)], TypeError, r"parameters\[0\] must have .grad and float .data"),
        ({"w": ONE}, TypeError, r"parameters\[0\] must have .grad and float .data, got 'w'"),
    ],
)
def test_what_is_no_list_of_parameters_is_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(parameters)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("SGD", {"lr": -1}, ValueError, "lr must be a number from 0 to below inf, got -1"),
        ("SGD", {"lr": math.nan}, ValueError, "lr must be a number from 0 to below inf, got nan"),
        ("SGD", {"lr": "1"}, ValueError, "lr must be a number from 0 to below inf, got '1'"),
        ("SGD", {"momentum": 1.0}, ValueError, "momentum .* from 0 to below 1, got 1.0"),
        ("SGD", {"momentum": -0.1}, ValueError, "momentum .* from 0 to below 1, got -0.1"),
        ("SGD", {"nesterov": True}, ValueError, "nesterov needs a momentum above 0, got 0.0"),
        ("SGD", {"weight_decay": -1}, ValueError, "weight_decay .* below inf, got -1"),
        ("SGD", {"convention": "jax"}, ValueError, "convention .* 'torch' or 'keras', got 'jax'"),
        ("SGD", {"decay": 1.0}, TypeError, r"options of SGD are .*'momentum'.*, got \['decay'\]"),
        ("Adagrad", {"initial_accumulator_value": -1}, ValueError, "initial_acc.* got -1"),
        ("RMSprop", {"alpha": 1.5}, ValueError, "alpha must be .* from 0 to below 1, got 1.5"),
        ("RMSprop", {"rho": 0.9}, TypeError, r"options of RMSprop are .*'alpha'.* got \['rho'\]"),
        ("Adadelta", {"rho": 1.0}, ValueError, "rho must be .* from 0 to below 1, got 1.0"),
        ("Adam", {"eps": -1e-8}, ValueError, "eps must be .* from 0 to below inf, got -1e-08"),
        ("Adam", {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] .* to below 1, got 1.0"),
        ("Adam", {"betas": 0.9}, ValueError, "betas must be two numbers, got 0.9"),
        ("NAdam", {"momentum_decay": -1}, ValueError, "momentum_decay must be .* got -1"),
        ("NAdam", {"amsgrad": True}, TypeError, "options of NAdam"),
    ],
)
def test_bad_options_are_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        getattr(optim, name)([Parameter(1.0)], **options)


def test_bad_learning_rate_set_later_is_refused():
    optimizer = optim.SGD([Parameter(1.0, np.array(1.0))])
    optimizer.lr = -1.0
    with pytest.raises(ValueError, match=r"lr must be a number from 0 to below inf, got -1.0"):
        optimizer.step()


def warm_up(t):
    return min(1.0, (t + 1) / 10)


SCHEDULES = [
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("StepLR", {"step_size": 20}),
    ("MultiStepLR", {"milestones": [30, 5, 5, 40]}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 60}),
    ("CosineAnnealingLR", {"T_max": 25, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": warm_up}),
    ("ReduceLROnPlateau", {}),
    ("ReduceLROnPlateau", {"factor": 0.5, "patience": 2, "threshold": 0.1, "min_lr": 0.02}),
    ("ReduceLROnPlateau", {"patience": 0, "min_lr": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), named(SCHEDULES))
def test_schedules_are_those_of_torch(torch, name, options):
    mine = optim.SGD([Parameter(1.0)], 0.3)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.3)
    schedule = getattr(optim, name)(mine, **options)
    judge = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    rng = np.random.default_rng(3)
    rates = []
    for step in range(60):
        rates.append(mine.lr)
        assert mine.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-10, abs=1e-16)
        theirs.step()
        metric = [float(2 * math.exp(-step / 9) + rng.normal() / 9)] if "Plateau" in name else []
        schedule.step(*metric)
        judge.step(*metric)
    if options.get("min_lr") != 1.0:
        assert len(set(rates)) > 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("StepLR", {"step_size": 0}, "step_size must be a number from 1 to below inf, got 0"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max must be a number from 1 to below inf, got 0"),
        ("CosineAnnealingLR", {"T_max": 5, "eta_min": -1}, "eta_min must be .* from 0 .* got -1"),
        ("ExponentialLR", {"gamma": math.nan}, "lr must be a number from 0 to below inf, got nan"),
        ("LambdaLR", {"lr_lambda": lambda t: -1}, "lr must be a number from 0 .* got -0.001"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor must be .* from 0 to below 1, got 1.0"),
        ("ReduceLROnPlateau", {"min_lr": -1}, "min_lr must be .* from 0 to below inf, got -1"),
    ],
)
def test_bad_schedules_are_refused(name, options, message):
    optimizer = optim.SGD([Parameter(1.0)])
    with pytest.raises(ValueError, match=message):
        schedule = getattr(optim, name)(optimizer, **options)
        schedule.step()


def test_a_cosine_from_nothing_is_refused():
    with pytest.raises(ValueError, match=r"optimizer\.lr must be above 0"):
        optim.CosineAnnealingLR(optim.SGD([Parameter(1.0)], 0.0), T_max=5)


def clipped(clip, bound, dtype, **options):
    """Clip, check that the arrays themselves are as before, return what came instead."""
    given = gradients(dtype)
    parameters = [Parameter(np.zeros_like(g), g) for g in given]
    parameters.insert(1, Parameter(0.0))
    norm = clip((p for p in parameters), bound, **options)
    for g, before in zip(given, gradients(dtype), strict=True):
        np.testing.assert_array_equal(g, before)
    assert parameters.pop(1).grad is None
    assert all(isinstance(p.grad, np.ndarray) and p.grad.dtype == dtype for p in parameters)
    return norm, [p.grad for p in parameters]


def gradients(dtype):
    rng = np.random.default_rng(5)
    drawn = [np.array(rng.normal(size=s) * 3, dtype) for s in [(3, 4), (2, 3, 2), ()]]
    return [*drawn, np.zeros(3, dtype)]


def torch_gradients(torch, dtype):
    found = [torch.zeros(g.shape, requires_grad=True) for g in gradients(dtype)]
    for w, g in zip(found, gradients(dtype), strict=True):
        w.data = w.data.to(torch.float64 if dtype == np.float64 else torch.float32)
        w.grad = torch.tensor(g)
    return found


def assert_all_close(found, expected, within):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=within, atol=0)


PRECISIONS = pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-12), (np.float32, 1e-6)])


@PRECISIONS
@pytest.mark.parametrize("bound", [0.5, 4.0, 1e3])
def test_clipping_is_that_of_torch(torch, dtype, within, bound):
    theirs = torch_gradients(torch, dtype)
    total = torch.nn.utils.clip_grad_norm_(theirs, bound)
    norm, found = clipped(optim.clip_grad_norm_, bound, dtype)
    assert type(norm) is float and norm == pytest.approx(total.item(), rel=within)
    assert_all_close(found, [w.grad for w in theirs], within)
    theirs = torch_gradients(torch, dtype)
    torch.nn.utils.clip_grad_value_(theirs, bound)
    assert_all_close(clipped(optim.clip_grad_value_, bound, dtype)[1], [w.grad for w in theirs], 0)
    theirs = torch_gradients(torch, dtype)
    for w in theirs:
        torch.nn.utils.clip_grad_norm_([w], bound)
    found = clipped(optim.clip_grad_norm_, bound, dtype, each=True)[1]
    assert_all_close(found, [w.grad for w in theirs], within)


@PRECISIONS
@pytest.mark.parametrize("bound", [0.5, 4.0, 1e3])
@pytest.mark.parametrize(
    ("argument", "clip", "options"),
    [
        ("global_clipnorm", optim.clip_grad_norm_, {"eps": 0.0}),
        ("clipnorm", optim.clip_grad_norm_, {"eps": 0.0, "each": True}),
        ("clipvalue", optim.clip_grad_value_, {}),
    ],
)
def test_clipping_is_that_of_keras(tf, dtype, within, bound, argument, clip, options):
    judge = tf.keras.optimizers.SGD(**{argument: bound})
    expected = judge._clip_gradients([tf.constant(g) for g in gradients(dtype)])
    assert_all_close(clipped(clip, bound, dtype, **options)[1], expected, within)


def test_norm_of_gradients_that_are_not_finite_spoils_all_of_them():
    parameters = [Parameter(0.0, np.array([np.nan, 1.0])), Parameter(0.0, np.array([2.0]))]
    assert math.isnan(optim.clip_grad_norm_(parameters, 1.0))
    assert all(np.isnan(p.grad).all() for p in parameters)


def test_bad_bounds_are_refused():
    with pytest.raises(ValueError, match=r"max_norm must be a number from 0 .* got -1"):
        optim.clip_grad_norm_([Parameter(1.0, np.array(1.0))], -1)
    with pytest.raises(ValueError, match=r"clip_value must be a number from 0 .* got nan"):
        optim.clip_grad_value_([Parameter(1.0, np.array(1.0))], math.nan)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_numpy_do_not_lift_float32_to_float64(name):
    """NumPy 2 would compute with them in float64, slower and rounded otherwise."""

    def trained(number):
        p = Parameter(start(np.float32), gradient(1, np.float32))
        options = {"weight_decay": number(0.3)} | ({"eps": number(0.1)} if name != "SGD" else {})
        optimizer = getattr(optim, name)([p], number(0.7), **options)
        for _ in range(3):
            optimizer.lr = number(0.1)
            optimizer.step()
        return p.data

    np.testing.assert_array_equal(trained(np.float64), trained(float))
