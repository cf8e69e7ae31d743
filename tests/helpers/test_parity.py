"""Agreement: what it accepts, what it refuses, and what it says."""

import re

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.autodiff import Tensor
from helpers.parity import ParityError, agree, difference, to_numpy

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.5, -2.0], [0.25, 3.0]], np.float32),
        np.array([[1, -2], [0, 3]]),
        np.array([True, False]),
        np.array([1 + 2j, 3]),
        np.float32(1.5),
        np.zeros((0, 3)),
        np.arange(6.0).reshape(2, 3).T,
        [[1.5, 2.0], [3.0, 4.0]],
        (1, 2, 3),
        2.5,
        7,
        True,
    ],
)
def test_numbers_become_arrays(value):
    found = to_numpy(value)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, value, strict=not isinstance(value, list | tuple))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 3)])
def test_tensors_become_arrays_of_their_dtype(tf, torch, dtype, shape):
    expected = (np.arange(np.prod(shape)) - 1).reshape(shape).astype(dtype)
    for tensor in (tf.constant(expected), tf.Variable(expected), torch.tensor(expected)):
        found = to_numpy(tensor)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected, strict=True)


def test_a_keras_variable_becomes_an_array(tf):
    layer = tf.keras.layers.Dense(2, bias_initializer="ones")
    layer.build((None, 3))
    np.testing.assert_array_equal(to_numpy(layer.bias), np.ones(2, np.float32), strict=True)
    variable = tf.keras.Variable([[1.5, 2.0]], dtype="float32")
    np.testing.assert_array_equal(to_numpy(variable), [[1.5, 2.0]])


def test_a_sparse_gradient_adds_the_rows_of_repeated_indices(tf):
    rows = tf.IndexedSlices(
        values=tf.constant([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]),
        indices=tf.constant([2, 0, 2]),
        dense_shape=tf.constant([4, 2]),
    )
    np.testing.assert_array_equal(to_numpy(rows), [[10, 20], [0, 0], [101, 202], [0, 0]])


def test_the_gradient_of_an_embedding_becomes_a_dense_array(tf):
    table = tf.Variable(np.ones((4, 2)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(3.0 * tf.gather(table, [1, 1, 3]))
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(to_numpy(gradient), [[0, 0], [6, 6], [0, 0], [3, 3]])


def test_a_torch_tensor_with_gradient_becomes_an_array(torch):
    leaf = torch.tensor([1.0, 2.0], requires_grad=True)
    np.testing.assert_array_equal(to_numpy(leaf), [1, 2])
    np.testing.assert_array_equal(to_numpy(leaf * 3), [3, 6])
    np.testing.assert_array_equal(to_numpy(torch.nn.Parameter(torch.ones(2))), [1, 1])
    assert leaf.requires_grad


def test_torch_views_become_arrays(torch):
    tensor = torch.arange(6.0).reshape(2, 3)
    assert not tensor.T.is_contiguous()
    np.testing.assert_array_equal(to_numpy(tensor.T), [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(to_numpy(tensor[:, ::2]), [[0, 2], [3, 5]])
    np.testing.assert_array_equal(to_numpy(torch.ones(2).expand(3, 2)), np.ones((3, 2)))
    z = torch.tensor([1 + 2j])
    np.testing.assert_array_equal(to_numpy(z.conj()), [1 - 2j])
    np.testing.assert_array_equal(to_numpy(z.conj().imag), [-2])


def test_a_torch_tensor_on_a_gpu_becomes_an_array(torch):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    tensor = torch.arange(3.0, device="cuda", requires_grad=True)
    np.testing.assert_array_equal(to_numpy(tensor * 2), [0, 2, 4])


@pytest.mark.parametrize(
    ("value", "name"),
    [("1.5", "str"), (["a"], "list"), (None, "NoneType"), (object(), "object"), ({1}, "set")],
)
def test_what_is_no_number_is_refused(value, name):
    with pytest.raises(TypeError, match=f"expected numbers, got {name} with dtype"):
        to_numpy(value)


def test_a_ragged_list_is_refused():
    with pytest.raises(TypeError, match="expected numbers"):
        to_numpy([[1.0], [1.0, 2.0]])


def test_a_tensor_of_strings_is_refused(tf):
    with pytest.raises(TypeError, match="expected numbers"):
        to_numpy(tf.constant(["a", "b"]))


def test_all_kinds_of_tensors_agree(tf, torch):
    value = np.array([[1.5, -2.0, 3.0]], np.float32)
    tensors = {
        "numpy": value,
        "tensorflow": tf.constant(value),
        "variable": tf.Variable(value),
        "torch": torch.tensor(value, requires_grad=True),
        "list": value.tolist(),
    }
    agree("logits", rtol=0, **tensors)
    assert difference(tensors["tensorflow"], 2 * tensors["torch"]) == 0.5


@given(st.data())
@settings(deadline=None)
def test_the_difference_is_the_largest_relative_to_the_largest_magnitude(draw):
    shape = draw.draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=4))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-1e6, 1e6, width=32))
    a, b = draw.draw(numbers), draw.draw(numbers)
    biggest = max(np.abs(a).max(), np.abs(b).max()) or 1.0
    expected = np.abs(a - b).max() / biggest
    found = difference(a, b)
    assert type(found) is float
    assert found == pytest.approx(expected, rel=1e-7, abs=0)
    agree(rtol=expected * 1.001, a=a, b=b)
    if expected > 0:
        with pytest.raises(ParityError):
            agree(rtol=expected * 0.999, a=a, b=b)


