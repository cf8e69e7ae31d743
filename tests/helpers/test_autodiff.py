"""The record of the NumPy engine and the walk back over it."""

import copy
import gc
import pickle
import re
import sys
import threading
import traceback

import numpy as np
import pytest

from helpers import autodiff
from helpers.autodiff import Parameter, Tensor, apply, grad, no_grad, primitive
from helpers.rules import RULES


def parameter(*shape, seed=0, dtype=np.float64):
    return Parameter(np.random.default_rng(seed).uniform(0.5, 2, shape).astype(dtype))


# Tensors.


def test_an_array_is_not_copied_and_what_becomes_one_is_taken():
    a = np.ones(3)
    assert Tensor(a).data is a
    assert Parameter(a).data is a
    assert Tensor(Tensor(a)).data is a
    assert Tensor([[1, 2]]).shape == (1, 2)
    assert Tensor(2.5).shape == ()
    assert Tensor([True]).dtype == bool


def test_a_parameter_is_a_tensor_that_requires_gradients():
    p = Parameter([1.0, 2.0])
    assert isinstance(p, Tensor)
    assert p.requires_grad
    assert p.grad is None
    assert not Tensor([1.0]).requires_grad


@pytest.mark.parametrize("data", [[1, 2], True, np.ones(2, np.uint8)])
def test_integers_require_no_gradients(data):
    dtype = np.asarray(data).dtype
    for make in (Parameter, lambda d: Tensor(d, requires_grad=True)):
        with pytest.raises(
            TypeError, match=rf"data must hold floats, to require gradients, got dtype {dtype}"
        ):
            make(data)


@pytest.mark.parametrize("data", ["abc", ["a"], 1j, None, [object()], b"x", np.array("2020", "M8")])
@pytest.mark.parametrize("requires", [False, True])
def test_what_is_not_numeric_is_refused(data, requires):
    with pytest.raises(TypeError, match=r"data must hold .*got dtype"):
        Tensor(data, requires)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_facts_of_the_array(shape):
    a = np.ones(shape, np.float32)
    x = Parameter(a)
    assert (x.shape, x.ndim, x.size, x.dtype) == (a.shape, a.ndim, a.size, a.dtype)
    assert (np.shape(x), np.ndim(x), np.size(x)) == (a.shape, a.ndim, a.size)
    if shape:
        assert len(x) == shape[0]


def test_numbers_and_their_texts():
    x = Parameter(np.array(2.5))
    assert x.item() == 2.5
    assert type(x.item()) is float
    assert repr(x) == "Tensor(array(2.5), requires_grad=True)"
    assert repr(x.detach()) == "Tensor(array(2.5))"
    assert bool(x)
    assert not Tensor(0.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([1, 2]))
    with pytest.raises(ValueError, match=r"one|size 1"):
        Tensor([1.0, 2.0]).item()


def test_tensors_are_hashed_by_identity():
    x, y = parameter(2), parameter(2)
    assert {x: 1, y: 2}[y] == 2
    assert len({x, y, x}) == 2


def test_iteration_unpacks_rows():
    x = parameter(2, 3)
    first, second = x
    (first * 2 + second * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [[2] * 3, [3] * 3])


# Operators and methods. Each is its NumPy function, whose rule test_rules judges.


OPERATORS = {
    "+": (lambda a, b: a + b, np.add),
    "-": (lambda a, b: a - b, np.subtract),
    "*": (lambda a, b: a * b, np.multiply),
    "/": (lambda a, b: a / b, np.divide),
    "**": (lambda a, b: a**b, np.power),
    "@": (lambda a, b: a @ b, np.matmul),
}


def same_record(found, expected, inputs):
    """Both have the same value, type and gradients."""
    assert type(found) is Tensor
    assert found.requires_grad
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.data, expected.data)
    seed = np.random.default_rng(9).normal(size=found.shape).astype(found.dtype)
    mine, other = (grad(y, inputs, seed) for y in (found, expected))
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(g) for g in mine)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_and_their_reflections(name, dtype):
    operator, function = OPERATORS[name]
    x, y = parameter(2, 2, dtype=dtype), parameter(2, 2, seed=1, dtype=dtype)
    same_record(operator(x, y), function(x, y), [x, y])
    others = [y.data, Tensor(y.data)] + ([] if name == "@" else [2, 2.5, np.float64(2.5), True])
    for other in others:
        same_record(operator(x, other), apply(RULES[function], x, other), [x])
        if other is True and name == "**":
            continue  # 1 to any power is 1
        same_record(operator(other, x), apply(RULES[function], other, x), [x])
        same_record(operator(other, x), function(other, x), [x])
        assert operator(other, x).dtype == dtype


