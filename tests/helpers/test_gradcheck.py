"""Central differences: right for known derivatives, and they find a wrong one."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.gradcheck import STEP, GradientError, check, numerical_gradient


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (lambda x: x.sum(), np.ones_like),
        (lambda x: (x**2).sum(), lambda x: 2 * x),
        (lambda x: (x**3 - 4 * x).sum(), lambda x: 3 * x**2 - 4),
        (lambda x: np.exp(x).sum(), np.exp),
        (lambda x: np.sin(x).sum(), np.cos),
        (lambda x: x.prod(), lambda x: x.prod() / x),
        (lambda x: 3.0, np.zeros_like),
    ],
)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 1, 3), ()])
def test_known_derivatives(f, derivative, shape):
    x = np.random.default_rng(1).uniform(0.5, 2.0, shape) * np.where(np.ones(shape), -1, 1)
    found = numerical_gradient(f, x)
    assert found.shape == shape
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, derivative(x), rtol=1e-8, atol=1e-8)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_each_element_has_its_own_derivative(draw):
    shape = draw.draw(arrays.array_shapes(max_dims=3, max_side=3))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-10, 10, width=32))
    x, weights = draw.draw(numbers), draw.draw(numbers)
    found = numerical_gradient(lambda z: float((weights * z**2).sum()), x)
    np.testing.assert_allclose(found, 2 * weights * x, rtol=1e-6, atol=1e-4)


def test_derivatives_of_a_transposed_array_are_in_their_places():
    x = np.arange(6.0).reshape(2, 3).T
    weights = np.arange(10.0, 16.0).reshape(3, 2)
    found = numerical_gradient(lambda z: (weights * z).sum(), x)
    np.testing.assert_allclose(found, weights, rtol=1e-9)


def test_the_derivative_of_no_elements_is_empty():
    assert numerical_gradient(lambda x: 1.0, np.ones((0, 3))).shape == (0, 3)


def test_the_differences_are_central():
    # For x³ a central difference is off by exactly h², a one-sided one by 3xh + h².
    found = numerical_gradient(lambda x: (x**3).sum(), np.array([0.5, -0.25]), step=0.1)
    np.testing.assert_allclose(found, 3 * np.array([0.25, 0.0625]) + 0.01, rtol=1e-12)


def test_the_step_is_relative_to_large_elements_only():
    seen = []

    def f(x):
        seen.append(x.copy())
        return x.sum()

    numerical_gradient(f, np.array([0.0, 1000.0, -1000.0]), step=1e-3)
    moved = np.array(seen) - [0.0, 1000.0, -1000.0]
    expected = [np.eye(3)[i] * h * s for i, h in enumerate((1e-3, 1, 1)) for s in (1, -1)]
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_the_default_step_balances_cutting_and_rounding():
    assert pytest.approx(6.0555e-6, rel=1e-4) == STEP  # ε^(1/3) to five digits
    exact = np.exp(1.0)
    error = abs(numerical_gradient(lambda x: np.exp(x).item(), np.array(1.0)) - exact)
    assert error < 1e-9


def test_x_is_not_changed():
    x = np.array([1.0, 2.0])
    numerical_gradient(lambda z: (z**2).sum(), x)
    np.testing.assert_array_equal(x, [1.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda z: 1 / 0, x)
    np.testing.assert_array_equal(x, [1.0, 2.0])
    numerical_gradient(lambda z: z.fill(7.0) or 1.0, x)
    np.testing.assert_array_equal(x, [1.0, 2.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.complex128])
def test_only_float64_is_differentiated(dtype):
    with pytest.raises(TypeError, match=f"x must be float64 .*, got {np.dtype(dtype)}"):
        numerical_gradient(lambda x: x.sum(), np.ones(2, dtype))


@pytest.mark.parametrize(
    "value",
    [np.ones(2), np.ones((2, 1)), np.array([]), np.nan, np.inf, -np.inf, None],
    ids=["array", "column", "empty", "nan", "inf", "-inf", "none"],
)
def test_a_function_without_one_finite_value_is_refused(value):
    with pytest.raises(ValueError, match="f must return one finite number, got"):
        numerical_gradient(lambda x: value, np.ones(2))
    with pytest.raises(ValueError, match="f must return one finite number, got"):
        check(lambda p: value, {"w": np.ones(2)}, {"w": np.ones(2)})


@pytest.mark.parametrize("wrap", [float, np.float64, np.array, lambda x: np.array([x]), np.float32])
def test_one_number_may_come_in_any_form(wrap):
    found = numerical_gradient(lambda x: wrap(x.sum()), np.zeros(2), step=0.5)
    np.testing.assert_array_equal(found, [1, 1])


@pytest.mark.parametrize("step", [0, -1e-6, np.nan])
def test_a_step_that_is_not_positive_is_refused(step):
    with pytest.raises(ValueError, match=f"step must be positive, got {step}"):
        numerical_gradient(lambda x: x.sum(), np.ones(2), step=step)


def model():
    """A small regression with its gradients, by hand."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    parameters = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2), "scale": np.array(0.7)}

    def loss(p):
        return ((p["scale"] * (x @ p["w"] + p["b"]) - y) ** 2).mean()

    z = x @ parameters["w"] + parameters["b"]
    error = 2 * (parameters["scale"] * z - y) / y.size
    back = parameters["scale"] * error
    gradients = {"w": x.T @ back, "b": back.sum(axis=0), "scale": (error * z).sum()}
    return loss, parameters, {name: np.asarray(g) for name, g in gradients.items()}


