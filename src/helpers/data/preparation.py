"""What is done to data before a model sees them: scales, batches, labels as rows."""

from collections.abc import Iterator

import numpy as np

from helpers.arrays import Array


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