@pytest.mark.parametrize("name", ["**", "@"])
def test_operators_take_lists(name):
    operator, function = OPERATORS[name]
    x = parameter(2)
    same_record(operator(x, [1.0, 3.0]), function(x, np.array([1.0, 3.0])), [x])
    same_record(operator([1.0, 3.0], x), function(np.array([1.0, 3.0]), x), [x])


def test_operators_in_place_make_new_tensors():
    x = parameter(3)
    y, before = x, x.data.copy()
    y += 1
    y *= x
    assert y is not x
    np.testing.assert_array_equal(x.data, before)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 2 * x.data + 1)


def test_comparisons_give_plain_arrays():
    x, a = Parameter([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for other in (a, Tensor(a), 2, 2.0):
        for found, expected in [
            (x < other, x.data < a),
            (x <= other, x.data <= a),
            (x > other, x.data > a),
            (x >= other, x.data >= a),
            (x == other, x.data == a),
            (x != other, x.data != a),
            (other < x, a < x.data),
            (other == x, a == x.data),
        ]:
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, expected)


def test_signs():
    x = Parameter([-1.5, 2.0])
    same_record(-x, np.negative(x), [x])
    same_record(abs(x), np.abs(x), [x])


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min"])
@pytest.mark.parametrize(
    ("args", "options"),
    [((), {}), ((1,), {}), ((), {"axis": (0, -1)}), ((-1,), {"keepdims": True})],
)
def test_reductions_are_methods(name, args, options):
    x = parameter(2, 3, 2)
    same_record(getattr(x, name)(*args, **options), getattr(np, name)(x, *args, **options), [x])


def test_argmax_is_a_plain_array():
    x = parameter(2, 3)
    np.testing.assert_array_equal(x.argmax(axis=1), x.data.argmax(axis=1))
    assert type(x.argmax(1)) is np.ndarray


def test_shapes_are_changed_by_methods():
    x = parameter(2, 3, 4)
    for found, expected in [
        (x.reshape(4, 6), np.reshape(x, (4, 6))),
        (x.reshape((4, 6)), np.reshape(x, (4, 6))),
        (x.reshape([4, -1]), np.reshape(x, (4, 6))),
        (x.reshape(-1), np.ravel(x)),
        (x.reshape(-1, 2), np.reshape(x, (12, 2))),
        (x.T, np.transpose(x)),
        (x.transpose(), np.transpose(x)),
        (x.transpose(1, 0, 2), np.transpose(x, (1, 0, 2))),
        (x.transpose((1, -1, 0)), np.transpose(x, (1, 2, 0))),
        (x.transpose([1, 2, 0]), np.transpose(x, (1, 2, 0))),
        (x.swapaxes(0, -1), np.swapaxes(x, 0, 2)),
        (x[:, :1].squeeze(1), x[:, 0]),
        (x[:, :1].squeeze(), x[:, 0]),
        (x[:1, :1].squeeze(axis=(0, 1)), x[0, 0]),
        (x.astype(np.float32), np.astype(x, np.float32)),
    ]:
        same_record(found, expected, [x])
    assert Parameter(np.ones(1)).reshape(()).shape == ()
    assert parameter(2, 0).reshape(0, 5).shape == (0, 5)


@pytest.mark.parametrize(
    ("index", "plain"),
    [
        (Tensor([1, 0, 1]), [1, 0, 1]),
        ((Tensor([1, 1]), Tensor([0, 2])), ([1, 1], [0, 2])),
        ((slice(None), Tensor([2, 2])), (slice(None), [2, 2])),
        ([1, 1], [1, 1]),
    ],
)
def test_tensors_of_integers_are_indices(index, plain):
    x = parameter(2, 3)
    found = x[index]
    np.testing.assert_array_equal(found.data, x.data[plain])
    expected = np.zeros((2, 3))
    np.add.at(expected, plain, 1)
    np.testing.assert_array_equal(grad(found.sum(), [x])[0], expected)


def test_functions_of_numpy_take_tensors_of_indices_and_conditions():
    x, which = parameter(3, 2), Tensor([2, 2])
    same_record(np.take(x, which, 0), np.take(x, [2, 2], 0), [x])
    same_record(np.where(x > 1, x, 0.0), np.where(Tensor(x.data > 1), x, 0.0), [x])


# Backward.


def test_gradients_add_up_over_calls():
    x = parameter(3)
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_allclose(x.grad, times * 2 * x.data)
    x.grad = None
    x.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_adding_up_leaves_the_earlier_gradient_alone():
    x = parameter(3)
    x.sum().backward()
    first = x.grad
    x.sum().backward()
    np.testing.assert_array_equal(first, np.ones(3))
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_a_tensor_used_often():
    x = parameter(2, 2)
    y = x * x + x @ x - x / x + x
    y.sum().backward()
    ones = np.ones((2, 2))
    np.testing.assert_allclose(x.grad, 2 * x.data + ones @ x.data.T + x.data.T @ ones + 1)


def test_both_arguments_are_one_tensor():
    x = parameter(3)
    for f, slope in [
        (np.add, 2 + 0 * x.data),
        (np.subtract, 0 * x.data),
        (np.multiply, 2 * x.data),
        (np.maximum, 1 + 0 * x.data),
        (np.logaddexp, 1 + 0 * x.data),
    ]:
        np.testing.assert_allclose(grad(f(x, x).sum(), [x])[0], slope, atol=1e-12)
    joined = np.concatenate([x, x])
    np.testing.assert_array_equal(grad(joined, [x], np.arange(6.0))[0], [3, 5, 7])


def test_diamonds_of_diamonds_take_time_in_proportion_to_their_depth():
    x = Parameter(np.array([1.0]))
    y = x
    for _ in range(60):  # 2⁶⁰ paths
        left, right = y * 0.5, y * 0.5
        y = left + right
    y.backward()
    np.testing.assert_array_equal(x.grad, [1])


def test_paths_of_unequal_length_meet_before_they_go_on():
    calls = []

    def rule(a):
        return a * 2, (lambda g: calls.append(1) or g * 2,)

    x = parameter(2)
    h = apply(rule, x)
    y = h
    for _ in range(5):
        y = y + h
    (y * h).sum().backward()
    assert len(calls) == 1
    np.testing.assert_allclose(x.grad, 6 * 2 * 4 * x.data)


def test_seeds():
    x = parameter(2, 3)
    seed = np.arange(6.0).reshape(2, 3)
    for given in (seed, seed.tolist(), Tensor(seed), seed.astype(np.float32), seed.astype(int)):
        x.grad = None
        (x * 2).backward(given)
        np.testing.assert_array_equal(x.grad, 2 * seed)
        assert x.grad.dtype == np.float64
    (x.reshape(6)[:1] * 2).backward()  # one number, in whatever shape
    assert x.grad[0, 0] == 2
    y = parameter()
    (y * 3).backward(5)
    assert y.grad == 15


def test_backward_of_a_parameter_itself():
    x = Parameter(np.array([3.0]))
    x.backward()
    x.backward(np.array([2.0]))
    np.testing.assert_array_equal(x.grad, [3])


def test_gradients_of_single_numbers_are_arrays():
    x = parameter()
    (x * x).backward()
    assert type(x.grad) is np.ndarray
    x.sum().backward()
    assert type(x.grad) is np.ndarray
    (found,) = grad(x * x, [x])
    assert type(found) is np.ndarray


def test_gradients_of_single_numbers():
    x, rate = parameter(3), parameter(seed=1)
    (x * rate).sum().backward()
    assert rate.grad.shape == ()
    np.testing.assert_allclose(rate.grad, x.data.sum())
    np.testing.assert_array_equal(x.grad, np.full(3, rate.data))


SHARING = {
    "add": lambda a, b: a + b,
    "add, then multiply": lambda a, b: (a + b) * 2,
    "another path": lambda a, b: 3 * a + (a + b) * 2,
    "sum": lambda a, b: np.sum(a) + np.sum(b),
    "reshape": lambda a, b: a + b.reshape(-1).reshape(b.shape),
    "transpose": lambda a, b: a.T + b.T,
    "broadcast": lambda a, b: np.broadcast_to(a, (2, 2, 2)) + b,
    "concatenate": lambda a, b: np.concatenate([a, b]),
    "stack and split": lambda a, b: np.split(np.stack([a, b]), 2)[0] + a * b,
    "where": lambda a, b: np.where(np.eye(2) > 0, a, b),
    "subtract twice": lambda a, b: (a - b) - (b - a),
    "itself": lambda a, b: a + a + b,
    "slices": lambda a, b: a[:, ::-1] + b[...],
    "astype": lambda a, b: a.astype(np.float64) + b.astype(np.float64),
    "squeeze": lambda a, b: a[None].squeeze(0) + np.expand_dims(b, 0)[0],
    "flip": lambda a, b: np.flip(a) + np.moveaxis(b, 0, 1),
}


@pytest.mark.parametrize("name", SHARING)
def test_gradients_share_memory_with_nothing(name):
    a, b = parameter(2, 2), parameter(2, 2, seed=1)
    y = SHARING[name](a, b)
    seed = np.random.default_rng(2).normal(size=y.shape)
    y.backward(seed, retain_graph=True)
    y.backward(seed)
    SHARING[name](a, b).backward(seed)
    arrays = [a.grad, b.grad, a.data, b.data, y.data, seed]
    for fresh in (False, True):
        for i, one in enumerate(arrays):
            for other in arrays[:i]:
                assert not np.shares_memory(one, other)
        if not fresh:
            a.grad = b.grad = None
            y = SHARING[name](a, b)
            y.backward(seed)
            arrays = [a.grad, b.grad, a.data, b.data, y.data, seed]
    kept, seed_before = b.grad.copy(), seed.copy()
    a.grad *= 7  # as clipping does
    a.grad[...] = np.nan
    np.testing.assert_array_equal(b.grad, kept)
    np.testing.assert_array_equal(seed, seed_before)


def test_what_grad_returns_shares_memory_with_nothing():
    shared = []
    for name, f in SHARING.items():
        a, b = parameter(2, 2), parameter(2, 2, seed=1)
        y = f(a, b)
        seed = np.ones(y.shape)
        of_a, of_b = grad(y, [a, b], seed)
        pairs = [(of_a, of_b), (of_a, seed), (of_b, seed)]
        if any(np.shares_memory(*pair) for pair in pairs) or not of_a.flags.writeable:
            shared.append(name)
    assert shared == []


def test_adding_up_one_path_leaves_the_others_alone():
    a, b = parameter(2), parameter(2, seed=1)
    (3 * a + (a + b) * 2).sum().backward()  # to a and b the sum passes one array
    np.testing.assert_array_equal(a.grad, [5, 5])
    np.testing.assert_array_equal(b.grad, [2, 2])


def test_gradients_take_the_type_of_each_tensor_on_the_way():
    x = Parameter(np.array([1.5], np.float32))
    h = x * 2
    of_h, of_x = grad((h * np.array([1.0])).sum(), [h, x])
    assert of_h.dtype == of_x.dtype == np.float32


def test_computed_tensors_keep_no_gradient():
    x = parameter(3)
    y = x * 2
    z = y.sum()
    z.backward()
    assert y.grad is None
    assert z.grad is None
    assert x.grad is not None


def test_constants_keep_no_gradient():
    x, c = parameter(3), Tensor(np.ones(3))
    ((x + c) * c).sum().backward()
    assert c.grad is None
    assert not (c * c + 1).requires_grad


def test_retain_graph():
    x = parameter(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad, 6 * x.data)
    with pytest.raises(RuntimeError, match="used up"):
        y.backward()
    z = (x * x).sum()
    (first,) = grad(z, [x], retain_graph=True)
    (second,) = grad(z, [x])
    np.testing.assert_array_equal(first, second)
    with pytest.raises(RuntimeError, match="used up"):
        grad(z, [x])


def test_a_used_up_record_is_refused_and_no_gradient_changes():
    x, y = parameter(3), parameter(3, seed=1)
    hidden = x * x
    hidden.sum().backward()
    before = x.grad.copy()
    for again in (hidden.sum(), (y * 3 + hidden).sum(), (hidden * y + x).sum()):
        with pytest.raises(
            RuntimeError,
            match="an earlier backward pass has used up this record; compute the value again, "
            "or call the first pass with retain_graph=True",
        ):
            again.backward()
        np.testing.assert_array_equal(x.grad, before)
        assert y.grad is None
    late = parameter(3, seed=2)  # its turn comes before that of the used-up record
    with pytest.raises(RuntimeError, match="used up"):
        (hidden * late).sum().backward()
    assert late.grad is None


def test_a_failing_pullback_changes_no_gradient():
    def fails(g):
        raise ZeroDivisionError

    x, y = parameter(2), parameter(2, seed=1)
    first = apply(lambda a: (a + 0, (fails,)), x)
    with pytest.raises(ZeroDivisionError):
        (first + y * 2).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_memory_is_freed_as_the_walk_goes_and_kept_with_retain_graph():
    x = parameter(3)
    for retain in (True, False):
        y = x
        for _ in range(10):
            y = np.exp(y * 0.1)
        before = live()
        y.sum().backward(retain_graph=retain)
        assert (live() < before) is not retain


def live():
    """Count the tensors there are."""
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


# grad()


def test_grad_of_parameters_and_computed_tensors():
    x = parameter(3)
    y = x * x
    z = np.exp(y)
    loss = z.sum()
    of_loss, of_z, of_y, of_x = grad(loss, [loss, z, y, x])
    np.testing.assert_array_equal(of_loss, 1)
    np.testing.assert_array_equal(of_z, np.ones(3))
    np.testing.assert_allclose(of_y, np.exp(y.data))
    np.testing.assert_allclose(of_x, 2 * x.data * np.exp(y.data))
    assert all(t.grad is None for t in (x, y, z, loss))


def test_grad_of_what_was_not_reached_is_zero():
    x, other, constant = parameter(3), parameter(2, 2, dtype=np.float32), Tensor([1, 2])
    later = x * 5
    for_other, for_constant, for_later, for_x = grad(x.sum(), [other, constant, later, x])
    np.testing.assert_array_equal(for_other, np.zeros((2, 2)))
    assert for_other.dtype == np.float32
    np.testing.assert_array_equal(for_constant, [0, 0])
    np.testing.assert_array_equal(for_later, np.zeros(3))
    np.testing.assert_array_equal(for_x, np.ones(3))


def test_grad_touches_no_attribute():
    x = parameter(3)
    x.sum().backward()
    kept = x.grad
    grad((x * x).sum(), [x])
    assert x.grad is kept
    np.testing.assert_array_equal(kept, np.ones(3))


def test_grad_with_a_seed():
    x = parameter(2)
    (found,) = grad(x * x, [x], [1, 10])
    np.testing.assert_allclose(found, 2 * x.data * [1, 10])
    (found,) = grad(x * x, [x], grad_output=Tensor([1.0, 10.0]))
    np.testing.assert_allclose(found, 2 * x.data * [1, 10])


def test_grad_of_nothing_and_of_one_tensor_twice():
    x = parameter(2)
    assert grad(x.sum(), []) == ()
    for found in grad(x.sum(), (x, x)):
        np.testing.assert_array_equal(found, [1, 1])


@pytest.mark.parametrize("shape", [(), (2,)])
def test_grad_wants_a_list_of_inputs(shape):
    x = parameter(*shape)
    with pytest.raises(TypeError, match="inputs"):
        grad((x * x).sum(), x)


# no_grad, detach


def test_no_grad_records_nothing():
    x = parameter(2)
    with no_grad():
        y = x * 2
        assert not y.requires_grad
        assert (y + x)._edges == ()
        assert Parameter(np.ones(1)).requires_grad
    assert (x * 2).requires_grad
    assert not (y * 2).requires_grad


def test_no_grad_nests():
    x = parameter(2)
    with no_grad():
        with no_grad():
            assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_ends_with_an_exception():
    x = parameter(2)
    with pytest.raises(ZeroDivisionError), no_grad(), no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad


def test_no_grad_decorates():
    x = parameter(2)

    @no_grad()
    def evaluate(depth):
        return evaluate(depth - 1) if depth else x * 2

    for _ in range(2):
        assert not evaluate(2).requires_grad
        assert (x * 2).requires_grad


def test_backward_inside_no_grad():
    x = parameter(2)
    y = (x * x).sum()
    with no_grad():
        y.backward()
        x.data -= 0.1 * x.grad
    assert x.requires_grad


def test_detach():
    x = parameter(3)
    y = x * 2
    z = y.detach()
    assert z.data is y.data
    assert not z.requires_grad
    (found,) = grad((x * z).sum(), [x])
    np.testing.assert_array_equal(found, z.data)


# Own primitives.


def test_primitives_are_functions_of_tensors_and_of_arrays():
    @primitive
    def scaled(x, factor, bias=None, *, sign=1):
        """Scale."""
        value = sign * x * factor + (0 if bias is None else bias)
        return value, (lambda g: sign * g * factor, lambda g: sign * g * x, lambda g: g)

    assert scaled.__name__ == "scaled"
    assert scaled.__doc__ == "Scale."
    x, factor, bias = parameter(2, 3), parameter(3, seed=1), parameter(seed=2)
    plain = scaled(x.data, factor.data, bias.data)
    assert type(plain) is np.ndarray
    for y in (scaled(x, factor, bias), scaled(x, bias=bias, factor=factor, sign=1)):
        np.testing.assert_array_equal(y.data, plain)
        of_x, of_factor, of_bias = grad(y.sum(), [x, factor, bias])
        np.testing.assert_array_equal(of_x, np.broadcast_to(factor.data, (2, 3)))
        np.testing.assert_allclose(of_factor, x.data.sum(axis=0))
        np.testing.assert_allclose(of_bias, 6)
    (found,) = grad(scaled(x.data, factor, sign=-1).sum(), [factor])
    np.testing.assert_allclose(found, -x.data.sum(axis=0))


def test_pullbacks_of_constants_are_never_called():
    def fails(g):
        raise AssertionError

    x = parameter(2)
    y = apply(lambda a, b, c: (a * b, (lambda g: g * b, fails, fails)), x, np.ones(2), Tensor(3.0))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


# Memory.


def step(w, b, x):
    h = np.tanh(x @ w + b)
    h = np.concatenate([h, np.stack([h[0], h[1]])])[[0, 1, 1]]
    loss = np.mean(np.square(h)) + np.logaddexp.reduce(h, axis=None) / np.max(h) + np.std(h)
    loss.backward()
    with no_grad():
        for p in (w, b):
            p.data -= 0.01 * p.grad
            p.grad = None


@pytest.fixture
def no_gc():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_nothing_is_left_after_10000_steps(no_gc):
    x = parameter(4)
    for _ in range(100):
        (np.tanh(x * x) + x).sum().backward()
    tensors, blocks = live(), sys.getallocatedblocks()
    for _ in range(10_000):
        x.grad = None
        (np.tanh(x * x) + x).sum().backward()
    assert live() == tensors
    assert abs(sys.getallocatedblocks() - blocks) < 50


def test_a_step_leaves_no_cyclic_garbage(no_gc):
    w, b, x = parameter(3, 4), parameter(4), Tensor(np.ones((2, 3)))
    step(w, b, x)
    gc.collect()  # what was imported on the way
    for _ in range(1500):  # until Python's own stock of empty tuples is full
        step(w, b, x)
    blocks = sys.getallocatedblocks()
    for _ in range(500):
        step(w, b, x)
    assert abs(sys.getallocatedblocks() - blocks) < 100
    assert gc.collect() == 0


def test_graphs_never_differentiated_leave_no_cyclic_garbage(no_gc):
    x = parameter(4, 4)
    functions = (
        lambda: x / x + x**3 - x**x,
        lambda: np.einsum("ij,jk->ik", x, x) @ x[0],
        lambda: np.maximum(x, 0).max(axis=1) + np.where(x > 1, x, 0).std(0),
        lambda: np.split(np.pad(x, 1), 2)[0],
        lambda: np.take(x, [0, 0], 1) + np.take_along_axis(x, np.zeros((4, 2), int), 1),
        lambda: grad((x * x).sum(), [x]),
    )
    for again in (False, True):
        tensors = live()
        for f in functions:
            f()
        assert live() == tensors
        assert gc.collect() == 0 or not again  # once, for what was imported on the way


DEPTH = 20_000


def chain():
    x = Parameter(np.array([1.0]))
    y = x
    for _ in range(DEPTH // 2):
        y = (y + 1.0) * 1.0
    return x, y


def test_a_deep_graph_needs_no_recursion(no_gc):
    x, y = chain()
    y.backward()
    np.testing.assert_array_equal(x.grad, [1])
    tensors = live()
    del y
    assert live() == tensors - 1  # the walk has freed all the others


def test_a_deep_graph_is_deleted_unused(no_gc):
    tensors = live()
    x, y = chain()
    assert live() == tensors + DEPTH + 1
    del y
    assert live() == tensors + 1
    x, y = chain()
    del x, y
    assert live() == tensors


def test_a_deep_graph_is_kept_with_retain_graph_and_deleted_then():
    x, y = chain()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [2])


# Copies.


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy], ids=["deepcopy", "copy"])
def test_a_copied_parameter_is_another_one(duplicate):
    w = parameter(2)
    v = duplicate(w)
    (3 * w + 5 * v).sum().backward()
    np.testing.assert_array_equal(w.grad, [3, 3])
    np.testing.assert_array_equal(v.grad, [5, 5])