def test_right_gradients_pass(capsys):
    assert check(*model()) is None
    lines = capsys.readouterr().out.splitlines()
    facts = [("w ", "(3, 2) ", "6 of 6"), ("b ", "(2,) ", "2 of 2"), ("scale ", "() ", "1 of 1")]
    for line, (name, shape, share) in zip(lines, facts, strict=True):
        assert line.startswith(name)
        assert f"  {shape}" in line
        assert f"  {share}  match central differences within 1e-06" in line


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_right_gradients_of_any_shape_pass_and_wrong_ones_do_not(draw):
    shape = draw.draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=3))
    x = draw.draw(arrays.arrays(np.float64, shape, elements=st.floats(0.5, 2, width=32)))
    right = np.asarray(np.cos(x) + 2 * x)
    at = tuple(draw.draw(st.integers(0, side - 1)) for side in shape)

    def f(p):
        return (np.sin(p["w"]) + p["w"] ** 2).sum()

    check(f, {"w": x}, {"w": right}, samples=99, rtol=1e-7)
    wrong = right.copy()
    wrong[at] *= 1.001
    with pytest.raises(GradientError, match=rf"w\[{', '.join(map(str, at))}\]: gradient"):
        check(f, {"w": x}, {"w": wrong}, samples=99)


def test_what_is_printed_does_not_depend_on_the_numbers(capsys):
    loss, parameters, gradients = model()
    texts = set()
    for seed in range(3):
        check(loss, parameters, gradients, samples=3, seed=seed)
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1
    assert "3 of 6" in texts.pop()


@pytest.mark.parametrize("rtol", [2.5e-4, 1e-3])
def test_the_tolerance_printed_is_the_one_that_held(rtol, capsys):
    check(*model(), rtol=rtol)
    for line in capsys.readouterr().out.splitlines():
        assert float(line.rpartition("within ")[2]) == rtol


@pytest.mark.parametrize("name", ["w", "b", "scale"])
def test_one_wrong_sign_is_found_and_named(name):
    loss, parameters, gradients = model()
    with pytest.raises(GradientError, match=rf"^{name}\["):
        check(loss, parameters, gradients | {name: -gradients[name]})


def test_one_wrong_element_is_found_and_named_with_both_values():
    loss, parameters, gradients = model()
    right = gradients["w"][2, 1]
    gradients["w"][2, 1] = 12.5
    with pytest.raises(GradientError) as error:
        check(loss, parameters, gradients)
    message = str(error.value)
    assert message.startswith("w[2, 1]: gradient 12.5, central difference ")
    printed = float(message.partition("central difference ")[2].partition(";")[0])
    assert printed == pytest.approx(right, rel=1e-6)
    assert message.endswith(f"relative difference {abs(12.5 - right) / 12.5:.2e}, allowed 1e-06")


def test_a_transposed_gradient_of_a_square_matrix_is_found():
    x = np.arange(1.0, 5.0).reshape(2, 2)
    weights = np.array([[1.0, 2.0], [3.0, 5.0]])
    check(lambda p: (weights * p["w"]).sum(), {"w": x}, {"w": weights})
    with pytest.raises(GradientError, match=r"w\[(0, 1|1, 0)\]"):
        check(lambda p: (weights * p["w"]).sum(), {"w": x}, {"w": weights.T})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_gradient_that_is_not_finite_is_found_and_named(bad, at):
    gradient = np.ones(3)
    gradient[at] = bad
    with pytest.raises(GradientError, match=rf"^w\[{at}\]: gradient {bad}"):
        check(lambda p: p["w"].sum(), {"w": np.ones(3)}, {"w": gradient})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # another test's matter
def test_one_infinite_element_does_not_hide_wrong_ones():
    for at in range(20):
        gradient = np.zeros(100)
        gradient[at] = np.inf
        with pytest.raises(GradientError):
            check(lambda p: p["w"].sum(), {"w": np.ones(100)}, {"w": gradient})


