"""Accuracy, judged by scikit-learn's."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from helpers.metrics import accuracy


@given(st.lists(st.tuples(st.integers(-2, 5), st.integers(-2, 5)), min_size=1, max_size=50))
@settings(deadline=None)
def test_accuracy_of_classes_is_that_of_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    found = accuracy(labels, predictions)
    assert type(found) is float
    assert found == pytest.approx(accuracy_score(labels, predictions), rel=1e-12)


@given(st.data())
@settings(deadline=None)
def test_accuracy_of_scores_is_that_of_their_highest(draw):
    shape = draw.draw(st.tuples(st.integers(1, 20), st.integers(1, 5)))
    # Few different scores make many ties.
    elements = st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 3.0, np.inf])
    scores = draw.draw(arrays.arrays(np.float64, shape, elements=elements))
    labels = draw.draw(arrays.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    best = [max(range(shape[1]), key=row.__getitem__) for row in scores.tolist()]
    expected = accuracy_score(labels, best)
    assert accuracy(labels, scores) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "predictions", "expected"),
    [
        ([0, 1, 2, 1], [0, 1, 2, 2], 0.75),
        ([1], [0], 0.0),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], 1.0),
        ([1, 1], [[5, 3], [2, 4]], 0.5),
        ([0, 0], [[0.3], [0.7]], 1.0),
    ],
)
def test_known_accuracies(labels, predictions, expected):
    assert accuracy(labels, predictions) == expected


def test_the_first_of_equal_scores_wins():
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    assert accuracy([0, 1], scores) == 1.0
    assert accuracy([1, 2], scores) == 0.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_integers_of_different_types_are_compared(dtype):
    labels = np.array([0, 200, 3], dtype)
    assert accuracy(labels, np.array([0, 200, 4])) == pytest.approx(2 / 3)


def test_the_arguments_are_left_alone():
    labels, scores = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    accuracy(labels, scores)
    assert labels.tolist() == [0, 1]
    assert scores.tolist() == [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize("predictions", [np.array([0, 1]), np.eye(2)], ids=["classes", "scores"])
@pytest.mark.parametrize(
    ("labels", "dtype"), [([0.0, 1.0], "float64"), ([True, False], "bool"), (["a", "b"], "<U1")]
)
def test_labels_that_are_no_integers_are_refused(labels, dtype, predictions):
    with pytest.raises(TypeError, match=f"labels must be integers, got dtype {dtype}"):
        accuracy(np.array(labels), predictions)


@pytest.mark.parametrize(("kind", "name"), [(float, "float64"), (bool, "bool")])
def test_predicted_classes_that_are_no_integers_are_refused(kind, name):
    with pytest.raises(TypeError, match=f"1-D predictions must be integers, got dtype {name}"):
        accuracy(np.array([0, 1]), np.array([0, 1]).astype(kind))


@pytest.mark.parametrize("predictions", [np.array([0, 1]), np.eye(2)], ids=["classes", "scores"])
def test_labels_written_as_rows_are_refused(predictions):
    with pytest.raises(ValueError, match=r"labels must have shape \(samples,\), got \(2, 2\)"):
        accuracy(np.array([[1, 0], [0, 1]]), predictions)


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_predictions_of_another_shape_are_refused(shape):
    expected = r"predictions must be \(samples,\) or \(samples, classes\), got \("
    with pytest.raises(ValueError, match=expected):
        accuracy(np.array([0, 1]), np.zeros(shape, np.int64))


@pytest.mark.parametrize(
    ("labels", "predictions", "lengths"),
    [
        (np.zeros(3, int), np.zeros(2, int), "3 and 2"),
        (np.zeros(1, int), np.zeros(2, int), "1 and 2"),
        (np.zeros(3, int), np.zeros((2, 4)), "3 and 2"),
        (np.zeros(1, int), np.zeros((2, 4)), "1 and 2"),
        (np.zeros(0, int), np.zeros(0, int), "0 and 0"),
        (np.zeros(0, int), np.zeros((0, 4)), "0 and 0"),
    ],
)
def test_unequal_or_no_samples_are_refused(labels, predictions, lengths):
    expected = f"labels and predictions must be equally long and not empty, got {lengths}"
    with pytest.raises(ValueError, match=expected):
        accuracy(labels, predictions)


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 2], "0 … 2"), ([-1, 1], "-1 … 1"), ([7, 0], "0 … 7")]
)
def test_a_label_without_a_column_is_refused(labels, found):
    with pytest.raises(ValueError, match=f"labels must lie in 0 … 1, got {found}"):
        accuracy(np.array(labels), np.eye(2))


def test_a_score_that_is_nan_is_refused_with_its_row():
    scores = np.ones((4, 3))
    scores[2, 1] = scores[3, 0] = np.nan
    with pytest.raises(ValueError, match="predictions holds NaN, first in row 2; expected numbers"):
        accuracy(np.zeros(4, int), scores)