def test_a_pickled_parameter_is_another_one():
    w = parameter(2)
    v = pickle.loads(pickle.dumps(w))
    np.testing.assert_array_equal(v.data, w.data)
    np.testing.assert_array_equal(grad((3 * w + 5 * v).sum(), [w, v]), [[3, 3], [5, 5]])


def test_copies_keep_what_they_are():
    for make in (Parameter, Tensor, lambda a: Tensor(a, requires_grad=True)):
        x = make(np.ones(2))
        y = copy.deepcopy(x)
        assert type(y) is type(x)
        assert y.requires_grad is x.requires_grad
        assert not np.shares_memory(x.data, y.data)
    first, second = copy.deepcopy([x, x])  # shared weights stay shared
    assert first is second


def test_computed_tensors_are_not_copied():
    y = parameter(2) * 2
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"computed tensor cannot be copied .*; detach\(\) it"):
            duplicate(y)
    np.testing.assert_array_equal(copy.copy(y.detach()).data, y.data)


# Threads.


def together(*functions):
    """Run functions of a barrier in a thread each; raise what they raise."""
    barrier, errors = threading.Barrier(len(functions), timeout=300), []

    def run(function):
        try:
            function(barrier)
        except BaseException:
            errors.append(traceback.format_exc())
            barrier.abort()

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, "\n".join(errors)