def test_the_tolerance_is_relative_to_the_largest_magnitude():
    def f(p):
        return 1e6 * p["w"][0] + p["w"][1]

    w = np.zeros(2)
    check(f, {"w": w}, {"w": np.array([1e6, 1.5])})
    with pytest.raises(GradientError, match=r"w\[1\]: gradient 3, central difference 1"):
        check(f, {"w": w}, {"w": np.array([1e6, 3.0])})


def test_the_tolerance_decides():
    loss, parameters, gradients = model()
    off = {name: g * (1 + 1e-5) for name, g in gradients.items()}
    with pytest.raises(GradientError, match="allowed 1e-06"):
        check(loss, parameters, off)
    with pytest.raises(GradientError, match=r"relative difference 1\.00e-05"):
        check(loss, parameters, off, rtol=0.99e-5)
    check(loss, parameters, off, rtol=1.01e-5)


def test_zero_gradients_match_zero_differences():
    check(lambda p: 3.0, {"w": np.ones(3)}, {"w": np.zeros(3)}, rtol=0)


def test_an_array_without_elements_passes(capsys):
    check(lambda p: 3.0, {"w": np.ones((0, 2))}, {"w": np.ones((0, 2))})
    assert "0 of 0" in capsys.readouterr().out


def moved(size, **options):
    """Return which elements were moved, in the order they were."""
    seen = []

    def f(p):
        seen.extend(np.flatnonzero(p["w"]).tolist())
        return 0.0

    check(f, {"w": np.zeros(size)}, {"w": np.zeros(size)}, **options)
    assert seen[::2] == seen[1::2]
    return seen[::2]


def test_large_arrays_are_sampled_without_repetition():
    chosen = moved(100)
    assert len(set(chosen)) == len(chosen) == 20
    assert moved(100) == chosen == moved(100, seed=0)
    assert moved(100, seed=1) != chosen
    assert len(moved(100, samples=7)) == 7


@pytest.mark.parametrize("size", [1, 19, 20])
def test_small_arrays_are_checked_whole(size):
    assert moved(size) == list(range(size))


def test_one_element_more_than_the_samples_is_left_out():
    assert len(moved(21)) == 20


def test_a_sampled_wrong_element_is_named_by_its_place_in_the_array():
    chosen = moved(100)
    found = []
    for at in range(100):
        gradient = np.zeros((4, 25))
        gradient.flat[at] = 1.0
        try:
            check(lambda p: 0.0, {"w": np.ones((4, 25))}, {"w": gradient})
        except GradientError as error:
            assert str(error).startswith(f"w[{at // 25}, {at % 25}]: gradient 1,")
            found.append(at)
    assert found == chosen


def test_parameters_are_restored_after_success_and_after_errors():
    loss, parameters, gradients = model()
    before = {name: p.copy() for name, p in parameters.items()}
    calls = iter(range(3))

    def fails(p):
        if next(calls) == 2:
            raise ZeroDivisionError
        return loss(p)

    check(loss, parameters, gradients)
    with pytest.raises(ZeroDivisionError):
        check(fails, parameters, gradients)
    with pytest.raises(GradientError):
        check(loss, parameters, gradients | {"b": -gradients["b"]})
    assert parameters.keys() == before.keys()
    for name, p in parameters.items():
        np.testing.assert_array_equal(p, before[name])


def test_the_loss_sees_one_element_moved_and_all_others_in_place():
    loss, parameters, gradients = model()
    counts = []

    def f(p):
        counts.append(sum(np.count_nonzero(p[name] != parameters[name]) for name in p))
        return loss(p)

    check(f, parameters, gradients)
    assert counts == [1] * 2 * (6 + 2 + 1)


def test_names_have_to_be_the_same():
    f, ones = (lambda p: 0.0), np.ones(2)
    with pytest.raises(ValueError, match=r"same names; only one has \['b', 'c'\]"):
        check(f, {"a": ones, "b": ones}, {"a": ones, "c": ones})


def test_shapes_have_to_be_the_same():
    expected = r"gradient of w must have shape \(2, 3\), got \(3, 2\)"
    with pytest.raises(ValueError, match=expected):
        check(lambda p: 0.0, {"w": np.ones((2, 3))}, {"w": np.ones((3, 2))})


def test_only_float64_is_checked():
    f, wide, narrow = (lambda p: 0.0), np.ones(2), np.ones(2, np.float32)
    with pytest.raises(TypeError, match=r"^w must be float64 .*, got float32"):
        check(f, {"w": narrow}, {"w": wide})
    with pytest.raises(TypeError, match=r"^gradient of w must be float64 .*, got float32"):
        check(f, {"w": wide}, {"w": narrow})


def test_gradient_errors_are_assertion_errors():
    assert issubclass(GradientError, AssertionError)


def test_a_check_of_nothing_is_refused():
    one = {"w": np.ones(3)}
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        check(lambda p: p["w"].sum(), one, one, samples=0)
    with pytest.raises(ValueError, match="parameters must hold at least one array"):
        check(lambda p: 0.0, {}, {})