@given(st.data())
@settings(deadline=None)
def test_elementwise_the_difference_is_relative_to_each_element(draw):
    n = draw.draw(st.integers(1, 6))
    numbers = arrays.arrays(np.float64, n, elements=st.floats(-1e6, 1e6, width=32))
    a, b = draw.draw(numbers), draw.draw(numbers)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = max(abs(p - q) / (max(abs(p), abs(q)) or 1.0) for p, q in pairs)
    assert difference(a, b, elementwise=True) == pytest.approx(expected, rel=1e-7, abs=0)
    agree(rtol=expected * 1.001, elementwise=True, a=a, b=b)
    if expected > 0:
        with pytest.raises(ParityError):
            agree(rtol=expected * 0.999, elementwise=True, a=a, b=b)


def test_elementwise_a_small_element_counts_as_much_as_a_large_one():
    curve = {"numpy": np.array([100.0, 1e-3]), "torch": np.array([100.0, 1.1e-3])}
    agree("loss", rtol=1e-5, **curve)
    with pytest.raises(ParityError, match=r"loss: numpy and torch differ most at \[1\]"):
        agree("loss", rtol=1e-5, elementwise=True, **curve)


def test_zeros_agree_and_a_zero_differs_from_any_other_number():
    agree(a=np.zeros(3), b=-np.zeros(3), rtol=0)
    assert difference(np.zeros(3), -np.zeros(3)) == 0
    with pytest.raises(ParityError, match=r"relative difference 1\.00e\+00"):
        agree(a=np.zeros(3), b=np.array([0, 0, 1e-30]))


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (1.0, 2.0), (-2.0, -1.0), (-1.0, -2.0)])
def test_differences_count_in_both_directions_up_to_the_tolerance_itself(a, b):
    agree(rtol=0.5, a=a, b=b)
    assert difference(a, b) == 0.5
    with pytest.raises(ParityError):
        agree(rtol=0.499, a=a, b=b)


def test_opposite_signs_do_not_agree():
    with pytest.raises(ParityError, match=r"relative difference 2\.00e\+00"):
        agree(rtol=1.9, a=1.0, b=-1.0)


@pytest.mark.parametrize("odd", ["first", "second", "third"])
def test_every_framework_is_compared(odd):
    values = {name: np.array([1.0, 2.0]) for name in ("first", "second", "third")}
    values[odd] = np.array([1.0, 2.5])
    with pytest.raises(ParityError, match=odd):
        agree("loss", **values)


def test_every_pair_is_compared():
    close = {"numpy": 1.0, "tensorflow": 1.0 + 8e-6, "torch": 1.0 - 8e-6}
    with pytest.raises(ParityError, match="loss: tensorflow and torch differ"):
        agree("loss", rtol=1e-5, **close)


def test_a_difference_needs_equal_shapes():
    with pytest.raises(ValueError, match=r"a and b must have one shape, got \(3,\) and \(3, 1\)"):
        difference(np.ones(3), np.ones((3, 1)))