def test_two_threads_do_not_mix():
    shared = parameter(3)
    found = {}

    def train(factor):
        def run(barrier):
            x = parameter(3, seed=factor)
            for _ in range(20):
                x.grad = None
                y = x * factor
                barrier.wait()
                z = np.exp(y * 0.1) * shared.detach()
                barrier.wait()
                loss = z.sum() + (y * y).sum()
                barrier.wait()
                loss.backward()
                barrier.wait()
            found[factor] = x

        return run

    together(train(2), train(3))
    for factor, x in found.items():
        expected = factor * 0.1 * np.exp(x.data * factor * 0.1) * shared.data
        np.testing.assert_allclose(x.grad, expected + 2 * factor**2 * x.data)
    assert shared.grad is None


def test_no_grad_holds_in_its_own_thread_only():
    x = parameter(2)
    seen = []

    def quiet(barrier):
        with no_grad():
            barrier.wait()  # both are here: inside no_grad, and not
            seen.append(("quiet", (x * 2).requires_grad))
            barrier.wait()
            barrier.wait()
        seen.append(("after", (x * 2).requires_grad))

    def loud(barrier):
        barrier.wait()
        seen.append(("loud", (x * 2).requires_grad))
        with no_grad():
            barrier.wait()
        seen.append(("loud after", (x * 2).requires_grad))
        barrier.wait()

    together(quiet, loud)
    assert dict(seen) == {"quiet": False, "after": True, "loud": True, "loud after": True}
    with no_grad():
        together(lambda barrier: seen.append(("new", (x * 2).requires_grad)))
    assert seen[-1] == ("new", True)


