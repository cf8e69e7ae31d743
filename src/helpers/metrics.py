"""How good a prediction is."""

import numpy as np

from helpers.data import checked_labels


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of samples whose class is predicted right.

    Args:
        labels: true classes, (samples,) integers.
        predictions: predicted classes, (samples,) integers, or scores such
            as logits or probabilities, (samples, classes); the highest score
            wins, the first one on a tie.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: labels, or 1-D predictions, are not integers.
        ValueError: no samples, shapes do not match, a label has no column,
            or a score is NaN.
    """
    predictions = np.asarray(predictions)
    if predictions.ndim == 2:
        labels = checked_labels(labels, predictions.shape[1])
        if np.isnan(predictions).any():
            row = int(np.isnan(predictions).any(axis=1).argmax())
            raise ValueError(f"predictions holds NaN, first in row {row}; expected numbers")
        predictions = predictions.argmax(axis=1)
    elif predictions.ndim == 1 and np.issubdtype(predictions.dtype, np.integer):
        labels = checked_labels(labels)
    elif predictions.ndim == 1:
        raise TypeError(f"1-D predictions must be integers, got dtype {predictions.dtype}")
    else:
        raise ValueError(
            f"predictions must be (samples,) or (samples, classes), got {predictions.shape}"
        )
    if len(labels) != len(predictions) or not len(labels):
        raise ValueError(
            "labels and predictions must be equally long and not empty, "
            f"got {len(labels)} and {len(predictions)}"
        )
    return float((labels == predictions).mean())