def test_a_difference_needs_numbers():
    with pytest.raises(TypeError, match="expected numbers, got str"):
        difference(1.0, "1.0")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([NAN, 1.0], [1.0, 1.0], INF),
        ([NAN, 1.0], [NAN, 1.0], INF),
        ([INF, 1.0], [1.0, 1.0], INF),
        ([INF, 1.0], [-INF, 1.0], INF),
        ([INF, -INF, 1.0], [INF, -INF, 0.5], 0.5),
        ([], [], 0.0),
        (3, 4, 0.25),
    ],
)
@pytest.mark.parametrize("elementwise", [False, True])
def test_a_difference_without_a_number_is_infinite(a, b, expected, elementwise):
    assert difference(a, b, elementwise=elementwise) == expected


def test_the_message_names_quantity_frameworks_place_and_values():
    a = np.arange(1.0, 7.0).reshape(2, 3)
    b = a.copy()
    b[0, 1] = 2.125
    b[1, 2] = 6.75
    with pytest.raises(ParityError) as error:
        agree("dW1", numpy=a, torch=b)
    message = str(error.value)
    assert message.startswith("dW1: numpy and torch differ most at [1, 2]: numpy 6.0, torch 6.75;")
    assert "relative difference 1.11e-01, allowed 1e-12" in message
    assert "shape (2, 3), 2 of 6 beyond" in message


def test_the_message_keeps_frameworks_and_values_in_order():
    with pytest.raises(ParityError, match=r"torch and numpy differ most: torch 2\.5, numpy 2\.0"):
        agree("loss", torch=2.5, numpy=2.0)


def test_parity_errors_are_assertion_errors():
    assert issubclass(ParityError, AssertionError)


def test_shapes_have_to_be_equal_even_where_they_broadcast():
    with pytest.raises(ParityError, match=r"out: numpy has shape \(3, 1\), torch has \(3,\)"):
        agree("out", numpy=np.ones((3, 1)), torch=np.ones(3))
    with pytest.raises(ParityError, match=r"value: a has shape \(\), b has \(1,\)"):
        agree(a=1.0, b=[1.0])
    with pytest.raises(ParityError, match=r"a has shape \(0, 3\), b has \(3, 0\)"):
        agree(a=np.ones((0, 3)), b=np.ones((3, 0)))
    with pytest.raises(ParityError, match=r"a has shape \(2,\), c has \(3,\)"):
        agree(a=np.ones(2), b=np.ones(2), c=np.ones(3))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_empty_arrays_agree(dtype, capsys):
    agree(a=np.ones((0, 3), dtype), b=np.ones((0, 3), dtype))
    assert difference(np.ones((0, 3), dtype), np.ones((0, 3), dtype)) == 0
    assert "(0, 3)" in capsys.readouterr().out


@pytest.mark.parametrize("equal_nan", [False, True])
def test_nan_in_one_does_not_agree(equal_nan):
    with pytest.raises(ParityError, match=r"loss: a and b differ most at \[1\]: a 2\.0, b nan"):
        agree("loss", a=[1.0, 2.0], b=[1.0, NAN], equal_nan=equal_nan)
    with pytest.raises(ParityError, match=r"at \[0\]: a nan, b 1\.0"):
        agree("loss", a=[NAN, NAN], b=[1.0, NAN], equal_nan=equal_nan)


def test_nan_in_both_agrees_only_if_asked():
    both = {"a": [NAN, 1.0], "b": [NAN, 1.0]}
    with pytest.raises(ParityError, match=r"at \[0\]: a nan, b nan"):
        agree(**both)
    agree(**both, equal_nan=True)


def test_nan_in_both_does_not_hide_other_differences():
    with pytest.raises(ParityError, match=r"at \[1\]: a 1\.0, b 2\.0"):
        agree(a=[NAN, 1.0], b=[NAN, 2.0], equal_nan=True)


def test_an_infinite_tolerance_does_not_let_nan_agree():
    with pytest.raises((ParityError, ValueError)):
        agree(a=1.0, b=NAN, rtol=INF)


def test_infinities_agree_with_themselves():
    agree(a=[INF, -INF, 1.0], b=[INF, -INF, 1.0], rtol=0)
    agree(a=np.float32(INF), b=INF)


@pytest.mark.parametrize(("a", "b"), [(INF, -INF), (INF, 1.0), (-1e300, -INF), (INF, NAN)])
def test_infinities_differ_from_everything_else(a, b):
    expected = re.escape(f"at [1]: x {a}, y {b}; relative difference inf")
    with pytest.raises(ParityError, match=expected):
        agree(rtol=1e6, x=[1.0, a], y=[1.0, b])


def test_infinities_do_not_hide_other_differences():
    with pytest.raises(ParityError, match=r"at \[1\]: a 1\.0, b 1\.1"):
        agree(a=[INF, 1.0], b=[INF, 1.1])