# Errors.


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda a, b: a + b, r"could not be broadcast .*\(2,3\) \(4,3\)"),
        (lambda a, b: a * b.data, r"could not be broadcast .*\(2,3\) \(4,3\)"),
        (lambda a, b: b.data - a, r"could not be broadcast .*\(4,3\) \(2,3\)"),
        (lambda a, b: a @ b, r"matmul: .*mismatch"),
        (lambda a, b: np.concatenate([a, b], axis=1), "must match exactly"),
        (lambda a, b: np.where(a > 1, a, b), "could not be broadcast"),
        (lambda a, b: np.stack([a, b]), "must match exactly"),
        (lambda a, b: a.reshape(4, 2), "cannot reshape array of size 6"),
        (lambda a, b: np.einsum("ij,jk->ik", a, b), "j"),
        (lambda a, b: np.split(a, 2, axis=1), "sections must divide"),
        (lambda a, b: a.sum(axis=2), "axis 2 is out of bounds"),
        (lambda a, b: a.max(axis=-3), "axis -3 is out of bounds"),
    ],
)
def test_shapes_that_do_not_match_are_refused_as_by_numpy(f, message):
    with pytest.raises(ValueError, match=message):
        f(parameter(2, 3), parameter(4, 3))


def test_indices_out_of_bounds():
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        parameter(2, 3)[5]
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        np.take(parameter(2, 3), [5], axis=0)


