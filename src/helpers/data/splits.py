"""A data set in its three parts, for training, validation and the test."""

from typing import NamedTuple

import numpy as np

from helpers.arrays import Array


class Part(NamedTuple):
    """Inputs and targets of one part of a split; first axes are equal."""

    x: Array
    y: Array


class Splits(NamedTuple):
    """A data set in three disjoint parts."""

    train: Part
    validation: Part
    test: Part


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