def test_the_largest_numbers_of_opposite_sign_differ():
    with pytest.raises(ParityError, match="differ most"):
        agree(a=1e308, b=-1e308)


@pytest.mark.parametrize("rtol", [None, 10.0])
def test_integers_and_booleans_have_to_be_equal(rtol, capsys):
    agree(a=[1, 2], b=np.array([1, 2], np.uint8), rtol=rtol)
    assert "exactly" in capsys.readouterr().out
    with pytest.raises(ParityError, match=r"at \[1\]: a 1, b 2; .* allowed 0 "):
        agree(a=[1, 1], b=[1, 2], rtol=rtol)
    with pytest.raises(ParityError, match=r"a True, b False"):
        agree(a=True, b=False, rtol=rtol)
    with pytest.raises(ParityError, match=r"a 1000000, b 1000001"):
        agree(a=10**6, b=10**6 + 1, rtol=rtol)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (2**53, 2**53 + 1),
        (2**62, 2**62 + 1),
        (np.uint64(2**64 - 1), np.uint64(2**64 - 2)),
        (np.uint64(2**63), np.int64(2**63 - 1)),
        (np.uint8(255), np.int8(-1)),
    ],
    ids=["2**53", "2**62", "uint64", "uint64 and int64", "uint8 and int8"],
)
def test_integers_are_compared_as_integers(a, b):
    with pytest.raises(ParityError, match=f"a {a}, b {b}"):
        agree(a=a, b=b)


def test_integers_are_compared_with_floats_by_the_tolerance():
    agree(a=[1, 2], b=[1.0, 2.0])
    agree(rtol=1e-3, a=[1, 2], b=[1.0, 2.001])
    with pytest.raises(ParityError, match=r"a 2, b 2\.001"):
        agree(a=[1, 2], b=[1.0, 2.001])


@pytest.mark.parametrize(
    ("left", "right", "tolerance"),
    [
        (np.float64, np.float64, 1e-12),
        (np.float32, np.float32, 1e-5),
        (np.float32, np.float64, 1e-5),
        (np.float64, np.float32, 1e-5),
        (np.complex64, np.complex64, 1e-5),
    ],
)
def test_the_default_tolerance_follows_the_least_precise(left, right, tolerance, capsys):
    def pair(gap):
        return {"a": np.array([1.0], left), "b": np.array([1 + gap], right)}

    agree(**pair(0.8 * tolerance))
    assert f"within {tolerance:.0e}" in capsys.readouterr().out
    with pytest.raises(ParityError, match=f"allowed {tolerance:.0e}"):
        agree(**pair(1.2 * tolerance))


def test_one_imprecise_framework_of_three_sets_the_tolerance():
    agree(a=1.0, b=1.0 + 5e-6, c=np.float32(1.0))
    with pytest.raises(ParityError, match="allowed 1e-12"):
        agree(a=1.0, b=1.0 + 5e-6, c=1.0)


def test_float32_is_compared_in_float64():
    a, b = np.float32(1), np.nextafter(np.float32(1), np.float32(2))
    expected = 2.0**-23 / (1 + 2.0**-23)
    assert difference(a, b) == pytest.approx(expected, rel=1e-8, abs=0)
    largest = np.finfo(np.float32).max
    assert difference(largest, -largest) == 2