@pytest.mark.parametrize("other", ["a", np.array(["a"]), None])
def test_operators_refuse_what_is_not_numeric(other):
    for f in (lambda x: x + other, lambda x: x * other, lambda x: np.add(x, other)):
        with pytest.raises(TypeError):
            f(parameter(1))


def test_operators_refuse_complex_numbers():
    with pytest.raises(TypeError, match="complex"):
        parameter(1) * 1j


def test_backward_wants_a_seed_for_more_than_one_number():
    message = r"gradient must be given for shape \(2, 3\); only one number has 1"
    x = parameter(2, 3)
    with pytest.raises(ValueError, match=message):
        (x * 2).backward()
    with pytest.raises(ValueError, match=message):
        grad(x * 2, [x])
    with pytest.raises(ValueError, match=r"gradient must be given for shape \(0,\)"):
        x[:0, 0].backward()
    assert x.grad is None


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 1), (1, 2, 3)])
def test_seeds_of_another_shape_are_refused(shape):
    x = parameter(2, 3)
    message = rf"gradient must have shape \(2, 3\), got {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=message):
        (x * 2).backward(np.ones(shape))
    with pytest.raises(ValueError, match=message):
        grad(x * 2, [x], np.ones(shape))


def test_what_requires_no_gradient_has_no_backward():
    x = parameter(2)
    with no_grad():
        unrecorded = x.sum()
    for y in (Tensor(1.0), Tensor([1.0]) * 2, unrecorded, x.detach().sum()):
        with pytest.raises(ValueError, match="the tensor requires no gradient: nothing it depends"):
            y.backward()
        with pytest.raises(ValueError, match="the tensor requires no gradient: nothing it depends"):
            grad(y, [x])


