"""Small tables: rows of features with a target each."""

from typing import NamedTuple

import numpy as np

from helpers.arrays import Array

TABLES = ("breast_cancer", "diabetes", "iris", "wine")


class Table(NamedTuple):
    """A small tabular data set.

    ``x`` is (samples, features) float64; ``y`` is (samples,), int64 classes
    or float64 targets; ``target_names`` is empty for a regression.
    """

    x: Array
    y: Array
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


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