def test_dictionaries_are_compared_by_quantity(capsys):
    agree(
        numpy={"loss": 1.0, "dW": np.ones((2, 3)), "steps": 4},
        torch={"dW": np.ones((2, 3)) + 4e-13, "steps": 4, "loss": 1.0},
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["loss", "dW", "steps"]
    assert [line.index("numpy = torch") for line in lines] == [15, 15, 15]


def test_the_quantity_that_differs_is_named():
    with pytest.raises(ParityError, match=r"dW: numpy and torch differ most at \[2\]"):
        agree(numpy={"loss": 1.0, "dW": np.ones(3)}, torch={"loss": 1.0, "dW": [1, 1, 2.0]})


def test_each_quantity_has_its_own_default_tolerance(capsys):
    row = {"loss": np.float32(1), "dW": np.float64(1), "label": np.int64(1)}
    agree(numpy=row, torch=row)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["within 1e-05", "within 1e-12", "exactly"]


def test_a_value_that_is_no_number_is_refused_in_a_comparison():
    with pytest.raises(TypeError, match="expected numbers, got str"):
        agree("loss", numpy=1.0, torch="1.0")
    with pytest.raises(TypeError, match="expected numbers, got NoneType"):
        agree(numpy={"loss": 1.0}, torch={"loss": None})


def test_dictionaries_and_arrays_cannot_be_mixed():
    with pytest.raises(TypeError, match="all dictionaries or all arrays, got a mixture"):
        agree(numpy={"loss": 1.0}, torch=1.0)
    with pytest.raises(TypeError, match="all dictionaries or all arrays, got a mixture"):
        agree("loss", numpy=1.0, tensorflow=1.0, torch={"loss": 1.0})


def test_a_quantity_with_dictionaries_is_refused():
    with pytest.raises(TypeError, match="the quantity is left out, got 'loss'"):
        agree("loss", numpy={"loss": 1.0}, torch={"loss": 1.0})


def test_dictionaries_with_other_quantities_are_refused():
    with pytest.raises(ValueError, match=r"numpy and torch .* only one has \['b', 'c'\]"):
        agree(numpy={"a": 1.0, "b": 1.0}, tensorflow={"a": 1.0, "b": 1.0}, torch={"a": 1, "c": 1})


def test_dictionaries_without_quantities_are_refused():
    with pytest.raises(ValueError, match="at least one quantity, got none"):
        agree(numpy={}, torch={})


@pytest.mark.parametrize("rtol", [-1e-9, -INF, NAN])
def test_a_tolerance_that_is_not_0_or_more_is_refused(rtol):
    with pytest.raises(ValueError, match=f"rtol must be at least 0 and finite, got {rtol}"):
        agree(a=1.0, b=1.0, rtol=rtol)


def test_tolerance_0_asks_for_equality(capsys):
    agree(a=0.5, b=0.5, rtol=0)
    assert "exactly" in capsys.readouterr().out
    with pytest.raises(ParityError):
        agree(a=0.5, b=np.nextafter(0.5, 1), rtol=0)


def test_fewer_than_two_values_are_refused():
    with pytest.raises(ValueError, match=r"at least two named values, got \['numpy'\]"):
        agree("loss", numpy=1.0)
    with pytest.raises(ValueError, match=r"at least two named values, got \[\]"):
        agree("loss")


def test_the_text_names_quantity_shape_frameworks_and_tolerance(capsys):
    agree("loss", numpy=1.0, tensorflow=1.0, torch=1.0)
    agree("hidden layer", numpy=np.ones((2, 3)), torch=np.ones((2, 3)), rtol=1e-3)
    assert capsys.readouterr().out == (
        "loss  scalar  numpy = tensorflow = torch  within 1e-12\n"
        "hidden layer  (2, 3)  numpy = torch  within 0.001\n"
    )


def test_the_text_does_not_depend_on_differences_within_the_tolerance(capsys):
    texts = set()
    for gap in (0.0, 1e-13, 7e-13):
        agree("loss", numpy=np.ones(3), torch=np.ones(3) + gap)
        agree(numpy={"a": 1.0, "b": 2.0}, torch={"a": 1.0 + gap, "b": 2.0})
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1


@pytest.mark.parametrize("rtol", [2.4e-3, 2.5e-3, 1.5e-12, 0.25, 1e-7])
def test_the_tolerance_printed_is_the_one_that_held(rtol, capsys):
    agree(a=1.0, b=1.0, rtol=rtol)
    printed = capsys.readouterr().out.rpartition("within ")[2]
    assert float(printed) == rtol


def test_nothing_is_printed_of_what_differs(capsys):
    with pytest.raises(ParityError):
        agree(a={"x": 1.0, "y": 1.0}, b={"x": 1.0, "y": 2.0})
    assert capsys.readouterr().out == ""


def test_comparing_returns_nothing_and_changes_no_value():
    a, b = np.array([1.0, NAN, INF]), np.array([1.0, NAN, INF])
    assert agree(a=a, b=b, equal_nan=True) is None
    difference(a, b)
    np.testing.assert_array_equal(a, [1.0, NAN, INF])
    np.testing.assert_array_equal(b, [1.0, NAN, INF])


def test_tensors_of_the_engine_are_compared_like_arrays(capsys):
    tensor = Tensor([1.0, 2.0], requires_grad=True)
    agree("square", engine=tensor * tensor, numpy=np.array([1.0, 4.0]))
    assert capsys.readouterr().out == "square  (2,)  engine = numpy  within 1e-12\n"