def test_a_function_without_a_rule_says_how_to_add_one():
    x = parameter(3)
    with pytest.raises(
        TypeError,
        match=r"np\.median has no derivative rule; add one, "
        r"helpers\.rules\.RULES\[np\.median\] = lambda x: \(value, \(pullback,\)\), "
        r"or call it on x\.data if no gradient is to pass",
    ):
        np.median(x)
    with pytest.raises(TypeError, match=r"np\.arctan has no derivative rule"):
        np.arctan(x)
    with pytest.raises(TypeError, match=r"np\.vstack has no derivative rule"):
        np.vstack([x, x])


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (np.add.reduce, r"np\.add\.reduce"),
        (np.multiply.accumulate, r"np\.multiply\.accumulate"),
        (np.linalg.norm, r"np\.linalg\.norm"),
    ],
)
def test_the_function_without_a_rule_is_named_as_it_was_called(f, name):
    with pytest.raises(TypeError, match=f"^{name} has no derivative rule"):
        f(parameter(3))


def test_a_rule_added_works(monkeypatch):
    x = parameter(3)
    monkeypatch.setitem(RULES, np.arctan, lambda a: (np.arctan(a), (lambda g: g / (1 + a * a),)))
    monkeypatch.setitem(RULES, np.trace, lambda a: (np.trace(a), (lambda g: g * np.eye(len(a)),)))
    (found,) = grad(np.arctan(x).sum(), [x])
    np.testing.assert_allclose(found, 1 / (1 + x.data**2))
    (found,) = grad(np.trace(np.outer(x, x)), [x])
    np.testing.assert_allclose(found, 2 * x.data)
    monkeypatch.undo()
    with pytest.raises(TypeError, match="no derivative rule"):
        np.arctan(x)


def test_a_tensor_that_requires_gradients_never_becomes_an_array_by_itself():
    x = parameter(2)
    message = "a tensor that requires gradients became an array; use x.data for it"
    for convert in (
        np.asarray,
        np.array,
        lambda t: np.asarray([t, t]),
        lambda t: np.sum([t, t]),
        lambda t: np.array([t[0], t[1]]),
        lambda t: np.ones(2).__setitem__(slice(None), t),
        lambda t: Tensor([t, t]),
    ):
        with pytest.raises(TypeError, match=message):
            convert(x)
        with pytest.raises(TypeError, match=message):
            convert(x * 2)


def test_other_tensors_become_arrays():
    x = Tensor([1.0, 2.0])
    assert np.asarray(x) is x.data or np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.array([x, x]), [[1, 2], [1, 2]])
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, np.float32, copy=False)


def test_lists_of_tensors_are_refused():
    x = parameter(2)
    for f in (
        lambda: np.where(True, [x, x], x),
        lambda: np.maximum([x, x], x),
        lambda: np.add(x, [x, x]),
    ):
        with pytest.raises(TypeError, match=r"list of tensors; np\.stack|became an array"):
            f()
    with pytest.raises(TypeError, match=r"np\.where got a list of tensors; np\.stack them first"):
        np.where(True, [x, x], x)


def test_tensors_by_name_are_refused():
    x = parameter(2)
    for f in (
        lambda: np.sum(a=x),
        lambda: np.max(a=x, axis=0),
        lambda: np.take(a=x, indices=[0]),
        lambda: np.take(x, indices=Tensor([0])),
    ):
        with pytest.raises(TypeError, match="takes tensors by position, not by name"):
            f()
    with pytest.raises(TypeError, match=r"np\.sum takes tensors by position, not by name"):
        np.sum(a=x)


def test_out_is_refused():
    x, a = parameter(2), np.zeros(2)
    for f in (
        lambda: np.exp(x, out=a),
        lambda: np.add(a, x, out=a),
        lambda: np.add(a, a, out=x),
        lambda: np.sum(x, axis=0, out=np.zeros(())),
        lambda: np.stack([x, x], out=np.zeros((2, 2))),
        lambda: a.__iadd__(x),
    ):
        with pytest.raises(TypeError, match="'out'"):
            f()
    np.testing.assert_array_equal(a, [0, 0])


def test_settings_a_rule_does_not_know_are_refused_and_the_rule_named():
    x = parameter(2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'") as caught:
        np.sum(x, dtype=np.float32)
    assert caught.value.__notes__[0].startswith("in the rule of np.sum, <function _sum")
    for f in (
        lambda: np.std(x, ddof=1),
        lambda: np.exp(x, where=np.array([True, False])),
        lambda: np.max(x, initial=3),
    ):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            f()
    with pytest.raises(ValueError, match="mode must be 'constant', got 'reflect'"):
        np.pad(x, 1, mode="reflect")
    with pytest.raises(ValueError, match="must name all axes and the output, got 'ij,jk'"):
        np.einsum("ij,jk", x, x)
    with pytest.raises(ValueError, match="must not repeat an axis in one operand, got 'ii->i'"):
        np.einsum("ii->i", parameter(2, 2))


def test_the_names_there_are():
    assert {"Tensor", "Parameter", "apply", "primitive", "no_grad", "grad"} <= vars(autodiff).keys()
